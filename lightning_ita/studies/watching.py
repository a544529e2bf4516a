"""Reports the progress of a cell's run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

# The share of a cell that is done when it is trained; the rest is testing.
TRAINING_SHARE = 0.95


class RunProgress(Callback):
    """Reports how far the run of a cell is.

    Args:
        report: Takes the share done, from 0 to 1, and the stage in words.
    """

    def __init__(self, report: Callable[[float, str], None]):
        self.report = report

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Reports a training step."""
        share = trainer.global_step / max(int(trainer.estimated_stepping_batches), 1)
        self.report(TRAINING_SHARE * share, f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reports that training is over."""
        self.report(TRAINING_SHARE, "evaluating")
