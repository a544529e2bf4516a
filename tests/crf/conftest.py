"""Chains to test with, each way of running forward–backward."""

from functools import partial

import pytest
import torch

from lightning_ita.crf import distribution, log_space, scaled, viterbi


@pytest.fixture(params=["scaled", "log", "tree"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every distribution of the test runs its algorithms this way, whatever its scores and device."""
    if request.param == "scaled":
        monkeypatch.setattr(distribution, "forward_backward", scaled.forward_backward)
    else:
        log_depth = request.param == "tree"
        monkeypatch.setattr(distribution, "forward_backward", partial(log_space.forward_backward, log_depth=log_depth))
        monkeypatch.setattr(
            distribution, "viterbi", lambda *arguments: viterbi.viterbi(*arguments[:-1], log_depth=log_depth)
        )
    return request.param


@pytest.fixture(params=[False, True], ids=["log", "tree"])
def way_in_log_space(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the two ways that take any scores."""
    log_depth = request.param
    monkeypatch.setattr(distribution, "forward_backward", partial(log_space.forward_backward, log_depth=log_depth))
    monkeypatch.setattr(
        distribution, "viterbi", lambda *arguments: viterbi.viterbi(*arguments[:-1], log_depth=log_depth)
    )


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)
