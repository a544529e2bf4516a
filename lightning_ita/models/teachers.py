"""Teachers of cross-view alignment other than the model itself: an averaged and a frozen model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lightning_ita.crf import ChainDistribution
from lightning_ita.data.inputs import Batch
from lightning_ita.errors import UserError
from lightning_ita.models.encoders.loading import same_tokenizer
from lightning_ita.models.options import CROSS_MODAL

# Of the running average: the last 100 steps weigh most. In the first steps it is smaller, so that the average does not
# stay near the weights that training began with.
DECAY = 0.99


class Teacher(Callback):
    """What gives the distribution over tags in I+T that the text view is aligned with."""

    @abstractmethod
    def chain(self, student: Any, batch: Batch) -> ChainDistribution:
        """Returns the distribution over the tag sequences of a batch in the I+T view, without gradients.

        Args:
            student: The `lightning_ita.models.tagger.Tagger` that is trained.
            batch: The batch.
        """


class AveragedTeacher(Teacher):
    """The model that is trained, with the exponential moving average of its weights (Tarvainen and Valpola, 2017).

    Attributes:
        weights: The averages by the names of the parameters; ``None`` before training.
        steps: Optimiser steps that are averaged.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] | None = None
        self.steps = 0

    def chain(self, student: Any, batch: Batch) -> ChainDistribution:
        """See `Teacher.chain`; before the first step, that of the student."""
        with torch.no_grad(), evaluating(student):
            chains: Any = torch.func.functional_call(student, self.weights or {}, (batch, (CROSS_MODAL,)))
        found: ChainDistribution = chains[CROSS_MODAL]
        return found

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forgets an earlier training; called before a checkpoint is read."""
        if stage == "fit":
            self.weights, self.steps = None, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins with the weights that training begins with, or goes on with those of a resumed run."""
        trained = dict(_trained(pl_module))
        if self.weights is None:
            self.weights = {name: weight.detach().clone() for name, weight in trained.items()}
            self.steps = trainer.global_step
        self.weights = {name: average.to(trained[name].device) for name, average in self.weights.items()}
        # A checkpoint within an epoch may have been written after a step and before the average took it in.
        self._take_step(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Takes a step of the optimiser into the average, if there was one since the last time."""
        self._take_step(trainer, pl_module)

    def _take_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == self.steps or self.weights is None:  # gradients are being accumulated
            return
        self.steps = trainer.global_step
        decay = min(DECAY, (1 + self.steps) / (10 + self.steps))
        current = [weight.detach() for _, weight in _trained(pl_module)]
        get_ema_multi_avg_fn(decay)(list(self.weights.values()), current, self.steps)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint holds of it."""
        return {"weights": self.weights, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where a checkpoint ended."""
        self.weights, self.steps = state_dict["weights"], state_dict["steps"]


class FrozenTeacher(Teacher):
    """A model that has been trained before, and stays as it is.

    Args:
        model: The model, a `lightning_ita.models.tagger.Tagger`.
    """

    def __init__(self, model: Any):
        self.model = model.eval().requires_grad_(False)

    def chain(self, student: Any, batch: Batch) -> ChainDistribution:
        """See `Teacher.chain`."""
        with torch.no_grad():
            found: ChainDistribution = self.model(batch, (CROSS_MODAL,))[CROSS_MODAL]
        return found

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Moves the model to the device that the other one is trained on."""
        self.model.to(pl_module.device)


def check_teacher(teacher: Any, student: Any) -> None:
    """Checks that a model can be the frozen teacher of another, both a `lightning_ita.models.tagger.Tagger`.

    Raises:
        UserError: It was not trained in I+T, reads other inputs or has other tags; names what differs.
    """
    here, there = student.options, teacher.options
    differs = {
        "system": here.system != there.system,
        "contexts": here.kinds != there.kinds,
        "tags": student.tag_set != teacher.tag_set,
        "vision model": getattr(here, "vision", None) != getattr(there, "vision", None),
        "tokenizer": not same_tokenizer(student.encoder_name, teacher.encoder_name),
    }
    if any(differs.values()):
        other = ", ".join(name for name, is_other in differs.items() if is_other)
        raise UserError(f"{there.label} cannot teach {here.label}: it has another {other}")
    if CROSS_MODAL not in teacher.trained_views:
        raise UserError(f"{there.label} cannot teach {here.label}: it was not trained in {CROSS_MODAL}")


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode; afterwards every part of it is in the mode in which it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
