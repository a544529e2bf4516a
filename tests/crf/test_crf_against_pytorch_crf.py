"""The same numbers, gradients and paths as pytorch-crf, whose parameters ours shares."""

import pytest
import torch
import torchcrf
from chains import prefix_mask

from lightning_ita.crf import LinearChainCRF


def both(tags: int) -> tuple[LinearChainCRF, torchcrf.CRF]:
    """The two layers with the same parameters, spread more widely than they are initialised."""
    ours, theirs = LinearChainCRF(tags).double(), torchcrf.CRF(tags, batch_first=True).double()
    for scores in theirs.parameters():
        torch.nn.init.normal_(scores)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_state_dicts_interchange():
    ours, theirs = LinearChainCRF(5), torchcrf.CRF(5)
    theirs.load_state_dict(ours.state_dict())
    for name, scores in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], scores)
        assert scores.abs().max() <= 0.1  # initialised as theirs
    assert isinstance(ours, torchcrf.CRF)


@pytest.mark.parametrize("case", range(200))
def test_random_ragged_batches(case):
    torch.manual_seed(case)
    batch, length, tags = (int(torch.randint(1, limit, ())) for limit in (6, 13, 10))
    lengths = torch.randint(1, length + 1, (batch,)).tolist()
    mask = prefix_mask(lengths)
    ours, theirs = both(tags)
    emissions = (3 * torch.randn(*mask.shape, tags, dtype=torch.float64)).requires_grad_()
    gold = torch.randint(tags, mask.shape)

    chain = ours(emissions, mask)
    log_prob, reference = chain.log_prob(gold), theirs(emissions, gold, mask, reduction="none")
    torch.testing.assert_close(log_prob, reference)
    weights = torch.randn(batch, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((value * weights).sum(), (emissions, *layer.parameters()), materialize_grads=True)
        for value, layer in ((log_prob, ours), (reference, theirs))
    ]
    for gradient, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, expected)
    paths = theirs.decode(emissions, mask)
    assert [path[path >= 0].tolist() for path in chain.argmax()] == paths
    assert ours.decode(emissions, mask.to(torch.uint8)) == paths


def test_decode_without_a_mask():
    ours, theirs = both(4)
    emissions = torch.randn(3, 7, 4, dtype=torch.float64)
    assert ours.decode(emissions) == theirs.decode(emissions, torch.ones(3, 7, dtype=torch.bool))
