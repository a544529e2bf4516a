"""One function runs one cell: every command, sweep and notebook calls `run_cell`."""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import os
import platform
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import logging as transformers_logging

import lightning_ita
from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.inputs import Preparing
from lightning_ita.data.source import Source
from lightning_ita.errors import Terminated
from lightning_ita.metrics import EntityF1
from lightning_ita.models.inputs import TwoViewInputs
from lightning_ita.models.options import to_values
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import ranks, schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.provenance import code_digest, packages
from lightning_ita.studies.records import VERSION, Environment, Metrics
from lightning_ita.studies.resume import Checkpoints, History, StepSeeds, WholeFiles, read_checkpoint
from lightning_ita.studies.study import CONFIG, ENVIRONMENT, METRICS, part_of
from lightning_ita.studies.trained import VALID_PREDICTIONS, WEIGHTS, Trained, trained_already
from lightning_ita.tags import LabelConvention, bio_tags

# What cells of this process have read, by all that it depends on: as many as the default study has of each corpus.
READ: dict[Any, dict[str, Any]] = {}
MOST_READ = 4


def run_cell(
    cell: Cell,
    folder: Path,
    source: Source | None = None,
    corpus: Corpus | None = None,
    callbacks: Sequence[Callback] = (),
    keep_checkpoint: bool = False,
    logger: Logger | None = None,
    test: bool = True,
    keep_model: bool = False,
) -> Metrics:
    """Trains one model, tests it in every view it has, and leaves the results in `folder`.

    The folder appears whole or not at all: it holds ``config.yaml`` (the cell), ``metrics.json``,
    ``predictions.valid.jsonl``, ``predictions.test.jsonl`` and ``environment.json``. Until then the run keeps its
    checkpoints beside it (see `part_of`), and goes on from there if it is started again.

    Args:
        cell: What to run.
        folder: Where the results go; must not exist.
        source: Where the data lie.
        corpus: The cell's corpus, where it has been read already; with the right images.
        callbacks: Further Lightning callbacks: progress, pruning.
        keep_checkpoint: Whether the best epoch's weights stay, as ``best.ckpt``.
        logger: A Lightning logger that is told each epoch's losses and scores.
        test: Whether test is tagged and scored; not where hyper-parameters are still chosen.
        keep_model: Whether the model stays, in the folder ``model``; see `lightning_ita.models.kept`.

    Returns:
        The content of ``metrics.json``.

    Raises:
        UserError: The data changed since the cell was planned, the encoder cannot be read, or the loss became NaN.
        OSError: The folder cannot be written, or the disk is full; started again, the run goes on.
        Terminated: The process was told to end (SIGTERM); a checkpoint was saved.
    """
    started = time.time()
    keep_freed_memory()
    set_imports_aside()
    source = source or Source()
    corpus = corpus or cell.read(source)
    cell = cell.resolve(corpus.digests)
    if cell.control is not None:
        corpus = cell.control.apply(corpus, cell.seed)
    part, result = part_of(folder), part_of(folder) / "result"
    if result.exists():
        shutil.rmtree(result)
    result.mkdir(parents=True)
    schema.write_config(result / CONFIG, cell.to_config())
    made_with = {"code": code_digest(cell.dataset, cell.system), **packages()}
    share = ranks.Share(cell, folder, source, corpus, test, max(1, torch.get_num_threads() // cell.recipe.devices))
    with quiet(), interruptions(), ranks.together(share, part):
        checkpoints = Checkpoints(part, made_with, device(cell.recipe.devices))
        history = History()
        ran = _train_and_score(share, history, checkpoints, callbacks, logger, result)
    trained, model, datamodule, scores = ran.trained, ran.model, ran.datamodule, ran.scores

    training = {
        "best_epoch": checkpoints.best_epoch + 1,
        "history": history.epochs,
        "training_seconds": round(ran.training_seconds, 2),
    }
    if trained is not None:
        training = {name: trained.metrics[name] for name in training}  # type: ignore[literal-required]
    content = {
        "version": VERSION,
        "system": cell.system,
        "label": cell.label,
        "options": to_values(cell.options),
        "types": list(corpus.types),
        **(further_scores(model, datamodule) if test else {}),
        "tag_scheme": cell.recipe.tag_scheme,
        "tokenizer": cell.encoder,
        "test": scores.get("test", {}),
        "valid": scores["valid"],
        **training,
        "splits": {split: split_summary(datamodule, split) for split in SPLITS},
        "contexts": {kind: corpus.contexts[kind].source for kind in cell.contexts},
        "context_engines": {
            kind: dict(corpus.contexts[kind].provenance) for kind in cell.contexts if corpus.contexts[kind].provenance
        },
        "release": corpus.release,
        "warnings": [*corpus.warnings, *notes_of(datamodule)],
        "seconds": round(checkpoints.seconds, 2),
    }
    metrics = cast(Metrics, content)
    if keep_checkpoint:
        shutil.copyfile(checkpoints.best if trained is None else trained.weights, result / WEIGHTS)
    schema.write_environment(result / ENVIRONMENT, environment(started, checkpoints))
    schema.write_metrics(result / METRICS, metrics)
    if keep_model:
        from lightning_ita.studies.keeping import keep

        keep(model, result, cell, metrics, corpus)
    os.replace(result, folder)
    shutil.rmtree(part)
    del ran, model
    gc.collect()  # model and trainer refer to each other; a study's next cell needs their memory
    return_freed_memory()
    return metrics


def run_share(share: ranks.Share, rank: int) -> None:
    """Runs the share of a cell that a process of several has, besides the first one; it leaves nothing behind."""
    keep_freed_memory()
    made_with = {"code": code_digest(share.cell.dataset, share.cell.system), **packages()}
    with quiet(), interruptions():
        checkpoints = Checkpoints(part_of(share.folder), made_with, device(share.cell.recipe.devices))
        _train_and_score(share, History(), checkpoints, rank=rank)


class _Ran(NamedTuple):
    """A model that was trained, or taken from where it was, and scored.

    Attributes:
        trained: Where it was taken from; ``None`` if it was trained.
        trainer: What trained it.
        model: The model.
        datamodule: Its data.
        scores: By split and view.
        training_seconds: What training took.
    """

    trained: Trained | None
    trainer: pl.Trainer
    model: Tagger
    datamodule: MNERDataModule
    scores: dict[str, Any]
    training_seconds: float


def _train_and_score(
    share: ranks.Share,
    history: History,
    checkpoints: Checkpoints,
    callbacks: Sequence[Callback] = (),
    logger: Logger | None = None,
    result: Path | None = None,
    rank: int = 0,
) -> _Ran:
    """Trains a cell's model, or takes the one that is there, and scores it; the processes of a run do so together.

    Args:
        share: What to run.
        history: Keeps what is logged.
        checkpoints: Keeps the run's state.
        callbacks: Further Lightning callbacks.
        logger: A Lightning logger.
        result: Where predictions are written; nowhere if not given.
        rank: Number of this process.
    """
    cell = share.cell
    pl.seed_everything(cell.seed, verbose=False)
    datamodule = make_datamodule(cell, share.corpus, share.source.cache_dir)
    _set_up(datamodule, cell)
    model = cell.options.make_tagger(share.corpus.types, cell.recipe, cell.encoder)
    trainer = make_trainer(cell, [history, StepSeeds(cell.seed), checkpoints, *callbacks], logger, rank)
    trained = trained_already(cell, share.folder, checkpoints.made_with)
    if trained is None:
        if rank:
            ranks.barrier()  # rank 0 has removed what cannot be used
        state = checkpoints.resumable()
        if not rank:
            ranks.barrier()
        trainer.fit(model, datamodule, ckpt_path=state, weights_only=True)
    training_seconds = checkpoints.seconds
    weights = checkpoints.best if trained is None else trained.weights
    model.load_state_dict(read_checkpoint(weights)["state_dict"])
    scores: dict[str, Any] = {}
    if trained is None:
        scores["valid"] = evaluate(trainer, model, datamodule, "valid", result)
    else:  # a control at test changes nothing here
        scores["valid"] = trained.metrics["valid"]
        if result is not None:
            shutil.copyfile(trained.weights.with_name(VALID_PREDICTIONS), result / VALID_PREDICTIONS)
    if share.test:
        scores["test"] = evaluate(trainer, model, datamodule, "test", result)
    return _Ran(trained, trainer, model, datamodule, scores, training_seconds)


def make_datamodule(cell: Cell, corpus: Corpus, cache_dir: str | None = None) -> MNERDataModule:
    """Returns the data module of a cell.

    Args:
        cell: The cell.
        corpus: Its corpus.
        cache_dir: Folder that keeps the sub-tokens of words from cell to cell.
    """
    recipe = cell.recipe
    return MNERDataModule(
        cell.dataset,
        batch_size=recipe.batch_size,
        token_budget=recipe.token_budget,
        labels=recipe.labels,
        seed=cell.seed,
        inputs=cell.options.make_inputs(corpus.types, recipe, cell.encoder, cache_dir),
        corpus=corpus,
    )


def _set_up(datamodule: MNERDataModule, cell: Cell) -> None:
    """Sets a data module up, with what an earlier cell of this process has read, where that is the same.

    To read Twitter-15 takes a second of a core, more than all else before the first step of a cell. Only text is kept
    so; a control has another corpus for every seed.
    """
    if type(datamodule.inputs) is not TwoViewInputs or cell.control is not None:
        datamodule.setup()
        return
    recipe, corpus = cell.recipe, datamodule.corpus
    key = (
        *(cell.dataset, corpus.types, tuple(sorted(corpus.digests.items())), datamodule.inputs.kinds),
        *(cell.encoder, cell.data.get("encoder")),
        *(recipe.labels, recipe.tag_scheme, recipe.max_length, recipe.normalise_urls),
    )
    datamodule.encoded = READ.get(key, {})
    datamodule.setup()
    READ[key] = READ.pop(key, datamodule.encoded)  # the last one that was used
    while len(READ) > MOST_READ:
        del READ[next(iter(READ))]


def notes_of(datamodule: MNERDataModule) -> list[str]:
    """Returns what the system's inputs have to say of a corpus, such as pictures that could not be read."""
    inputs = datamodule.inputs
    return [f"{datamodule.corpus.name}: {each}" for each in inputs.warnings()] if isinstance(inputs, Preparing) else []


def further_scores(model: Tagger, datamodule: MNERDataModule) -> dict[str, Any]:
    """Returns the field ``further`` of ``metrics.json``, where a system has scores beside those of its tags."""
    with torch.inference_mode():
        further = model.eval().further_scores(datamodule.inputs)
    return {"further": further} if further else {}


def split_summary(datamodule: MNERDataModule, split: str) -> dict[str, Any]:
    """Returns what became of a split on its way to batches, as one flat record."""
    summary = asdict(datamodule.summary(split))
    return summary | summary.pop("counts")


def make_trainer(cell: Cell, callbacks: Sequence[Callback], logger: Logger | None = None, rank: int = 0) -> pl.Trainer:
    """Returns the trainer of a cell: quiet, best epoch by `callbacks`; on several devices, that of one process."""
    # Some encoders have parts that tagging does not use, such as a pooler; and statistics of batches are not trained.
    ddp = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True)
    return pl.Trainer(
        max_epochs=cell.recipe.epochs,
        precision="bf16-mixed" if cell.recipe.precision == "bfloat16" else "32-true",
        gradient_clip_val=cell.recipe.gradient_clip,
        accumulate_grad_batches=cell.recipe.accumulate,
        accelerator="auto",
        devices=cell.recipe.devices,
        strategy=ddp if cell.recipe.devices > 1 else "auto",
        callbacks=list(callbacks),
        # Not Slurm's environment, even inside an allocation: we start the processes, whatever --ntasks says.
        plugins=[WholeFiles(), ranks.Rank(rank) if cell.recipe.devices > 1 else LightningEnvironment()],
        enable_checkpointing=False,
        logger=logger or False,
        log_every_n_steps=1 if logger else None,  # nothing is logged by step; more steps than an epoch has would warn
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def evaluate(
    trainer: pl.Trainer, model: Tagger, datamodule: MNERDataModule, split: str, folder: Path | None
) -> dict[str, dict[str, float]]:
    """Tags a split in every tested view, writes ``predictions.<split>.jsonl``, and scores it.

    A line of that file is one tweet: its words and the texts of its image, so that errors can be read without the
    corpus, the gold tags, and the tags of each view.

    The processes of a run tag a share of the split each, no tweet twice; each scores the whole.

    Args:
        trainer: Runs the model.
        model: The model.
        datamodule: Its data.
        split: The split.
        folder: Where the file is written; nowhere if not given.

    Returns:
        Scores by view, as `EntityF1` names them.

    Raises:
        Terminated: SIGTERM came.
    """
    names = bio_tags(datamodule.corpus.types)
    tagged: dict[str, dict[str, list[int]]] = {}
    outputs: Any = trainer.predict(model, datamodule.eval_dataloader(split))
    if trainer.received_sigterm:  # Lightning has kept it from a process without a handler of its own
        raise Terminated
    for ids, views in outputs:
        for row, tweet_id in enumerate(ids):
            tagged[tweet_id] = {view: [tag for tag in tags[row].tolist() if tag >= 0] for view, tags in views.items()}
    tagged = ranks.merged(tagged)
    lines: list[Any] = []
    gold = []
    predicted: dict[str, list[list[int]]] = {view: [] for view in model.tested_views}
    kinds = datamodule.inputs.kinds
    for tweet in datamodule.corpus.splits[split]:
        gold.append([names.index(tag) for tag in tweet.tags])
        line: dict[str, Any] = {"tweet": tweet.id, "words": list(tweet.words), "gold": list(tweet.tags)}
        if kinds:
            texts = datamodule.corpus.texts(tweet)
            line["contexts"] = {kind: list(said) for kind, said in texts.items() if kind in kinds}
        for view, tags in tagged[tweet.id].items():
            tags += [0] * (len(tweet.tags) - len(tags))  # words beyond the encoder's length are tagged O
            predicted[view].append(tags)
            line[view] = [names[tag] for tag in tags]
        lines.append(line)
    if folder is not None:
        schema.write_predictions(folder / f"predictions.{split}.jsonl", lines)
    types, labels = datamodule.corpus.types, datamodule.labels
    return {view: score(tags, gold, types, labels) for view, tags in predicted.items()}


def score(
    predicted: Sequence[Sequence[int]], gold: Sequence[Sequence[int]], types: Sequence[str], labels: LabelConvention
) -> dict[str, float]:
    """Scores BIO tag ids of tweets; see `EntityF1` for the names of the scores, in percent."""

    def pad(rows: Sequence[Sequence[int]]) -> Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-1)

    metric = EntityF1(types, labels)
    metric.update(pad(predicted), pad(gold))
    return {name: round(value.item(), 4) for name, value in metric.compute().items()}


@cache
def set_imports_aside() -> None:
    """Takes what is in memory now, most of it imported modules, out of garbage collection, once per process.

    The collection at the end of every run then takes milliseconds instead of half a second. At the end of the process
    they are put back: triton, which comes with torch for GPUs, otherwise lists them as leaks on the terminal.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory for the next step.

    Otherwise it goes back to the system and is zeroed again for the gradients of every step: a fifth of a step with
    MiniLM on two cores where its word embeddings are trained. Elsewhere than on glibc nothing is done.
    """
    trim_threshold, mmap_threshold = -1, -3  # of mallopt(3)
    with suppress(OSError, AttributeError):
        glibc = ctypes.CDLL("libc.so.6")
        for option in (mmap_threshold, trim_threshold):
            glibc.mallopt(option, 2**30)


def return_freed_memory() -> None:
    """Has glibc give back what `keep_freed_memory` made it keep."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def environment(started: float, checkpoints: Checkpoints) -> Environment:
    """Returns what a result was produced with, besides its cell.

    Args:
        started: When the process that finished it began with it.
        checkpoints: Of its run.
    """
    cuda = torch.cuda.is_available()
    made_with = dict(checkpoints.made_with)
    memory = peak_memory_mib()
    content = {
        "version": VERSION,
        "lightning_ita": lightning_ita.__version__,
        "code": made_with.pop("code"),
        "python": platform.python_version(),
        "packages": made_with,
        "system": platform.system(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if cuda else None,
        "trained_on": checkpoints.devices,
        **({} if memory is None else {"peak_memory_mib": memory}),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return cast(Environment, content)


def peak_memory_mib() -> int | None:
    """Returns the most memory this process has held, in MiB; ``None`` on Windows, which does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def device(count: int = 1) -> str:
    """Returns what a run is computed on: the accelerators, or the processor and the threads of each process."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor()}, {torch.get_num_threads()}"
    return name if count == 1 else f"{count} devices: {name}"


def processor() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} × {os.cpu_count()}"


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what Lightning and transformers say of themselves; results and errors are ours to report."""
    names = ("pytorch_lightning", "lightning_fabric", "transformers")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # One process and small batches: workers would only cost start-up time.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Where a GPU is there and is not used, the user chose so.
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            # `Checkpoints` has the sampler leave out the batches that a resumed run has done.
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            # The batch normalisation of a vision model that is trained keeps its statistics.
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            # Scores over all processes are logged as they are; they are the same in each.
            warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
            # Processes of a run on CPUs, which share the cores.
            warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified.*")
            # Its successor is not in the oldest torch that we take.
            warnings.filterwarnings("ignore", message=".*`broadcast_buffers` is deprecated.*")
            # A login node of Slurm: a cell is one process, in a job of Slurm's or not.
            warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
            # pytorch-lightning 2.6.6 against torch 2.15.
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        if progress_bar:
            transformers_logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def interruptions() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM through, which Lightning turns into silent exits; in training, `Checkpoints` saves first.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        Terminated: SIGTERM came.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        raise Terminated from None
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
