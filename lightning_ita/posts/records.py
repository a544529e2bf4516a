"""A post as it was read from a file, or why it cannot be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One post of the input.

    Attributes:
        number: Its place among the posts of the input, from 1.
        line: Line or row of the file that it starts in.
        id: Its id in the input; its number if the input has no ids.
        post: Its text, or its words.
        image: The name of its image in the input.
        contexts: Contexts of its image that the input has, by kind.
        gold: Its BIO tags, where the input has some.
        error: Why it cannot be read; the other fields are then empty.
    """

    number: int
    line: int
    id: str
    post: str | tuple[str, ...] = ""
    image: str | None = None
    contexts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gold: tuple[str, ...] | None = None
    error: str | None = None

    def digest(self, before: str) -> str:
        """Returns a digest of this record and all before it, to check that a continued run has the same input."""
        values = [before, self.id, self.post, self.image, dict(self.contexts), self.gold, self.error]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def texts_of(value: Any) -> dict[str, tuple[str, ...]]:
    """Reads contexts: texts by kind, each one text or a list of them.

    Raises:
        ValueError: It is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("contexts are not texts by kind")
    found = {}
    for kind, said in value.items():
        texts = (said,) if isinstance(said, str) else said
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"contexts of the kind {kind!r} are not texts")
        found[str(kind)] = tuple(texts)
    return found
