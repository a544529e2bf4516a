"""What a cell will cost, before it runs: sub-tokens, arithmetic, time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lightning_ita.data.datamodule import SplitSummary
from lightning_ita.models.encoders import EncoderShape, encoder_shape
from lightning_ita.models.ita import CROSS_MODAL, TEXT
from lightning_ita.models.recipes import Precision, available_precision
from lightning_ita.studies.cell import Cell, Source

# Training reaches this share of the rate of a plain matrix product; measured with MiniLM on CPU.
SHARE_OF_MATMUL = 0.5
# A forward pass alone is a third of a training step.
FORWARD_SHARE = 1 / 3


@dataclass(frozen=True)
class Cost:
    """What a cell takes.

    Attributes:
        tweets: Tweets trained on, all epochs together.
        subtokens: Sub-tokens trained on, all epochs and views together.
        flop: Floating-point operations of training and evaluation.
    """

    tweets: int
    subtokens: int
    flop: float


def costs(cells: Sequence[Cell], source: Source) -> list[Cost]:
    """Counts what each cell takes; cells that differ in seed alone are counted once."""
    known: dict[tuple[str, tuple[str, ...], str], Cost] = {}
    shapes: dict[str, EncoderShape] = {}
    for cell in cells:
        key = (cell.dataset, cell.contexts, cell.cva)
        if key not in known:
            shape = shapes.setdefault(cell.encoder, encoder_shape(cell.encoder))
            known[key] = cost(cell, source, shape)
    return [known[cell.dataset, cell.contexts, cell.cva] for cell in cells]


def cost(cell: Cell, source: Source, shape: EncoderShape) -> Cost:
    """Counts what a cell takes, by building its views."""
    datamodule = cell.datamodule(source)
    datamodule.setup()
    train, valid, test = (datamodule.summary(split) for split in ("train", "valid", "test"))
    views = {TEXT: train.text_subtokens, CROSS_MODAL: train.cross_modal_subtokens}
    trained = cell.recipe.epochs * sum(views[view] for view in cell.trained_views)

    def both(split: SplitSummary) -> int:
        return split.text_subtokens + (split.cross_modal_subtokens if cell.contexts else 0)

    evaluated = both(valid) * (cell.recipe.epochs + 1) + both(test)
    length = trained / max(train.tweets * cell.recipe.epochs * len(cell.trained_views), 1)
    return Cost(
        tweets=cell.recipe.epochs * train.tweets,
        subtokens=trained,
        flop=shape.training_flop(trained + round(FORWARD_SHARE * evaluated), length),
    )


def flop_per_second(shape: EncoderShape, precision: Precision) -> float:
    """Measures matrix products of the encoder's shape for a moment, and returns the rate training may reach."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if available_precision(precision) == "bfloat16" else torch.float32
    left = torch.ones(1024, shape.hidden, device=device, dtype=dtype)
    right = torch.ones(shape.hidden, shape.feed_forward, device=device, dtype=dtype)
    products, started = 0, time.perf_counter()
    while time.perf_counter() - started < 0.3:
        (left @ right).sum().item()
        products += 1
    seconds = time.perf_counter() - started
    return SHARE_OF_MATMUL * products * 2 * 1024 * shape.hidden * shape.feed_forward / seconds
