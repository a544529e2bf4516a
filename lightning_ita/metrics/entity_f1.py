"""Precision, recall and F1 over entity mentions, as seqeval and CoNLL-2003 count them, on tensors of BIO tag ids.

A mention is correct if its first word, its last word and its type are those of a mention in gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_ita.devices import has_float64
from lightning_ita.errors import UserError, unknown
from lightning_ita.tags import LabelConvention
from lightning_ita.text import quoted


class Mentions(NamedTuple):
    """The mentions in a batch of tag sequences; each is represented at its first word.

    Attributes:
        starts: bool (batch, words), True at the first word of each mention.
        ends: int64 (batch, words), for each word of a mention the position after the mention's last word.
        types: int64 (batch, words), entity type of each tag; -1 for O and padding.
    """

    starts: Tensor
    ends: Tensor
    types: Tensor


def find_mentions(bio: Tensor, convention: LabelConvention = "repair") -> Mentions:
    """Finds the mentions in BIO tag ids ``O, B-type₀, I-type₀, B-type₁, ...``; negative ids are padding.

    Args:
        bio: int64 (batch, words).
        convention: With ``repair`` an ``I-`` that continues no mention starts one (seqeval's default, conlleval); with
            ``strict`` a mention that starts so is ignored (seqeval's ``mode="strict", scheme=IOB2``).

    Raises:
        UserError: The convention is unknown.
    """
    _check_convention(convention)
    words = bio.shape[1]
    tagged = bio > 0
    types = torch.where(tagged, (bio - 1) // 2, -1)
    inside = tagged & (bio % 2 == 0)
    previous = torch.cat([types.new_full((len(types), 1), -1), types[:, :-1]], dim=1)
    continues = inside & (types == previous)
    starts = tagged & ~continues
    if convention == "strict":
        starts = starts & ~inside
    # A mention ends before the next word that does not continue it.
    stops = torch.where(continues, words, torch.arange(words, device=bio.device))
    next_stop = torch.cat([stops[:, 1:], stops.new_full((len(stops), 1), words)], dim=1)
    ends = next_stop.flip(1).cummin(dim=1).values.flip(1)
    return Mentions(starts, ends, types)


def sentence_counts(
    predicted: Tensor, gold: Tensor, num_types: int, convention: LabelConvention = "repair"
) -> tuple[Tensor, Tensor, Tensor]:
    """Counts the mentions of each sentence by type.

    Positions where gold is negative are left out of both, as if they were not there: padding (-1 here), and the later
    sub-tokens of a word (-100 in Hugging Face's token classification). A negative id that is predicted elsewhere
    counts as O.

    Args:
        predicted: BIO tag ids, integers (batch, words).
        gold: The same for the reference.
        num_types: Number of entity types.
        convention: How an ``I-`` that continues no mention counts; see `find_mentions`.

    Returns:
        Correct, predicted and gold mentions, int64 (batch, num_types) each.

    Raises:
        ValueError: The two are not integers of the same shape (batch, words), or a tag id is beyond the types.
        UserError: The convention is unknown.
    """
    _check_tags(predicted, gold, num_types)
    # Sorted to the end of each sentence, in stable order, so that the words before and after such a position meet.
    left_out = (gold < 0).long()
    order = left_out.argsort(dim=1, stable=True)
    predicted = predicted.masked_fill(gold < 0, -1).gather(1, order).long()
    gold = gold.gather(1, order).long()
    p, g = find_mentions(predicted, convention), find_mentions(gold, convention)
    correct = p.starts & g.starts & (p.types == g.types) & (p.ends == g.ends)
    first_cell = num_types * torch.arange(len(gold), device=gold.device)[:, None]

    def by_type(starts: Tensor, types: Tensor) -> Tensor:
        cells = (first_cell + types)[starts]
        return torch.bincount(cells, minlength=len(gold) * num_types).view(len(gold), num_types)

    return by_type(correct, g.types), by_type(p.starts, p.types), by_type(g.starts, g.types)


def entity_counts(
    predicted: Tensor, gold: Tensor, num_types: int, convention: LabelConvention = "repair"
) -> tuple[Tensor, Tensor, Tensor]:
    """Counts the mentions of a batch by type; arguments and errors are those of `sentence_counts`.

    Returns:
        Correct, predicted and gold mentions, int64 (num_types,) each.
    """
    correct, found, wanted = sentence_counts(predicted, gold, num_types, convention)
    return correct.sum(0), found.sum(0), wanted.sum(0)


class EntityF1(Metric):
    """Micro-averaged and per-type precision, recall and F1 over mentions; its states are summed over processes.

    Args:
        types: Entity types, in the order of their BIO tag ids.
        convention: How an ``I-`` that continues no mention counts: ``repair`` or ``strict``; see `find_mentions`.

    Raises:
        UserError: A type is empty or occurs twice, or the convention is unknown.

    Example:
        >>> metric = EntityF1(("PER", "LOC"))  # tag ids: O 0, B-PER 1, I-PER 2, B-LOC 3, I-LOC 4
        >>> metric.update(predicted=torch.tensor([[1, 0, 3]]), gold=torch.tensor([[1, 2, 3]]))
        >>> round(metric.compute()["f1"].item(), 1)  # of two mentions each, one has the right borders
        50.0
    """

    higher_is_better = True
    full_state_update = False
    correct: Tensor
    predicted: Tensor
    gold: Tensor

    def __init__(self, types: Sequence[str], convention: LabelConvention = "repair"):
        super().__init__()
        if isinstance(types, str):
            raise UserError(f"expected a sequence of entity types, got the single text {quoted(types)}")
        self.types = tuple(types)
        for index, type_ in enumerate(self.types):
            if not type_ or type_ in self.types[:index]:
                raise UserError(f"entity types: {quoted(type_)} {'occurs twice' if type_ else 'is empty'}")
        _check_convention(convention)
        self.convention: LabelConvention = convention
        for state in ("correct", "predicted", "gold"):
            self.add_state(state, torch.zeros(len(self.types), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, gold: Tensor) -> None:
        """Adds a batch of BIO tag ids; arguments and errors are those of `sentence_counts`."""
        correct, found, wanted = entity_counts(predicted, gold, len(self.types), self.convention)
        self.correct += correct
        self.predicted += found
        self.gold += wanted

    def compute(self) -> dict[str, Tensor]:
        """Returns ``precision``, ``recall``, ``f1`` (micro-averaged) and ``<type>/...`` for each type, in percent.

        All are float64 scalars, computed on the CPU. They are returned on the device of the metric, or on the CPU if
        the device has no float64.
        """
        counts = torch.stack([self.correct, self.predicted, self.gold]).cpu()
        # shape: (3, 1 + types)
        counts = torch.cat([counts.sum(1, keepdim=True), counts], dim=1)
        scores = _scores(*counts)
        if has_float64(self.correct.device):
            scores = {name: values.to(self.correct.device) for name, values in scores.items()}
        prefixes = ["", *(f"{type_}/" for type_ in self.types)]
        return {f"{prefix}{name}": scores[name][index] for index, prefix in enumerate(prefixes) for name in scores}


def _scores(correct: Tensor, predicted: Tensor, gold: Tensor) -> dict[str, Tensor]:
    """Returns precision, recall and F1 in percent; 0 where the divisor is 0."""
    correct = 100.0 * correct.double()
    return {
        "precision": correct / predicted.clamp_min(1),
        "recall": correct / gold.clamp_min(1),
        "f1": 2 * correct / (predicted + gold).clamp_min(1),
    }


def _check_convention(convention: str) -> None:
    if convention not in get_args(LabelConvention):
        raise unknown("label convention", str(convention), get_args(LabelConvention))


def _check_tags(predicted: Tensor, gold: Tensor, num_types: int) -> None:
    """Checks BIO tag ids; on an accelerator this waits for the device, as counting does anyway."""
    for name, ids in (("predicted", predicted), ("gold", gold)):
        if ids.dim() != 2 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            form = f"{ids.dtype} of shape {tuple(ids.shape)}".removeprefix("torch.")
            raise ValueError(f"expected integer {name} tag ids of shape (batch, words), got {form}")
    if predicted.shape != gold.shape:
        raise ValueError(
            f"expected predicted and gold tag ids of the same shape, got {tuple(predicted.shape)} and "
            f"{tuple(gold.shape)}"
        )
    for name, ids in (("predicted", predicted), ("gold", gold)):
        wrong = ids > 2 * num_types
        if wrong.any():
            row, word = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"{name} tag id {ids[row, word].item()} in row {row} at position {word} is beyond the last of "
                f"{num_types} types: expected O, B- and I- of each type, 0 … {2 * num_types}"
            )
