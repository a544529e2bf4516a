"""What all launchers are given, and what they have in common."""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lightning_ita.data.source import Source
from lightning_ita.errors import Terminated, UserError
from lightning_ita.models.encoders.locating import EncoderShape
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.progress import StudyProgress
from lightning_ita.studies.study import Result
from lightning_ita.text import printable

if TYPE_CHECKING:
    from lightning_ita.studies.sweep.progress import SweepProgress
    from lightning_ita.studies.sweep.storage import Sweep

# Weights, gradients, AdamW's two moments and the best epoch, 4 bytes per parameter each, with room for activations.
BYTES_PER_PARAMETER = 24
BYTES_PER_PROCESS = 2**30


@dataclass(frozen=True)
class Resources:
    """What cells may use; what is not given, the launcher chooses.

    Attributes:
        jobs: Cells at once.
        cpus: Processors per cell.
        gpus: GPUs per cell; several cells may share one.
        ray_address: Where Ray's cluster is: ``auto``, ``HOST:PORT``, ``ray://HOST:PORT``, or ``local``.
        slurm: Options of Slurm's sbatch for each task, by name.
    """

    jobs: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    ray_address: str = "auto"
    slurm: Mapping[str, str] = field(default_factory=dict)

    def given(self) -> dict[str, str]:
        """Returns what is given for a task, by the names of the options."""
        numbers = {"--jobs": self.jobs, "--cell-cpus": self.cpus, "--cell-gpus": self.gpus}
        ours = {name: f"{number:g}" for name, number in numbers.items() if number is not None}
        return ours | {f"--slurm.{name}": value for name, value in self.slurm.items()}


@dataclass(frozen=True)
class Work:
    """The cells of a study, and how they are run.

    Attributes:
        results: What there is of each cell of the plan; those that are neither finished nor failed are run.
        weights: Floating-point operations of each cell, if they are known.
        out: The study's folder.
        source: Where the data lie.
        logger: Where each run is told as it goes; see `lightning_ita.studies.loggers`.
        keep_models: Which models stay; see `lightning_ita.studies.study.run`.
    """

    results: Sequence[Result]
    weights: Sequence[float] | None
    out: Path
    source: Source
    logger: str = "none"
    keep_models: str = "none"

    @property
    def cells(self) -> list[Cell]:
        """The plan."""
        return [result.cell for result in self.results]

    @property
    def left(self) -> list[Cell]:
        """The cells to run."""
        return [result.cell for result in self.results if result.left]

    @contextmanager
    def shown(self, console: Console) -> Iterator[StudyProgress]:
        """Shows the progress of the study, in which cells that have ended are done already."""
        with StudyProgress(self.cells, self.weights or [1.0] * len(self.results), console) as progress:
            for result in self.results:
                if not result.left:
                    progress.finished(result)
            yield progress


class Launcher(ABC):
    """Runs the cells of a study somewhere.

    Args:
        resources: What cells may use.
    """

    def __init__(self, resources: Resources):
        self.resources = resources

    @abstractmethod
    def run(self, work: Work, console: Console) -> None:
        """Runs those cells that are neither finished nor failed, and shows how far they are.

        Args:
            work: The study.
            console: Where progress is shown.

        Raises:
            UserError: The cells cannot be run here.
            KeyboardInterrupt: Ctrl-C was pressed; what was finished is kept, what was running goes on next time.
            Terminated: SIGTERM came; the same holds.
        """

    def run_trials(self, sweep: Sweep, progress: SweepProgress) -> None:
        """Runs the trials of a sweep until as many as asked for are finished.

        Args:
            sweep: The sweep, whose study is open.
            progress: Where it is shown.

        Raises:
            UserError: The trials cannot be run here, or too many failed.
            KeyboardInterrupt: Ctrl-C was pressed.
            Terminated: SIGTERM came.
        """
        raise UserError("this --launcher runs the cells of studies, and no sweeps")

    def cancel(self, out: Path, console: Console) -> None:
        """Ends what runs of a study without a command that watches it.

        Args:
            out: The study's folder.
            console: Where it is told.

        Raises:
            UserError: Nothing does, with this launcher.
        """
        raise UserError("with this --launcher nothing runs but while its command does; end that one with Ctrl-C")


class Stop:
    """Notes Ctrl-C and SIGTERM instead of ending what the process is doing; a second Ctrl-C ends it.

    Attributes:
        asked: What to raise once everything is left in order; ``None`` as long as no signal came.
    """

    def __init__(self) -> None:
        self.asked: BaseException | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes signals during the body, in the main thread; elsewhere they reach no thread but that one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        self.asked = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def bytes_per_process(shape: EncoderShape) -> int:
    """Returns the memory that the run of a cell needs, in bytes; on a GPU most of it is the GPU's."""
    return BYTES_PER_PROCESS + BYTES_PER_PARAMETER * shape.parameters


def last_line(text: str) -> str:
    """Returns the last line of what a program said: of a traceback, the error."""
    return printable((text.strip().splitlines() or ["nothing"])[-1].strip())
