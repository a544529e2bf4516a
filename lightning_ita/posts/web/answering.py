"""From what somebody wrote on the page to what it shows: HTML, with every text of users and pictures escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lightning_ita.contexts.kinds import kind_title
from lightning_ita.errors import UserError
from lightning_ita.models.comparing import Comparison, compare
from lightning_ita.models.mentions import Tagged
from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.models.predicting import GivenContexts, ViewChoice
from lightning_ita.posts.web.reading import PictureReading

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

TEXT_NAME, PICTURE_NAME = "Text view (T)", "With the picture (I+T)"
AS_READ, AS_EDITED = "Picture as read (I+T)", "Picture as edited (I+T)"
KIND_NAMES = {"tag": "Object tags", "cap": "Captions", "ocr": "Text in the picture (OCR)"}
# Colours are given to entity types in their order, and then from the first on again.
COLOURS = 6
# Most texts of a picture that are listed; the boxes hold all of them.
MOST_TEXTS = 50
# Characters that a page does not show, but for tab and line end, each with its sign: as long as the text was.
_SIGNS = {code: 0x2400 + code for code in range(32) if code not in (9, 10, 13)} | {127: 0x2421}


def kind_name(kind: str) -> str:
    """Returns a kind of context as the page names it."""
    return KIND_NAMES.get(kind, kind_title(kind))


def lines_of(text: str | None) -> tuple[str, ...]:
    """Returns the texts of a context from a box with one text per line."""
    return tuple(line.strip() for line in (text or "").split("\n") if line.strip())


@dataclass(frozen=True)
class Part:
    """A piece of the post: plain, or a mention.

    Attributes:
        text: What it says.
        type: The mention's type; empty for plain text.
        probability: The mention's.
        differs: Whether another reading has not found it.
    """

    text: str
    type: str = ""
    probability: float = 0.0
    differs: bool = False


def answer(
    tagger: Tagger,
    post: str | None,
    contexts: Mapping[str, Sequence[str]],
    as_read: Mapping[str, Sequence[str]] | None = None,
    picture: Path | None = None,
) -> str:
    """Tags a post in every view there is, and returns what the page shows of it: a message where it cannot be read.

    Args:
        tagger: The model.
        post: The post.
        contexts: What the picture says now, by kind; perhaps edited.
        as_read: What the engines read in the picture, if they read one.
        picture: The picture, for a model that looks at it.
    """
    picture = picture if looks(tagger) else None
    if not post or not post.strip():
        return message("Write a post first.", wrong=True)
    try:
        comparison = compare(tagger, post, readings_of(tagger, contexts, as_read, picture is not None), picture)
    except UserError as error:
        return message(str(error).removeprefix("post 0: "), wrong=True)
    return _environment().get_template("answer.html").render(shown(tagger, comparison))


def message(text: str, wrong: bool = False) -> str:
    """Returns a message in the place of an answer.

    Args:
        text: What it says.
        wrong: Whether something is wrong.
    """
    texts = {"error": text, "notes": []} if wrong else {"error": "", "notes": [text]}
    return _environment().get_template("answer.html").render(readings=[], mentions=[], types={}, **texts)


def looks(tagger: Tagger) -> bool:
    """Tells whether a model looks at pictures itself."""
    return "images" in tagger.options.needs


def readings_of(
    tagger: Tagger,
    contexts: Mapping[str, Sequence[str]],
    as_read: Mapping[str, Sequence[str]] | None,
    seen: bool = False,
) -> dict[str, tuple[ViewChoice, GivenContexts]]:
    """Decides how a post is read: in both views, and twice in I+T where somebody edited what a picture says.

    Args:
        tagger: The model.
        contexts: What the picture says now, by kind; perhaps edited.
        as_read: What the engines read in the picture, if they read one.
        seen: Whether the model looks at a picture.
    """
    now, before = ({kind: tuple(said) for kind, said in each.items() if said} for each in (contexts, as_read or {}))
    readings: dict[str, tuple[ViewChoice, GivenContexts]] = {}
    if TEXT in tagger.tested_views:
        readings[TEXT_NAME] = ("T", None)
    if CROSS_MODAL in tagger.tested_views:
        if before and now != before:
            readings[AS_READ] = ("I+T", before)
            readings[AS_EDITED] = ("I+T", now)
        elif now or seen or not readings:
            readings[PICTURE_NAME] = ("I+T", now)
    return readings


def shown(tagger: Tagger, comparison: Comparison) -> dict[str, Any]:
    """Returns the values of the page's template."""
    differing = {(each.start, each.text, each.type) for each in comparison.mentions if each.differs}
    first = next(iter(comparison.readings.values()))
    notes = []
    if not first.words:
        notes.append("There is no word in this post.")
    for cut in sorted({tagged.words_cut for tagged in comparison.readings.values()} - {0}):
        notes.append(f"The last {cut} of {len(first.words)} words were not read: the model's longest input ends there.")
    if first.text != first.text.translate(_SIGNS):
        notes.append("The post has control characters, which are shown as ␀ and the like.")
    if CROSS_MODAL in tagger.tested_views and all(tagged.view == TEXT for tagged in comparison.readings.values()):
        notes.append("Add a picture, or write what it shows, to compare the text view with the view with the picture.")
    return {
        "error": "",
        "notes": notes,
        "types": {type_: index % COLOURS for index, type_ in enumerate(tagger.tag_set.types)},
        "readings": [(name, _parts(tagged, differing)) for name, tagged in comparison.readings.items()],
        "mentions": [
            (visible(each.text), each.type, each.differs, list(zip(each.probabilities, each.found, strict=True)))
            for each in comparison.mentions
        ],
    }


