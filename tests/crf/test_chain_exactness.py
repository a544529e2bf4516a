"""Every quantity against brute force, every gradient against finite differences, each way of computing them."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from chains import log_probs, padded, prefix_mask, random_chain, random_potentials, sequences
from torch.distributions import kl_divergence

from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, distribution, log_space, scaled

RAGGED = [5, 3, 1, 4]
TAGS = 4

TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 1e-5}, torch.float64: {"rtol": 1e-12, "atol": 1e-12}}


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


def test_log_prob_and_partition(way, dtype):
    chain = random_chain(RAGGED, TAGS, dtype=dtype)
    for row in range(len(RAGGED)):
        expected, log_partition = log_probs(chain, row)
        torch.testing.assert_close(chain.log_partition[row], log_partition, **TOLERANCE[dtype])
        for tags, log_prob in zip(sequences(chain, row)[::97], expected[::97], strict=True):
            batch = torch.full(chain.mask.shape, -100)
            batch[chain.mask] = 0
            batch[row, : len(tags)] = tags
            torch.testing.assert_close(chain.log_prob(batch)[row], log_prob, **TOLERANCE[dtype])


def test_marginals(way, dtype):
    chain = random_chain(RAGGED, TAGS, dtype=dtype)
    unary, pairs = [], []
    for row in range(len(RAGGED)):
        probabilities = log_probs(chain, row)[0].exp()
        # shape: (sequences, length, tags)
        chosen = F.one_hot(sequences(chain, row), TAGS).to(dtype)
        unary.append(torch.einsum("s,sti->ti", probabilities, chosen))
        pairs.append(torch.einsum("s,sti,stj->tij", probabilities, chosen[:, :-1], chosen[:, 1:]))
    pair_marginals = padded(pairs, max(RAGGED) - 1)
    marginals = padded(unary, max(RAGGED))
    torch.testing.assert_close(chain.marginals, marginals, **TOLERANCE[dtype])
    torch.testing.assert_close(
        chain.log_marginals, torch.where(chain.mask[..., None], marginals, 1).log(), **TOLERANCE[dtype]
    )
    torch.testing.assert_close(chain.pair_marginals, pair_marginals, **TOLERANCE[dtype])
    torch.testing.assert_close(chain.transition_counts, pair_marginals.sum(1), **TOLERANCE[dtype])


def test_entropy_and_divergences(way, dtype):
    p, q = random_chain(RAGGED, TAGS, dtype=dtype), random_chain(RAGGED, TAGS, dtype=dtype)
    for row in range(len(RAGGED)):
        log_p, log_q = log_probs(p, row)[0], log_probs(q, row)[0]
        torch.testing.assert_close(p.entropy()[row], -(log_p.exp() * log_p).sum(), **TOLERANCE[dtype])
        torch.testing.assert_close(p.cross_entropy(q)[row], -(log_p.exp() * log_q).sum(), **TOLERANCE[dtype])
        torch.testing.assert_close(p.kl(q)[row], (log_p.exp() * (log_p - log_q)).sum(), **TOLERANCE[dtype])
    torch.testing.assert_close(kl_divergence(p, q), p.kl(q))


@pytest.mark.parametrize("temperature", [0.5, 1, 4])
def test_token_kl(way, dtype, temperature):
    p, q = random_chain(RAGGED, TAGS, dtype=dtype), random_chain(RAGGED, TAGS, dtype=dtype)
    divergences = p.token_kl(q, temperature)
    for row, length in enumerate(RAGGED):
        tags, log_marginals = sequences(p, row), []
        for log_prob in (log_probs(p, row)[0], log_probs(q, row)[0]):
            # a = α + β, up to a constant that the softmax does not see
            a = [[log_prob[tags[:, t] == tag].logsumexp(0) for tag in range(TAGS)] for t in range(length)]
            log_marginals.append((torch.tensor(a, dtype=dtype) / temperature).log_softmax(1))
        ours, theirs = log_marginals
        expected = (ours.exp() * (ours - theirs)).sum() * temperature**2
        torch.testing.assert_close(divergences[row], expected, **TOLERANCE[dtype])


def test_argmax(way):
    chain = random_chain(RAGGED, TAGS, spread=2)
    path = chain.argmax()
    assert path.dtype == torch.int64
    for row, length in enumerate(RAGGED):
        best = sequences(chain, row)[log_probs(chain, row)[0].argmax()]
        assert path[row].tolist() == best.tolist() + [-1] * (max(RAGGED) - length)


def test_argmax_obeys_forbidden_transitions(way):
    chain = random_chain(RAGGED, TAGS, spread=2)
    transition = torch.rand(TAGS, TAGS) < 0.4
    transition.fill_diagonal_(False)
    forbidden = ForbiddenTransitions(torch.arange(TAGS) == 0, transition, torch.arange(TAGS) == 1)
    path, changed = chain.argmax(forbidden), 0
    for row in range(len(RAGGED)):
        tags = sequences(chain, row)
        illegal = forbidden.start[tags[:, 0]] | forbidden.end[tags[:, -1]]
        illegal |= transition[tags[:, :-1], tags[:, 1:]].any(1)
        best = tags[log_probs(chain, row)[0].masked_fill(illegal, -torch.inf).argmax()]
        assert path[row, chain.mask[row]].tolist() == best.tolist()
        changed += path[row].tolist() != chain.argmax()[row].tolist()
    assert changed  # the constraint mattered


QUANTITIES = {
    "log_prob": lambda p, q: p.log_prob(torch.tensor([[0, 1, 2, 1], [2, 2, -1, -100], [1, 7, 0, 0]])),
    "log_partition": lambda p, q: p.log_partition,
    "marginals": lambda p, q: p.marginals,
    "log_marginals": lambda p, q: p.log_marginals,
    "pair_marginals": lambda p, q: p.pair_marginals,
    "transition_counts": lambda p, q: p.transition_counts,
    "entropy": lambda p, q: p.entropy(),
    "cross_entropy": lambda p, q: p.cross_entropy(q),
    "kl": lambda p, q: p.kl(q),
    "token_kl": lambda p, q: p.token_kl(q, 2.0),
}


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_gradients(way, quantity):
    lengths = [4, 2, 1]
    ours, theirs = random_potentials(3, 4, 3, grad=True), random_potentials(3, 4, 3, grad=True)

    def function(*potentials):
        p, q = (
            ChainDistribution(emissions, prefix_mask(lengths), *moves)
            for emissions, *moves in (potentials[:4], potentials[4:])
        )
        return QUANTITIES[quantity](p, q)

    assert torch.autograd.gradcheck(function, (*ours, *theirs), fast_mode=True)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_rescaling_leaves_no_trace(monkeypatch, quantity):
    """Scores spread widely enough that the scaled way rescales its state often: it must agree with log space."""
    lengths, tags = [40, 23, 1], 5
    potentials = [random_potentials(3, 40, tags, spread=12, grad=True) for _ in range(2)]
    results = []
    for run in (scaled.forward_backward, partial(log_space.forward_backward, log_depth=False)):
        monkeypatch.setattr(distribution, "forward_backward", run)
        p, q = (ChainDistribution(emissions, prefix_mask(lengths), *moves) for emissions, *moves in potentials)
        monkeypatch.setitem(QUANTITIES, "log_prob", lambda p, q: p.log_prob(torch.zeros(3, 40, dtype=torch.int64)))
        value = QUANTITIES[quantity](p, q)
        leaves = (*potentials[0], *potentials[1])
        weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
        results.append((value, *torch.autograd.grad(value, leaves, weights, materialize_grads=True)))
        if run is scaled.forward_backward:
            peaks = p._trellis.factors.max(axis=-1)
            assert ((peaks > 0) & (peaks != 1)).any()  # it did rescale
    for scaled_result, log_result in zip(*results, strict=True):
        torch.testing.assert_close(scaled_result, log_result, rtol=1e-9, atol=1e-9)
