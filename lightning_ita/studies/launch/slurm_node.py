"""What a task of a Slurm array does: a worker that claims cells until none is left, and saves its run when it is told.

Slurm sends SIGTERM to what it preempts or cancels, and the signal that submitit asked for (SIGUSR2) before the time
limit. Either way the run in hand ends after its step, with its state saved. What was preempted Slurm puts back into the
queue itself; at the time limit the task asks for it. Back again, it takes the cell up from its checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_ita.data.source import Source
from lightning_ita.errors import Terminated, terminate
from lightning_ita.files import write_text
from lightning_ita.studies.launch.workers import Report

if TYPE_CHECKING:
    from lightning_ita.studies.sweep.storage import Sweep

# Seconds between two reports of a task.
REPORTS_APART = 5.0
# As shells say that SIGTERM ended a process.
ENDED_BY_SIGTERM = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Task:
    """What submitit runs on a node.

    Attributes:
        job: What the task does until it finds nothing more to do.
        folder: Where it reports how far it is.
        count: Tasks of the array.
    """

    job: Callable[..., None]
    folder: Path
    count: int

    def __call__(self, number: int) -> None:
        """Runs the task.

        Args:
            number: Its number in the array.

        Raises:
            SystemExit: It was told to end; its run is saved.
        """
        import torch
        from submitit import JobEnvironment

        torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", 1)))
        environment = JobEnvironment()
        notes = Notes(self.folder / f"{number}.progress.json")
        at_limit = False

        def note_limit(*_: object) -> None:
            nonlocal at_limit
            at_limit = True
            os.kill(os.getpid(), signal.SIGTERM)  # one way to end a run

        # In place of submitit's, which would end the run in the middle of a step.
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        signal.signal(environment._usr_sig(), note_limit)
        try:
            self.job(notes.note, number / self.count)
        except Terminated:
            if at_limit and notes.any:  # else it would go round for ever without getting on
                environment._requeue(0)
            sys.exit(ENDED_BY_SIGTERM)


class Notes:
    """A file that says how far a task is.

    Args:
        path: The file.

    Attributes:
        any: Whether anything has been trained.
    """

    def __init__(self, path: Path):
        self.path = path
        self.any = False
        self._told = 0.0

    def note(self, what: Any, share: float | None, stage: str) -> None:
        """Notes how far something is; that it has ended is seen from its results."""
        self.any = self.any or share is None or share > 0
        now = time.monotonic()
        if share is not None and now - self._told >= REPORTS_APART and self.path.parent.is_dir():
            self._told = now
            write_text(self.path, json.dumps([[what, share, stage]]))


def run_left(out: Path, source: Source, logger: str, keep_models: str, report: Report, start: float = 0.0) -> None:
    """Runs the cells of a study's plan that are left and that no other task runs.

    Args:
        out: The study's folder.
        source: Where the data lie.
        logger: Logger that records each run; see `lightning_ita.studies.loggers`.
        keep_models: Which models stay; see `lightning_ita.studies.study.run`.
        report: Told how far each cell is.
        start: How far in the plan to begin, from 0 to 1, so that tasks do not all try the same cell.
    """
    from lightning_ita.studies.launch.local import run_reporting
    from lightning_ita.studies.plan import open_plan

    cells = open_plan(out)
    first = int(start * len(cells))
    run_reporting([*cells[first:], *cells[:first]], out, source, logger, keep_models, report, wait=False)


def search(sweep: Sweep, report: Report, start: float = 0.0) -> None:
    """Runs trials of a sweep until as many as asked for are finished; for the rest see `run_left`."""
    from lightning_ita.studies.sweep.trials import run_trials

    run_trials(sweep, report)
