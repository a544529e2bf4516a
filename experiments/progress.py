"""What a person watches while cells run: the study, and the run in hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.cell import Cell
from experiments.study import Result
from lightning_ita.models.ita import VIEWS


class StudyProgress:
    """A bar for the study, weighted by the cost of its cells, a bar for the run in hand, and a line a finished cell.

    Args:
        cells: The plan.
        weights: Cost of each cell, in any unit.
        console: Where to write; without a terminal only the lines of finished cells are written.
    """

    def __init__(self, cells: Sequence[Cell], weights: Sequence[float], console: Console):
        self.console = console
        self.weights = {cell.name: weight for cell, weight in zip(cells, weights, strict=True)}
        self.count, self.total = 0, len(cells)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self.study = self.progress.add_task("study", total=sum(weights))
        self.run = self.progress.add_task("", total=None, visible=False)
        self.done = 0.0

    def __enter__(self) -> StudyProgress:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def callbacks(self, cell: Cell) -> list[Callback]:
        """Returns the callbacks that watch the run of a cell."""
        self.progress.reset(self.run, description=f"  {cell.system} {cell.cva} seed {cell.seed}", visible=True)
        return [RunProgress(self, cell)]

    def within(self, cell: Cell, share: float, stage: str) -> None:
        """Notes how far the run in hand is, from 0 to 1."""
        self.progress.update(self.run, total=1.0, completed=share, description=f"  {describe(cell)}: {stage}")
        self.progress.update(self.study, completed=self.done + share * self.weights[cell.name])

    def finished(self, result: Result) -> None:
        """Notes a cell's end, with its line."""
        self.count += 1
        self.done += self.weights[result.cell.name]
        self.progress.update(self.study, completed=self.done, description=f"study {self.count}/{self.total}")
        self.progress.update(self.run, visible=False)
        self.console.print(f"[{self.count:>2}/{self.total}] {describe(result.cell)}  {outcome(result)}", markup=False)


def describe(cell: Cell) -> str:
    """Names a cell for people."""
    mode = "" if not cell.contexts or cell.cva == "off" else f", {cell.cva}"
    return f"{cell.dataset} {cell.system}{mode}, seed {cell.seed}"


def outcome(result: Result) -> str:
    """Says what became of a cell in one line."""
    if result.metrics is None:
        return f"failed: {result.failure}"
    test = result.metrics["test"]
    scores = "  ".join(f"{view} {test[view]['f1']:.2f}" for view in VIEWS if view in test)
    return f"test F1  {scores}  ({result.metrics['seconds']:.0f} s)"


class RunProgress(Callback):
    """Tells a study's progress how far the run in hand is."""

    def __init__(self, study: StudyProgress, cell: Cell):
        self.study = study
        self.cell = cell

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Counts a training step."""
        share = trainer.global_step / max(int(trainer.estimated_stepping_batches), 1)
        stage = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.study.within(self.cell, 0.95 * share, stage)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says that training is over."""
        self.study.within(self.cell, 0.95, "evaluating")
