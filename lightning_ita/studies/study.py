"""The cells of a plan: collecting the results of each, and running those that are not finished."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.plan import CELLS, FAILED, LOCKS, STALE
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.records import Metrics

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

    from lightning_ita.data.corpus import Corpus

CONFIG, METRICS, ENVIRONMENT = "config.yaml", "metrics.json", "environment.json"
# In the place of the digest of the code that a cell was measured with, where it is not known, or does not count.
UNKNOWN_CODE = "unknown"


@dataclass(frozen=True)
class Result:
    """The result of a cell: its metrics, its failure, or neither yet.

    Attributes:
        cell: The cell.
        metrics: Content of its ``metrics.json``; ``None`` if it is not finished.
        failure: Why it failed, if it did.
        code: Digest of the code that it was finished with, as its ``environment.json`` says (see `code_digest`);
            ``unknown`` if it says none, ``None`` if it was not read.
        packages: Versions of the packages that it was finished with.
    """

    cell: Cell
    metrics: Metrics | None = None
    failure: str | None = None
    code: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def left(self) -> bool:
        """Whether it is neither finished nor failed."""
        return self.metrics is None and self.failure is None

    @property
    def stale(self) -> bool:
        """Whether it is finished, but with another version of the code."""
        return self.code is not None and self.code != code_digest(self.cell.dataset, self.cell.system)


def collect(cells: Sequence[Cell], out: Path) -> list[Result]:
    """Reads the result of each cell, if it has one; trains nothing.

    Raises:
        UserError: A cell's metrics cannot be read.
    """
    return [_read(cell, out) for cell in cells]


def _read(cell: Cell, out: Path) -> Result:
    failure = failure_log(cell, out)
    return read_finished(cell, out / CELLS / cell.name) or Result(
        cell, failure=schema.read_failure(failure) if failure.is_file() else None
    )


def read_finished(cell: Cell, folder: Path) -> Result | None:
    """Reads the result of a cell from its folder; ``None`` where it is not finished.

    Raises:
        UserError: Its metrics cannot be read.
    """
    if not (folder / METRICS).is_file():
        return None
    code, packages = UNKNOWN_CODE, {}
    if (folder / ENVIRONMENT).is_file():
        environment = schema.read_environment(folder / ENVIRONMENT)
        code, packages = environment.get("code", code), environment["packages"]
    return Result(cell, schema.read_metrics(folder / METRICS), code=code, packages=packages)


def ended(out: Path) -> set[str]:
    """Returns the names of the cells of a study that are finished or have failed."""
    finished = {path.name for path in (out / CELLS).glob("[!.]*") if (path / METRICS).is_file()}
    return finished | {path.stem for path in (out / FAILED).glob("*.log")}


def failure_log(cell: Cell, out: Path) -> Path:
    """Returns where the failure of a cell is noted: its reason in the first line, then the traceback."""
    return out / FAILED / f"{cell.name}.log"


def run(
    cells: Sequence[Cell],
    out: Path,
    source: Source,
    callbacks: Callable[[Cell], Sequence[Callback]] = lambda cell: (),
    finished: Callable[[Cell], None] = lambda cell: None,
    logger: str = "none",
    keep_models: str = "none",
    wait: bool = True,
) -> None:
    """Runs the cells that are not finished and not noted as failed; one that fails is noted, and the others go on.

    A cell whose control is at test alone waits for the cell without it, and tests that one's model. One with a frozen
    teacher waits for the cell that trains it.

    Several processes may run one study: each claims a cell by a lock that ends with the process, so that none is run
    twice and one left by a killed process is taken up by another.

    Args:
        cells: The plan.
        out: The study's folder; see `open_folder`.
        source: Where the data lie.
        callbacks: Lightning callbacks for the run of a cell.
        finished: Called with each cell that is finished or has failed.
        logger: Logger that records each run; see `lightning_ita.studies.loggers`.
        keep_models: Which models stay: ``none``, ``best`` (of each row, by F1 on valid), ``all``.
        wait: Whether to wait for cells that other processes run, to take them up if those are killed.

    Raises:
        OSError: The folder cannot be written: a full disk ends the study, not one cell.
    """
    from lightning_ita.studies.keeping import keep_best
    from lightning_ita.studies.trained import drop_weights, is_shared, waits, with_own_model

    kept = {cell.name for cell in with_own_model(cells)} if keep_models != "none" else set[str]()
    waiting = list(cells)
    while waiting:
        left: list[Cell] = []
        done = ended(out)  # one look at the folder, not a lock for each of thousands of cells
        for number, cell in enumerate(waiting):
            if cell.name in done:
                finished(cell)
                continue
            if waits(cell, [*left, *waiting[number + 1 :]]):
                left.append(cell)
                continue
            try:
                with claim(cell.name, out):
                    if _read(cell, out) == Result(cell):
                        shared = is_shared(cell, cells)
                        keep = cell.name in kept
                        attempt(cell, out, source, callbacks(cell), logger, keep, keep_checkpoint=shared)
                        if keep_models == "best":
                            keep_best(cells, out, cell)
                    finished(cell)
            except Timeout:  # another process is at it
                left.append(cell)
        if len(left) == len(waiting):
            if not wait:
                break
            time.sleep(1)
        waiting = left
    drop_weights(cells, out / CELLS)


def part_of(folder: Path) -> Path:
    """Returns where the run that will fill `folder` keeps its checkpoints until then."""
    return folder.with_name(f".{folder.name}.part")


def claim(name: str, out: Path) -> FileLock:
    """Returns the lock of a cell: the process that holds it may write its folders.

    Raises:
        Timeout: Another process holds it (on entering it).
    """
    return FileLock(out / LOCKS / f"{name}.lock", timeout=0)


def forget_failures(cells: Sequence[Cell], out: Path) -> None:
    """Removes the notes of earlier failures, so that `run` tries those cells again."""
    for cell in cells:
        failure_log(cell, out).unlink(missing_ok=True)


def set_aside(cells: Sequence[Cell], out: Path) -> None:
    """Moves the results of stale cells to the folder ``stale``, so that `run` runs those cells again."""
    for cell in cells:
        with suppress(Timeout), claim(cell.name, out):  # another process is at it
            set_folder_aside(cell, out / CELLS / cell.name, out)


def set_folder_aside(cell: Cell, folder: Path, out: Path) -> None:
    """Moves the folder of a stale cell, whose lock the caller holds, to the folder ``stale`` of `out`."""
    result = read_finished(cell, folder)
    if result is not None and result.stale:
        place = out / STALE / f"{cell.name}-{str(result.code)[:8]}"
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        os.replace(folder, place)


def tidy(cells: Sequence[Cell], out: Path) -> list[Path]:
    """Removes the checkpoints of finished cells, which a kill just before the end leaves behind.

    Returns:
        Checkpoints of cells that are not among `cells` and that no process works on: an unfinished study with more
        seeds or rows may want them, so they are left alone.
    """
    planned, others = {part_of(out / CELLS / cell.name).name for cell in cells}, []
    for part in sorted((out / CELLS).glob(".*.part")):
        name = part.name.removeprefix(".").removesuffix(".part")
        with suppress(Timeout), claim(name, out):
            if (out / CELLS / name / METRICS).is_file():
                shutil.rmtree(part)
            elif part.name not in planned:
                others.append(part)
    return others


def check_there(out: Path) -> None:
    """Checks that a study's folder has not been deleted: a run makes the folders it writes to, so it would go on.

    Raises:
        UserError: It has been deleted or moved.
    """
    if not (out / FAILED).is_dir():
        raise UserError(f"{out} was deleted or moved while cells of it ran; start the study again")


def attempt(
    cell: Cell,
    out: Path,
    source: Source,
    callbacks: Sequence[Callback] = (),
    logger: str = "none",
    keep_model: bool = False,
    corpus: Corpus | None = None,
    keep_checkpoint: bool = False,
) -> None:
    """Runs a cell that the caller has claimed; if it fails, notes why in the study's folder.

    Args:
        cell: The cell.
        out: The study's folder.
        source: Where the data lie.
        callbacks: Further Lightning callbacks.
        logger: Logger that records the run.
        keep_model: Whether the model stays.
        corpus: The cell's corpus, where it has been read already.
        keep_checkpoint: Whether the best epoch's weights stay.

    Raises:
        OSError: The folder cannot be written.
        UserError: The folder was deleted meanwhile.
        Terminated: The process was told to end (SIGTERM); a checkpoint was saved.
    """
    from lightning_ita.studies.loggers import tracking
    from lightning_ita.studies.run import run_cell

    try:
        with tracking(logger, cell, out) as tracker:
            folder = out / CELLS / cell.name
            metrics = run_cell(
                cell, folder, source, corpus, callbacks, keep_checkpoint, logger=tracker.logger, keep_model=keep_model
            )
            tracker.record(metrics)
        check_there(out)
    except OSError:
        check_there(out)
        raise
    except Exception as error:
        check_there(out)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        schema.write_failure(failure_log(cell, out), reason, traceback.format_exc())
