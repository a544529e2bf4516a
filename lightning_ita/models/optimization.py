"""Optimisers and schedules of the learning rate, as recipes name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup

from lightning_ita.models.recipes import Recipe


def make_optimizer(
    groups: Mapping[str, Sequence[nn.Parameter]], factors: Mapping[str, float], recipe: Recipe
) -> torch.optim.Optimizer:
    """Returns a recipe's optimiser, with a learning rate for each group of parameters; the CRF has no weight decay.

    Args:
        groups: Parameters by group; a group may be empty.
        factors: Factor on the learning rate by group.
        recipe: Hyper-parameters.
    """
    values = [
        {
            "params": parameters,
            "lr": recipe.learning_rate * factors[name],
            "weight_decay": 0.0 if name == "crf" else recipe.weight_decay,
        }
        for name, parameters in groups.items()
        if parameters
    ]
    # One fused kernel: the default implementation takes a third of a MiniLM step on CPU.
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.SGD
    return kind(values, fused=True)


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Returns a recipe's schedule of the learning rate.

    Args:
        optimizer: Whose learning rates follow it.
        recipe: Hyper-parameters.
        steps: Steps of the whole training.
    """
    warmup = round(recipe.warmup * steps)
    if recipe.schedule == "linear":
        linear: torch.optim.lr_scheduler.LambdaLR = get_linear_schedule_with_warmup(optimizer, warmup, steps)
        return linear
    after = {
        "constant": lambda epoch: 1.0,
        "step": lambda epoch: 0.8 ** (epoch // 2),
        "inverse": lambda epoch: 1 / (1 + 0.05 * epoch),
    }[recipe.schedule]
    steps_per_epoch = max(1, steps // recipe.epochs)

    def factor(step: int) -> float:
        return step / warmup if step < warmup else after(step // steps_per_epoch)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
