"""``lightning-ita train``: one cell, trained and tested in both views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from rich.console import Console

from lightning_ita.commands.cli import (
    add_dataset,
    add_keep,
    add_logger,
    add_recipe,
    add_source,
    make_console,
    make_parser,
    parse,
    recipe_of,
    say,
    source_of,
    unread,
)
from lightning_ita.commands.systems import add_options, one_system, unread_options, unread_short_form
from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.errors import UserError
from lightning_ita.models import MODELS
from lightning_ita.studies.names import check_keep, check_logger

if TYPE_CHECKING:
    from lightning_ita.data.corpus import Corpus
    from lightning_ita.data.source import Source
    from lightning_ita.studies.cell import Cell

DESCRIPTION = """\
Trains one model and tests it in every view that it has. A finished run is not run again.

examples:
  lightning-ita train
      ITA-Tag+Cap with token CVA, on the generated demo corpus
  lightning-ita train --dataset twitter17 --data-dir DATA --contexts cap --cva sequence --seed 3
      a run on real data; DATA/twitter17/train.txt ... and DATA/contexts/twitter17.cap.NAME.jsonl must be there
  lightning-ita train --contexts none --cva off --recipe.epochs 8
      BERT-CRF; every hyper-parameter is such an argument
  lightning-ita train --print_config > run.yaml && lightning-ita train --config run.yaml
      the same run from a file; the config.yaml in a run's folder is such a file
  lightning-ita train --system ita --ita.contexts ocr --ita.cva joint
      a system by name; --contexts and --cva are the short form of its options
  lightning-ita train --keep-models best
      keep the trained model for `lightning-ita predict`; a finished run without its model is run again
  lightning-ita train --encoder xlm-roberta-large --devices 4 --strategy ddp
      one run on four GPUs; each takes --recipe.batch_size tweets per step
  lightning-ita train --logger wandb
      record the run with Weights & Biases; on disk with WANDB_MODE=offline, or if the server cannot be reached
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 0."""
    parser = make_parser("train", DESCRIPTION)
    add_dataset(parser)
    add_source(parser)
    parser.add_argument(
        "--system",
        type=str | None,
        help=f"One of {', '.join(MODELS)}; by default ita, or bert-crf where --contexts is none.",
    )
    parser.add_argument(
        "--contexts",
        type=str | list[str],
        default="tag,cap",
        help="Kinds of context, separated by commas: tag, cap, ocr or your own; or none.",
    )
    parser.add_argument("--cva", type=str, default="token", help="Training mode: off, joint, token or sequence.")
    parser.add_argument("--seed", type=int, default=1, help="Seed of everything random.")
    parser.add_argument(
        "--control",
        type=str | None,
        help="other-image or no-image, both also with -at-test and a share: see `lightning-ita ablate --help`.",
    )
    add_recipe(parser)
    add_options(parser)
    parser.add_argument(
        "--data",
        type=dict[str, str],
        default={},
        help="SHA-256 of the data by split and kind of context, as in a run's config.yaml; checked if given.",
    )
    parser.add_argument("--out", type=str, default="runs/train", help="The folder in which the run's folder is made.")
    parser.add_argument("--keep-checkpoint", action="store_true", help="Keep the best epoch's weights, best.ckpt.")
    add_logger(parser)
    add_keep(parser)
    arguments = parse(parser, argv)
    check_logger(arguments.logger)
    check_keep(arguments.keep_models)

    from lightning_ita.data.controls import Control
    from lightning_ita.studies.cell import Cell
    from lightning_ita.studies.keeping import MODEL
    from lightning_ita.studies.plan import CACHE
    from lightning_ita.studies.study import Result, read_finished
    from lightning_ita.studies.tables.ablation import rows_of, terminal
    from lightning_ita.studies.trained import WEIGHTS

    source = source_of(arguments)
    cell = Cell(
        dataset=arguments.dataset,
        options=one_system(arguments, parse_contexts(arguments.contexts), arguments.cva),
        encoder=arguments.encoder,
        seed=arguments.seed,
        recipe=recipe_of(arguments),
        data=dict(arguments.data),
        control=None if arguments.control in (None, "none") else Control.parse(arguments.control),
    )
    corpus = cell.read(source)
    cell = cell.resolve(corpus.digests)
    out = Path(arguments.out)
    folder = out / cell.name
    console = make_console()
    if cell.options.of_pictures:
        source = replace(source, cache_dir=str(out / CACHE))  # where features of pictures are kept from run to run
    unread_here = (
        *unread(source, corpus.contexts, [cell.dataset], cell.options.of_pictures),
        *unread_options(arguments, [cell.system]),
        *unread_short_form(parser, arguments, [cell.options]),
    )
    for note in (*unread_here, *corpus.warnings):
        say(console, f"note: {note}")
    result = read_finished(cell, folder) or Result(cell)
    finished = result.metrics is not None
    again = f"delete {folder} to run it again"
    if result.stale:
        say(console, f"note: this run was finished with another version of the code; {again}")
    if finished and arguments.keep_checkpoint and not (folder / WEIGHTS).is_file():
        say(console, f"note: this run was finished without --keep-checkpoint; {again}")
    keep = arguments.keep_models != "none"
    if finished and keep and not (folder / MODEL).is_dir():
        _add_model(cell, folder, source, corpus, console)
    if not finished or arguments.logger != "none":
        from lightning_ita.studies.loggers import tracking
        from lightning_ita.studies.looking import look
        from lightning_ita.studies.progress import StudyProgress
        from lightning_ita.studies.run import run_cell
        from lightning_ita.studies.watching import RunProgress

        if not finished:
            look([cell], {cell.dataset: corpus}, source.cache_dir, console)
        with tracking(arguments.logger, cell, out) as tracker:
            metrics = result.metrics
            if metrics is None:
                with StudyProgress([cell], [1.0], console) as progress:
                    watch = RunProgress(partial(progress.within, cell))
                    with _alone(folder):
                        metrics = run_cell(
                            cell,
                            folder,
                            source,
                            corpus,
                            [watch],
                            arguments.keep_checkpoint,
                            logger=tracker.logger,
                            keep_model=keep,
                        )
                    progress.finished(Result(cell, metrics))
            tracker.record(metrics, epochs=finished)
        result = replace(result, metrics=metrics)
    console.print(terminal(rows_of([result])))
    console.print(f"written: {folder}", soft_wrap=True, highlight=False, markup=False)
    if keep:
        say(console, f"model: {folder / MODEL}")
    return 0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from training the cell that will fill `folder`; they would share its checkpoints.

    Raises:
        UserError: One is at it.
    """
    from lightning_ita.studies.study import part_of

    part = part_of(folder)
    part.mkdir(parents=True, exist_ok=True)
    lock = FileLock(part / "train.lock", timeout=0)  # it goes with the checkpoints
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process is training {folder} just now; wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()


def _add_model(cell: Cell, folder: Path, source: Source, corpus: Corpus, console: Console) -> None:
    """Runs a finished cell again for its model, and says so if its scores are different now."""
    from lightning_ita.studies.keeping import add_model
    from lightning_ita.studies.progress import StudyProgress
    from lightning_ita.studies.run import run_cell
    from lightning_ita.studies.schema import read_metrics
    from lightning_ita.studies.study import METRICS, Result
    from lightning_ita.studies.watching import RunProgress

    say(console, f"{folder} was finished without keeping its model: running it again")
    with StudyProgress([cell], [1.0], console) as progress:
        watch = RunProgress(partial(progress.within, cell))
        again = add_model(folder, lambda to: run_cell(cell, to, source, corpus, [watch], keep_model=True))
        progress.finished(Result(cell, again))
    if again["test"] != read_metrics(folder / METRICS)["test"]:
        say(
            console,
            "note: this time its scores differ from those in metrics.json, because code, packages or machine differ; "
            "the model card has the scores of the model that is kept",
        )
