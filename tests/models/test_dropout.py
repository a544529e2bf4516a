from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ita.models.dropout import Dropout, dropout, use_fast_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_drops_at_the_rate_and_keeps_the_mean(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    dropped = dropout(torch.ones(1000, 1003, dtype=dtype), rate)
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(rate, abs=0.003)  # 0.1 is 26/256 = 0.1016
    assert dropped.float().mean().item() == pytest.approx(1, abs=0.003)
    assert dropped.unique().numel() == 2
    # No row, no column is dropped more than chance has it.
    assert (dropped == 0).float().mean(0).max() < rate + 0.08
    assert (dropped == 0).float().mean(1).max() < rate + 0.08


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    zero = (dropout(torch.ones(2**20), 0.5) == 0).double()
    for lag in (1, 2, 7, 8, 9, 64):
        assert abs(torch.corrcoef(torch.stack([zero[:-lag], zero[lag:]]))[0, 1]) < 5e-3


def test_the_gradient_flows_where_nothing_was_dropped() -> None:
    x = torch.ones(50, requires_grad=True)
    y = dropout(x, 0.3)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


def test_torchs_seed_fixes_it() -> None:
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(dropout(torch.ones(999), 0.1))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[2], dropout(torch.ones(999), 0.1))


def test_replaces_dropout_everywhere_and_does_nothing_in_evaluation() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.2)), nn.Dropout(0.4))
    use_fast_dropout(module)
    assert [child.p for child in module.modules() if isinstance(child, Dropout)] == [0.2, 0.4]
    x = torch.rand(3, 2)
    assert module[1](x) is not x
    assert module.eval()[1](x) is x
    assert dropout(x, 0.0).equal(x)
