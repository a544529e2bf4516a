from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines import ENGINES, READ_TWEETS, check_engine, engine_list, make_engine
from lightning_ita.contexts.engines.loading import choose_precision
from lightning_ita.contexts.engines.vocabulary import SHIPPED, read_vocabulary
from lightning_ita.contexts.kinds import KINDS
from lightning_ita.devices import choose_device
from lightning_ita.errors import UserError
from tests.contexts.tiny_models import PICTURES, random_blip, random_clip, random_detector

COLOUR = """
class Colour:
    kind, name, model, version, batch_size = "tag", "colour", "mean", "1", 64

    def __init__(self, model: str | None = None, dark: int = 0):
        self.parameters, self.prepare = {"dark": dark}, mean_colour

    def read(self, prepared):
        from lightning_ita.contexts.engine import Reading

        dark = self.parameters["dark"]
        names = ("red", "green", "blue")
        return [Reading((names[each.index(max(each))] if max(each) >= dark else "dark",)) for each in prepared]


def mean_colour(image):
    return image.resize((1, 1)).getpixel((0, 0))


class Other(Colour):
    kind = "cap"
"""


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Fails every connection, and returns what was tried; the Hub's cache is empty."""
    tried: list[str] = []

    def refuse(*address: Any, **_: Any) -> Any:
        tried.append(str(address))
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tried


def test_every_kind_has_engines_and_every_engine_can_be_imported() -> None:
    assert set(ENGINES) == {*KINDS, *READ_TWEETS}
    for kind, registry in ENGINES.items():
        for name in registry:
            assert (registry[name].kind, registry[name].name) == (kind, name)


