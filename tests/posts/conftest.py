from __future__ import annotations

import pytest

from tests.models.test_predicting import model


@pytest.fixture(scope="session")
def kept(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model with captions and random weights, which finds something in most posts."""
    folder = tmp_path_factory.mktemp("kept") / "model"
    model(tiny_encoder).save_pretrained(folder)
    return str(folder)
