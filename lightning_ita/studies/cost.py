"""What a cell will cost, before it runs: sub-tokens, arithmetic, time.

What a pass through a system takes is counted by the function that its options name, one of
`lightning_ita.models.arithmetic`.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.devices import Precision, available_precision
from lightning_ita.models.arithmetic import Sizes
from lightning_ita.models.encoders.locating import EncoderShape, encoder_shape
from lightning_ita.models.options import CROSS_MODAL, VIEWS, teacher_of
from lightning_ita.registry import resolve
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.trained import tests_another

# Training reaches this share of the rate of a plain matrix product; measured with MiniLM on CPU.
SHARE_OF_MATMUL = 0.5
# A training step is a forward pass, and a backward pass of twice its operations.
TRAINING = 3


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


def costs(cells: Sequence[Cell], corpora: Mapping[str, Corpus], cache_dir: str | None = None) -> list[Cost]:
    """Counts what each cell takes; cells that differ in seed alone are counted once.

    A cell that only tests the model of another cell of the plan trains nothing.

    Args:
        cells: The plan.
        corpora: Its data sets, with all contexts that its cells read.
        cache_dir: Folder that keeps the sub-tokens of words.
    """
    rows = {cell.row for cell in cells}
    known: dict[Hashable, Cost] = {}
    for cell in cells:
        if cell.row not in known:
            trains = not tests_another(cell) or cell.uncontrolled.row not in rows
            known[cell.row] = cost(cell, corpora[cell.dataset], cache_dir, trains)
            if trains and cell.teacher is not None and cell.teacher.row not in rows:  # it trains its teacher, too
                flop = cost(cell.teacher, corpora[cell.dataset], cache_dir).flop
                known[cell.row] = replace(known[cell.row], flop=known[cell.row].flop + flop)
    return [known[cell.row] for cell in cells]


def cost(cell: Cell, corpus: Corpus, cache_dir: str | None = None, trains: bool = True) -> Cost:
    """Counts what a cell takes, by making its inputs; with or without its training."""
    inputs = cell.options.make_inputs(corpus.types, cell.recipe, cell.encoder, cache_dir)
    passes = resolve(cell.options.arithmetic)
    epochs, subtokens, flop = cell.recipe.epochs if trains else 0, 0, 0.0
    # How often a split is tagged in training and at the end; train is trained on instead.
    for split, times in zip(SPLITS, (epochs, epochs + 1, 1), strict=True):
        reads = inputs.read(corpus.splits[split], corpus)
        by_view = np.array([inputs.lengths(read) for read in reads]).sum(0)
        training = split == "train"
        views = cell.trained_views if training else cell.tested_views
        if training:
            # A system that encodes the tweet once for all views has one length.
            counted = dict(zip(VIEWS if len(by_view) == len(VIEWS) else views, by_view.tolist(), strict=False))
            subtokens = epochs * sum(counted.get(view, 0) for view in views)
        words = sum(len(read.tags) for read in reads)
        sizes = sizes_of(cell, *(float(total) / len(reads) for total in (words, by_view[0], by_view[-1])))
        flop += times * len(reads) * (TRAINING if training else 1) * passes(cell.options, sizes, views, training)
        if training and teacher_of(cell.options) != "itself":
            flop += times * len(reads) * passes(cell.options, sizes, (CROSS_MODAL,), False)
        if getattr(getattr(cell.options, "vision", None), "finetune", False):
            pictures = sum(getattr(read, "picture", None) is not None for read in reads)
            flop += times * pictures * (TRAINING if training else 1) * vision_flop(cell)
    return Cost(tweets=epochs * len(corpus.splits["train"]), subtokens=subtokens, flop=flop)


def sizes_of(cell: Cell, words: float, text: float, cross_modal: float) -> Sizes:
    """Returns what a tweet of a cell gives its system to read; arguments as the fields of `Sizes`."""
    shape = encoder_shape(cell.encoder) if cell.options.has_encoder else None
    vision = getattr(cell.options, "vision", None)
    if vision is None:
        return Sizes(shape, words, text, cross_modal, batch_size=cell.recipe.batch_size)
    from lightning_ita.images.nets import net_shape

    _, regions, channels, _ = net_shape(vision)
    return Sizes(shape, words, text, cross_modal, regions, channels, int(vision.crops), cell.recipe.batch_size)


def vision_flop(cell: Cell) -> float:
    """Returns the floating-point operations of one look at a picture and its crops; a training step takes three."""
    from lightning_ita.images.nets import net_shape

    vision = cell.options.vision  # type: ignore[attr-defined]
    return net_shape(vision)[3] * (1 + int(vision.crops))


def flop_per_second(shape: EncoderShape, precision: Precision) -> float:
    """Measures matrix products of the encoder's shape for a moment, and returns the rate training may reach.

    On a CPU it is the rate of an idle machine: the processor time of one thread is measured, and multiplied by the
    number of threads. Time that passes would be a hundred times as long where other programs run.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if available_precision(precision) == "bfloat16" else torch.float32
    left = torch.ones(1024, shape.hidden, device="cuda" if on_gpu else "cpu", dtype=dtype)
    right = torch.ones(shape.hidden, shape.feed_forward, device=left.device, dtype=dtype)
    threads, clock = torch.get_num_threads(), time.perf_counter if on_gpu else time.thread_time
    torch.set_num_threads(1)
    try:
        (left @ right).sum().item()  # the first product also chooses its kernel
        products, started, ends = 0, clock(), time.perf_counter() + 0.3
        while products == 0 or time.perf_counter() < ends:
            (left @ right).sum().item()
            products += 1
        seconds = (clock() - started) / products
    finally:
        torch.set_num_threads(threads)
    rate = 2 * 1024 * shape.hidden * shape.feed_forward / seconds
    return SHARE_OF_MATMUL * rate * (1 if on_gpu else threads)
