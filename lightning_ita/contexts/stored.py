"""Engines and entries of a store of contexts, as values, and their checked conversion from and to its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.files import parse_json
from lightning_ita.images.files import FileState
from lightning_ita.images.ids import image_id
from lightning_ita.text import printable, quoted, without_folder

# The name of the engine of contexts that were read from a file.
IMPORTED = "imported"


@dataclass(frozen=True)
class StoredEngine:
    """An engine as the store knows it.

    Attributes:
        kind: ``tag``, ``cap`` or ``ocr``.
        name: Its name in the registry of its kind, or ``imported``.
        model: The model, or the file imported from.
        version: Versions and digests that decide what it returns.
        parameters: Everything else that decides it.
    """

    kind: str
    name: str
    model: str
    version: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, engine: Engine) -> StoredEngine:
        """Returns what the store keeps of an engine."""
        parameters = json.loads(json.dumps(dict(engine.parameters)))  # as they will be read back
        return cls(engine.kind, engine.name, engine.model, engine.version, parameters)

    @classmethod
    def of_row(cls, row: Sequence[object]) -> StoredEngine:
        """Returns the engine of a row: kind, name, model, version, parameters.

        Raises:
            ValueError: A value is not of the expected form; says which.
        """
        columns = ("kind", "name", "model", "version", "parameters")
        kind, name, model, version, text = (_text(value, column) for value, column in zip(row, columns, strict=True))
        parameters = _json(text, "parameters")
        if not isinstance(parameters, dict):
            raise ValueError(f"parameters: expected a JSON object, found {quoted(text)}")
        return cls(kind, name, model, version, parameters)

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that stand for all of it."""
        text = json.dumps([self.kind, self.name, self.model, self.version, self.parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def shown_model(self) -> str:
        """The model; of a path, its last part: pages and tables are published, folders of a machine are not."""
        return without_folder(self.model)

    @property
    def title(self) -> str:
        """Name and model, on one printable line: ``rapidocr:bundled``."""
        return printable(f"{self.name}:{self.shown_model}" if self.model else self.name)

    @property
    def label(self) -> str:
        """The name in tables: ``rapidocr:bundled (0123abcd)``."""
        return f"{self.title} ({self.key})"

    def answers_to(self, choice: str) -> bool:
        """Tells whether a user means this engine: by its name, ``name:model``, or its key.

        The model may be named by a path: of files, the name alone is kept.
        """
        name, _, model = choice.partition(":")
        by_model = not {self.model, self.shown_model}.isdisjoint({model, without_folder(model)})
        return choice in (self.name, self.key) or (name == self.name and by_model)


@dataclass(frozen=True)
class Entry:
    """What an engine read in one image, or why it read nothing.

    Attributes:
        image: The image's id.
        state: The image's file; ``None`` where it could not be read, or for what was imported.
        reading: What was read; ``None`` in case of an error.
        error: Why nothing was read.
        time: When, in UTC; set by the store.
    """

    image: str
    state: FileState | None = None
    reading: Reading | None = None
    error: str | None = None
    time: str = ""

    @property
    def tweet(self) -> str | None:
        """The digest of the tweet's text that was read; ``None`` if none was. See `preparing.state_of`."""
        if self.state is None:
            return None
        text, colon, _ = self.state.sha256.partition(":")
        return text if colon or self.state.modified == 0 else None

    def row(self, now: str) -> tuple[object, ...]:
        """Returns the values of the columns after ``engine``, written at the time `now`."""
        state, reading = self.state, self.reading or Reading(())
        return (
            image_id(self.image),
            *((state.size, state.modified, state.sha256) if state else (None, None, None)),
            json.dumps(list(reading.texts)),
            json.dumps([round(float(score), 4) for score in reading.scores]),
            json.dumps([[round(float(edge), 1) for edge in box] for box in reading.boxes]),
            None if self.error is None else printable(self.error),
            now,
        )

    @classmethod
    def of_row(cls, row: Sequence[object]) -> Entry:
        """Returns the entry of a row: the columns after ``engine``.

        Raises:
            ValueError: A value is not of the expected form; says which.
        """
        image, size, modified, sha256, texts, scores, boxes, error, time = row
        state = None
        if sha256 is not None:
            state = FileState(_whole(size, "size"), _whole(modified, "modified"), _text(sha256, "sha256"))
        texts, scores, boxes = (
            _list(value, column) for value, column in ((texts, "texts"), (scores, "scores"), (boxes, "boxes"))
        )
        reading = Reading(tuple(texts), tuple(scores), tuple(tuple(_list_of(box, "boxes")) for box in boxes))
        if error is not None:
            return cls(stored_id(image), state, None, _text(error, "error"), _text(time, "time"))
        return cls(stored_id(image), state, reading, None, _text(time, "time"))


class Known(NamedTuple):
    """The file an entry is about, and whether the entry is an error; no values where the file could not be read."""

    size: int | None
    modified: int | None
    sha256: str | None
    failed: bool


@dataclass(frozen=True)
class Count:
    """How many images an engine has read, in how many of them it found nothing, and on how many it failed."""

    images: int
    empty: int
    errors: int


def stored_id(value: object) -> str:
    """Returns the image id of a row in its one form.

    Raises:
        ValueError: It is no text, or empty.
    """
    image = image_id(_text(value, "image"))
    if not image:
        raise ValueError("image: an empty id")
    return image


def _text(value: object, column: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{column}: expected text, found {quoted(value)}")
    return value


def _whole(value: object, column: str) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{column}: expected a whole number, found {quoted(value)}")
    return value


def _json(value: object, column: str) -> Any:
    try:
        return parse_json(_text(value, column))
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None


def _list(value: object, column: str) -> list[Any]:
    return _list_of(_json(value, column), column)


def _list_of(value: object, column: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{column}: expected a list, found {quoted(value)}")
    return value
