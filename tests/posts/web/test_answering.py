"""What the page shows of a post and a picture, and that nothing in them is taken for HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lightning_ita.contexts.engine import Reading
from lightning_ita.errors import UserError
from lightning_ita.images.files import ImageError
from lightning_ita.images.vision import Vision
from lightning_ita.models import MODELS
from lightning_ita.models.comparing import compare
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.posts.web import answering
from lightning_ita.posts.web.answering import answer, picture_message, pictured, readings_of, texts_of
from lightning_ita.posts.web.reading import PictureReader, make_reader
from tests.images.scenes import noise
from tests.models.test_comparing import sensitive
from tests.models.test_predicting import model
from tests.systems.looking import Looking, LookingOptions

pytest.importorskip("nltk")
POST = "Jordan in Chicago with Kobe"


@pytest.fixture(scope="module")
def ita(tiny_encoder: str) -> Tagger:
    return sensitive(tiny_encoder)


def engine(read: Any = lambda prepared: [Reading(("a man",), (0.5,))], kind: str = "cap") -> Any:
    values = {"kind": kind, "name": "fake", "model": "m", "version": "1", "parameters": {}}
    return SimpleNamespace(**values, prepare=lambda image: image.size, read=read)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_both_views_stand_side_by_side(ita: Tagger) -> None:
    page = answer(ita, POST, {"cap": ("a man on a court",)})
    assert re.findall(r"<h3>(.*?)</h3>", page) == [answering.TEXT_NAME, answering.PICTURE_NAME]
    found = ita.predict([POST])[0].mentions
    assert found
    for mention in found:
        assert f"<bdi>{mention.text}</bdi><small>{mention.type} {mention.probability:.2f}</small>" in page
        assert f"{mention.probability:.3f}" in page
    assert "ita-differs" in page
    # What stands in a reading, without its markup and probabilities, is the post.
    for reading in re.findall(r'<p class="ita-post" dir="auto">(.*?)</p>', page, flags=re.DOTALL):
        assert re.sub(r"<[^>]+>", "", re.sub(r"<small>.*?</small>", "", reading)) == POST


def test_without_a_picture_there_is_the_text_view_and_a_hint(ita: Tagger) -> None:
    page = answer(ita, POST, {"cap": ()})
    assert re.findall(r"<h3>(.*?)</h3>", page) == [answering.TEXT_NAME]
    assert "Add a picture" in page


def test_edited_contexts_are_compared_with_what_was_read(ita: Tagger) -> None:
    before = {"cap": ("a man on a court",)}
    assert list(readings_of(ita, before, before)) == [answering.TEXT_NAME, answering.PICTURE_NAME]
    edited = readings_of(ita, {"cap": ("a skyline",)}, before)
    assert list(edited.values()) == [("T", None), ("I+T", before), ("I+T", {"cap": ("a skyline",)})]
    page = answer(ita, POST, {"cap": ("a skyline",)}, before)
    assert answering.AS_EDITED in page
    assert list(readings_of(ita, {"cap": ()}, before)) == [answering.TEXT_NAME, answering.AS_READ, answering.AS_EDITED]


def test_a_model_of_one_view_shows_one(tiny_encoder: str) -> None:
    page = answer(model(tiny_encoder, system="bert-crf"), POST, {})
    assert re.findall(r"<h3>(.*?)</h3>", page) == [answering.TEXT_NAME]
    assert "Add a picture" not in page


@pytest.mark.parametrize(
    ("post", "said"),
    [
        ("", "Write a post first."),
        (None, "Write a post first."),
        (" \n ", "Write a post first."),
        ("Kobe\0 in Spain", "control characters"),
        ("Kobe " * 10_000, r"The last \d+ of 10000 words were not read"),
        ("x" * 300_000, "a post of 300,000 characters; at most 200,000 are read"),
        ("Kobe \ud800", "half a character"),
    ],
)
def test_bad_posts_are_a_message(ita: Tagger, post: str | None, said: str) -> None:
    page = answer(ita, post, {"cap": ()})
    assert re.search(said, page)
    assert "\0" not in page


def test_bad_contexts_are_a_message(ita: Tagger) -> None:
    assert "half a character" in answer(ita, POST, {"cap": ("a \ud800",)})
    assert "it reads cap" in answer(ita, POST, {"ocr": ("a",)})


def test_nothing_is_taken_for_html(ita: Tagger, picture: Path) -> None:
    evil = "<script>alert(1)</script> & ${1+1} {{7*7}}"
    page = answer(ita, evil, {"cap": (evil,)}) + picture_message(evil)
    read = PictureReader([engine(lambda prepared: [Reading((evil,))])], {"tag": evil}).read(picture)
    page += pictured(read)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_what_engines_say_of_a_picture(picture: Path) -> None:
    def fails(prepared: Any) -> Any:
        raise RuntimeError("no memory")

    lines = Reading(("Chicago\nBulls", " "), (0.9, 0.1))
    engines = [engine(), engine(fails, "tag"), engine(lambda prepared: [lines], "ocr")]
    readings = PictureReader(engines, {"know": "no engine"}).read(picture)
    assert texts_of(readings) == {"cap": ("a man",), "ocr": ("Chicago Bulls",)}
    page = pictured(readings)
    for said in ("Captions", "by fake:m", "a man", "0.50", "engine failed: RuntimeError: no memory", "no engine"):
        assert said in page
    (picture.parent / "broken.png").write_bytes(picture.read_bytes()[:20])
    with pytest.raises(ImageError):
        PictureReader(engines).read(picture.parent / "broken.png")


def test_engines_that_cannot_be_made_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(kind: str, choice: str | None = None) -> Any:
        if kind == "tag":
            raise UserError("no model here")
        return engine(kind=kind)

    monkeypatch.setattr("lightning_ita.posts.web.reading.make_engine", make)
    reader = make_reader(("cap", "tag", "know"), None, {})
    assert reader.names == {"cap": "fake:m"}
    assert reader.missing["tag"] == "no model here"
    assert "no engine reads this kind" in reader.missing["know"]
    assert make_reader(("cap", "tag"), (), {}).engines == []
    with pytest.raises(UserError, match="no model here"):
        make_reader(("cap", "tag"), ("tag",), {})
    with pytest.raises(UserError, match="--contexts-from ocr: not read by this model; it reads cap"):
        make_reader(("cap",), ("ocr",), {})
    with pytest.raises(UserError, match="--engines ocr: not read by this model; it reads cap"):
        make_reader(("cap",), None, {"ocr": "rapidocr"})


@pytest.fixture
def looking(tiny_encoder: str, tiny_vision: str) -> Iterator[Tagger]:
    """A model that looks at pictures itself, with large random scores."""
    pytest.importorskip("timm")
    MODELS.add("looking", "tests.systems.looking:LookingOptions")
    torch.manual_seed(0)
    tagger = Looking(("PER", "LOC"), LookingOptions(vision=Vision(tiny_vision)), Recipe(), tiny_encoder).eval()
    with torch.no_grad():
        for parameter in tagger.parameters():
            parameter.mul_(3)
    yield tagger
    del MODELS.entries["looking"]


def test_a_model_that_looks_at_pictures_is_shown_the_picture(looking: Tagger, tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    noise(1).save(first)
    noise(2).save(second)
    assert re.findall(r"<h3>(.*?)</h3>", answer(looking, POST, {})) == [answering.TEXT_NAME]
    pages = [answer(looking, POST, {}, picture=path) for path in (first, second, first)]
    assert re.findall(r"<h3>(.*?)</h3>", pages[0]) == [answering.TEXT_NAME, answering.PICTURE_NAME]
    assert pages[0] == pages[2] != pages[1]
    assert "with the picture itself" in answering.about(looking, {})
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "picture cannot be read" in answer(looking, POST, {}, picture=tmp_path / "broken.png")


def test_probabilities_are_those_of_the_reading_with_the_picture(looking: Tagger, tmp_path: Path) -> None:
    noise(1).save(tmp_path / "picture.png")
    comparison = compare(looking, POST, {"T": ("T", None), "both": ("I+T", None)}, tmp_path / "picture.png")
    own = {(m.first_word, m.type): m.probability for m in comparison.readings["both"].mentions}
    assert own
    starts = {word.start: index for index, word in enumerate(comparison.readings["both"].words)}
    for mention in comparison.mentions:
        if mention.found[1]:
            assert mention.probabilities[1] == pytest.approx(own[starts[mention.start], mention.type], abs=1e-6)
