from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from torch.nn.utils.rnn import pad_sequence

from lightning_ita.metrics import EntityF1
from lightning_ita.tags import bio_tags

TYPES = ("LOC", "ORG", "PER")
TAGS = bio_tags(TYPES)
CONVENTIONS = {"repair": {}, "strict": {"mode": "strict", "scheme": IOB2}}

ids = st.integers(0, len(TAGS) - 1)
corpora = st.integers(1, 9).flatmap(
    lambda length: st.lists(st.tuples(*[st.lists(ids, min_size=length, max_size=length)] * 2), min_size=1, max_size=4)
)


def padded(rows: list[list[int]]) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-1)


def names(rows: list[list[int]]) -> list[list[str]]:
    return [[TAGS[index] for index in row] for row in rows]


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(tweets=st.lists(corpora, min_size=1, max_size=3).map(lambda parts: [tweet for part in parts for tweet in part]))
def test_scores_are_seqevals(convention: str, tweets: list[tuple[list[int], list[int]]]) -> None:
    predicted, gold = [list(side) for side in zip(*tweets, strict=True)]
    metric = EntityF1(TYPES, convention)  # type: ignore[arg-type]
    metric.update(padded(predicted), padded(gold))
    ours = metric.compute()
    for name, reference in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # seqeval warns where there is nothing to divide by
            theirs = reference(names(gold), names(predicted), zero_division=0, **CONVENTIONS[convention])
            by_type = reference(names(gold), names(predicted), average=None, zero_division=0, **CONVENTIONS[convention])
        assert ours[name].item() == pytest.approx(100 * theirs)
        there = sorted({tag[2:] for row in names(gold) + names(predicted) for tag in row if tag != "O"})
        if convention == "repair":  # strict seqeval leaves out types that only ill-formed tags name
            assert [ours[f"{type_}/{name}"].item() for type_ in there] == pytest.approx([100 * s for s in by_type])


def test_batches_and_processes_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, gold = (torch.randint(0, len(TAGS), (40, 12), generator=generator) for _ in range(2))
    whole, first, second = (EntityF1(TYPES) for _ in range(3))
    whole.update(predicted, gold)
    for rows in (slice(0, 7), slice(7, 20)):
        first.update(predicted[rows], gold[rows])
    second.update(predicted[20:], gold[20:])
    # What torchmetrics does with sum-reduced states when processes meet.
    for state in ("correct", "predicted", "gold"):
        setattr(first, state, getattr(first, state) + getattr(second, state))
    assert whole.compute() == first.compute()
    assert all(reduce is torch.sum or reduce.__name__ == "dim_zero_sum" for reduce in whole._reductions.values())


def test_nothing_to_count_scores_zero() -> None:
    metric = EntityF1(TYPES)
    metric.update(torch.zeros(2, 3, dtype=torch.int64), torch.full((2, 3), -1))
    assert {score.item() for score in metric.compute().values()} == {0.0}
