"""The page by which a person judges contexts: pictures beside what each engine said of them."""

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

from lightning_ita.contexts.kinds import NAMED_ORDER
from lightning_ita.contexts.store import ContextStore, Count, Entry, StoredEngine
from lightning_ita.errors import UserError
from lightning_ita.images.files import ImageError, decode, read_file

# More would make a page that phones do not open: a picture takes about 15 kB.
MOST_IMAGES = 200
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
) -> str:
    """Writes the page.

    Args:
        store: What was said.
        images: Files by image id.
        chosen: Engines by kind, where not all in the store are to be shown.
        most: Of more images, that many are shown, evenly spaced by id.

    Raises:
        UserError: The store has nothing on these images.
    """
    engines = [engine for kind in NAMED_ORDER for engine in _engines(store, kind, (chosen or {}).get(kind))]
    counts = {engine.key: store.count(engine) for engine in engines}
    entries = {engine.key: {entry.image: entry for entry in store.entries(engine, images)} for engine in engines}
    read = [image for image in images if any(image in of_engine for of_engine in entries.values())]
    if not read:
        raise UserError(f"{store.path} has nothing on the {len(images)} images given; --kinds reads them first")
    shown = read if len(read) <= most else [read[index * len(read) // most] for index in range(most)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(
        title=store.path.name,
        kinds=KIND_NAMES,
        engines=[_summary(engine, counts[engine.key], list(entries[engine.key].values())) for engine in engines],
        several={kind for kind in NAMED_ORDER if sum(engine.kind == kind for engine in engines) > 1},
        total=len(read),
        cards=[
            {
                "image": image,
                "thumbnail": _thumbnail(images[image]),
                "said": [(engine, entries[engine.key].get(image)) for engine in engines],
            }
            for image in shown
        ],
    )


def _engines(store: ContextStore, kind: str, choice: str | None) -> list[StoredEngine]:
    known = store.engines(kind)
    found = [engine for engine in known if choice is None or engine.answers_to(choice)]
    return found if found or not known else [store.choose(kind, choice)]  # which says what there is to choose from


def _summary(engine: StoredEngine, count: Count, entries: Sequence[Entry]) -> dict[str, Any]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.error is not None:
            reasons[entry.error].append(entry.image)
    return {
        "engine": engine,
        "name": f"{engine.name}:{engine.model}" if engine.model else engine.name,
        "parameters": json.dumps(dict(engine.parameters), ensure_ascii=False),
        "count": count,
        "reasons": sorted(reasons.items(), key=lambda item: -len(item[1])),
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
