"""The OCR engine Tesseract, a program from the system's packages, called through pytesseract."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from PIL import Image

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.loading import as_json, package_versions
from lightning_ita.contexts.engines.ocr import Page, PageMaker, in_reading_order, text_lines
from lightning_ita.contexts.engines.options import check_count, check_share
from lightning_ita.contexts.engines.regions import Box
from lightning_ita.errors import UserError, unknown
from lightning_ita.registry import require

# Each image is read twice: as a page, which finds lines of text on signs and paper, and as sparse text with an adaptive
# threshold, which finds words on coloured backgrounds. Each misses much of what the other finds.
PASSES = ("--psm 3", "--psm 11 -c thresholding_method=1")
# Two words that overlap by this share of the smaller one's area are one word that was read twice.
SAME_WORD = 0.3
# Words with a gap wider than this many times their height belong to different texts.
WORD_GAP = 1.5


@dataclass(frozen=True)
class Word:
    """A word, Tesseract's confidence in it (0 to 1), and its place on the page."""

    text: str
    score: float
    box: Box


class Tesseract:
    """Engine ``ocr=tesseract``: lines of words, read in two passes (`PASSES`); of two readings the better one is kept.

    Args:
        model: Languages by Tesseract's names, for example ``eng`` or ``eng+deu``.
        threshold: Smallest confidence of a word.
        batch_size: Images per batch; as many processes run at a time as PyTorch uses threads.

    Raises:
        UserError: pytesseract, Tesseract or a language is missing, or a value is out of its range.
    """

    kind = "ocr"
    name = "tesseract"
    default_model = "eng"

    def __init__(self, model: str | None = None, *, threshold: float = 0.5, batch_size: int = 16):
        self._tesseract = require("pytesseract", extra="align")
        self.model = model or self.default_model
        self.threshold = check_share("threshold", threshold)
        self.batch_size = check_count("batch_size", batch_size)
        try:
            program, languages = self._tesseract.get_tesseract_version(), self._tesseract.get_languages()
        except self._tesseract.TesseractNotFoundError:
            raise UserError(
                "the program tesseract is not installed: install the system's package, for example "
                "apt install tesseract-ocr, or brew install tesseract"
            ) from None
        for language in self.model.split("+"):
            if language not in languages:
                raise UserError(
                    f"{unknown('language of tesseract', language, languages)} Others come from the system's packages, "
                    f"for example apt install tesseract-ocr-{language}."
                )
        self.prepare = PageMaker(shortest=720, most=3.0, longest=4000)
        self.version = f"tesseract {program}, {package_versions('pytesseract')}"
        self.parameters = as_json({"threshold": self.threshold, "passes": PASSES, "shortest": self.prepare.shortest})

    def read(self, prepared: Sequence[Page]) -> list[Reading]:
        """Reads a batch of prepared images."""
        with _one_thread_each(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return list(pool.map(self._read, prepared))

    def _read(self, page: Page) -> Reading:
        image = Image.fromarray(page.pixels)
        words: list[Word] = []
        found = [word for settings in PASSES for word in self._words(image, settings)]
        for word in sorted(found, key=lambda word: -word.score):
            if word.score >= self.threshold and not any(_same(word.box, kept.box) for kept in words):
                words.append(word)
        lines = [line for row in text_lines([word.box for word in words]) for line in _split([words[i] for i in row])]
        return in_reading_order(
            [" ".join(word.text for word in line) for line in lines],
            [sum(word.score for word in line) / len(line) for line in lines],
            [page.box(*_around([word.box for word in line])) for line in lines],
        )

    def _words(self, image: Image.Image, settings: str) -> list[Word]:
        """Runs Tesseract once."""
        found = self._tesseract.image_to_data(
            image, lang=self.model, config=settings, output_type=self._tesseract.Output.DICT
        )
        return [
            Word(text.strip(), float(score) / 100, (left, top, left + width, top + height))
            for text, score, left, top, width, height in zip(
                *(found[key] for key in ("text", "conf", "left", "top", "width", "height")), strict=True
            )
            # Ornaments are read as punctuation; a word has a letter or a digit.
            if any(character.isalnum() for character in text)
        ]


def _same(one: Box, other: Box) -> bool:
    """Tells whether two boxes are the same word."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return across > 0 and down > 0 and across * down > SAME_WORD * smaller


def _split(row: Sequence[Word]) -> list[list[Word]]:
    """Splits the words of a row at wide gaps."""
    lines = [[row[0]]]
    for before, word in pairwise(row):
        height = max(before.box[3] - before.box[1], word.box[3] - word.box[1])
        if word.box[0] - before.box[2] > WORD_GAP * height:
            lines.append([])
        lines[-1].append(word)
    return lines


def _around(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Limits each Tesseract process to one thread: several of them share the cores."""
    before = os.environ.get("OMP_THREAD_LIMIT")
    os.environ["OMP_THREAD_LIMIT"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_THREAD_LIMIT"]
        else:
            os.environ["OMP_THREAD_LIMIT"] = before
