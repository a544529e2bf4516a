"""The CRF on a GPU equals the CRF on the CPU, in float32 within 1e-4, and never waits for the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, LinearChainCRF

BATCH = 8
QUANTITIES: dict[str, Callable[[ChainDistribution, ChainDistribution, Tensor], Tensor]] = {
    "log_prob": lambda chain, _, tags: chain.log_prob(tags),
    "log_partition": lambda chain, _, __: chain.log_partition,
    "marginals": lambda chain, _, __: chain.marginals.square().sum((1, 2)),
    "entropy": lambda chain, _, __: chain.entropy(),
    "cross_entropy": lambda chain, other, _: other.detach().cross_entropy(chain),
    "token_kl": lambda chain, other, _: other.detach().token_kl(chain, 2.0),
}


@contextmanager
def never_waiting() -> Iterator[None]:
    """Raises where the CPU waits for the GPU."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*Synchronization debug mode is a prototype")
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def chains(
    length: int, tags: int, device: str, dtype: torch.dtype
) -> tuple[LinearChainCRF, Tensor, Tensor, ChainDistribution, ChainDistribution]:
    """A CRF, its emissions, gold tags, and the distributions of two views; the same numbers on every device."""
    generator = torch.Generator().manual_seed(length * tags)
    lengths = torch.randint(1, length + 1, (BATCH,), generator=generator)
    lengths[0] = length
    mask = (torch.arange(length) < lengths[:, None]).to(device)
    crf = LinearChainCRF(tags)
    for scores in crf.parameters():
        torch.nn.init.normal_(scores, generator=generator)
    emissions = 3 * torch.randn(2 * BATCH, length, tags, generator=generator)
    gold = torch.randint(tags, (BATCH, length), generator=generator).to(device)
    crf.to(device, dtype)
    emissions = emissions.to(device, dtype).requires_grad_()
    one, other = crf(emissions, mask.repeat(2, 1)).split(BATCH)
    return crf, emissions, gold, one, other


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize(("length", "tags"), [(1, 3), (5, 1), (17, 9), (128, 17)])
def test_values_and_gradients_are_those_of_the_cpu(name: str, length: int, tags: int) -> None:
    results = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        crf, emissions, gold, one, other = chains(length, tags, device, dtype)
        value = QUANTITIES[name](one, other, gold)
        gradients = torch.autograd.grad(value.sum(), [emissions, *crf.parameters()])
        results.append([tensor.detach().double().cpu() for tensor in (value, *gradients)])
    for expected, found in zip(*results, strict=True):
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(found / scale, expected / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("length", "tags"), [(1, 3), (5, 1), (17, 9), (128, 17)])
def test_paths_are_those_of_the_cpu(length: int, tags: int) -> None:
    generator = torch.Generator().manual_seed(0)
    forbidden = ForbiddenTransitions(
        *(torch.rand(shape, generator=generator) < 0.2 for shape in ((tags,), (tags, tags), (tags,)))
    )
    for moves in forbidden:  # some sequence stays possible
        moves.view(-1)[0] = False
    for rules in (None, forbidden):
        paths = []
        for device in ("cpu", "cuda"):
            _, _, _, chain, _ = chains(length, tags, device, torch.float64)
            given = rules and ForbiddenTransitions(*(moves.to(device) for moves in rules))
            paths.append(chain.argmax(given).cpu())
        assert torch.equal(*paths)


def test_impossible_moves_have_no_gradient() -> None:
    crf, emissions, _, one, _ = chains(9, 4, "cuda", torch.float32)
    with torch.no_grad():
        crf.transitions[0, 1] = crf.start_transitions[2] = -torch.inf
    chain = crf(emissions[:BATCH], one.mask)
    gradients = torch.autograd.grad(chain.log_partition.sum(), [emissions, *crf.parameters()])
    assert chain.log_partition.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    by_name = dict(zip(dict(crf.named_parameters()), gradients[1:], strict=True))
    assert by_name["transitions"][0, 1] == 0
    assert by_name["start_transitions"][2] == 0


def test_training_never_waits_for_the_device() -> None:
    _, _, gold, one, other = chains(40, 9, "cuda", torch.float32)
    with never_waiting():
        loss = (other.detach().token_kl(one, 2.0) - one.log_prob(gold) - other.log_prob(gold)).sum()
        loss = loss + other.detach().cross_entropy(one).sum()
        loss.backward()
