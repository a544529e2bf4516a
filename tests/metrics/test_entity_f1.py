from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import pad_sequence
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_ita.errors import UserError
from lightning_ita.metrics import EntityF1, entity_counts, find_mentions, sentence_counts
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


def seqevals(gold: list[list[str]], predicted: list[list[str]], convention: str, average: str | None = "micro") -> list:
    """Precision, recall and F1 of seqeval, in percent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns where there is nothing to divide by
        scores = (precision_score, recall_score, f1_score)
        options = {"average": average, "zero_division": 0, **CONVENTIONS[convention]}
        return [100 * score(gold, predicted, **options) for score in scores]


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


# A position: what is predicted, what is gold. Either may be negative anywhere: padding, or a later sub-token.
positions = st.tuples(st.integers(-2, len(TAGS) - 1), st.sampled_from([-100, -100, -1, *range(len(TAGS))]))
batches = st.lists(
    st.lists(st.lists(positions, max_size=12), min_size=1, max_size=4), min_size=1, max_size=3
)  # batches of tweets of positions


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=300, deadline=None)
@given(batches=batches, content=st.integers(-2, len(TAGS) - 1), padding=st.sampled_from([-100, -1]))
def test_left_out_positions_as_in_seqevals_recipe(
    convention: str, batches: list[list[list[tuple[int, int]]]], content: int, padding: int
) -> None:
    """Hugging Face's recipe for seqeval drops positions whose label is -100, in gold and in what is predicted."""
    metric = EntityF1(TYPES, convention)  # type: ignore[arg-type]
    kept: list[list[tuple[int, int]]] = []
    for batch in batches:
        longest = max(map(len, batch))
        rows = [[*tweet, *[(content, padding)] * (longest - len(tweet))] for tweet in batch]
        tensor = torch.tensor(rows, dtype=torch.int64).view(len(rows), longest, 2)
        metric.update(tensor[..., 0], tensor[..., 1])
        kept += [[(max(p, 0), g) for p, g in tweet if g >= 0] for tweet in batch]
    predicted, gold = (names([[position[side] for position in tweet] for tweet in kept]) for side in (0, 1))
    ours = metric.compute()
    assert [ours[name].item() for name in ("precision", "recall", "f1")] == pytest.approx(
        seqevals(gold, predicted, convention)
    )
    there = sorted({tag[2:] for row in gold + predicted for tag in row if tag != "O"})
    if convention == "repair" and there:
        by_type = zip(*seqevals(gold, predicted, convention, average=None), strict=True)
        for type_, theirs in zip(there, by_type, strict=True):
            assert [ours[f"{type_}/{name}"].item() for name in ("precision", "recall", "f1")] == pytest.approx(theirs)


def test_a_word_of_two_sub_tokens_is_one_word() -> None:
    """`Ted Cruz` is PER; Cruz has two sub-tokens, of which the second has no label, as Hugging Face models label."""
    b, i = TAGS.index("B-PER"), TAGS.index("I-PER")
    gold = torch.tensor([[-100, b, i, -100, 0, -100], [-100, b, -100, i, 0, -100]])
    predicted = torch.tensor([[0, b, i, b, 0, b], [i, b, 0, i, 0, 0]])  # anything at -100
    metric = EntityF1(TYPES)
    metric.update(predicted, gold)
    assert metric.compute()["f1"].item() == 100
    assert [counts.sum().item() for counts in entity_counts(predicted, gold, len(TYPES))] == [2, 2, 2]


def test_padding_of_predictions_alone_is_o() -> None:
    """A prediction that ends before gold does, as where the encoder saw only the first words."""
    gold = torch.tensor([[1, 2, 2, 1, 0]])
    predicted = torch.tensor([[1, 2, 2, -1, -1]])
    assert [counts.tolist() for counts in entity_counts(predicted, gold, 1)] == [[1], [1], [2]]
    predicted = torch.tensor([[1, -100, 2, -1, -1]])  # a hole in a mention breaks it
    assert [counts.tolist() for counts in entity_counts(predicted, gold, 1)] == [[0], [2], [2]]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("side", ["predicted", "gold"])
