from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks.ocr import compare, read, words
from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.engines import make_engine
from lightning_ita.contexts.engines.ocr import Page, PageMaker, WithSpaces, in_reading_order, text_lines
from lightning_ita.demo import DemoConfig, DemoTweet, generate
from lightning_ita.demo.painting import render
from lightning_ita.demo.painting.canvas import font
from lightning_ita.errors import UserError
from tests.conftest import SHARED
from tests.contexts.tiny_models import PICTURES

needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
engines = pytest.mark.parametrize("name", ["rapidocr", pytest.param("tesseract", marks=needs_tesseract)])


@pytest.fixture(scope="module")
def tweets() -> list[DemoTweet]:
    """Some tweets of the demo corpus with words in their pictures."""
    test = generate(DemoConfig()).splits["test"]
    return [tweet for tweet in test if tweet.scene.words and tweet.image == "ok"][:60:10]


def sheet(lines: dict[tuple[int, int], str], size: tuple[int, int] = (400, 200)) -> Image.Image:
    """A white page with text in black at given places."""
    page = Image.new("RGB", size, "white")
    for place, text in lines.items():
        ImageDraw.Draw(page).text(place, text, "black", font(28))
    return page


@engines
def test_drawn_words_are_found(name: str, tweets: list[DemoTweet]) -> None:
    """The reduced form of ``python -m benchmarks.ocr``."""
    counts = read(make_engine("ocr", name), tweets)
    assert counts["drawn"] > 12
    assert counts["found"] / counts["drawn"] >= 0.85
    assert counts["found"] / counts["said"] >= 0.6


@engines
def test_lines_come_in_reading_order_with_boxes_and_scores(name: str) -> None:
    engine = make_engine("ocr", name)
    picture = sheet({(230, 30): "second", (20, 26): "First", (20, 120): "third line"})
    blank = Image.new("RGB", (300, 300), "white")
    lines, nothing = engine.read([engine.prepare(picture), engine.prepare(blank)])
    assert [text.lower() for text in lines.texts] == ["first", "second", "third line"]
    assert nothing.texts == nothing.scores == nothing.boxes == ()
    assert all(0.5 <= score <= 1 for score in lines.scores)
    for (x, y), (left, top, right, bottom) in zip([(50, 40), (270, 45), (80, 135)], lines.boxes, strict=True):
        assert left < x < right
        assert top < y < bottom
        assert bottom - top < 60


@engines
def test_what_is_read_does_not_depend_on_the_batch_and_no_size_fails(name: str) -> None:
    engine = make_engine("ocr", name, **({"detection_side": 200} if name == "rapidocr" else {}))
    pictures = [sheet({(20, 26): "Hello World"}), *PICTURES[3:]]
    prepared = [engine.prepare(picture) for picture in pictures]
    together = engine.read(prepared)
    assert together == [engine.read([each])[0] for each in prepared]
    assert words(together[0].texts) == words(["hello world"])


@engines
def test_the_threshold_drops_unsure_text(name: str) -> None:
    def texts(threshold: float) -> tuple[str, ...]:
        engine = make_engine("ocr", name, threshold=threshold)
        return engine.read([engine.prepare(sheet({(20, 26): "Hello World"}))])[0].texts

    assert texts(0.5)
    assert not texts(1.0)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], []),
        # A line whose words are not exactly level.
        ([(100, 4, 150, 24), (0, 0, 50, 20), (0, 30, 50, 50)], [[1, 0], [2]]),
        # Half of the smaller height joins, less does not.
        ([(0, 0, 50, 20), (60, 10, 90, 30)], [[0, 1]]),
        ([(0, 0, 50, 20), (60, 11, 90, 31)], [[0], [1]]),
        # A tall box beside two short ones above one another: those do not chain.
        ([(0, 0, 20, 10), (30, 0, 50, 40), (0, 30, 20, 40)], [[0], [1, 2]]),
    ],
)
def test_lines_of_boxes(boxes: Any, expected: list[list[int]]) -> None:
    found = text_lines(boxes)
    assert sorted(i for line in found for i in line) == list(range(len(boxes)))
    if len(boxes) != 3 or boxes[1][3] != 40:
        assert found == expected


def test_reading_order_keeps_texts_scores_and_boxes_together() -> None:
    reading = in_reading_order(["b  c", "a"], [1.5, 0.25], [(0, 50, 10, 60), (0, 0, 10, 10)])
    assert reading.texts == ("a", "b c")
    assert reading.scores == (0.25, 1.0)
    assert reading.boxes == ((0, 0, 10, 10), (0, 50, 10, 60))


