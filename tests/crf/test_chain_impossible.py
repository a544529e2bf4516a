"""Emissions of −inf: values and gradients are those of listing every possible sequence, each way of computing them."""

import math

import pytest
import torch
import torch.nn.functional as F
from chains import padded, prefix_mask, random_potentials, sequences
from torch import Tensor

from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, LinearChainCRF, log_space

LENGTHS = [4, 2, 1]
TAGS = 3
GOLD = torch.tensor([[0, 1, 2, 1], [2, 2, -1, -100], [2, 7, 0, 0]])

# Where emissions are −inf: (row, position, tag).
PATTERNS = {
    "first": [(0, 0, 1)],
    "middle": [(0, 1, 0), (0, 2, 1)],
    "last": [(0, 3, 0), (1, 1, 1)],
    "length one": [(2, 0, 0)],
    "one tag left": [(0, 1, 0), (0, 1, 2), (1, 0, 0), (1, 0, 1)],
    "one tag left in the whole row": [(1, t, tag) for t in (0, 1) for tag in (0, 1)],
    "gold": [(0, 0, 0), (0, 2, 2)],
    "in padding": [(1, 2, 0), (1, 2, 1), (1, 2, 2), (2, 3, 0)],
}


def quantities(p: ChainDistribution, q: ChainDistribution) -> dict[str, Tensor]:
    return {
        "log_prob": p.log_prob(GOLD),
        "log_partition": p.log_partition,
        "marginals": p.marginals,
        "log_marginals": p.log_marginals,
        "pair_marginals": p.pair_marginals,
        "transition_counts": p.transition_counts,
        "entropy": p.entropy(),
        "cross_entropy": p.cross_entropy(q),
        "kl": p.kl(q),
        "token_kl": p.token_kl(q, 2.0),
    }


def by_enumeration(p: ChainDistribution, q: ChainDistribution) -> dict[str, Tensor]:
    """The same from a list of all sequences of p, of which only the possible ones are looked at."""
    rows: dict[str, list[Tensor]] = {}
    for row, length in enumerate(LENGTHS):
        tags = sequences(p, row)
        log_p, log_q = (_scores(chain, row, tags) for chain in (p, q))
        log_partition, gold = log_p.logsumexp(0), (tags == GOLD[row, :length]).all(1)
        log_prob = (log_p - log_partition)[gold][0]
        possible = log_p > -torch.inf
        tags, log_p, log_q = tags[possible], log_p[possible].log_softmax(0), log_q.log_softmax(0)[possible]
        probabilities, chosen = log_p.exp(), F.one_hot(tags, TAGS).to(log_p.dtype)
        marginals, of_q = (torch.einsum("s,sti->ti", log.exp(), chosen) for log in (log_p, log_q))
        pairs = torch.einsum("s,sti,stj->tij", probabilities, chosen[:, :-1], chosen[:, 1:])
        # What is impossible is left out, as 0 · log 0 = 0.
        flat = marginals > 0
        ours, theirs = (torch.where(flat, each, 1).log().masked_fill(~flat, -torch.inf) for each in (marginals, of_q))
        ours, theirs = ((each / 2.0).log_softmax(1) for each in (ours, theirs))
        divergence = (torch.where(flat, ours.exp(), 0) * torch.where(flat, ours - theirs, 0)).sum() * 4
        for name, value in {
            "log_prob": log_prob,
            "log_partition": log_partition,
            "marginals": marginals,
            "log_marginals": torch.where(flat, marginals, 1).log().masked_fill(~flat, -torch.inf),
            "pair_marginals": pairs,
            "transition_counts": pairs.sum(0),
            "entropy": -(probabilities * log_p).sum(),
            "cross_entropy": -(probabilities * log_q).sum(),
            "kl": (probabilities * (log_p - log_q)).sum(),
            "token_kl": divergence,
        }.items():
            rows.setdefault(name, []).append(value)
    lengths = {"marginals": max(LENGTHS), "log_marginals": max(LENGTHS), "pair_marginals": max(LENGTHS) - 1}
    return {
        name: padded(values, lengths[name]) if name in lengths else torch.stack(values) for name, values in rows.items()
    }


def _scores(chain: ChainDistribution, row: int, tags: Tensor) -> Tensor:
    scores = chain.start_transitions[tags[:, 0]] + chain.end_transitions[tags[:, -1]]
    scores = scores + chain.emissions[row, torch.arange(tags.shape[1]), tags].sum(1)
    return scores + chain.transitions[tags[:, :-1], tags[:, 1:]].sum(1)