def _parts(tagged: Tagged, differing: set[tuple[int, str, str]]) -> list[Part]:
    parts, last = [], 0
    for mention in tagged.mentions:
        parts.append(Part(visible(tagged.text[last : mention.start])))
        differs = (mention.start, mention.text, mention.type) in differing
        parts.append(Part(visible(mention.text), mention.type, mention.probability, differs))
        last = mention.end
    return [part for part in [*parts, Part(visible(tagged.text[last:]))] if part.text]


def visible(text: str) -> str:
    """Returns a text of the same length in which control characters are seen."""
    return text.translate(_SIGNS)


def about(tagger: Tagger, engines: Mapping[str, str]) -> str:
    """Returns the head of the page: what the model finds, and what reads its pictures.

    Args:
        tagger: The model.
        engines: Name of the engine of each kind of context.
    """
    values = {"label": tagger.options.label, "types": tagger.tag_set.types, "engines": engines.values()}
    kinds = [kind_title(kind) for kind in tagger.inputs.kinds]
    return _environment().get_template("about.html").render(kinds=kinds, looks=looks(tagger), **values)


def pictured(readings: Sequence[PictureReading]) -> str:
    """Returns what every engine read in a picture, as HTML."""
    rows = []
    for each in readings:
        texts = each.reading.texts if each.reading else ()
        scores = [f"{score:.2f}" for score in each.reading.scores] if each.reading else []
        pairs = list(zip([visible(text) for text in texts], scores or [""] * len(texts), strict=True))
        more = max(0, len(pairs) - MOST_TEXTS)
        rows.append((kind_name(each.kind), each.engine, pairs[:MOST_TEXTS], more, each.error))
    return _environment().get_template("picture.html").render(rows=rows, error="")


def picture_message(reason: object) -> str:
    """Returns a message in the place of what was read in a picture."""
    return _environment().get_template("picture.html").render(rows=[], error=f"The picture cannot be read: {reason}")


def texts_of(readings: Sequence[PictureReading]) -> dict[str, tuple[str, ...]]:
    """Returns the texts of a picture by kind, each on one line, as the boxes hold them."""
    lines = {
        each.kind: lines_of("\n".join(" ".join(text.split()) for text in each.reading.texts))
        for each in readings
        if each.reading is not None
    }
    return {kind: texts for kind, texts in lines.items() if texts}


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
