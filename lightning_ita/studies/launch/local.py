"""Cells in parallel processes: small encoders fill cores better side by side than with many threads each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from lightning_ita.models.encoders import EncoderShape
from lightning_ita.studies.cell import Cell, Source
from lightning_ita.studies.launch.workers import Report, run_workers
from lightning_ita.studies.progress import RunProgress, StudyProgress
from lightning_ita.studies.study import collect, run

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
    by_name = {cell.name: cell for cell in cells}

    def heard(name: str, share: float | None, stage: str) -> None:
        if share is None:
            progress.finished(collect([by_name[name]], out)[0])
        else:
            progress.within(by_name[name], share, stage)

    run_workers(partial(_run, cells, out, source), min(jobs, len(cells)), heard, out)


def _run(cells: Sequence[Cell], out: Path, source: Source, report: Report) -> None:
    run(
        cells,
        out,
        source,
        lambda cell: [RunProgress(partial(report, cell.name))],
        lambda cell: report(cell.name, None, ""),
    )
