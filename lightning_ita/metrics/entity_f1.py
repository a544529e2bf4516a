"""Entity-level precision, recall and F1, as seqeval and CoNLL-2003 count them, on tensors of BIO tag ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_ita.tags import LabelConvention


class Mentions(NamedTuple):
    """The mentions of a batch of tag sequences, each noted at its first word.

    Attributes:
        starts: bool (batch, words), True where a mention starts.
        ends: int64 (batch, words), position after the last word of the mention that a word starts or continues.
        types: int64 (batch, words), entity type of each tag; -1 for O and padding.
    """

    starts: Tensor
    ends: Tensor
    types: Tensor


def find_mentions(bio: Tensor, convention: LabelConvention = "repair") -> Mentions:
    """Finds the mentions in BIO tag ids ``O, B-type₀, I-type₀, B-type₁, ...``; negative ids are padding.

    Args:
        bio: int64 (batch, words).
        convention: ``repair`` lets a stray ``I-`` start a mention (seqeval's default, conlleval); ``strict`` ignores
            mentions that start so (seqeval's ``mode="strict", scheme=IOB2``).
    """
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

    Args:
        predicted: int64 (batch, words), BIO tag ids; negative at padding.
        gold: The same for the reference.
        num_types: Number of entity types.
        convention: What a stray ``I-`` counts as.

    Returns:
        Correct, predicted and gold mentions, int64 (batch, num_types) each.
    """
    p, g = find_mentions(predicted, convention), find_mentions(gold, convention)
    correct = p.starts & g.starts & (p.types == g.types) & (p.ends == g.ends)
    first_cell = num_types * torch.arange(len(gold), device=gold.device)[:, None]

    def by_type(starts: Tensor, types: Tensor) -> Tensor:
        cells = (first_cell + types)[starts]
        return torch.bincount(cells, minlength=len(gold) * num_types).view(-1, num_types)

    return by_type(correct, g.types), by_type(p.starts, p.types), by_type(g.starts, g.types)


def entity_counts(
    predicted: Tensor, gold: Tensor, num_types: int, convention: LabelConvention = "repair"
) -> tuple[Tensor, Tensor, Tensor]:
    """Counts the mentions of a batch by type; arguments as for `sentence_counts`.

    Returns:
        Correct, predicted and gold mentions, int64 (num_types,) each.
    """
    correct, found, wanted = sentence_counts(predicted, gold, num_types, convention)
    return correct.sum(0), found.sum(0), wanted.sum(0)


class EntityF1(Metric):
    """Micro and per-type precision, recall and F1 over mentions; its states sum over processes.

    Args:
        types: Entity types, in the order of their BIO tag ids.
        convention: What a stray ``I-`` counts as: ``repair`` or ``strict``.
    """

    higher_is_better = True
    full_state_update = False
    correct: Tensor
    predicted: Tensor
    gold: Tensor

    def __init__(self, types: Sequence[str], convention: LabelConvention = "repair"):
        super().__init__()
        self.types = tuple(types)
        self.convention: LabelConvention = convention
        for state in ("correct", "predicted", "gold"):
            self.add_state(state, torch.zeros(len(self.types), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, gold: Tensor) -> None:
        """Adds a batch of BIO tag ids, int64 (batch, words) each, negative at padding."""
        correct, found, wanted = entity_counts(predicted, gold, len(self.types), self.convention)
        self.correct += correct
        self.predicted += found
        self.gold += wanted

    def compute(self) -> dict[str, Tensor]:
        """Returns ``precision``, ``recall``, ``f1`` (micro) and ``<type>/...`` for each type, in percent."""
        scores = _scores(self.correct.sum(), self.predicted.sum(), self.gold.sum())
        for index, type_ in enumerate(self.types):
            by_type = _scores(self.correct[index], self.predicted[index], self.gold[index])
            scores |= {f"{type_}/{name}": score for name, score in by_type.items()}
        return scores


def _scores(correct: Tensor, predicted: Tensor, gold: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 in percent; 0 where there is nothing to divide by."""
    correct = 100.0 * correct.double()
    return {
        "precision": correct / predicted.clamp_min(1),
        "recall": correct / gold.clamp_min(1),
        "f1": 2 * correct / (predicted + gold).clamp_min(1),
    }