@pytest.mark.parametrize(
    ("size", "scale", "shape"),
    [
        ((320, 240), 3.0, (720, 960)),
        ((3000, 2000), 1.0, (2000, 3000)),
        ((8000, 4000), 0.5, (2000, 4000)),
        ((1, 5000), 0.8, (4000, 500)),
        ((1, 1), 3.0, (32, 32)),
    ],
)
def test_pages_are_scaled_and_boxes_scaled_back(size: tuple[int, int], scale: float, shape: tuple[int, int]) -> None:
    page = PageMaker(shortest=720, most=3.0, longest=4000)(Image.new("RGB", size))
    assert page.scale == pytest.approx(scale)
    assert page.pixels.shape == (*shape, 3)
    assert page.box(10 * scale, 0, 1e6, 1e6) == (pytest.approx(min(10, size[0])), 0, size[0], size[1])


def test_folders_without_readable_models_are_an_error(tmp_path: Path) -> None:
    for name in ("a_det_b.onnx", "a_rec_b.onnx", "another_rec_b.onnx"):
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(UserError, match=r"one file \*_rec_\*.onnx, found a_rec_b.onnx, another_rec_b.onnx"):
        make_engine("ocr", f"rapidocr:{tmp_path}")
    (tmp_path / "another_rec_b.onnx").unlink()
    with pytest.raises(UserError, match=r"a_det_b.onnx is no model that ONNX Runtime reads"):
        make_engine("ocr", f"rapidocr:{tmp_path}")


@needs_tesseract
def test_a_language_that_tesseract_lacks_is_an_error() -> None:
    with pytest.raises(UserError, match="apt install tesseract-ocr-xyz"):
        make_engine("ocr", "tesseract:eng+xyz")


def test_the_models_of_a_folder_are_used(tmp_path: Path) -> None:
    rapidocr = pytest.importorskip("rapidocr")
    for file in (Path(rapidocr.__file__).parent / "models").glob("*_[dr]e[tc]_*.onnx"):
        shutil.copy(file, tmp_path)
    bundled, local = make_engine("ocr", "rapidocr"), make_engine("ocr", f"rapidocr:{tmp_path}")
    picture = sheet({(20, 26): "Hello World"})
    assert local.read([local.prepare(picture)])[0].texts == bundled.read([bundled.prepare(picture)])[0].texts
    assert local.version in bundled.version  # but for the classifier of upside-down text
    assert local.model == str(tmp_path)


def test_words_are_counted_as_documented() -> None:
    assert compare(words(["FLY TO", "KENYA"]), words(["FLYTO", "kenya!"])) == (1, 3, 2)
    assert compare(words(["GO GO"]), words(["go"])) == (1, 2, 1)


@pytest.mark.skipif(not SHARED.is_dir(), reason="development data is not beside the checkout")
def test_real_pictures_are_read_without_a_failure() -> None:
    engine: Engine = make_engine("ocr", "rapidocr", detection_side=320)
    files = sorted((SHARED / "tweets-with-images" / "images").iterdir())[:4]
    for file in files:
        with Image.open(file) as picture:
            (reading,) = engine.read([engine.prepare(picture.convert("RGB"))])
        assert len(reading.texts) == len(reading.scores) == len(reading.boxes)


def test_a_page_keeps_its_pixels() -> None:
    picture = PICTURES[2].resize((900, 800))
    page = PageMaker(shortest=30, most=30.0, longest=2000)(picture)
    assert isinstance(page, Page)
    assert np.array_equal(page.pixels, np.asarray(picture))


class Decoder:
    """Says the likeliest character of each column, as the package's decoding does; the first is nothing."""

    character = ("", "M", "E", " ")

    def __call__(self, probabilities: np.ndarray, more: str) -> tuple[list[str], list[float], str]:
        best = probabilities.argmax(axis=2)
        texts = ["".join(self.character[i] for i in line) for line in best]
        return texts, probabilities.max(axis=2).mean(axis=1).tolist(), more


def test_where_the_recogniser_hesitates_about_a_space_there_is_one() -> None:
    hesitant, sure, within = [0.9, 0.0, 0.0, 0.1], [0.1, 0.0, 0.0, 0.9], [0.999, 0, 0, 0.001]
    m, e, doubtful_letter = [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.6, 0.0, 0.4]
    lines = np.array([[m, hesitant, e], [m, sure, e], [m, within, e], [m, doubtful_letter, e]], dtype=np.float32)
    texts, scores, more = WithSpaces(Decoder())(lines.copy(), more="kept")
    assert texts == ["M E", "M E", "ME", "MME"]
    assert scores == pytest.approx(lines.max(axis=2).mean(axis=1).tolist())
    assert more == "kept"


def test_short_words_in_capitals_are_told_apart() -> None:
    engine = make_engine("ocr", "rapidocr")
    frog = next(
        tweet.scene
        for split in generate(DemoConfig()).splits.values()
        for tweet in split
        if tweet.scene.words[:1] == ("ME ON",)
    )
    assert engine.read([engine.prepare(render(frog))])[0].texts == frog.words
