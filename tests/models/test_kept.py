"""Models that are kept, and loaded again: what is in their folders, and what is refused."""

from __future__ import annotations

import errno
import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.words import cut
from lightning_ita.errors import UserError
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.tagger import Tagger
from tests.systems.outside import BiLSTM

TYPES = ("PER", "LOC")


@pytest.fixture(scope="module")
def folder(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kept model, whose encoder's folder it does not need."""
    place = tmp_path_factory.mktemp("kept")
    encoder = shutil.copytree(tiny_encoder, place / "encoder")
    tagger = Tagger.create("ita", TYPES, encoder=str(encoder), contexts=("cap",), cva="joint")
    tagger.save_pretrained(place / "model")
    shutil.rmtree(encoder)
    return place / "model"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "model")


def edit(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_model_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wanted = {"README.md", "config.json", "model.safetensors", "encoder/config.json", "encoder/tokenizer.json"}
    assert names == wanted | {"encoder/tokenizer_config.json"}
    state = torch.random.get_rng_state()
    loaded = Tagger.from_pretrained(folder)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(loaded, EncoderTagger)
    assert (loaded.tag_set.types, loaded.options.training, loaded.training) == (TYPES, "joint", False)
    loaded.save_pretrained(tmp_path / "again")
    again = Tagger.from_pretrained(str(tmp_path / "again"))
    assert again.state_dict().keys() == loaded.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in again.state_dict().items())
    assert (tmp_path / "again" / "config.json").read_bytes() == (folder / "config.json").read_bytes()


@pytest.mark.parametrize(("words", "handles"), [(("@", "kobe"), "split"), (("@kobe",), "whole"), ((), "whole")])
def test_a_model_writes_handles_as_the_corpus_that_it_was_fitted_to(
    words: tuple[str, ...], handles: str, copy: Path
) -> None:
    pytest.importorskip("nltk")
    tagger = Tagger.from_pretrained(copy)
    corpus = Corpus("own", TYPES, {"train": [Tweet("1", words, ("O",) * len(words), None)]}, {}, {})
    data = MNERDataModule("custom", inputs=tagger.inputs, corpus=corpus)
    tagger._trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    tagger.on_fit_start()
    expected = [word.text for word in cut("hi @kobe", handles)]
    assert [word.text for word in tagger.predict(["hi @kobe"])[0].words] == expected
    checkpoint: dict[str, Any] = {}
    tagger.on_save_checkpoint(checkpoint)
    tagger.save_pretrained(copy)
    assert json.loads((copy / "config.json").read_text(encoding="utf-8"))["handles"] == handles
    edit(copy / "config.json", handles="whole")
    loaded = Tagger.from_pretrained(copy)
    loaded.on_load_checkpoint(checkpoint)
    assert [word.text for word in loaded.predict(["hi @kobe"])[0].words] == expected


def test_a_folder_is_named_as_it_is_loaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tagger = Tagger.from_pretrained(folder)
    tagger.save_pretrained("~/own")
    assert (tmp_path / "own" / "config.json").is_file()
    assert Tagger.from_pretrained("~/own").tag_set == tagger.tag_set
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    tagger.save_pretrained("../empty/../new")
    assert (tmp_path / "new" / "config.json").is_file()
    with pytest.raises(UserError, match="empty is the current folder, which cannot be replaced"):
        tagger.save_pretrained(".")


def test_its_folder_tells_no_path(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["encoder"] == "encoder"
    assert all(str(folder.parent) not in path.read_text("utf-8") for path in folder.rglob("*.json"))


def test_a_class_loads_its_own_kind_alone(folder: Path) -> None:
    assert isinstance(EncoderTagger.from_pretrained(folder), EncoderTagger)
    with pytest.raises(UserError, match="is a ITATagger, not a BiLSTM"):
        BiLSTM.from_pretrained(folder)


def test_saving_replaces_a_model_and_nothing_else(folder: Path, copy: Path, tmp_path: Path) -> None:
    model = Tagger.from_pretrained(folder)
    model.save_pretrained(copy)
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else than a kept model"):
        model.save_pretrained(other)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
def test_a_full_disk_is_an_error_of_the_disk(folder: Path, tmp_path: Path, file: str) -> None:
    """A study ends and goes on later; safetensors' own exception would mark the run as failed."""
    resource = pytest.importorskip("resource")
    model, (soft, hard) = Tagger.from_pretrained(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    (written,) = folder.rglob(file)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written.stat().st_size - 1, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            model.save_pretrained(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "model.safetensors is missing"),
        ("config.json", "config.json is missing"),
        ("encoder/config.json", "encoder/config.json is missing"),
        ("encoder/tokenizer.json", "tokenizer of encoder .* cannot be read|vocabulary"),
    ],
)
def test_a_missing_file_is_named(copy: Path, name: str, message: str) -> None:
    (copy / name).unlink()
    with pytest.raises(UserError, match=message):
        Tagger.from_pretrained(copy)


