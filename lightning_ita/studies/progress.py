"""Progress of a study in the terminal: a bar for the study, and one per run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lightning_ita.models.options import VIEWS
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.study import Result
from lightning_ita.studies.tables.grid import two_digits

# The share of a cell that is done when it is finished.
DONE = 1.0


def make_bars(console: Console) -> Progress:
    """Returns the bars of long work: what it is, how far it is, the time it took and the time left."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def at_once(processes: int) -> str:
    """Says how many runs there are at once."""
    return f"{processes} at once" if processes > 1 else "one after the other"


class StudyProgress:
    """A bar for the study, weighted by cost, a bar for each current run, and a line for each finished cell.

    Args:
        cells: The plan.
        weights: Cost of each cell, in any unit.
        console: Where to write; without a terminal there are lines for every epoch instead of bars.
    """

    def __init__(self, cells: Sequence[Cell], weights: Sequence[float], console: Console):
        self.console = console
        self.weights = {cell.name: weight for cell, weight in zip(cells, weights, strict=True)}
        self.shares = dict.fromkeys(self.weights, 0.0)
        self.runs: dict[str, TaskID] = {}
        self.progress = make_bars(console)
        self.study = self.progress.add_task("study", total=sum(weights))
        self.stages: dict[str, str] = {}

    def __enter__(self) -> StudyProgress:
        self.progress.start()
        return self

    def begin(self, processes: int, rate: float | None = None) -> None:
        """Notes that cells are run from now on; in a pipe or a file, where there is no bar, it says so.

        Args:
            processes: How many run at once.
            rate: Units of their cost that are done per second, if that is known.
        """
        left = [name for name, share in self.shares.items() if share < DONE]
        if self.console.is_terminal or not left:
            return
        minutes = round(sum(self.weights[name] for name in left) / rate / 60) if rate else None
        cells = f"{len(self.shares)} cell{'' if len(self.shares) == 1 else 's'}"
        about = "" if minutes is None else f"; about {minutes} minute{'' if minutes == 1 else 's'}"
        self.say(f"running {len(left)} of {cells}, {at_once(processes)}{about}")

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def within(self, cell: Cell, share: float, stage: str) -> None:
        """Notes how far the run of a cell is, from 0 to 1."""
        if cell.name not in self.runs:
            self.runs[cell.name] = self.progress.add_task("", total=1.0)
        self.progress.update(self.runs[cell.name], completed=share, description=f"  {describe(cell)}: {stage}")
        if not self.console.is_terminal and self.stages.get(cell.name) != stage:
            self.stages[cell.name] = stage
            self.say(f"{describe(cell)}: {stage}")
        self.shares[cell.name] = share
        self._advance()

    def finished(self, result: Result) -> None:
        """Prints the line of a cell that ended; a second call for the same cell does nothing."""
        if self.shares[result.cell.name] == DONE:
            return
        self.shares[result.cell.name] = DONE
        count = sum(share == DONE for share in self.shares.values())
        if result.cell.name in self.runs:
            self.progress.remove_task(self.runs.pop(result.cell.name))
        self.progress.update(self.study, description=f"study {count}/{len(self.shares)}")
        self._advance()
        line = f"[{count:>2}/{len(self.shares)}] {describe(result.cell)}  {outcome(result)}"
        self.say(line)

    def say(self, line: str) -> None:
        """Prints a line above the bars."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _advance(self) -> None:
        done = sum(share * self.weights[name] for name, share in self.shares.items())
        self.progress.update(self.study, completed=done)


def describe(cell: Cell) -> str:
    """Names a cell for people."""
    return f"{cell.dataset} {cell.label}, seed {cell.seed}"


def outcome(result: Result) -> str:
    """Says what became of a cell in one line."""
    if result.metrics is None:
        return f"failed: {result.failure}"
    test = result.metrics["test"]
    scores = "  ".join(f"{view} {two_digits(test[view]['f1'])}" for view in VIEWS if view in test)
    return f"test F1  {scores}  ({result.metrics['seconds']:.0f} s)"
