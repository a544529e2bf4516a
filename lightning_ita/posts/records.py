"""A post as it was read from a file, or why it cannot be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_ita.errors import UserError, unknown


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
        if said is None:  # a row of Parquet has all kinds that any row has
            continue
        texts = (said,) if isinstance(said, str) else said
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"contexts of the kind {kind!r} are not texts")
        found[str(kind)] = tuple(texts)
    return found


def format_by_ending(
    option: str, name: str, flag: str, given: str | None, formats: Collection[str], endings: Mapping[str, str]
) -> str:
    """Returns the format of a file: the one given, or the one that the file's ending stands for.

    Args:
        option: The option that names the file, for errors.
        name: The file.
        flag: The option that gives its format.
        given: What it gives, if anything.
        formats: The formats there are.
        endings: Format by ending, in small letters, with the dot.

    Raises:
        UserError: The format is unknown, or the ending stands for none.
    """
    if given is not None:
        if given not in formats:
            raise unknown(flag.removeprefix("--").replace("-", " "), given, formats)
        return given
    suffix = Path(name).suffix.lower()
    if suffix not in endings:
        raise UserError(
            f"{option} {name}: its ending does not tell the format; give {flag}, one of {', '.join(formats)}"
        )
    return endings[suffix]
