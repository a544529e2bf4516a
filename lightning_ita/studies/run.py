"""One function runs one cell: every command, sweep and notebook calls `run_cell`."""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy

from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.inputs import Preparing
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.models.inputs import TwoViewInputs
from lightning_ita.models.options import to_values
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import provenance, ranks, schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.environment import device, environment
from lightning_ita.studies.process import (
    interruptions,
    keep_freed_memory,
    quiet,
    return_freed_memory,
    set_imports_aside,
)
from lightning_ita.studies.records import VERSION, Metrics
from lightning_ita.studies.resume import Checkpoints, History, StepSeeds, WholeFiles, read_checkpoint
from lightning_ita.studies.scoring import evaluate
from lightning_ita.studies.study import CONFIG, ENVIRONMENT, METRICS, part_of
from lightning_ita.studies.trained import (
    VALID_PREDICTIONS,
    WEIGHTS,
    Trained,
    teacher_folder,
    teacher_weights,
    trained_already,
)
from lightning_ita.studies.watching import RunProgress

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
        UserError: Something is in the folder, the data changed since the cell was planned, the encoder cannot be read,
            or the loss became NaN.
        OSError: The folder cannot be written, or the disk is full; started again, the run goes on.
        Terminated: The process was told to end (SIGTERM); a checkpoint was saved.
    """
    started = time.time()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already; choose another folder, or remove it")
    keep_freed_memory()
    set_imports_aside()
    source = source or Source()
    corpus = corpus or cell.read(source)
    cell = cell.resolve(corpus.digests)
    made_with = provenance.made_with(cell)
    if cell.teacher is not None and trained_already(cell, folder, made_with) is None:
        _train_teacher(cell.teacher, folder, source, corpus, callbacks, made_with)
    if cell.control is not None:
        corpus = cell.control.apply(corpus, cell.seed)
    part, result = part_of(folder), part_of(folder) / "result"
    if result.exists():
        shutil.rmtree(result)
    result.mkdir(parents=True)
    schema.write_config(result / CONFIG, cell.to_config())
    share = ranks.Share(cell, folder, source, corpus, test, max(1, torch.get_num_threads() // cell.recipe.devices))
    with quiet(), interruptions(), ranks.together(share, part):
        checkpoints = Checkpoints(part, made_with, device(cell.recipe.devices), cell.identity)
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


def _train_teacher(
    teacher: Cell,
    folder: Path,
    source: Source,
    corpus: Corpus,
    callbacks: Sequence[Callback],
    made_with: Mapping[str, str],
) -> None:
    """Trains the frozen teacher of the cell that will fill `folder`, unless its weights are there.

    For the other arguments see `run_cell`.
    """
    if teacher_weights(teacher, folder, made_with) is None:
        there = teacher_folder(teacher, folder)
        if there.exists():  # with weights that other code has made
            shutil.rmtree(there)
        shown = [each for each in callbacks if isinstance(each, RunProgress)]  # others are of the run it teaches
        run_cell(teacher, there, source, corpus, shown, keep_checkpoint=True, test=False)


def run_share(share: ranks.Share, rank: int) -> None:
    """Runs the share of a cell that a process of several has, besides the first one; it leaves nothing behind."""
    keep_freed_memory()
    made_with = provenance.made_with(share.cell)
    with quiet(), interruptions():
        on = device(share.cell.recipe.devices)
        checkpoints = Checkpoints(part_of(share.folder), made_with, on, share.cell.identity)
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
        if cell.teacher is not None:
            weights_of_teacher = teacher_weights(cell.teacher, share.folder, checkpoints.made_with)
            if weights_of_teacher is None:
                raise UserError(f"{share.folder.name}: its teacher was removed while it began; start the study again")
            teacher = cell.teacher.options.make_tagger(share.corpus.types, cell.recipe, cell.encoder)
            teacher.load_state_dict(read_checkpoint(weights_of_teacher)["state_dict"])
            model.learn_from(teacher)
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
