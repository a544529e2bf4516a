"""Contexts in files: one JSON object per line, ``{"image": id, "texts": [...]}``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_ita.contexts.tweets import Post
from lightning_ita.errors import DataError
from lightning_ita.files import Lines, parse_json
from lightning_ita.images.ids import image_id
from lightning_ita.text import MAX_VALUE, printable, quoted

# Images of a corpus that share one text more often than this are probably one broken image.
REPEATED_SHARE, REPEATED_SHARE_OF_OTHERS = 0.01, 0.25


@dataclass(frozen=True)
class Contexts:
    """One kind of context for many images, from one source.

    Attributes:
        kind: ``cap``, ``tag``, ``ocr`` or any other.
        source: The source of the texts, as the file's name tells it: ``blip2`` in ``twitter15.cap.blip2.jsonl``.
        texts: Texts by image id (see `image_id`); none where the source found nothing in an image.
        sha256: Digest of the file; of texts from a store, the digest of the file that `jsonl_of` makes of them, so that
            the identity of a cell is the same for either.
        failed: Why an engine failed, by image id; those have no texts.
        provenance: The engine, its model, version and parameters, where they are known.
        tweets: Digests of the tweets' texts that an engine has read, by image id; see `fits`.
        changed: Images whose texts were read from tweets of other words, and left out.
    """

    kind: str
    source: str
    texts: Mapping[str, tuple[str, ...]]
    sha256: str
    failed: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tweets: Mapping[str, str] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()

    def fits(self, image: str, texts: Collection[str]) -> bool:
        """Tells whether what is known of an image was read from these texts of its tweets, or from no tweet."""
        digest = self.tweets.get(image)
        return digest is None or all(Post(image, text).sha256 == digest for text in texts)

    def unread(self, images: Collection[str]) -> int:
        """Counts the images that the engine has not read; 0 for a file, which does not tell."""
        return (
            len({image_id(image) for image in images} - self.texts.keys() - self.failed.keys() - self.changed)
            if self.provenance
            else 0
        )

    def repeated(self) -> tuple[str, int] | None:
        """Returns the text that suspiciously many images share, cut to one line, and their number.

        Two captions are seldom equal. Tags and text in images may well be, and texts of other kinds as well.
        """
        counts = Counter(" / ".join(texts) for texts in self.texts.values() if texts)
        if self.kind in ("tag", "ocr") or not counts:
            return None
        text, count = counts.most_common(1)[0]
        share = REPEATED_SHARE if self.kind == "cap" else REPEATED_SHARE_OF_OTHERS
        return (printable(text, MAX_VALUE), count) if count > max(share * len(self.texts), 10) else None


def read_contexts(path: Path, kind: str) -> Contexts:
    """Reads a file of contexts.

    Args:
        path: The file. Image ids may have a picture's extension.
        kind: ``cap``, ``tag`` or ``ocr``.

    Raises:
        DataError: This is no regular file, a line is too long, not UTF-8, not JSON, or not of the expected form, or an
            image occurs twice; names the line.
    """
    texts: dict[str, tuple[str, ...]] = {}
    first_line: dict[str, int] = {}
    lines = Lines(path)
    for number, line in lines:
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise DataError(str(error), path, number) from None
        if not _well_formed(entry):
            raise DataError(f'expected {{"image": id, "texts": [text, ...]}}, found {quoted(line)}', path, number)
        image = image_id(entry["image"])
        if image in texts:
            raise DataError(f"image {quoted(image)} occurs twice, first in line {first_line[image]}", path, number)
        first_line[image] = number
        texts[image] = tuple(text for text in entry["texts"] if text.strip())
    parts = path.name.split(".")
    source = ".".join(parts[2:-1]) if len(parts) > 3 else path.stem
    return Contexts(kind, source, texts, lines.sha256)


def jsonl_of(texts: Mapping[str, Sequence[str]]) -> str:
    """Returns contexts as `read_contexts` reads them, in the order of image ids: equal texts make equal files."""
    lines = (json.dumps({"image": image, "texts": list(texts[image])}, ensure_ascii=False) for image in sorted(texts))
    return "".join(f"{line}\n" for line in lines)


def _well_formed(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    image, texts = entry.get("image"), entry.get("texts")
    named = isinstance(image, str) and image.strip() != ""
    return named and isinstance(texts, list) and all(isinstance(text, str) for text in texts)
