"""The store of contexts: what each engine said of each image, and where it comes from, in one SQLite file.

A write is a transaction in SQLite's write-ahead log: ``kill -9`` at any moment loses at most what was not yet written,
and several processes may write at once. Entries belong to an engine *with* its model, version and parameters: another
parameter is another engine here, so that entries never mix.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.jsonl import Contexts, jsonl_of
from lightning_ita.errors import UserError
from lightning_ita.images.files import FileState
from lightning_ita.invocation import spelled

# "ITA1", in the header of the file: tells a store from any other database.
APPLICATION_ID = 0x49544131
FORMAT = 1
# Seconds a writer waits for the others.
PATIENCE = 60.0
IMPORTED = "imported"

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS engines (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    parameters TEXT NOT NULL,  -- JSON
    UNIQUE (kind, name, model, version, parameters)
);
CREATE TABLE IF NOT EXISTS entries (
    engine INTEGER NOT NULL REFERENCES engines,
    image TEXT NOT NULL,
    size INTEGER,              -- of the image's file; with `modified`, tells cheaply that it is still the same
    modified INTEGER,          -- in nanoseconds
    sha256 TEXT,               -- of the image's file; NULL where it could not be read, or for what was imported
    texts TEXT NOT NULL,       -- JSON, as are the next two
    scores TEXT NOT NULL,
    boxes TEXT NOT NULL,
    error TEXT,                -- why there are no texts; NULL where the engine did its work
    time TEXT NOT NULL,        -- UTC
    PRIMARY KEY (engine, image)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
COMMIT;
"""


