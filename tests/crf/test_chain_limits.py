"""Extreme scores, extreme lengths, low precision, and no look at the contents of an accelerator."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from chains import log_probs, prefix_mask, random_chain, random_potentials, sequences

from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, LinearChainCRF, distribution, log_space, scaled
from lightning_ita.crf.trellis import forward_backward


def all_values(chain: ChainDistribution, other: ChainDistribution) -> list[torch.Tensor]:
    return [
        chain.log_partition,
        chain.marginals,
        chain.pair_marginals,
        chain.entropy(),
        chain.cross_entropy(other),
        other.detach().cross_entropy(chain),
        chain.kl(other),
        chain.token_kl(other, 4.0),
        other.detach().token_kl(chain, 4.0),
    ]


def check_finite(chain: ChainDistribution, other: ChainDistribution, leaves: tuple[torch.Tensor, ...]) -> None:
    values = all_values(chain, other)
    for value in values:
        assert value.isfinite().all()
    for gradient in torch.autograd.grad(sum(value.sum() for value in values), leaves):
        assert gradient.isfinite().all()
    torch.testing.assert_close(chain.marginals.sum(2), chain.mask.to(chain.marginals.dtype))
    assert (chain.kl(other) >= -1e-3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [2, 512])
def test_scores_of_ten_thousand(dtype, length):
    lengths = [length, 1, length // 2]
    chains, leaves = [], []
    for _ in range(2):
        potentials = random_potentials(3, length, 5, dtype=dtype)
        potentials = tuple((scores.sign() * 1e4).requires_grad_() for scores in potentials)
        chains.append(ChainDistribution(potentials[0], prefix_mask(lengths), *potentials[1:]))
        leaves.extend(potentials)
    check_finite(*chains, tuple(leaves))


def test_scores_of_ten_thousand_by_enumeration(way_in_log_space):
    chain = random_chain([4, 2], 3, spread=1e4)
    for row in range(2):
        expected, log_partition = log_probs(chain, row)
        torch.testing.assert_close(chain.log_partition[row], log_partition)
        torch.testing.assert_close(chain.entropy()[row], -(expected.exp() * expected).sum())


@pytest.mark.parametrize("penalty", [-torch.inf, -1e4])
def test_forbidden_transitions(way_in_log_space, penalty):
    """A chain whose own transitions forbid: what cannot happen has no probability, all else is as by enumeration."""
    lengths, tags = [5, 3, 1], 3
    potentials = random_potentials(3, 5, tags)
    potentials[1][2] = penalty
    potentials[2][0, 1] = potentials[2][1, 2] = potentials[2][2, 2] = penalty
    potentials[3][0] = penalty
    leaves = tuple(scores.requires_grad_() for scores in potentials)
    p = ChainDistribution(leaves[0], prefix_mask(lengths), *leaves[1:])
    q = ChainDistribution(leaves[0].detach().flip(2), prefix_mask(lengths), *leaves[1:])
    for row in range(3):
        log_p, log_q = log_probs(p, row)[0], log_probs(q, row)[0]
        likely = log_p.exp() > 0
        torch.testing.assert_close(p.cross_entropy(q)[row], -(log_p.exp() * log_q)[likely].sum())
        torch.testing.assert_close(p.kl(q)[row], (log_p.exp() * (log_p - log_q))[likely].sum())
        torch.testing.assert_close(p.entropy()[row], -(log_p.exp() * log_p)[likely].sum())
    loss = p.log_partition + p.cross_entropy(q) + p.kl(q) + p.token_kl(q, 2.0) + q.detach().token_kl(p, 2.0)
    for gradient in torch.autograd.grad(loss.sum() + p.marginals.square().sum(), leaves):
        assert gradient.isfinite().all()
    illegal = torch.tensor([[0, 1, 0, 0, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    log_prob = p.log_prob(illegal)
    assert log_prob[0] <= penalty + 10
    assert log_prob[1:].isfinite().all()


def test_impossible_for_the_student_costs_infinitely():
    teacher = random_chain([3], 2)
    forbidding = teacher.transitions.clone()
    forbidding[0, 1] = -torch.inf
    student = ChainDistribution(
        teacher.emissions, teacher.mask, teacher.start_transitions, forbidding, teacher.end_transitions
    )
    assert teacher.cross_entropy(student).item() == math.inf
    assert student.cross_entropy(teacher).isfinite().all()


def test_a_narrow_chain_is_scaled_and_a_wide_one_is_not():
    mask = prefix_mask([4, 2])
    for spread, expected in ((1, scaled.ScaledTrellis), (1000, log_space.LogTrellis)):
        emissions, *moves = random_potentials(2, 4, 3, spread)
        assert isinstance(forward_backward(emissions, mask, *moves), expected)


def test_the_widest_scaled_chain_is_exact(monkeypatch):
    """At the limit of what is scaled, in the worst order: the best tag alternates between the extremes."""
    edge = 0.4999 * scaled.WIDEST_SPREAD
    emissions = torch.zeros(1, 64, 2, dtype=torch.float64)
    emissions[0, 0::2, 0] = emissions[0, 1::2, 1] = -edge
    transitions = torch.tensor([[-edge, 0], [0, -edge]], dtype=torch.float64)
    leaves = emissions.requires_grad_(), transitions.requires_grad_()
    zeros, mask = torch.zeros(2, dtype=torch.float64), prefix_mask([64])
    results = []
    for run in (scaled.forward_backward, partial(log_space.forward_backward, log_depth=False)):
        monkeypatch.setattr(distribution, "forward_backward", run)
        chain = ChainDistribution(emissions, mask, zeros, transitions, zeros)
        other = ChainDistribution(-emissions, mask, zeros, transitions.T, zeros)
        values = [chain.log_partition, chain.log_marginals, other.detach().token_kl(chain, 4.0), chain.kl(other)]
        results.append([*values, *torch.autograd.grad(sum(value.sum() for value in values), leaves)])
    for one, other_result in zip(*results, strict=True):
        torch.testing.assert_close(one, other_result, rtol=1e-9, atol=1e-9)


def test_length_one(way):
    chain = random_chain([1, 1], 4)
    scores = chain.emissions[:, 0] + chain.start_transitions + chain.end_transitions
    torch.testing.assert_close(chain.log_partition, scores.logsumexp(1))
    torch.testing.assert_close(chain.marginals[:, 0], scores.softmax(1))
    assert chain.pair_marginals.shape == (2, 0, 4, 4)
    assert torch.equal(chain.argmax()[:, 0], scores.argmax(1))


def test_one_tag(way):
    chain = random_chain([3, 1], 1)
    torch.testing.assert_close(chain.entropy(), torch.zeros(2, dtype=torch.float64))
    assert chain.argmax().tolist() == [[0, 0, 0], [0, -1, -1]]


def test_autocast_computes_in_float32(way):
    emissions, *moves = random_potentials(3, 6, 4, dtype=torch.float32, grad=True)
    mask, tags = prefix_mask([6, 2, 1]), torch.zeros(3, 6, dtype=torch.int64)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            p, q = ChainDistribution(emissions, mask, *moves), ChainDistribution(emissions.flip(2), mask, *moves)
            values = [p.log_prob(tags), *all_values(p, q)]
            assert all(value.dtype == torch.float32 for value in values)
            gradients = torch.autograd.grad(sum(value.sum() for value in values), (emissions, *moves))
        results.append([*values, *gradients])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_emissions(dtype):
    crf, mask = LinearChainCRF(4), prefix_mask([5, 2])
    emissions = torch.randn(2, 5, 4).to(dtype).requires_grad_()
    chain = crf(emissions, mask)
    assert chain.log_partition.dtype == torch.float32
    torch.testing.assert_close(chain.log_partition, crf(emissions.float(), mask).log_partition)
    chain.log_partition.sum().backward()
    assert emissions.grad.dtype == dtype


def test_no_look_at_an_accelerators_contents():
    """Tensors of the meta device have no contents: whatever would synchronise with a GPU fails here.

    Except in decoding, which checks for NaN: it is not part of a training step.
    """
    crf = LinearChainCRF(5).to("meta")
    emissions = torch.empty(6, 9, 5, device="meta", requires_grad=True)
    mask, tags = torch.empty(6, 9, dtype=torch.bool, device="meta"), torch.empty(6, 9, dtype=torch.int64, device="meta")
    views = crf(emissions, mask)
    student, teacher = views[:3], views[3:].detach()
    loss = views.log_prob(tags).sum() + teacher.cross_entropy(student).sum() + teacher.token_kl(student, 4.0).sum()
    loss = loss + student.entropy().sum() + student.kl(teacher).sum() + student.marginals.sum()
    loss.backward()
    assert emissions.grad.shape == emissions.shape
    forbidden = ForbiddenTransitions(*(torch.zeros(shape, dtype=torch.bool, device="meta") for shape in (5, (5, 5), 5)))
    assert views.argmax(forbidden).shape == (6, 9)


def test_float64_is_not_asked_of_a_device_without_it(monkeypatch):
    assert log_space.working_dtype(torch.device("mps"), torch.float32) == torch.float32
    assert log_space.working_dtype(torch.device("cuda"), torch.float32) == torch.float64
    # Intel's GPUs differ.
    for properties, expected in (
        (SimpleNamespace(has_fp64=True), torch.float64),
        (SimpleNamespace(has_fp64=False), torch.float32),
    ):
        monkeypatch.setattr(torch.xpu, "get_device_properties", {torch.device("xpu"): properties}.get)
        assert log_space.working_dtype(torch.device("xpu"), torch.float32) == expected


def test_enumeration_lists_every_sequence():
    assert sequences(random_chain([3], 2), 0).unique(dim=0).shape == (8, 3)