def test_pickled_weights_are_never_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("pickled weights were read"))
    with pytest.raises(UserError, match=r"pytorch_model\.bin is pickled, which is never read"):
        Tagger.from_pretrained(copy)


@pytest.mark.parametrize("name", ["config.json", "encoder/config.json"])
def test_code_that_comes_with_a_model_is_never_run(copy: Path, name: str) -> None:
    (copy / "evil.py").write_text("raise SystemExit('run')")
    (copy / "encoder" / "evil.py").write_text("raise SystemExit('run')")
    edit(copy / name, auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Config"})
    with pytest.raises(UserError, match="auto_map asks for code"):
        Tagger.from_pretrained(copy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 2}, "of version 2, this program reads up to 1"),
        ({"version": "1"}, "version: Input should be a valid integer"),
        ({"types": ["PER", "LOC", "ORG"]}, "emission.weight is .* not"),
        ({"types": []}, "types: "),
        ({"system": "itta"}, "unknown system 'itta'. Did you mean 'ita'"),
        ({"options": {"cva": "joint", "contexts": ["cap"], "depth": 3}}, "unknown option of ita 'depth'"),
        ({"recipe": {"depth": 3}}, "recipe: not one of this version"),
        ({"tag_scheme": "BIO"}, "tag_scheme or views are not those"),
        ({"views": ["T"]}, "tag_scheme or views are not those"),
        ({"types": ["PER", "PER"]}, "PER"),
        ({"recipe": {"learning_rate": "fast"}}, "learning_rate"),
        ({"options": {"cva": "joint", "contexts": "cap,tga"}}, "tga"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(copy: Path, values: dict[str, Any], message: str) -> None:
    edit(copy / "config.json", **values)
    with pytest.raises(UserError, match=message):
        Tagger.from_pretrained(copy)


def test_damaged_files_are_refused(copy: Path) -> None:
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        Tagger.from_pretrained(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: damaged: not JSON"):
        Tagger.from_pretrained(copy)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 64}, "of another shape than config.json says"),
        ({"vocab_size": 20}, "do not belong together|another shape"),
        ({"num_hidden_layers": 3}, "not the weights of the model|Missing key"),
        ({"num_hidden_layers": 1}, "not the weights of the model|Unexpected key"),
        ({"hidden_size": 2**40}, "hidden_size|cannot be read|too large|shape"),
        ({"hidden_size": "many"}, "hidden_size|cannot be read"),
        ({"model_type": "evil"}, "model_type|family"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(copy: Path, values: dict[str, Any], message: str) -> None:
    edit(copy / "encoder" / "config.json", **values)
    with pytest.raises(UserError, match=message):
        Tagger.from_pretrained(copy)


@pytest.mark.parametrize("change", ["lacks", "has", "is pickled"])
def test_weights_that_do_not_fit_are_refused(copy: Path, change: str) -> None:
    path = copy / "model.safetensors"
    tensors = load_file(path)
    if change == "is pickled":
        path.write_bytes(pickle.dumps({"emission.weight": [1.0]}))
    elif change == "has":
        save_file(tensors | {"further": torch.zeros(2)}, path)
    else:
        del tensors["crf.transitions"]
        save_file(tensors, path)
    with pytest.raises(UserError, match=r"model\.safetensors: (damaged|not the weights of the model)"):
        Tagger.from_pretrained(copy)


def test_a_tokenizer_with_code_of_its_own_is_never_run(copy: Path) -> None:
    (copy / "encoder" / "evil.py").write_text("raise SystemExit('run')")
    edit(copy / "encoder" / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    edit(copy / "encoder" / "tokenizer_config.json", tokenizer_class="EvilTokenizer")
    with pytest.raises(UserError, match="auto_map asks for code"):
        Tagger.from_pretrained(copy)


def test_what_is_no_model_is_said(tmp_path: Path, tiny_encoder: str) -> None:
    for name, message in {
        str(tmp_path / "none"): "no such folder",
        str(tmp_path): "model.safetensors is missing",
        tiny_encoder: "a model of another program",
        "nobody/nothing": "neither a folder nor in the Hub's cache",
        "a b/c": "a b/c",
    }.items():
        with pytest.raises(UserError, match=message):
            Tagger.from_pretrained(name)


def test_an_encoder_without_a_name_cannot_be_kept(tmp_path: Path, tiny_encoder: str) -> None:
    from lightning_ita.models.encoders import load_encoder
    from lightning_ita.models.options import from_values

    model = EncoderTagger(TYPES, from_values({"system": "bert-crf"}), encoder=load_encoder(tiny_encoder))
    with pytest.raises(UserError, match="made of an encoder object cannot be kept"):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())
