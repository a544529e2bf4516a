"""Cells in parallel processes: small encoders fill cores better side by side than with many threads each."""

from __future__ import annotations

import multiprocessing.connection
import os
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from experiments.cell import Cell, Source
from experiments.cli import what_happened
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
    # With batches of any length oneDNN's cache of compiled kernels fills: half a GiB a process at its own 1024.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    context = multiprocessing.get_context("spawn")  # forked threads of torch would hang
    # A pipe each: a process that is killed while it reports leaves a shared queue locked.
    workers: dict[Any, Any] = {}
    for _ in range(min(jobs, len(cells))):
        reports, sender = context.Pipe(duplex=False)
        workers[reports] = context.Process(target=_work, args=(cells, out, source, threads, sender), daemon=True)
        workers[reports].start()
        sender.close()
    by_name = {cell.name: cell for cell in cells}
    open_pipes: list[Any] = list(workers)
    try:
        while open_pipes:
            ready: list[Any] = multiprocessing.connection.wait(open_pipes)
            for pipe in ready:
                try:
                    name, share, stage = pipe.recv()
                except (EOFError, OSError):  # the process ended, perhaps while it reported
                    open_pipes.remove(pipe)
                    continue
                if name == "":
                    raise UserError(stage)
                if share is None:
                    progress.finished(collect([by_name[name]], out)[0])
                else:
                    progress.within(by_name[name], share, stage)
        for worker in workers.values():
            worker.join()
    finally:
        for worker in workers.values():
            worker.terminate()
    killed = [worker.exitcode for worker in workers.values() if worker.exitcode]
    if len(killed) == len(workers):
        raise UserError(
            f"all {len(workers)} processes were ended (exit status {killed[0]}), perhaps for lack of memory; "
            f"try --jobs 1"
        )


def _work(cells: Sequence[Cell], out: Path, source: Source, threads: int, reports: Connection) -> None:
    torch.set_num_threads(threads)

    def report(name: str, share: float | None, stage: str) -> None:
        try:
            reports.send((name, share, stage))
        except OSError:
            os._exit(1)  # the study was killed; what is not finished is taken up by its next run

    try:
        run(
            cells,
            out,
            source,
            lambda cell: [RunProgress(partial(report, cell.name))],
            lambda cell: report(cell.name, None, ""),
        )
    except OSError as error:
        report("", None, what_happened(error, out))
    except KeyboardInterrupt:
        pass  # the parent was interrupted as well, and says so
