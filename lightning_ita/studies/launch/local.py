"""Runs cells in parallel processes: small encoders use the cores better side by side than with many threads each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lightning_ita.data.source import Source
from lightning_ita.models.encoders.locating import EncoderShape, encoder_shape
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.cost import flop_per_second
from lightning_ita.studies.launch.launcher import Launcher, Work, bytes_per_process
from lightning_ita.studies.launch.workers import Report, run_workers, visible_gpus
from lightning_ita.studies.progress import StudyProgress
from lightning_ita.studies.study import collect, run
from lightning_ita.studies.watching import RunProgress

if TYPE_CHECKING:
    from lightning_ita.studies.sweep.progress import SweepProgress
    from lightning_ita.studies.sweep.storage import Sweep


class Local(Launcher):
    """Runs cells in processes of this machine; where it has several GPUs, the processes share them out."""

    def run(self, work: Work, console: Console) -> None:
        """Runs the cells; see `Launcher.run`.

        Raises:
            UserError: A process could not write, or all of them were killed.
        """
        cells, left = work.cells, work.left
        # By all cells, not by those left: an interrupted study goes on with as many threads per cell.
        devices = cells[0].recipe.devices
        jobs = self.resources.jobs or default_jobs(encoder_shape(cells[0].encoder), len(cells), devices)
        jobs = min(jobs, len(cells))
        with work.shown(console) as progress:
            rate = None if console.is_terminal or work.weights is None else _rate(left)
            processes = min(jobs, len(left))
            progress.begin(processes, rate and rate * processes / jobs)
            run_jobs(left, work.out, work.source, jobs, progress, work.logger, work.keep_models)

    def run_trials(self, sweep: Sweep, progress: SweepProgress) -> None:
        """Runs trials in processes of this machine; see `Launcher.run_trials`."""
        from lightning_ita.studies.sweep.trials import run_trials

        devices = sweep.base.recipe.devices
        jobs = self.resources.jobs or default_jobs(encoder_shape(sweep.base.encoder), sweep.trials, devices)
        progress.begin(jobs)
        run_workers(partial(run_trials, sweep), jobs, progress.note, sweep.out, devices)


def _rate(cells: Sequence[Cell]) -> float | None:
    """Returns floating-point operations per second of this machine; ``None`` where a system's are not counted."""
    if not cells or not all(cell.options.has_encoder for cell in cells):
        return None
    return flop_per_second(encoder_shape(cells[0].encoder), cells[0].recipe.precision)


def run_here(
    cells: Sequence[Cell],
    out: Path,
    source: Source,
    threads: int | None,
    logger: str,
    console: Console,
    keep_models: str = "none",
) -> None:
    """Runs those cells of a plan that are neither finished nor failed, in this process.

    Args:
        cells: The plan.
        out: The study's folder.
        source: Where the data lie.
        threads: Threads of this process; all cores if not given.
        logger: Where each run is told as it goes; see `lightning_ita.studies.loggers`.
        console: Where progress is shown.
        keep_models: Which models stay; see `lightning_ita.studies.study.run`.
    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with StudyProgress(cells, [1.0] * len(cells), console) as progress:
        for result in collect(cells, out):
            if not result.left:
                progress.finished(result)
        progress.begin(processes=1)
        run(
            cells,
            out,
            source,
            lambda cell: [RunProgress(partial(progress.within, cell))],
            lambda cell: progress.finished(collect([cell], out)[0]),
            logger,
            keep_models,
        )


def default_jobs(shape: EncoderShape, cells: int, devices: int = 1) -> int:
    """Returns how many cells to run at once: one per GPU, else as many as cores and memory hold.

    Args:
        shape: The encoder's.
        cells: How many there are.
        devices: Devices that a cell is trained on.
    """
    import torch

    if gpus := len(visible_gpus()):
        return max(1, min(gpus // devices, cells))
    if torch.backends.mps.is_available():
        return 1
    jobs = min(torch.get_num_threads() // devices, cells)
    if hasattr(os, "sysconf"):  # Windows does not tell its memory this way
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        jobs = min(jobs, int(memory / 2 // (devices * bytes_per_process(shape))))
    return max(1, jobs)


def run_jobs(
    cells: Sequence[Cell],
    out: Path,
    source: Source,
    jobs: int,
    progress: StudyProgress,
    logger: str = "none",
    keep_models: str = "none",
) -> None:
    """Runs the cells of a study in `jobs` processes that share the cores, and shows how far they are.

    Raises:
        UserError: A process could not write, or all of them were killed.
    """
    by_name = {cell.name: cell for cell in cells}

    def heard(name: str, share: float | None, stage: str) -> None:
        if share is None:
            progress.finished(collect([by_name[name]], out)[0])
        else:
            progress.within(by_name[name], share, stage)

    run_workers(
        partial(run_reporting, cells, out, source, logger, keep_models),
        jobs,
        heard,
        out,
        cells[0].recipe.devices,
        most=len(cells),
    )


def run_reporting(
    cells: Sequence[Cell],
    out: Path,
    source: Source,
    logger: str,
    keep_models: str,
    report: Report,
    wait: bool = True,
) -> None:
    """Runs cells in this process, and reports how far each is: its name, the share done, and the stage in words.

    The share is ``None`` when the cell has ended. For the arguments see `lightning_ita.studies.study.run`.
    """
    run(
        cells,
        out,
        source,
        lambda cell: [RunProgress(partial(report, cell.name))],
        lambda cell: report(cell.name, None, ""),
        logger,
        keep_models,
        wait,
    )