def test_another_package_adds_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_engines.py").write_text(COLOUR, encoding="utf-8")
    installed = tmp_path / "my_engines-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-engines\nVersion: 1\n", encoding="utf-8")
    points = "[lightning_ita.engines.tag]\ncolour = my_engines:Colour\ntimm = my_engines:Colour\n"
    points += "gone = my_engines:Gone\nother = my_engines:Other\n"
    (installed / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert "colour" not in ENGINES["tag"]  # what there is, is noted once per process
    monkeypatch.delitem(ENGINES["tag"].__dict__, "entries")
    assert "  tag=colour       of another package: my_engines:Colour" in engine_list().splitlines()
    engine = make_engine("tag", "colour:mean", dark=9)
    prepared = [engine.prepare(Image.new("RGB", (4, 4), colour)) for colour in ((200, 0, 0), (0, 5, 0))]
    assert engine.read(prepared) == [Reading(("red",)), Reading(("dark",))]
    assert (check_engine("tag", None), ENGINES["tag"]["timm"].__name__) == (("timm", None), "Classifier")
    with pytest.raises(UserError, match=r"unknown option of tag=colour 'drak'. Did you mean 'dark'"):
        make_engine("tag", "colour", drak=9)
    with pytest.raises(UserError, match="'gone' is registered as my_engines:Gone, which cannot be imported"):
        make_engine("tag", "gone")
    with pytest.raises(UserError, match="my_engines:Other calls itself cap=colour, and is registered as tag=other"):
        make_engine("tag", "other")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ("tags", None),
            {},
            "Did you mean 'tag'? Known: tag, cap, ocr, know, ret. No engine reads others; `lightning-ita align --im",
        ),
        (("tag", "detr:~no-such-user/model"), {}, "~no-such-user/model: there is no home folder of this name"),
        (("tag", "open_clip"), {"nouns": "a\0b"}, r"a\x00b: a path has no null character"),
        (("tag", "openclip"), {}, "unknown tag engine 'openclip'. Did you mean 'open_clip'"),
        (("cap", "blip2"), {}, "Did you mean 'blip'"),
        (("ocr", "tesserac"), {}, "Did you mean 'tesseract'"),
        (("ocr", "rapidocr:"), {}, "no model follows the colon"),
        (("ocr", "rapidocr"), {"treshold": 0.1}, "unknown option of ocr=rapidocr 'treshold'. Did you mean 'threshold'"),
        (("ocr", "rapidocr"), {"threshold": 2.0}, "threshold must lie between 0 and 1"),
        (("ocr", "rapidocr"), {"threshold": "x"}, "option threshold of ocr=rapidocr: expected float, not 'x'"),
        (("ocr", "rapidocr"), {"threshold": None}, "expected float, not None"),
        (("ocr", "rapidocr"), {"threshold": float("nan")}, "threshold must lie between 0 and 1, not nan"),
        (("ocr", "rapidocr"), {"batch_size": True}, "option batch_size of ocr=rapidocr: expected int, not True"),
        (("ocr", "rapidocr"), {"detection_side": 10**9}, "detection_side must be at least 1 and at most 8192"),
        (("tag", "open_clip"), {"grids": [1, "x" * 10**6]}, "expected Sequence[int], not [1, 'xxx"),
        (("tag", "open_clip"), {"nouns": {}}, "option nouns of tag=open_clip: expected str, not {}"),
        (("tag", "open_clip"), {"top_k": 1e400}, "expected int, not inf"),
        (("cap", "coca"), {"beams": 2.5}, "expected int | None, not 2.5"),
        (("cap", "coca"), {"captions": 10**9}, "captions must be at least 1 and at most 100, not 1000000000"),
        (("cap", "blip"), {"temperature": float("inf")}, "must be greater than 0 and finite"),
        (("ocr", "rapidocr:./nowhere"), {}, "no such folder"),
        (("tag", "open_clip:./nowhere"), {}, "'./nowhere' does not exist"),
        (("tag", "open_clip:ViT-B-32/laion2b_s34b_b79"), {}, "Did you mean 'laion2b_s34b_b79k'"),
        (("tag", "open_clip:ViT-B-32"), {}, "unknown weights"),
        (("tag", "open_clip:something"), {}, "unknown open_clip model 'something'"),
        (("tag", "open_clip"), {"nouns": "noun"}, "Did you mean 'nouns'"),
        (("tag", "open_clip"), {"grids": [0]}, "grids must be whole numbers"),
        (("tag", "open_clip"), {"templates": ["a photo"]}, "need one {} each"),
        (("tag", "open_clip"), {"device": "cdua"}, "device 'cdua' is unknown"),
        (("cap", "blip"), {"captions": 3, "beams": 2}, "keeps no more captions"),
        (("cap", "coca"), {"decoding": "beams"}, "Did you mean 'beam'"),
    ],
)
def test_what_a_user_gets_wrong_is_named(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        make_engine(*arguments, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("choice", "package", "remedy"),
    [
        ("tag=open_clip", "open_clip", "pip install lightning-ita[align]"),
        ("cap=coca", "open_clip", "pip install lightning-ita[align]"),
        ("ocr=rapidocr", "rapidocr", "pip install lightning-ita[align]"),
        ("ocr=rapidocr", "onnxruntime", "pip install lightning-ita[align]"),
        ("ocr=tesseract", "pytesseract", "pip install lightning-ita[align]"),
    ],
)
def test_a_missing_package_is_an_error_that_says_what_to_install(
    choice: str, package: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="not installed") as error:
        make_engine(*choice.split("="))
    assert remedy in str(error.value)
    assert package in str(error.value)


def test_without_the_program_tesseract_the_error_names_the_system_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pytesseract = pytest.importorskip("pytesseract").pytesseract
    monkeypatch.setattr("pytesseract.get_tesseract_version", _raise(pytesseract.TesseractNotFoundError))
    with pytest.raises(UserError, match="apt install tesseract-ocr"):
        make_engine("ocr", "tesseract")


def _raise(error: type[Exception]) -> Any:
    def raising(*_: Any) -> Any:
        raise error

    return raising


@pytest.mark.parametrize("choice", ["tag=open_clip", "tag=detr", "cap=blip", "cap=coca"])
def test_a_default_that_is_not_here_is_not_downloaded(choice: str, no_network: list[str]) -> None:
    with pytest.raises(UserError, match=r"is not on this machine\. Name it so to download it, or give a folder"):
        make_engine(*choice.split("="))
    assert not no_network


@pytest.mark.parametrize(
    "choice", ["tag=open_clip:someone/clip", "tag=detr:someone/detector", "cap=blip:someone/blip", "cap=coca:some/coca"]
)
def test_offline_a_named_model_is_not_asked_for_and_the_error_says_how_to_get_it(
    choice: str, no_network: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids downloading it") as error:
        make_engine(*choice.split("="))
    assert choice in str(error.value)
    assert not no_network


def test_local_models_are_loaded_without_the_network(
    no_network: list[str], clip_folder: str, tmp_path: Path, tiny_encoder: str
) -> None:
    make_engine("tag", f"open_clip:{clip_folder}", nouns="attributes", attributes=None)
    make_engine("tag", f"detr:{random_detector(tmp_path / 'yolos', 'yolos')}")
    make_engine("cap", f"blip:{random_blip(tmp_path / 'blip', tiny_encoder)}")
    make_engine("ocr", "rapidocr")
    assert not no_network


@pytest.mark.parametrize("engine", ["open_clip", "detr"])
def test_a_cached_model_of_the_hub_is_used_without_asking_the_hub(
    engine: str, no_network: list[str], tmp_path: Path
) -> None:
    cached = tmp_path / "hub" / "models--someone--model"
    (cached / "snapshots").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123abcd" * 5, encoding="utf-8")
    folder = cached / "snapshots" / ("0123abcd" * 5)
    if engine == "open_clip":
        random_clip(folder)
    else:
        random_detector(folder, "yolos")
    made = make_engine("tag", f"{engine}:someone/model")
    assert f"someone/model@{'0123abcd' * 5}" in made.version
    assert made.model == "someone/model"
    assert not no_network


class _Malice:
    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)

    def __init__(self, folder: Path):
        self.folder = folder


@pytest.mark.parametrize(
    ("kind", "engine", "file"),
    [("tag", "open_clip", "open_clip_pytorch_model.bin"), ("tag", "detr", "pytorch_model.bin")],
)
def test_a_pickle_is_not_run(kind: str, engine: str, file: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    if engine == "open_clip":
        random_clip(folder)
    else:
        random_detector(folder, "yolos")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    torch.save({"state_dict": _Malice(tmp_path / "harm")}, folder / file)
    with pytest.raises(UserError, match="cannot be read"):
        make_engine(kind, f"{engine}:{folder}")
    assert not (tmp_path / "harm").exists()


def test_damaged_or_foreign_folders_are_an_error_that_says_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for choice in ("tag=open_clip", "tag=detr", "cap=coca", "cap=blip"):
        kind, name = choice.split("=")
        with pytest.raises(UserError, match=r"It needs .*\.safetensors"):
            make_engine(kind, f"{name}:{tmp_path / 'empty'}")
    with pytest.raises(UserError, match=r"expected one file \*_det_\*.onnx, found none"):
        make_engine("ocr", f"rapidocr:{tmp_path / 'empty'}")
    random_clip(tmp_path / "clip")
    (tmp_path / "clip" / "open_clip_model.safetensors").write_bytes(b"\x08" + b"\0" * 20)
    with pytest.raises(UserError, match="cannot be read"):
        make_engine("tag", f"open_clip:{tmp_path / 'clip'}")


@pytest.mark.parametrize("choice", ["tag=open_clip", "tag=detr", "cap=blip"])
def test_weights_without_a_tensor_are_refused(choice: str, tmp_path: Path, tiny_encoder: str) -> None:
    kind, name = choice.split("=")
    make = {"open_clip": random_clip, "detr": lambda folder: random_detector(folder, "yolos")}
    make |= {"blip": lambda folder: random_blip(folder, tiny_encoder)}
    folder = Path(make[name](tmp_path / "model"))  # type: ignore[operator]
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    dropped = max(tensors, key=lambda key: (tensors[key].dim() > 1, key))
    save_file({key: value for key, value in tensors.items() if key != dropped}, file, {"format": "pt"})
    with pytest.raises(UserError, match=rf"(lacks|Missing key).*{dropped.rpartition('.')[2]}"):
        make_engine(kind, f"{name}:{folder}")


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', "[", "[" * 100_000, ""])
@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_in_a_models_folder_is_an_error_of_the_user(
    file: str, content: str, tmp_path: Path, tiny_encoder: str
) -> None:
    folder = Path(random_blip(tmp_path / "blip", tiny_encoder))
    if not (folder / file).is_file():
        pytest.skip("this version of transformers writes no such file")
    (folder / file).write_text(content)
    with contextlib.suppress(UserError):  # some are read all the same: a tokenizer needs no settings
        make_engine("cap", f"blip:{folder}")


def test_models_of_another_sort_are_refused(clip_folder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="writes no captions: it is a CLIP"):
        make_engine("cap", f"coca:{clip_folder}")
    with pytest.raises(UserError, match="cannot be read"):
        make_engine("cap", f"blip:{random_detector(tmp_path / 'yolos', 'yolos')}")


def test_a_file_of_weights_is_accepted_where_a_folder_is(clip_folder: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"nouns": "attributes", "attributes": None, "threshold": 0.0, "precision": "float32"}
    folder = make_engine("tag", f"open_clip:{clip_folder}", **options)
    file = make_engine("tag", f"open_clip:{clip_folder}/open_clip_model.safetensors", **options)
    assert file.version == folder.version
    assert file.read([file.prepare(PICTURES[0])]) == folder.read([folder.prepare(PICTURES[0])])
    (Path(tmp_path) / "two").mkdir()
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / "two" / name).touch()
    with pytest.raises(UserError, match=r"several files of weights, a\.safetensors, b\.safetensors"):
        make_engine("tag", f"open_clip:{tmp_path / 'two' / 'a.safetensors'}")


def test_version_follows_the_weights_and_parameters_the_vocabulary(clip_folder: str, tmp_path: Path) -> None:
    random_clip(tmp_path / "clip")
    words = tmp_path / "words.txt"
    words.write_text("cat\ndog\n", encoding="utf-8")
    options: dict[str, Any] = {"nouns": str(words), "attributes": None}
    first, same = (make_engine("tag", f"open_clip:{f}", **options) for f in (clip_folder, tmp_path / "clip"))
    assert (first.version, first.parameters) == (same.version, same.parameters)
    assert "open_clip_torch" in first.version
    assert json.loads(json.dumps(first.parameters)) == first.parameters
    # Elsewhere, because digests are computed once a process.
    weights = load_file(tmp_path / "clip" / "open_clip_model.safetensors")
    (tmp_path / "clip").rename(tmp_path / "other")
    save_file({name: value + 1e-3 for name, value in weights.items()}, tmp_path / "other/open_clip_model.safetensors")
    (tmp_path / "more.txt").write_text("cat\ndog\nbird\n", encoding="utf-8")
    other = make_engine("tag", f"open_clip:{tmp_path / 'other'}", nouns=str(tmp_path / "more.txt"), attributes=None)
    assert other.version != first.version
    assert other.parameters["nouns"] != first.parameters["nouns"]


def test_preparing_pickles_without_the_model(clip_folder: str, tmp_path: Path, tiny_encoder: str) -> None:
    choices = [
        f"tag=open_clip:{clip_folder}",
        f"tag=detr:{random_detector(tmp_path / 'yolos', 'yolos')}",
        f"cap=blip:{random_blip(tmp_path / 'blip', tiny_encoder)}",
        "ocr=rapidocr",
    ]
    for choice in choices:
        engine = make_engine(*choice.split("="), **({"nouns": "attributes"} if "open_clip" in choice else {}))
        pickled = pickle.dumps(engine.prepare)
        assert len(pickled) < 10_000
        prepared = pickle.loads(pickle.dumps(pickle.loads(pickled)(PICTURES[0])))
        assert engine.read([prepared]) == engine.read([engine.prepare(PICTURES[0])])


def test_devices_and_precisions(clip_folder: str) -> None:
    if torch.accelerator.current_accelerator(check_available=True) is None:
        assert choose_device(None) == torch.device("cpu")
        with pytest.raises(UserError, match="'cuda' is not available here; there is only the cpu"):
            choose_device("cuda")
    assert choose_precision("auto", torch.device("mps")) == "float32"
    with pytest.raises(UserError, match="precision 'half' is unknown"):
        choose_precision("half", torch.device("cpu"))  # type: ignore[arg-type]
    engine = make_engine("tag", f"open_clip:{clip_folder}", nouns="attributes", device="cpu", precision="bfloat16")
    assert engine.parameters["precision"] == "bfloat16"


@pytest.mark.parametrize(("name", "least"), [("nouns", 500), ("attributes", 90)])
def test_shipped_vocabularies(name: str, least: int) -> None:
    entries = read_vocabulary(name).entries
    assert len(entries) >= least
    assert entries == read_vocabulary(str(SHIPPED / f"{name}.txt")).entries
    assert all(entry == entry.strip() and "#" not in entry and len(entry.split()) <= 4 for entry in entries)


@pytest.mark.parametrize(
    ("text", "message"), [("cat\n# no\n cat \n", "line 3: 'cat' stands in line 1"), ("# nothing\n\n", "no entries")]
)
def test_a_vocabulary_that_cannot_be_used_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_vocabulary(str(tmp_path / "words.txt"))
