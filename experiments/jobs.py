"""Cells in parallel processes: small encoders fill cores better side by side than with many threads each."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Sequence
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path

import torch

from experiments.cell import Cell, Source
from experiments.progress import RunProgress, StudyProgress
from experiments.study import collect, run
from lightning_ita.errors import UserError
from lightning_ita.models.encoders import EncoderShape

# Weights, gradients, AdamW's two moments and the best epoch, 4 bytes a parameter each, with room for activations.
BYTES_A_PARAMETER = 24
BYTES_A_PROCESS = 2**30


def default_jobs(shape: EncoderShape, cells: int) -> int:
    """Returns how many cells to run at once: one on an accelerator, else as many as cores and memory hold."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    hold = int(memory / 2 // (BYTES_A_PROCESS + BYTES_A_PARAMETER * shape.parameters))
    return max(1, min(torch.get_num_threads(), hold, cells))


def run_jobs(cells: Sequence[Cell], out: Path, source: Source, jobs: int, progress: StudyProgress) -> None:
    """Runs the cells of a study in `jobs` processes that share the cores, and shows how far they are.

    Raises:
        UserError: A process could not write, or all of them were killed.
    """
    threads = max(1, torch.get_num_threads() // jobs)
    if jobs == 1:
        run(
            cells,
            out,
            source,
            lambda cell: [RunProgress(partial(progress.within, cell))],
            lambda cell: progress.finished(collect([cell], out)[0]),
        )
        return
    context = multiprocessing.get_context("spawn")  # forked threads of torch would hang
    reports = context.Queue()
    arguments = (cells, out, source, threads, reports)
    workers = [context.Process(target=_work, args=arguments, daemon=True) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    by_name = {cell.name: cell for cell in cells}
    try:
        while any(worker.is_alive() for worker in workers) or not reports.empty():
            try:
                name, share, stage = reports.get(timeout=1)
            except queue.Empty:
                continue
            if name == "":
                raise UserError(stage)
            if share is None:
                progress.finished(collect([by_name[name]], out)[0])
            else:
                progress.within(by_name[name], share, stage)
    finally:
        for worker in workers:
            worker.terminate()
    killed = [worker.exitcode for worker in workers if worker.exitcode]
    if len(killed) == jobs:
        raise UserError(
            f"all {jobs} processes were ended (exit status {killed[0]}), perhaps for lack of memory; try --jobs 1"
        )


def _work(cells: Sequence[Cell], out: Path, source: Source, threads: int, reports: Queue) -> None:
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()

    def report(cell: Cell, share: float, stage: str) -> None:
        if parent is not None and not parent.is_alive():
            os._exit(1)  # the study was killed; what is not finished is taken up by its next run
        reports.put((cell.name, share, stage))

    try:
        run(
            cells,
            out,
            source,
            lambda cell: [RunProgress(partial(report, cell))],
            lambda cell: reports.put((cell.name, None, "")),
        )
    except OSError as error:
        reports.put(("", None, f"{error.filename or out}: {error.strerror or error}"))
    except KeyboardInterrupt:
        pass  # the parent was interrupted as well, and says so
