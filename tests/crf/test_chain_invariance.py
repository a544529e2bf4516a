"""What must not matter does not matter: padding, order, constants, the company a row is computed in."""

import pytest
import torch
from chains import prefix_mask, random_chain, random_potentials

from lightning_ita.crf import ChainDistribution, distribution, trellis

LENGTHS = [6, 1, 4, 2]
TAGS = 5


def everything(chain: ChainDistribution, tags: torch.Tensor) -> list[torch.Tensor]:
    other = ChainDistribution(chain.emissions.flip(2), chain.mask, *chain._potentials[1:])
    return [
        chain.log_prob(tags),
        chain.log_partition,
        chain.marginals,
        chain.log_marginals,
        chain.pair_marginals,
        chain.transition_counts,
        chain.entropy(),
        chain.cross_entropy(other),
        other.cross_entropy(chain),
        chain.kl(other),
        chain.token_kl(other, 2.0),
        chain.argmax(),
    ]


def everything_with_gradients(emissions, moves, mask, tags) -> list[torch.Tensor]:
    emissions = emissions.detach().requires_grad_()
    values = everything(ChainDistribution(emissions, mask, *moves), tags)
    total = sum((value * torch.linspace(0, 1, value.shape[0]).view(-1, *[1] * (value.dim() - 1))).sum()
                for value in values[:-1])  # fmt: skip
    return [*values, *torch.autograd.grad(total, (emissions, *moves))]


@pytest.mark.parametrize("content", [torch.nan, 1e9, -1e9, torch.inf, -torch.inf])
def test_padding_content(way, content):
    emissions, *moves = random_potentials(len(LENGTHS), 6, TAGS, grad=True)
    mask = prefix_mask(LENGTHS)
    clean = torch.where(mask[..., None], emissions, 0)
    dirty = torch.where(mask[..., None], emissions, content)
    tags = torch.randint(TAGS, mask.shape)
    dirty_tags = torch.where(mask, tags, -100)
    expected = everything_with_gradients(clean, moves, mask, tags)
    for one, other in zip(everything_with_gradients(dirty, moves, mask, dirty_tags), expected, strict=True):
        assert torch.equal(one, other)


def test_batch_order(way):
    emissions, *moves = random_potentials(len(LENGTHS), 6, TAGS)
    mask, order = prefix_mask(LENGTHS), torch.tensor([2, 0, 3, 1])
    tags = torch.randint(TAGS, mask.shape)
    straight = everything(ChainDistribution(emissions, mask, *moves), tags)
    shuffled = everything(ChainDistribution(emissions[order], mask[order], *moves), tags[order])
    for one, other in zip(straight, shuffled, strict=True):
        torch.testing.assert_close(one[order], other)


@pytest.mark.parametrize("constant", [3.0, 1e4, -1e4])
def test_constant_added_to_all_emissions(way, constant):
    emissions, *moves = random_potentials(len(LENGTHS), 6, TAGS)
    mask, tags = prefix_mask(LENGTHS), torch.randint(TAGS, (len(LENGTHS), 6))
    one = ChainDistribution(emissions, mask, *moves)
    other = ChainDistribution(emissions + constant, mask, *moves)
    torch.testing.assert_close(other.log_partition, one.log_partition + constant * torch.tensor(LENGTHS))
    for before, after in zip(everything(one, tags)[2:], everything(other, tags)[2:], strict=True):
        torch.testing.assert_close(before, after, rtol=1e-6, atol=1e-8)


def test_parts_of_a_batch(way):
    """A slice says what the same rows say alone, and gradients reach the whole batch's emissions."""
    emissions, *moves = random_potentials(len(LENGTHS), 6, TAGS, grad=True)
    mask, tags = prefix_mask(LENGTHS), torch.randint(TAGS, (len(LENGTHS), 6))
    parts = ChainDistribution(emissions, mask, *moves).split([1, 3])
    assert [part.batch_shape for part in parts] == [(1,), (3,)]
    for part, rows in zip(parts, (slice(0, 1), slice(1, None)), strict=True):
        alone = ChainDistribution(emissions[rows], mask[rows], *moves)
        for one, other in zip(everything(part, tags[rows]), everything(alone, tags[rows]), strict=True):
            torch.testing.assert_close(one, other)
        gradients = [
            torch.autograd.grad(
                chain.log_prob(tags[rows]).sum() + chain.marginals.square().sum(),
                (emissions, *moves),
                retain_graph=True,  # the parts share what masks their padding
            )
            for chain in (part, alone)
        ]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)


def test_two_views_share_one_forward_backward(monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(1)
        return trellis.forward_backward(*arguments)

    monkeypatch.setattr(distribution, "forward_backward", counted)
    views = random_chain(LENGTHS * 2, TAGS, grad=True)
    student, teacher = views[:4], views[4:].detach()
    loss = -views.log_prob(torch.zeros(views.mask.shape, dtype=torch.int64)).sum()
    loss = loss + teacher.cross_entropy(student).sum() + teacher.token_kl(student, 4.0).sum()
    loss = loss + student.entropy().sum()
    loss.backward()
    assert student.marginals.shape == (4, 6, TAGS)
    assert len(calls) == 1


def test_no_gradient_reaches_a_detached_teacher():
    teacher, student = random_chain(LENGTHS, TAGS, grad=True), random_chain(LENGTHS, TAGS, grad=True)
    leaves = teacher._potentials[1:]
    for loss in (teacher.detach().cross_entropy(student), teacher.detach().token_kl(student, 2.0)):
        gradients = torch.autograd.grad(loss.sum(), (*leaves, *student._potentials[1:]), allow_unused=True)
        assert gradients[:3] == (None, None, None)
        assert all(gradient.abs().sum() > 0 for gradient in gradients[3:])
    assert not teacher.detach().entropy().requires_grad


def test_gradient_of_cross_entropy_is_the_difference_of_marginals():
    teacher, student = random_chain(LENGTHS, TAGS), random_chain(LENGTHS, TAGS, grad=True)
    loss = teacher.cross_entropy(student).sum()
    emissions, transitions = torch.autograd.grad(loss, (student.emissions, student.transitions))
    torch.testing.assert_close(emissions, student.marginals - teacher.marginals)
    torch.testing.assert_close(transitions, (student.transition_counts - teacher.transition_counts).sum(0))


def test_asked_without_gradients_first():
    """What is kept between questions must not keep the first question's lack of gradients."""
    chain = random_chain(LENGTHS, TAGS, grad=True)
    with torch.no_grad():
        assert not chain.log_partition.requires_grad
    assert chain.log_partition.requires_grad
    assert chain.marginals.requires_grad


def test_what_is_handed_out_may_be_changed():
    chain = random_chain(LENGTHS, TAGS)
    expected = chain.log_partition.clone(), chain.marginals.clone(), chain.transition_counts.clone()
    for name in ("log_partition", "marginals", "transition_counts"):
        getattr(chain, name).zero_()
    for value, kept in zip((chain.log_partition, chain.marginals, chain.transition_counts), expected, strict=True):
        assert torch.equal(value, kept)
