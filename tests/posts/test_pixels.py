"""`predict` with a system that looks at pictures: files are found as the input names them, and faults are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lightning_ita.commands import predict
from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.store import ContextStore, Entry, StoredEngine
from lightning_ita.errors import UserError
from lightning_ita.images.crops import Part, parts_of
from lightning_ita.images.features import Features, Request
from lightning_ita.images.vision import Vision
from lightning_ita.models import MODELS
from lightning_ita.models.kept import save
from lightning_ita.models.recipes import Recipe
from tests.images.scenes import noise
from tests.systems.looking import Looking, LookingOptions

pytest.importorskip("timm")


@pytest.fixture
def command(tiny_encoder: str, tiny_vision: str, tmp_path: Path) -> Iterator[list[str]]:
    MODELS.add("looking", "tests.systems.looking:LookingOptions")
    torch.manual_seed(0)
    options = LookingOptions(vision=Vision(tiny_vision))
    Looking(("PER", "LOC"), options, Recipe(), tiny_encoder).save_pretrained(tmp_path / "kept")
    noise(1).save(tmp_path / "a.png")
    noise(2).save(tmp_path / "b.JPG", format="JPEG")
    for ending in ("gif", "png"):
        noise(3).save(tmp_path / f"two.{ending}")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    images = ("a.png", "c.png", None, "a", "gone.jpg", "b.JPG", "b", "two", "two.gif")
    posts = [{"text": ["Jordan", "!"], "image": image} for image in images]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts), encoding="utf-8")
    yield [
        *(f"--model={tmp_path / 'kept'}", f"--input={tmp_path / 'posts.jsonl'}", "--image-column=image"),
        *(f"--output={tmp_path / 'out.jsonl'}", "--device=cpu"),
    ]
    del MODELS.entries["looking"]


def test_each_post_is_read_with_its_picture_if_it_can_be(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(command) == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["view"] for line in lines] == ["I+T", "T", "T", "I+T", "T", "I+T", "I+T", "T", "I+T"]
    assert lines[0]["mentions"] == lines[3]["mentions"]
    assert lines[5]["mentions"] == lines[6]["mentions"]
    errors = [json.loads(line) for line in (tmp_path / "out.jsonl.errors.jsonl").read_text("utf-8").splitlines()]
    assert [error["row"] for error in errors] == [2, 5, 8]
    assert errors[0]["error"].startswith("image 'c.png': not an image")
    assert errors[1]["error"] == "image 'gone.jpg': no file of this name"
    assert errors[2]["error"] == "image 'two': several files have this id: two.gif, two.png"
    assert "3 images failed" in capsys.readouterr().err


def test_crops_are_those_of_the_store_that_is_named(
    command: list[str], tiny_encoder: str, tiny_vision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = LookingOptions(vision=Vision(tiny_vision, crops=2))
    tagger = Looking(("PER", "LOC"), options, Recipe(), tiny_encoder)

    def kept(*data: str) -> None:
        training = {"name": "x", "identity": "y", "config": {"data": dict.fromkeys(data, "digest")}}
        save(tagger, tmp_path / "kept", training=training)

    def requested(*more: str) -> list[list[Part]]:
        seen.clear()
        assert predict.main([*command, "--overwrite", *more]) == 0
        return [list(request.crops) for request in seen]

    seen: list[Request] = []
    with pytest.MonkeyPatch.context() as patch, ContextStore(tmp_path / "store.db") as store:
        rows = Features.rows
        patch.setattr(Features, "rows", lambda own, asked: (seen.extend(asked), rows(own, asked))[1])
        (tmp_path / "posts.jsonl").write_text(
            "".join(json.dumps({"text": ["Jordan"], "image": image}) + "\n" for image in ("a.png", "b.JPG")), "utf-8"
        )
        place = f"--context-store={store.path}"
        kept("train", "boxes")
        grid = requested()
        assert len(grid) >= 2
        assert all(crops == parts_of(2, None) for crops in grid)
        assert "was trained on crops of objects; --context-store names a store" in capsys.readouterr().err
        store.write(StoredEngine("tag", "timm", "m", "1"), [Entry("a", None, Reading(("dog",)))])
        with pytest.raises(UserError, match="no detector has left places of objects in it"):
            requested(place)
        box = (1.0, 2.0, 20.0, 25.0)
        store.write(StoredEngine("tag", "yolox", "m", "1"), [Entry("a", None, Reading(("dog",), (0.9,), (box,)))])
        with pytest.raises(UserError, match="several engines; choose one"):
            requested(place)
        found = requested(place, "--engines", "tag=yolox")
        assert {len(crops) for crops in found} == {0, 1}
        assert [Part(*box, pixels=True)] in found
        errors = (tmp_path / "out.jsonl.errors.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["error"] for line in errors] == [
            "image 'b.JPG': the store has no places of objects in it"
        ]
        assert "note" not in capsys.readouterr().err
        kept("train", "images")
        with pytest.raises(UserError, match="was trained on crops that are parts of a grid"):
            requested(place)


def test_the_text_view_looks_at_none(command: list[str], tmp_path: Path) -> None:
    assert predict.main([*command, "--view=T"]) == 0
    assert (tmp_path / "out.jsonl.errors.jsonl").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [("--contexts-from=ocr", "looks at pictures itself"), ("--images=nowhere", "--images nowhere: no such folder")],
)
def test_what_does_not_fit_is_said(command: list[str], more: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        predict.main([*command, more])
