"""Contact sheets: one picture of many tweets with their images and contexts, to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from lightning_ita.demo.corpus import DemoCorpus, DemoTweet
from lightning_ita.demo.painting import render
from lightning_ita.demo.painting.canvas import HEIGHT, WIDTH, font

TYPE_COLOURS = {"PER": (200, 44, 44), "LOC": (24, 120, 60), "ORG": (30, 84, 190), "MISC": (150, 70, 170)}
_INK, _GRAY, _PAPER = (30, 32, 40), (104, 108, 116), (250, 250, 248)
_MARGIN, _TEXT, _SMALL, _LINES = 12, 17, 13, 152


def contact_sheet(corpus: DemoCorpus, tweets: Sequence[DemoTweet], columns: int = 5) -> Image.Image:
    """Draws tweets under their images, with entities coloured by type and contexts in small print.

    Args:
        corpus: The corpus that the tweets are from.
        tweets: Which ones to show.
        columns: How many tweets there are in a row.

    Returns:
        The sheet.
    """
    columns = min(columns, len(tweets))
    rows = -(-len(tweets) // columns)
    cell_width, cell_height = WIDTH + 2 * _MARGIN, HEIGHT + _LINES + 2 * _MARGIN
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height + 40), _PAPER)
    pen = ImageDraw.Draw(sheet)
    x = float(_MARGIN)
    for label, colour in (*TYPE_COLOURS.items(), ("kind of tweet, contexts", _GRAY)):
        pen.text((x, 12), label, colour, font(_TEXT), stroke_width=0.4)
        x += pen.textlength(label, font(_TEXT)) + 24
    for i, tweet in enumerate(tweets):
        corner = (i % columns * cell_width + _MARGIN, i // columns * cell_height + 40 + _MARGIN)
        _cell(sheet, pen, corner, corpus, tweet)
    return sheet


def _cell(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int], corpus: DemoCorpus, tweet: DemoTweet
) -> None:
    x, y = corner
    if tweet.image == "ok":
        sheet.paste(render(tweet.scene), corner)
    else:
        pen.rectangle((x, y, x + WIDTH, y + HEIGHT), (226, 226, 222))
        pen.text((x + WIDTH / 2, y + HEIGHT / 2), f"image {tweet.image}", _GRAY, font(_TEXT), "mm")
    pieces = [(word, TYPE_COLOURS.get(tag[2:], _INK)) for word, tag in zip(tweet.words, tweet.tags, strict=True)]
    below = _flow(pen, x, y + HEIGHT + 6, pieces, _TEXT)
    about = f"{tweet.id} · {tweet.kind}" + (" · held-out name" if tweet.entity in corpus.held_out else "")
    below = _flow(pen, x, below + 3, [(word, (150, 96, 20)) for word in about.split()], _SMALL)
    for kind, texts in corpus.contexts.items():
        said = ", ".join(texts.get(tweet.id, [])) or "-"
        below = _flow(pen, x, below, [(word, _GRAY) for word in f"{kind}: {said}".split()], _SMALL)


def _flow(
    pen: ImageDraw.ImageDraw, x: float, y: float, pieces: Sequence[tuple[str, tuple[int, int, int]]], size: int
) -> float:
    """Writes words one after the other, in lines of the cell's width; returns the y of the next line."""
    left = x
    for word, colour in pieces:
        # The bundled font has no emoji, and would print empty boxes.
        word = "".join(character for character in word if ord(character) < 0x2100)
        if not word:
            continue
        width = pen.textlength(word, font(size))
        if x > left and x + width > left + WIDTH:
            x, y = left, y + size * 1.2
        pen.text((x, y), word, colour, font(size), stroke_width=0 if colour in (_INK, _GRAY) else 0.4)
        x += width + size * 0.28
    return y + size * 1.3
