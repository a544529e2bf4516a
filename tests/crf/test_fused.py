"""The kernels, run by Triton's interpreter on the CPU, against the recursions along the chain.

Only with TRITON_INTERPRET=1, which Triton reads when it is imported; it takes most of a minute.
"""

import os

import pytest
import torch

from lightning_ita.crf import log_space
from lightning_ita.crf.viterbi import _along_chain as best_along_chain
from tests.crf.chains import prefix_mask, random_potentials

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="set TRITON_INTERPRET=1 to run the kernels"),
    # Of the interpreter, which computes in NumPy: log 0 = −inf is meant.
    pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning"),
]


def potentials(tags, impossible, lengths, dtype=torch.float64):
    """Emissions, start, transitions, end, some −inf where asked for; tag 0 stays possible everywhere."""
    scores = list(random_potentials(len(lengths), max(lengths), tags, spread=3.0, dtype=dtype))
    if impossible:
        for each in scores:
            chance = torch.rand(each.shape) < 0.3
            chance[..., 0] = False
            each[chance] = -torch.inf
    return scores


LENGTHS = [1, 40, 2, 17, 9]
CASES = [pytest.mark.parametrize("tags", [1, 3, 9, 17]), pytest.mark.parametrize("impossible", [False, True])]


def cases(function):
    """Runs a test with several numbers of tags, without and with impossible scores."""
    for mark in CASES:
        function = mark(function)
    return function


def assert_messages(found, expected, mask):
    """Equal up to one constant per position, −inf included."""
    for one, other in zip(found, expected, strict=True):
        one, other = (each - each.amax(2, keepdim=True) for each in (one, other))
        torch.testing.assert_close(one[mask], other[mask], rtol=1e-10, atol=1e-10)


@cases
def test_messages_and_log_partition(tags, impossible):
    from lightning_ita.crf import fused

    mask = prefix_mask(LENGTHS)
    emissions, *moves = potentials(tags, impossible, LENGTHS)
    emissions[~mask] = torch.nan  # must not be read
    clean = emissions.masked_fill(~mask[..., None], 0)
    expected = log_space.forward_backward(clean, mask, *moves, log_depth=False)
    centred, *found, log_partition = fused.forward_backward(emissions, mask, *moves, torch.float64)
    torch.testing.assert_close(centred, expected.emissions.masked_fill(~mask[..., None], 0))
    assert_messages(found, (expected.alpha, expected.beta), mask)
    torch.testing.assert_close(log_partition, expected.log_partition, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("constant", [0.0, 1e4])
def test_float32_does_not_lose_precision_with_length_or_a_constant(constant):
    from lightning_ita.crf import fused

    lengths = [200]
    mask = prefix_mask(lengths)
    scores = [each.double() for each in potentials(9, False, lengths, torch.float32)]
    scores[0] = (scores[0] + constant).float().double()
    scores[0][~mask] = 0
    expected = log_space.forward_backward(scores[0], mask, *scores[1:], log_depth=False)
    single = [each.float() for each in scores]
    centred, alpha, beta, log_partition = fused.forward_backward(single[0], mask, *single[1:], torch.float32)
    trellis = log_space.LogTrellis(torch.float32, mask, centred, single[2], alpha, beta, log_partition, True)
    torch.testing.assert_close(trellis.marginals.double(), expected.marginals, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(log_partition.double(), expected.log_partition, rtol=1e-6, atol=1e-6)


def test_a_row_without_any_possible_sequence():
    from lightning_ita.crf import fused

    lengths = [5, 5, 3]
    mask = prefix_mask(lengths)
    emissions, *moves = potentials(3, False, lengths)
    emissions[0, 2] = -torch.inf
    expected = log_space.forward_backward(emissions.masked_fill(~mask[..., None], 0), mask, *moves, log_depth=False)
    _, alpha, beta, log_partition = fused.forward_backward(emissions, mask, *moves, torch.float64)
    assert log_partition[0] == -torch.inf
    torch.testing.assert_close(log_partition[1:], expected.log_partition[1:])
    assert not alpha.isnan().any()
    assert not beta.isnan().any()


@cases
def test_adjoints(tags, impossible, monkeypatch):
    from lightning_ita.crf import fused

    mask = prefix_mask(LENGTHS)
    emissions, *moves = potentials(tags, impossible, LENGTHS)
    emissions[~mask] = 0
    trellis = log_space.forward_backward(emissions, mask, *moves, log_depth=False)
    grads = torch.randn(2, *emissions.shape, dtype=torch.float64) * mask[..., None]
    expected = trellis.vjp(*grads)
    monkeypatch.setattr(log_space, "fused_kernels", lambda scores: fused)
    found = log_space.forward_backward(emissions, mask, *moves, log_depth=True).vjp(*grads)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@cases
@pytest.mark.parametrize("ties", [False, True])
def test_best_paths(tags, impossible, ties):
    from lightning_ita.crf import fused

    mask = prefix_mask(LENGTHS)
    emissions, *moves = potentials(tags, impossible, LENGTHS)
    emissions[~mask] = 0
    if ties:
        emissions, *moves = (each.round() for each in (emissions, *moves))
    path = fused.viterbi(emissions, mask, *moves)
    assert path.dtype == torch.int64
    assert (path[~mask] == -1).all()
    expected = best_along_chain(emissions, mask, *moves)
    if not ties and not impossible:
        assert torch.equal(path, expected)
    torch.testing.assert_close(score(path, emissions, mask, *moves), score(expected, emissions, mask, *moves))


def score(path, emissions, mask, start, transitions, end):
    """The scores of tag sequences, (batch,)."""
    totals = []
    for row, length in enumerate(mask.sum(1).tolist()):
        tags = path[row, :length]
        emitted = emissions[row, torch.arange(length), tags].sum()
        totals.append(start[tags[0]] + emitted + transitions[tags[:-1], tags[1:]].sum() + end[tags[-1]])
    return torch.stack(totals)
