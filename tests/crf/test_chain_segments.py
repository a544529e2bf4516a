"""The probability of a segment is that of the tag sequences that have it, summed one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_ita.crf import ChainDistribution
from lightning_ita.tags import TagSet
from tests.crf.chains import log_probs, random_chain, sequences

LENGTHS, TAGS = [4, 1, 3], 3


def segments(lengths: list[int]) -> list[tuple[int, int, int]]:
    """Every row, start and end."""
    return [(r, s, e) for r, n in enumerate(lengths) for s in range(n) for e in range(s + 1, n + 1)]


def ask(chain: ChainDistribution, asked: list[tuple[int, int, list[int], int]]) -> Tensor:
    longest = max(len(tags) for *_, tags, _ in asked)
    tags = torch.tensor([tags + [-1] * (longest - len(tags)) for *_, tags, _ in asked])
    rows, starts, after = (torch.tensor([each[index] for each in asked]) for index in (0, 1, 3))
    return chain.segment_log_prob(rows, starts, tags, after)


def listed(chain: ChainDistribution, row: int, start: int, tags: list[int], after: int) -> Tensor:
    """The same by listing all sequences of the row."""
    all_tags, (probs, _) = sequences(chain, row), log_probs(chain, row)
    end = start + len(tags)
    chosen = (all_tags[:, start:end] == torch.tensor(tags)).all(1)
    if after >= 0 and end < all_tags.shape[1]:
        chosen &= all_tags[:, end] != after
    return probs.masked_fill(~chosen, -torch.inf).logsumexp(0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("after", [-1, 1])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_it_is_the_sum_over_sequences(after: int, spread: float) -> None:
    chain = random_chain(LENGTHS, TAGS, spread)
    generator = torch.Generator().manual_seed(1)
    asked = [
        (row, start, torch.randint(TAGS, (end - start,), generator=generator).tolist(), after)
        for row, start, end in segments(LENGTHS)
    ]
    expected = torch.stack([listed(chain, *each) for each in asked])
    torch.testing.assert_close(ask(chain, asked), expected, rtol=1e-9, atol=1e-9)


def test_a_whole_row_has_the_probability_of_its_sequence() -> None:
    chain = random_chain(LENGTHS, TAGS)
    tags = [[0, 2, 1, 1], [2], [1, 0, 2]]
    whole = torch.tensor([row + [-1] * (4 - len(row)) for row in tags])
    probability = chain.segment_log_prob(torch.arange(3), torch.zeros(3, dtype=torch.int64), whole)
    torch.testing.assert_close(probability, chain.log_prob(whole.clamp_min(0)))


@pytest.mark.usefixtures("way_in_log_space")
def test_what_is_impossible_has_probability_zero() -> None:
    chain = random_chain([3], TAGS)
    chain.transitions[0, 1] = -torch.inf
    chain.transitions[2] = -torch.inf  # nothing follows tag 2
    chain.emissions[0, 1, 2] = -torch.inf
    asked = [(0, start, tags, after) for start, tags, after in [(0, [0, 1], -1), (0, [2, 1], -1), (0, [0, 0], 1)]]
    expected = torch.stack([listed(chain, *each) for each in asked])
    torch.testing.assert_close(ask(chain, asked), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_the_mentions_of_a_word_and_o_share_its_probability(scheme: str) -> None:
    """Over well-formed sequences alone a word is outside, or in exactly one mention."""
    tag_set = TagSet(("PER", "LOC"), scheme)  # type: ignore[arg-type]
    chain = random_chain([3], len(tag_set))
    start, moves, end = (torch.tensor(table) for table in tag_set.forbidden())
    chain = ChainDistribution(
        chain.emissions,
        chain.mask,
        chain.start_transitions.masked_fill(start, -torch.inf),
        chain.transitions.masked_fill(moves, -torch.inf),
        chain.end_transitions.masked_fill(end, -torch.inf),
    )
    asked = []
    for _, first, last in segments([3]):
        for type_ in range(2):
            tags, after = tag_set.mention(type_, last - first)
            if first <= 1 < last:
                asked.append((0, first, tags, after))
    total = ask(chain, asked).exp().sum() + chain.marginals[0, 1, 0]
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


def test_it_can_be_differentiated() -> None:
    from torch.autograd import gradcheck

    chain = random_chain([3], TAGS)
    potentials = [
        scores.clone().requires_grad_()
        for scores in (chain.emissions, chain.start_transitions, chain.transitions, chain.end_transitions)
    ]

    def probability(emissions: Tensor, *moves: Tensor) -> Tensor:
        return ask(ChainDistribution(emissions, chain.mask, *moves), [(0, 0, [0, 2], 1), (0, 2, [1], -1)])

    assert gradcheck(probability, potentials)


@pytest.mark.parametrize(
    "asked", [(0, 2, [0, 0, 0], -1), (1, 1, [0], -1), (3, 0, [0], -1), (0, -1, [0], -1), (0, 0, [3], -1)]
)
def test_segments_outside_of_a_row_are_errors(asked: tuple[int, int, list[int], int]) -> None:
    with pytest.raises(ValueError, match=r"segment 0 .* is not inside its row"):
        ask(random_chain(LENGTHS, TAGS), [asked])


def test_wrong_shapes_are_errors() -> None:
    chain, zero = random_chain(LENGTHS, TAGS), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"expected int64 tags of shape \(segments, longest\)"):
        chain.segment_log_prob(zero, zero, zero)
    with pytest.raises(ValueError, match=r"expected int64 starts of shape \(1,\), got int32"):
        chain.segment_log_prob(zero, zero.int(), zero[:, None])