def test_a_tag_id_beyond_the_types_is_an_error(convention: str, side: str) -> None:
    """It was counted as a mention of the first type of the next tweet: here as the one that is there, F1 100."""
    ids = {"predicted": torch.tensor([[0, 0], [1, 0]]), "gold": torch.tensor([[0, 0], [1, 0]])}
    ids[side] = torch.tensor([[0, 3], [0, 0]])
    metric = EntityF1(["PER"], convention)  # type: ignore[arg-type]
    message = rf"{side} tag id 3 in row 0 at position 1 is beyond the last of 1 types: .* 0 … 2"
    with pytest.raises(ValueError, match=message):
        metric.update(ids["predicted"], ids["gold"])
    with pytest.raises(ValueError, match=message):
        sentence_counts(ids["predicted"], ids["gold"], 1, convention)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (["PER", "LOC", "PER"], "entity types: 'PER' occurs twice"),
        (["PER", ""], "entity types: '' is empty"),
        ("PER", "expected a sequence of entity types, got the single text 'PER'"),
    ],
)
def test_wrong_types_are_an_error(types: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EntityF1(types)


@pytest.mark.parametrize("convention", ["Strict", "", "repaired", None])
def test_an_unknown_convention_is_an_error(convention: str) -> None:
    """Anything but `strict` counted as `repair`."""
    ids = torch.zeros(1, 2, dtype=torch.int64)
    for attempt in (
        lambda: EntityF1(TYPES, convention),  # type: ignore[arg-type]
        lambda: find_mentions(ids, convention),  # type: ignore[arg-type]
        lambda: sentence_counts(ids, ids, 3, convention),  # type: ignore[arg-type]
    ):
        with pytest.raises(UserError, match=r"unknown label convention .*Known: repair, strict"):
            attempt()


@pytest.mark.parametrize(
    ("predicted", "gold", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3).long(), r"integer predicted tag ids .*, got float32 of shape \(2, 3\)"),
        (torch.zeros(2, 3).long(), torch.zeros(2, 3).bool(), r"integer gold tag ids .*, got bool of shape \(2, 3\)"),
        (torch.zeros(3).long(), torch.zeros(3).long(), r"\(batch, words\), got int64 of shape \(3,\)"),
        (torch.zeros(2, 3).long(), torch.zeros(2, 1).long(), r"the same shape, got \(2, 3\) and \(2, 1\)"),
        (torch.zeros(2, 3).long(), torch.zeros(1, 3).long(), r"the same shape, got \(2, 3\) and \(1, 3\)"),
    ],
)
def test_tags_of_another_form_are_an_error(predicted: torch.Tensor, gold: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EntityF1(TYPES).update(predicted, gold)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.uint8])
def test_any_integers_are_tags(dtype: torch.dtype) -> None:
    ids = torch.tensor([[1, 2, 0], [3, 5, 6]])
    assert [counts.tolist() for counts in entity_counts(ids.to(dtype), ids.to(dtype), 3)] == [[1, 1, 1]] * 3


def test_nothing_to_count_is_no_mention() -> None:
    for shape in ((0, 3), (2, 0), (0, 0)):
        ids = torch.zeros(shape, dtype=torch.int64)
        assert [counts.tolist() for counts in entity_counts(ids, ids, 3)] == [[0, 0, 0]] * 3


class _NoFloat64(TorchDispatchMode):
    """An error for every float64 tensor of an Apple GPU, as PyTorch raises it there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "mps" and tensor.dtype == torch.float64:
                raise TypeError(f"the MPS framework doesn't support float64: {func}")
        return result


@pytest.fixture
def absent_devices() -> Iterator[None]:
    """Tensors can be on ``mps`` and ``cuda`` without such a device, but have no contents (PyTorch's fake tensors)."""
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True), _NoFloat64():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
        yield


@pytest.mark.usefixtures("absent_devices")
@pytest.mark.parametrize(("device", "returned"), [("mps", "cpu"), ("cuda", "cuda"), ("cpu", "cpu")])
def test_scores_are_float64_on_every_device(device: str, returned: str) -> None:
    """Apple GPUs have no float64: there the scores stay on the CPU, where they are computed."""
    metric = EntityF1(TYPES)
    metric._update_count = 1  # counting itself needs contents, which tensors of absent devices do not have
    for state in ("correct", "predicted", "gold"):
        setattr(metric, state, torch.zeros(len(TYPES), dtype=torch.int64, device=device))
    assert {(score.device.type, score.dtype) for score in metric.compute().values()} == {(returned, torch.float64)}


def test_scores_are_exact_ratios_of_counts() -> None:
    metric = EntityF1(["PER", "LOC"])
    metric.correct, metric.predicted, metric.gold = (
        torch.tensor(counts) for counts in ([3, 10**9], [7, 3 * 10**9], [11, 7 * 10**9])
    )
    metric._update_count = 1
    scores = {name: score.item() for name, score in metric.compute().items()}
    assert scores["PER/precision"] == 300 / 7
    assert scores["PER/recall"] == 300 / 11
    assert scores["PER/f1"] == 600 / 18
    assert scores["f1"] == 200 * (10**9 + 3) / (10**10 + 18)
    assert list(scores) == [f"{kind}{name}" for kind in ("", "PER/", "LOC/") for name in ("precision", "recall", "f1")]