def pair(pattern: str, dtype: torch.dtype) -> tuple[ChainDistribution, ChainDistribution, tuple[Tensor, ...]]:
    """Two chains in which the same is impossible."""
    chains, leaves = [], []
    for _ in range(2):
        potentials = random_potentials(len(LENGTHS), max(LENGTHS), TAGS, dtype=dtype)
        for place in PATTERNS[pattern]:
            potentials[0][place] = -torch.inf
        potentials = tuple(scores.requires_grad_() for scores in potentials)
        chains.append(ChainDistribution(potentials[0], prefix_mask(LENGTHS), *potentials[1:]))
        leaves += potentials
    return *chains, tuple(leaves)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_impossible_tags(way_in_log_space, pattern, dtype):
    p, q, leaves = pair(pattern, dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-11, "atol": 1e-11}
    expected = by_enumeration(p, q)
    for name, value in quantities(p, q).items():
        torch.testing.assert_close(value, expected[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")
        # Only finite values have a gradient.
        weights = torch.linspace(-1, 2, value.numel(), dtype=dtype).view_as(value).where(value.isfinite(), 0)
        found, wanted = (
            torch.autograd.grad(each, leaves, weights, retain_graph=True, materialize_grads=True)
            for each in (value, expected[name])
        )
        for gradient, reference in zip(found, wanted, strict=True):
            torch.testing.assert_close(
                gradient, reference, **tolerance, msg=lambda text, name=name: f"gradient of {name}: {text}"
            )


def test_on_the_cpu_such_chains_go_through_log_space():
    """The smallest input that gave NaN: the first emission of a row is −inf."""
    emissions = torch.zeros(2, 3, 3)
    emissions[0, 0, 1] = -torch.inf
    chain = LinearChainCRF(3)(emissions, prefix_mask([3, 2]))
    assert isinstance(chain._trellis, log_space.LogTrellis)
    for value in (chain.log_partition, chain.marginals, chain.transition_counts, chain.entropy()):
        assert value.isfinite().all()
    assert chain.marginals[0, 0, 1] == 0
    assert chain.entropy()[0].item() == pytest.approx(math.log(2 * 3 * 3), abs=0.05)  # nearly uniform


def test_argmax_avoids_impossible_tags(way_in_log_space):
    p, _, _ = pair("one tag left", torch.float64)
    path = p.argmax()
    for row, length in enumerate(LENGTHS):
        tags = sequences(p, row)
        assert path[row, :length].tolist() == tags[_scores(p, row, tags).argmax()].tolist()


def test_a_row_without_any_possible_sequence_has_no_distribution(way_in_log_space):
    """Its values are NaN, those of the other rows are right."""
    emissions, *moves = random_potentials(2, 3, TAGS)
    alone = ChainDistribution(emissions[1:], prefix_mask([3]), *moves)
    emissions[0, 1] = -torch.inf
    chain = ChainDistribution(emissions, prefix_mask([3, 3]), *moves)
    assert chain.log_partition[0] == -math.inf
    assert chain.marginals[0].isnan().all()
    assert chain.entropy()[0].isnan()
    assert chain.log_prob(torch.zeros(2, 3, dtype=torch.int64))[0].isnan()
    for value, expected in (
        (chain.log_partition, alone.log_partition),
        (chain.marginals, alone.marginals),
        (chain.entropy(), alone.entropy()),
    ):
        torch.testing.assert_close(value[1:], expected)


def test_no_transition_is_possible_but_none_is_made(way_in_log_space):
    """Rows of one word: the gradient of pairs, all of them padding, is 0 and not NaN."""
    emissions, start, transitions, end = random_potentials(2, 3, TAGS)
    transitions = transitions.fill_(-torch.inf).requires_grad_()
    chain = ChainDistribution(emissions, prefix_mask([3, 1])[[1, 1]], start, transitions, end)
    for value in (chain.pair_marginals, chain.transition_counts, chain.entropy()):
        assert value.isfinite().all()
        (gradient,) = torch.autograd.grad(value.sum(), transitions)
        assert torch.equal(gradient, torch.zeros(TAGS, TAGS, dtype=torch.float64))


def test_forbidden_transitions_and_impossible_tags_together(way_in_log_space):
    emissions, *moves = random_potentials(1, 4, TAGS)
    emissions[0, 1, 0] = emissions[0, 2, 1] = -torch.inf
    transition = torch.tensor([[0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=torch.bool)
    forbidden = ForbiddenTransitions(torch.arange(3) == 2, transition, torch.arange(3) == 0)
    chain = ChainDistribution(emissions, prefix_mask([4]), *moves)
    tags = sequences(chain, 0)
    legal = ~(forbidden.start[tags[:, 0]] | forbidden.end[tags[:, -1]] | transition[tags[:, :-1], tags[:, 1:]].any(1))
    best = tags[_scores(chain, 0, tags).masked_fill(~legal, -torch.inf).argmax()]
    assert chain.argmax(forbidden)[0].tolist() == best.tolist()
