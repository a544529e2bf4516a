"""Derivatives that are not supported are errors; parameters changed in place do not change a chain."""

import pytest
import torch
from chains import prefix_mask, random_chain, random_potentials
from torch.autograd import forward_ad

from lightning_ita.crf import ChainDistribution, LinearChainCRF

TAGS = torch.zeros(2, 4, dtype=torch.int64)
QUANTITIES = {
    "log_prob": lambda chain: chain.log_prob(TAGS),
    "log_partition": lambda chain: chain.log_partition,
    "marginals": lambda chain: chain.marginals,
    "log_marginals": lambda chain: chain.log_marginals,
    "pair_marginals": lambda chain: chain.pair_marginals,
    "transition_counts": lambda chain: chain.transition_counts,
    "entropy": lambda chain: chain.entropy(),
    "cross_entropy": lambda chain: random_chain([4, 2], 3).cross_entropy(chain),
    "kl": lambda chain: random_chain([4, 2], 3).kl(chain),
    "token_kl": lambda chain: random_chain([4, 2], 3).token_kl(chain, 2.0),
}


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("reduce", ["sum", "square"])
@pytest.mark.parametrize("backward", [True, False], ids=["backward", "grad"])
def test_a_gradient_penalty_is_an_error(way, quantity, reduce, backward):
    """Also where the incoming gradient is constant, and where autograd looks for one leaf only."""
    potentials = random_potentials(2, 4, 3, grad=True)
    value = QUANTITIES[quantity](ChainDistribution(potentials[0], prefix_mask([4, 2]), *potentials[1:]))
    value = value.sum() if reduce == "sum" else value.square().sum()
    (gradient,) = torch.autograd.grad(value, potentials[0], create_graph=True)
    assert gradient.requires_grad
    loss = value + gradient.square().sum()
    with pytest.raises(RuntimeError, match="differentiate twice: the gradients of a ChainDistribution"):
        loss.backward() if backward else torch.autograd.grad(loss, potentials[2])


def test_create_graph_alone_changes_nothing(way):
    """It is an error to differentiate a gradient, not to compute one in a graph; the error stays in that graph."""
    chain = random_chain([4, 2], 3, grad=True)
    value = chain.log_prob(TAGS).sum() + chain.entropy().sum()
    leaves = chain._potentials
    (expected, inside) = (torch.autograd.grad(value, leaves, retain_graph=True, create_graph=flag) for flag in (0, 1))
    for one, other in zip(expected, inside, strict=True):
        assert torch.equal(one, other)


def test_a_hessian_is_an_error():
    crf = LinearChainCRF(3)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        torch.autograd.functional.hessian(
            lambda emissions: crf(emissions, prefix_mask([4, 2])).log_partition.sum(), torch.randn(2, 4, 3)
        )


def test_parameters_changed_in_place_do_not_change_a_chain(way):
    """A step of an optimiser between two questions: the second is answered with the parameters of the first."""
    crf, mask = LinearChainCRF(3), prefix_mask([4, 2])
    emissions = torch.randn(2, 4, 3)
    early, late, expected = (crf(emissions, mask) for _ in range(3))
    asked = early.log_partition.clone()
    values = {name: question(expected) for name, question in QUANTITIES.items() if "_entropy" not in name}
    gradients = torch.autograd.grad(expected.log_prob(TAGS).sum(), tuple(crf.parameters()))
    path = expected.argmax()
    old_mask = mask.clone()
    with torch.no_grad():
        for scores in crf.parameters():
            scores.add_(5 * torch.randn_like(scores))
            scores.data.mul_(3)  # which autograd's version counters do not see
    emissions.zero_()
    mask.fill_(True)
    for chain in (early, late):
        assert torch.equal(chain.mask, old_mask)
        assert torch.equal(chain.log_partition, asked)
        assert (chain.log_prob(TAGS) <= 0).all()
        for name in ("log_prob", "marginals", "pair_marginals", "transition_counts", "entropy"):
            assert torch.equal(QUANTITIES[name](chain), values[name])
        assert torch.equal(chain.argmax(), path)
        found = torch.autograd.grad(chain.log_prob(TAGS).sum(), tuple(crf.parameters()))
        assert all(torch.equal(one, other) for one, other in zip(found, gradients, strict=True))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")  # torch's own, of forward mode
