"""Writes an HTML page with each image beside the texts that engines read in it, for people to check them."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.kinds import NAMED_ORDER, kind_title
from lightning_ita.contexts.store import ContextStore, Count, Entry, StoredEngine
from lightning_ita.errors import UserError
from lightning_ita.images.files import ImageError, decode, read_file

# More would make a page that phones do not open: a picture takes about 15 kB.
MOST_IMAGES = 200
# Most texts of an image, characters of a text, and reasons of errors of an engine that the page shows.
MOST_TEXTS, MOST_CHARACTERS, MOST_REASONS = 100, 2000, 20
THUMBNAIL = (480, 480)
QUALITY = 70
KIND_NAMES = {"tag": "tags", "cap": "captions", "ocr": "OCR"}


@dataclass(frozen=True)
class Thumbnail:
    """A small picture, as a data URI, and the size of the large one, in pixels."""

    source: str
    width: int
    height: int


def report(
    store: ContextStore,
    images: Mapping[str, Sequence[Path]],
    chosen: Mapping[str, str] | None = None,
    most: int = MOST_IMAGES,
    tweets: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Returns the page as HTML.

    Args:
        store: The store of contexts.
        images: Files by image id.
        chosen: Engines by kind, where not all in the store are to be shown.
        most: Images shown, at most; of more images, a selection evenly spaced by id.
        tweets: Texts of tweets by image id, to be shown with them.

    Raises:
        UserError: The store has no entry of these images.
    """
    kinds = list(dict.fromkeys([*NAMED_ORDER, *(engine.kind for engine in store.engines())]))
    engines = [engine for kind in kinds for engine in _engines(store, kind, (chosen or {}).get(kind))]
    counts = {engine.key: store.count(engine) for engine in engines}
    entries = {engine.key: {entry.image: entry for entry in store.entries(engine, images)} for engine in engines}
    read = [image for image in images if any(image in of_engine for of_engine in entries.values())]
    if not read:
        raise UserError(f"{store.path} has no contexts of the {len(images)} images given; --kinds reads them first")
    shown = read if len(read) <= most else [read[index * len(read) // most] for index in range(most)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        title=store.path.name,
        kinds={kind: KIND_NAMES.get(kind, kind_title(kind)) for kind in kinds},
        engines=[_summary(engine, counts[engine.key], list(entries[engine.key].values())) for engine in engines],
        several={kind for kind in kinds if sum(engine.kind == kind for engine in engines) > 1},
        total=len(read),
        cards=[
            {
                "image": image,
                "tweets": [text[:MOST_CHARACTERS] for text in (tweets or {}).get(image, ())[:MOST_TEXTS]],
                "thumbnail": _thumbnail(images[image]),
                "read": [(engine, _shown(entries[engine.key].get(image))) for engine in engines],
            }
            for image in shown
        ],
    )


def _engines(store: ContextStore, kind: str, choice: str | None) -> list[StoredEngine]:
    known = store.engines(kind)
    found = [engine for engine in known if choice is None or engine.answers_to(choice)]
    return found if found or not known else [store.choose(kind, choice)]  # raises the error that lists the engines


def _summary(engine: StoredEngine, count: Count, entries: Sequence[Entry]) -> dict[str, Any]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.error is not None:
            reasons[entry.error].append(entry.image)
    return {
        "engine": engine,
        "parameters": json.dumps(dict(engine.parameters), ensure_ascii=False)[:MOST_CHARACTERS],
        "count": count,
        "reasons": sorted(reasons.items(), key=lambda item: -len(item[1]))[:MOST_REASONS],
        "more_reasons": max(0, len(reasons) - MOST_REASONS),
    }


def _shown(entry: Entry | None) -> dict[str, Any] | None:
    """Returns what the page shows of an entry: an error, or texts with their scores (in %) and boxes."""
    if entry is None:
        return None
    reading = entry.reading or Reading(())
    texts = [text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…" for text in reading.texts]
    scores = [f"{100 * score:.0f}" for score in reading.scores] or [""] * len(texts)
    return {
        "error": entry.error,
        "texts": list(zip(texts, scores, strict=True))[:MOST_TEXTS],
        "boxes": reading.boxes[:MOST_TEXTS],
        "more": max(0, len(texts) - MOST_TEXTS),
    }


def _thumbnail(paths: Sequence[Path]) -> Thumbnail | None:
    if len(paths) != 1:
        return None
    try:
        image = decode(read_file(paths[0])[0])
    except ImageError:
        return None
    width, height = image.size
    image.thumbnail(THUMBNAIL, Image.Resampling.BICUBIC)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=QUALITY, optimize=True)
    return Thumbnail(f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}", width, height)
