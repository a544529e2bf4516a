"""What a study will take."""

from __future__ import annotations

import time
from itertools import count

import pytest
import torch

from lightning_ita.models.encoders.locating import EncoderShape
from lightning_ita.studies.cost import SHARE_OF_MATMUL, flop_per_second


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is measured by the time that passes")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_rate_is_of_an_idle_machine(threads: int, monkeypatch: pytest.MonkeyPatch, shape: EncoderShape) -> None:
    # Other programs stretch the time that passes; a product takes 2 s of processor time, whatever they do.
    passed = count()
    products: list[int] = []
    monkeypatch.setattr(time, "perf_counter", lambda: next(passed) * 0.1)
    matmul = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: (products.append(1), matmul(a, b))[1])
    monkeypatch.setattr(time, "thread_time", lambda: 2.0 * len(products))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rate = flop_per_second(shape, "float32")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert rate == pytest.approx(threads * SHARE_OF_MATMUL * 2 * 1024 * shape.hidden * shape.feed_forward / 2)


@pytest.fixture
def shape() -> EncoderShape:
    return EncoderShape(layers=1, hidden=8, feed_forward=16, vocabulary=10, max_length=32)