@dataclass(frozen=True)
class StoredEngine:
    """An engine as the store knows it.

    Attributes:
        kind: ``tag``, ``cap`` or ``ocr``.
        name: Its name in the registry of its kind, or ``imported``.
        model: The model, or the file imported from.
        version: Versions and digests that decide what it says.
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

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that stand for all of it."""
        text = json.dumps([self.kind, self.name, self.model, self.version, self.parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def label(self) -> str:
        """How tables name it: ``rapidocr:bundled (0123abcd)``."""
        return f"{self.name}:{self.model} ({self.key})" if self.model else f"{self.name} ({self.key})"

    def answers_to(self, choice: str) -> bool:
        """Tells whether a user means this engine: its name, ``name:model``, or its key."""
        return choice in (self.name, f"{self.name}:{self.model}", self.key)


@dataclass(frozen=True)
class Entry:
    """What an engine said of one image, or why it said nothing.

    Attributes:
        image: The image's id.
        state: The image's file; ``None`` where it could not be read, or for what was imported.
        reading: What was said; ``None`` in case of an error.
        error: Why nothing was said.
        time: When, in UTC; set by the store.
    """

    image: str
    state: FileState | None = None
    reading: Reading | None = None
    error: str | None = None
    time: str = ""


class Known(NamedTuple):
    """The file an entry is about, and whether the entry is an error; no values where the file could not be read."""

    size: int | None
    modified: int | None
    sha256: str | None
    failed: bool


@dataclass(frozen=True)
class Count:
    """How many images an engine has seen, how many of them it found nothing in, and how many it failed on."""

    images: int
    empty: int
    errors: int


class ContextStore:
    """A file of contexts with their provenance.

    Args:
        path: The file; made if it does not exist. On a local disk: network file systems do not lock as SQLite needs.
        readonly: Only read: the file must exist.

    Raises:
        UserError: The file is missing, is something else, or cannot be opened.
    """

    def __init__(self, path: Path, readonly: bool = False):
        self.path = path
        self._version = -1
        if readonly and not path.is_file():
            command = spelled("align", "--images", "DIR", "--store", path)
            raise UserError(f"{path}: no such store; `{command}` makes it")
        with self._explained():
            mode = "mode=ro" if readonly else "mode=rwc"
            if readonly and not os.access(path.parent, os.W_OK):
                mode += "&immutable=1"  # SQLite would write a log's index beside it; who cannot write, has no writers
            if not readonly:
                path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=PATIENCE, isolation_level=None
            )
            found = self._header("application_id")
            if found != APPLICATION_ID and (readonly or self._scalar("SELECT count(*) FROM sqlite_master")):
                raise UserError(f"{path} is a database, but not a store of contexts; name another file")
            if found == APPLICATION_ID and self._header("user_version") > FORMAT:
                raise UserError(f"{path} was written by a newer version of this program; update to read it")
            if not readonly:
                self._create(new=found != APPLICATION_ID)

    def _create(self, new: bool) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
                # Enough for a killed process; a power cut may cost the last entries, never the file.
                self.connection.execute("PRAGMA synchronous = NORMAL")
                if new:
                    self.connection.executescript(SCHEMA)
                return
            except sqlite3.OperationalError as error:
                # Changing to the write-ahead log does not wait for others by itself.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                if self.connection.in_transaction:
                    self.connection.rollback()
                time.sleep(0.05)

    def __enter__(self) -> ContextStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: {error}; what was written before is kept") from error

    def _header(self, name: str) -> int:
        return int(self._scalar(f"PRAGMA {name}"))

    def _scalar(self, query: str) -> int:
        return int(self.connection.execute(query).fetchone()[0])

    def engines(self, kind: str | None = None) -> list[StoredEngine]:
        """Returns the engines there are entries of, of one kind or of all."""
        return list(self._engines(kind).values())

    def _engines(self, kind: str | None = None) -> dict[int, StoredEngine]:
        query = "SELECT id, kind, name, model, version, parameters FROM engines WHERE ? IS NULL OR kind = ? ORDER BY id"
        with self._explained():
            rows = self.connection.execute(query, (kind, kind)).fetchall()
        return {
            number: StoredEngine(kind_, name, model, version, json.loads(parameters))
            for number, kind_, name, model, version, parameters in rows
        }

    def _id(self, engine: StoredEngine) -> int | None:
        return next((number for number, each in self._engines(engine.kind).items() if each == engine), None)

    def choose(self, kind: str, choice: str | None = None) -> StoredEngine:
        """Returns the one engine of a kind that the user means.

        Args:
            kind: ``tag``, ``cap`` or ``ocr``.
            choice: Its name, ``name:model`` or key; needed where there are several.

        Raises:
            UserError: None or several answer to it; lists what there is.
        """
        known = self.engines(kind)
        found = [engine for engine in known if choice is None or engine.answers_to(choice)]
        if len(found) == 1:
            return found[0]
        listed = "".join(
            f"\n  {kind}={each.key}  {each.name}:{each.model}, {each.version}, "
            f"{json.dumps(each.parameters, ensure_ascii=False)}, {self.count(each).images} images"
            for each in (found or known)
        )
        if not known:
            others = ", ".join(sorted({each.kind for each in self.engines()})) or "nothing yet"
            raise UserError(
                f"{self.path} has no {kind} contexts (it has {others}); "
                f"`{spelled('align', '--kinds', kind)}` or `--import {kind}=FILE` adds them"
            )
        if found:
            raise UserError(f"{self.path} has {kind} contexts of several engines; choose one:{listed}")
        raise UserError(f"{self.path} has no {kind} contexts of {choice!r}; it has:{listed}")

    def known(self, engine: StoredEngine) -> dict[str, Known]:
        """Returns what an engine's entries say of the images' files, by image id."""
        query = "SELECT image, size, modified, sha256, error IS NOT NULL FROM entries WHERE engine = ?"
        with self._explained():
            rows = self.connection.execute(query, (self._id(engine),))
            return {
                image: Known(size, modified, sha256, bool(failed)) for image, size, modified, sha256, failed in rows
            }

    def write(self, engine: StoredEngine, entries: Iterable[Entry]) -> None:
        """Writes entries, all or none; one for an image there is an entry of takes its place.

        Raises:
            UserError: The disk is full, or another process did not let go of the store for a minute.
        """
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        identity = (
            engine.kind,
            engine.name,
            engine.model,
            engine.version,
            json.dumps(engine.parameters, sort_keys=True),
        )
        rows = [_row(entry, now) for entry in entries]
        with self._explained():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                self.connection.execute(
                    "INSERT OR IGNORE INTO engines (kind, name, model, version, parameters) VALUES (?, ?, ?, ?, ?)",
                    identity,
                )
                (number,) = self.connection.execute(
                    "SELECT id FROM engines WHERE (kind, name, model, version, parameters) = (?, ?, ?, ?, ?)", identity
                ).fetchone()
                self.connection.executemany(
                    f"INSERT OR REPLACE INTO entries VALUES ({number}, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
                )
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.rollback()
                raise

    def changed_elsewhere(self) -> bool:
        """Tells whether another process wrote since this was last asked."""
        with self._explained():
            before, self._version = self._version, self._header("data_version")
        return before != self._version

    def same_file(self, engine: StoredEngine, images: Mapping[str, FileState]) -> None:
        """Notes that files were written anew with the same content, so that they are not read again next time."""
        rows = [(state.size, state.modified, self._id(engine), image) for image, state in images.items()]
        with self._explained():
            self.connection.executemany(
                "UPDATE entries SET size = ?, modified = ? WHERE engine = ? AND image = ?", rows
            )

    def entries(self, engine: StoredEngine, images: Collection[str] | None = None) -> Iterator[Entry]:
        """Returns an engine's entries in the order of image ids, of all images or of those named."""
        query = (
            "SELECT image, size, modified, sha256, texts, scores, boxes, error, time FROM entries "
            "WHERE engine = ? ORDER BY image"
        )
        wanted = None if images is None else set(images)
        with self._explained():
            for image, size, modified, sha256, texts, scores, boxes, error, when in self.connection.execute(
                query, (self._id(engine),)
            ):
                if wanted is not None and image not in wanted:
                    continue
                state = None if sha256 is None else FileState(size, modified, sha256)
                boxed = tuple(tuple(box) for box in json.loads(boxes))
                reading = Reading(tuple(json.loads(texts)), tuple(json.loads(scores)), boxed)
                yield Entry(image, state, None if error is not None else reading, error, when)

    def count(self, engine: StoredEngine) -> Count:
        """Counts an engine's entries."""
        query = (
            "SELECT count(*), coalesce(sum(error IS NULL AND texts = '[]'), 0), coalesce(sum(error IS NOT NULL), 0) "
            "FROM entries WHERE engine = ?"
        )
        with self._explained():
            return Count(*self.connection.execute(query, (self._id(engine),)).fetchone())

    def contexts(self, kind: str, images: Collection[str] | None = None, choice: str | None = None) -> Contexts:
        """Returns what one engine said, as a data module takes it.

        Args:
            kind: ``tag``, ``cap`` or ``ocr``.
            images: The images wanted; by default all. Others play no part in the digest, so that a store may grow by
                the images of another corpus.
            choice: See `choose`.

        Raises:
            UserError: None or several engines answer to the choice.
        """
        engine = self.choose(kind, choice)
        texts, failed = {}, {}
        for entry in self.entries(engine, images):
            if entry.reading is None:
                failed[entry.image] = entry.error or ""
            else:
                texts[entry.image] = tuple(text for text in entry.reading.texts if text.strip())
        digest = hashlib.sha256(jsonl_of(texts).encode()).hexdigest()
        provenance = {
            "engine": engine.name,
            "model": engine.model,
            "version": engine.version,
            "parameters": dict(engine.parameters),
        }
        return Contexts(kind, engine.label, texts, digest, failed, provenance)


def _row(entry: Entry, now: str) -> Sequence[object]:
    state, reading = entry.state, entry.reading or Reading(())
    return (
        entry.image,
        *((state.size, state.modified, state.sha256) if state else (None, None, None)),
        json.dumps(list(reading.texts)),
        json.dumps([round(float(score), 4) for score in reading.scores]),
        json.dumps([[round(float(edge), 1) for edge in box] for box in reading.boxes]),
        entry.error,
        now,
    )