@pytest.mark.parametrize("validate_args", [True, False])
@pytest.mark.parametrize("transform", ["grad", "vmap", "vmap of decoding", "jvp", "jacrev", "functional_call"])
def test_transforms_are_a_clear_error(transform, validate_args):
    crf, mask, emissions = LinearChainCRF(3), prefix_mask([4, 2]), torch.randn(2, 4, 3)

    def loss(emissions):
        return crf(emissions, mask, validate_args).log_prob(TAGS).sum()

    def of_parameters(parameters):
        return torch.func.functional_call(crf, parameters, (emissions, mask)).log_prob(TAGS).sum()

    attempts = {
        "grad": lambda: torch.func.grad(loss)(emissions),
        "vmap": lambda: torch.vmap(loss)(emissions.expand(3, -1, -1, -1)),
        "vmap of decoding": lambda: torch.vmap(lambda each: crf(each, mask).argmax())(emissions.expand(3, -1, -1, -1)),
        "jvp": lambda: torch.func.jvp(loss, (emissions,), (emissions,)),
        "jacrev": lambda: torch.func.jacrev(loss)(emissions),
        "functional_call": lambda: torch.func.grad(of_parameters)(dict(crf.named_parameters())),
    }
    with pytest.raises(NotImplementedError, match=r"does not support the transforms of torch\.func .*autograd\.grad"):
        attempts[transform]()


def test_transforms_of_a_chain_made_outside_are_a_clear_error():
    chain = random_chain([4, 2], 3)
    questions = [
        lambda: torch.vmap(chain.log_prob)(TAGS.expand(3, -1, -1)),
        lambda: torch.func.grad(lambda scale: (scale * chain.marginals).sum())(torch.tensor(1.0)),
        lambda: torch.func.grad(lambda scale: (scale * chain.argmax()).sum())(torch.tensor(1.0)),
    ]
    for _ in range(2):
        for question in questions:
            with pytest.raises(NotImplementedError, match=r"transforms of torch\.func"):
                question()
        assert chain.log_partition.isfinite().all()  # from now on its forward–backward is kept


def test_functional_call_without_a_transform():
    crf, emissions = LinearChainCRF(3), torch.randn(2, 4, 3)
    parameters = {name: 2 * scores for name, scores in crf.named_parameters()}
    chain = torch.func.functional_call(crf, parameters, (emissions, prefix_mask([4, 2])))
    assert torch.equal(chain.transitions, 2 * crf.transitions)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")  # torch's own, of forward mode
def test_forward_mode_is_a_clear_error():
    emissions, *moves = random_potentials(2, 4, 3)
    with forward_ad.dual_level():
        for place in range(4):
            potentials = [emissions, *moves]
            potentials[place] = forward_ad.make_dual(potentials[place], torch.ones_like(potentials[place]))
            with pytest.raises(NotImplementedError, match=r"forward-mode differentiation; use backward\(\)"):
                ChainDistribution(potentials[0], prefix_mask([4, 2]), *potentials[1:])


@pytest.mark.parametrize("quantity", ["log_partition", "marginals", "log_marginals", "pair_marginals"])
@pytest.mark.parametrize("spread", [1.0, 1000.0])
def test_many_gradients_at_once_are_right_or_a_clear_error(quantity, spread):
    chain = random_chain([3, 2], 2, spread, grad=True)
    value, leaf = QUANTITIES[quantity](chain), chain.transitions
    units = torch.eye(value.numel(), dtype=value.dtype).view(-1, *value.shape)
    expected = torch.stack([torch.autograd.grad(value, leaf, unit, retain_graph=True)[0] for unit in units])
    if spread == 1 and quantity != "log_partition":  # the scaled way, in NumPy
        with pytest.raises(NotImplementedError, match="compute them one after another"):
            torch.autograd.grad(value, leaf, units, is_grads_batched=True)
    else:
        (found,) = torch.autograd.grad(value, leaf, units, is_grads_batched=True)
        torch.testing.assert_close(found, expected)


def test_questions_in_inference_mode():
    crf, emissions = LinearChainCRF(3), torch.randn(2, 4, 3)
    expected = crf(emissions, prefix_mask([4, 2]))
    with torch.inference_mode():
        chain = crf(emissions, prefix_mask([4, 2]))
        assert torch.equal(chain.marginals, expected.marginals)
    assert torch.equal(chain.log_prob(TAGS), expected.log_prob(TAGS))
    assert torch.equal(chain.argmax(), expected.argmax())
