"""The pictures of a corpus's tweets, found in a folder or drawn for the demo corpus, and boxes of objects in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import PIL
from PIL import Image

from lightning_ita.data.corpus import Corpus, image_ids
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, DemoTweet, Scene, generate
from lightning_ita.demo import painting as painting_package
from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.images.crops import Box
from lightning_ita.images.files import ImageError
from lightning_ita.images.pictures import Picture, digest_of, listed, pictures_in

if TYPE_CHECKING:  # a store is opened only where one is named
    from lightning_ita.contexts.store import ContextStore, StoredEngine

# Tags of these engines are about parts of a grid, not about objects.
NO_DETECTORS = ("open_clip", "imported")


def with_pictures(corpus: Corpus, source: Source, folder: Path | None, parts: Collection[str]) -> Corpus:
    """Returns a corpus with the pictures of its tweets.

    Args:
        corpus: The corpus.
        source: Where its pictures lie, and the store that may have places of objects.
        folder: The data set's folder, beside which pictures are looked for; not needed where the source names theirs.
        parts: What is wanted: ``images``, and ``boxes`` where crops of objects are.

    Raises:
        UserError: There is no folder of pictures, none of them is a tweet's, or the store has several detectors.
    """
    ids = image_ids(corpus.splits)
    if not ids:
        raise UserError(f"no tweet of {corpus.name} has a picture (a line IMGID:...); its systems cannot look at any")
    found, failed = pictures_in(picture_folder(corpus.name, source, folder), ids)
    return _with(corpus, source, found, failed, parts)


def _with(
    corpus: Corpus, source: Source, found: Mapping[str, Picture], failed: Mapping[str, str], parts: Collection[str]
) -> Corpus:
    ids = image_ids(corpus.splits)
    missing = [image for image in ids if image not in found and image not in failed]
    warnings = []
    if missing:
        warnings.append(f"{corpus.name}: {listed('pictures are missing', missing)}")
    if failed:
        reasons = [f"{image} ({why})" for image, why in failed.items()]
        warnings.append(f"{corpus.name}: {listed('pictures cannot be read', reasons)}")
    corpus = replace(
        corpus,
        pictures=found,
        digests={**corpus.digests, "images": digest_of(found)},
        warnings=(*corpus.warnings, *warnings),
    )
    return with_boxes(corpus, source) if "boxes" in parts else corpus


def picture_folder(name: str, source: Source, folder: Path | None) -> Path:
    """Returns the folder of a data set's pictures: the one named, or the first that is found beside the data.

    Args:
        name: The data set's name.
        source: Whose ``image_dir`` may be the folder of several data sets' folders, with ``{dataset}`` in it or not.
        folder: The data set's folder.

    Raises:
        UserError: There is none.
    """
    if source.image_dir is not None:
        named = user_path(source.image_dir.replace("{dataset}", name))
        return named / name if (named / name).is_dir() else named
    assert folder is not None
    places = [folder / "images", folder / f"{name}_images", folder.parent / "images" / name]
    for place in (*places, folder.parent / f"{name}_images"):
        if place.is_dir():
            return place
    looked = " or ".join(map(str, places))
    raise UserError(f"no pictures of {name}: looked for {looked}; name their folder with --images DIR")


@dataclass(frozen=True)
class Drawing:
    """A picture of the demo corpus, drawn when it is opened.

    Attributes:
        name: The tweet's id.
        scene: What it shows.
        readable: Whether it is one of those that are damaged on purpose.
    """

    name: str
    scene: Scene
    readable: bool

    @property
    def sha256(self) -> str:
        """Digest of what decides its pixels: the scene, and what draws it."""
        return hashlib.sha256(f"{_painter()} {self.readable} {self.scene!r}".encode()).hexdigest()

    def open(self) -> Image.Image:
        """Draws it; see `lightning_ita.images.pictures.Picture.open`.

        Raises:
            ImageError: It is one of those that are damaged on purpose.
        """
        if not self.readable:
            raise ImageError("damaged: drawn so, as some pictures of real corpora are")
        from lightning_ita.demo.painting import render

        return render(self.scene)


@cache
def _painter() -> str:
    """Returns a digest of the code that draws, and Pillow's version."""
    files = sorted(Path(painting_package.__path__[0]).glob("*.py"))
    code = b"".join(path.read_bytes() for path in files)
    return f"{hashlib.sha256(code).hexdigest()} Pillow {PIL.__version__}"


def with_drawings(corpus: Corpus, source: Source, parts: Collection[str]) -> Corpus:
    """Returns the generated demo corpus with its pictures, which are drawn as they are looked at."""
    tweets: list[DemoTweet] = [tweet for split in generate(DemoConfig()).splits.values() for tweet in split]
    drawn = {
        tweet.id: Drawing(tweet.id, tweet.scene, tweet.image == "ok") for tweet in tweets if tweet.image != "missing"
    }
    corpus = _with(corpus, source, drawn, {}, parts)
    # By what the pictures show: the identity of a result does not change with a comment in the code that draws.
    shows = json.dumps([[name, repr(picture.scene), picture.readable] for name, picture in sorted(drawn.items())])
    return replace(corpus, digests={**corpus.digests, "images": hashlib.sha256(shows.encode()).hexdigest()})


def with_boxes(corpus: Corpus, source: Source) -> Corpus:
    """Returns a corpus with the places of objects in its pictures, where a store has a detector's; else as it is.

    Raises:
        UserError: The store cannot be read, or has several detectors and ``--context-engines tag=`` names none.
    """
    if source.context_store is None:
        return corpus
    from lightning_ita.contexts.store import ContextStore

    with ContextStore(user_path(source.context_store), readonly=True) as store:
        engine = detector(store, source.context_engines.get("tag"))
        boxes = {} if engine is None else boxes_of(store, engine, corpus.pictures.keys())
    if engine is None or not any(boxes.values()):
        return corpus
    digest = hashlib.sha256(json.dumps(sorted(boxes.items())).encode()).hexdigest()
    unread = [image for image in corpus.pictures if image not in boxes]
    warnings = [f"{corpus.name}: {listed(f'pictures were not read by {engine.label}', unread)}"] if unread else []
    return replace(
        corpus,
        boxes=boxes,
        digests={**corpus.digests, "boxes": digest},
        warnings=(*corpus.warnings, *warnings),
    )


def detector(store: ContextStore, choice: str | None) -> StoredEngine | None:
    """Returns the engine of a store whose places of objects are used; ``None`` where no detector has looked.

    Raises:
        UserError: None or several engines answer to the choice.
    """
    engines = [engine for engine in store.engines("tag") if engine.name not in NO_DETECTORS]
    engine = store.choose("tag", choice) if choice or len(engines) > 1 else next(iter(engines), None)
    return None if engine is None or engine.name in NO_DETECTORS else engine


def boxes_of(store: ContextStore, engine: StoredEngine, images: Collection[str]) -> dict[str, Sequence[Box]]:
    """Returns places of objects by image, for the images that a detector has read."""
    return {
        entry.image: entry.reading.boxes
        for entry in store.entries(engine, images)
        if entry.reading is not None and (entry.reading.boxes or not entry.reading.texts)
    }
