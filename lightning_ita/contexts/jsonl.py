"""Contexts in files: one JSON object a line, ``{"image": id, "texts": [...]}``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from lightning_ita.data.conll import read_text
from lightning_ita.errors import DataError
from lightning_ita.files import sha256_of

# Images of a corpus that share one text more often than this are probably one broken image.
REPEATED_SHARE = 0.01


@dataclass(frozen=True)
class Contexts:
    """What one source said of each image.

    Attributes:
        kind: ``cap``, ``tag`` or ``ocr``.
        source: Where the texts come from, as the file's name says: ``blip2`` in ``twitter15.cap.blip2.jsonl``.
        texts: Texts by image id; an image it said nothing of has none.
        sha256: Digest of what was read.
    """

    kind: str
    source: str
    texts: Mapping[str, tuple[str, ...]]
    sha256: str

    def repeated(self) -> tuple[str, int] | None:
        """Returns the text that suspiciously many images share and their number: a placeholder or a broken image."""
        counts = Counter(" / ".join(texts) for texts in self.texts.values() if texts)
        if self.kind != "cap" or not counts:
            return None
        text, count = counts.most_common(1)[0]
        return (text, count) if count > max(REPEATED_SHARE * len(self.texts), 10) else None


def read_contexts(path: Path, kind: str) -> Contexts:
    """Reads a file of contexts.

    Args:
        path: The file. Image ids may carry a picture's extension.
        kind: ``cap``, ``tag`` or ``ocr``.

    Raises:
        DataError: A line is not UTF-8, not JSON, or not of the expected form, or an image stands twice.
    """
    texts: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"not JSON: {error.msg}", path, number) from None
        if not isinstance(entry, dict) or not _well_formed(entry):
            raise DataError(f'expected {{"image": id, "texts": [text, ...]}}, found {line[:80]}', path, number)
        image = _image_id(entry["image"])
        if image in texts:
            raise DataError(f"image {image!r} stands twice", path, number)
        texts[image] = tuple(text for text in entry["texts"] if text.strip())
    parts = path.name.split(".")
    source = ".".join(parts[2:-1]) if len(parts) > 3 else path.stem
    return Contexts(kind, source, texts, sha256_of(path))


def _well_formed(entry: dict[str, object]) -> bool:
    texts = entry.get("texts")
    return isinstance(entry.get("image"), str) and isinstance(texts, list) and all(isinstance(t, str) for t in texts)


def _image_id(name: str) -> str:
    """Strips a picture's extension: files name images both ways."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".gif", ".webp"} else name
