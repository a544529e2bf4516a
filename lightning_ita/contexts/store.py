"""The store of contexts: the texts that each engine read in each image, with their origin, in one SQLite file.

A write is a transaction in SQLite's write-ahead log: ``kill -9`` at any moment loses at most what was not yet written,
and several processes may write at once. Entries belong to an engine *with* its model, version and parameters: another
parameter is another engine here, so that entries never mix.

The file may come from somebody else: see `schema.connect`. Every row is checked when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from lightning_ita.contexts.jsonl import Contexts, jsonl_of
from lightning_ita.contexts.schema import connect
from lightning_ita.contexts.stored import IMPORTED, Count, Entry, Known, StoredEngine, stored_id
from lightning_ita.errors import DataError, UserError
from lightning_ita.images.files import FileState
from lightning_ita.images.ids import image_id
from lightning_ita.invocation import spelled
from lightning_ita.text import printable, quoted

__all__ = ["IMPORTED", "ContextStore", "Count", "Entry", "Known", "StoredEngine"]

T = TypeVar("T")
# Most engines that a message lists.
MOST_LISTED = 20


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
        self._place = path.absolute()
        self._version = -1
        with self._explained():
            self.connection = connect(path, readonly)
        self._file = self._on_disk()

    def __enter__(self) -> ContextStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @contextmanager
    def _explained(self, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UserError(f"{self.path}: {error}{'; what was written before is kept' * writing}") from error

    def _checked(self, read: Callable[..., T], *row: object, where: str) -> T:
        try:
            return read(*row)
        except ValueError as error:
            raise DataError(
                f"{where}: {error}; the store was damaged or changed by another program", self.path
            ) from None

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._place)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def check_present(self) -> None:
        """Checks that the file that was opened is still at its place.

        A deleted or replaced file can still be written to, and is gone as soon as it is closed.

        Raises:
            UserError: It was deleted, or another file is there.
        """
        now = self._on_disk()
        if now is None or now != self._file:
            what = "was deleted" if now is None else "was replaced by another file"
            raise UserError(
                f"{self.path} {what} while it was in use: what was written to it since is lost. "
                f"Run the same command again, and leave the store where it is until it ends."
            )

    def check_kept(self, engine: StoredEngine, images: Collection[str]) -> None:
        """Checks that the file on disk, opened again, has an engine's entries of these images.

        Raises:
            UserError: The file or some entries are gone.
        """
        self.check_present()
        with ContextStore(self.path, readonly=True) as again:
            lost = {image_id(image) for image in images} - again.known(engine).keys()
        if lost:
            raise UserError(
                f"{self.path} has lost what {engine.label} read in {len(lost)} of {len(images)} images: the file was "
                f"changed while it was in use. Run the same command again: it reads what is missing."
            )

    def engines(self, kind: str | None = None) -> list[StoredEngine]:
        """Returns the engines there are entries of, of one kind or of all."""
        return list(self._engines(kind).values())

    def _engines(self, kind: str | None = None) -> dict[int, StoredEngine]:
        query = "SELECT id, kind, name, model, version, parameters FROM engines WHERE ? IS NULL OR kind = ? ORDER BY id"
        with self._explained():
            rows = self.connection.execute(query, (kind, kind)).fetchall()
        return {number: self._checked(StoredEngine.of_row, row, where=f"engine {number}") for number, *row in rows}

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
        if not known:
            others = ", ".join(sorted({printable(each.kind) for each in self.engines()})) or "nothing yet"
            raise UserError(
                f"{self.path} has no {kind} contexts (it has {others}); "
                f"`{spelled('align', '--kinds', kind)}` or `--import {kind}=FILE` adds them"
            )
        listed = self._listed(found or known)
        if found:
            example = f"\nfor example --context-engines {kind}={found[0].key} (align and predict: --engines)"
            raise UserError(f"{self.path} has {kind} contexts of several engines; choose one:{listed}{example}")
        raise UserError(f"{self.path} has no {kind} contexts of {quoted(choice)}; it has:{listed}")

    def _listed(self, engines: Sequence[StoredEngine]) -> str:
        lines = [
            f"\n  {each.kind}={each.key}  {each.title}, {printable(each.version)}, "
            f"{printable(json.dumps(each.parameters, ensure_ascii=False))}, {self.count(each).images} images"
            for each in engines[:MOST_LISTED]
        ]
        more = f"\n  and {len(engines) - MOST_LISTED} more" if len(engines) > MOST_LISTED else ""
        return "".join(lines) + more

    def known(self, engine: StoredEngine) -> dict[str, Known]:
        """Returns what an engine's entries say of the images' files, by image id."""
        # Where two rows have the same id in its one form, a reading counts before an error.
        query = (
            "SELECT image, size, modified, sha256, error IS NOT NULL FROM entries WHERE engine = ? "
            "ORDER BY error IS NULL"
        )
        with self._explained():
            rows = self.connection.execute(query, (self._id(engine),))
            return {
                self._checked(stored_id, image, where=f"an entry of {engine.label}"): Known(
                    size, modified, sha256, bool(failed)
                )
                for image, size, modified, sha256, failed in rows
            }

    def write(self, engine: StoredEngine, entries: Iterable[Entry]) -> None:
        """Writes entries, all or none; one for an image there is an entry of takes its place.

        Raises:
            UserError: The disk is full, the store was deleted or replaced, or another process did not let go of it for
                a minute.
        """
        self.check_present()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        parameters = json.dumps(engine.parameters, sort_keys=True)
        identity = (engine.kind, engine.name, engine.model, engine.version, parameters)
        rows = [entry.row(now) for entry in entries]
        with self._explained(writing=True):
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
            before = self._version
            self._version = int(self.connection.execute("PRAGMA data_version").fetchone()[0])
        return before != self._version

    def same_file(self, engine: StoredEngine, images: Mapping[str, FileState]) -> None:
        """Records that files were written again with the same content, so that they are not read again next time."""
        self.check_present()
        rows = [(state.size, state.modified, self._id(engine), image) for image, state in images.items()]
        with self._explained(writing=True):
            self.connection.executemany(
                "UPDATE entries SET size = ?, modified = ? WHERE engine = ? AND image = ?", rows
            )

    def entries(self, engine: StoredEngine, images: Collection[str] | None = None) -> Iterator[Entry]:
        """Returns an engine's entries in the order of image ids, of all images or of those named.

        Raises:
            DataError: A row is not of the expected form; names the image and the column.
        """
        query = (
            "SELECT image, size, modified, sha256, texts, scores, boxes, error, time FROM entries "
            "WHERE engine = ? ORDER BY image"
        )
        wanted = None if images is None else {image_id(image) for image in images}
        with self._explained():
            for row in self.connection.execute(query, (self._id(engine),)):
                where = f"the entry of image {quoted(row[0])} by {engine.label}"
                if wanted is None or self._checked(stored_id, row[0], where=where) in wanted:
                    yield self._checked(Entry.of_row, row, where=where)

    def count(self, engine: StoredEngine) -> Count:
        """Counts an engine's entries."""
        query = (
            "SELECT count(*), coalesce(sum(error IS NULL AND texts = '[]'), 0), coalesce(sum(error IS NOT NULL), 0) "
            "FROM entries WHERE engine = ?"
        )
        with self._explained():
            return Count(*self.connection.execute(query, (self._id(engine),)).fetchone())

    def contexts(
        self,
        kind: str,
        images: Collection[str] | None = None,
        choice: str | None = None,
        tweets: Mapping[str, Collection[str]] | None = None,
    ) -> Contexts:
        """Returns what one engine read, as a data module takes it.

        Args:
            kind: ``tag``, ``cap`` or ``ocr``.
            images: The images wanted; by default all. Others play no part in the digest, so that a store may grow by
                the images of another corpus.
            choice: See `choose`.
            tweets: Texts of the tweets by image id. What an engine has read from a tweet of other words is left out.

        Raises:
            UserError: None or several engines answer to the choice, or a row is not of the expected form.
        """
        engine = self.choose(kind, choice)
        texts: dict[str, tuple[str, ...]] = {}
        failed: dict[str, str] = {}
        digests: dict[str, str] = {}
        for entry in self.entries(engine, images):
            if entry.reading is None:
                failed[entry.image] = entry.error or ""
            elif entry.image in texts:
                raise DataError(f"image {quoted(entry.image)} occurs twice among those of {engine.label}", self.path)
            else:
                texts[entry.image] = tuple(text for text in entry.reading.texts if text.strip())
                if (digest := entry.tweet) is not None:
                    digests[entry.image] = digest
        failed = {image: reason for image, reason in failed.items() if image not in texts}
        provenance = {
            "engine": engine.name,
            "model": engine.shown_model,
            "version": engine.version,
            "parameters": dict(engine.parameters),
        }
        read = Contexts(kind, engine.label, texts, "", failed, provenance, digests)
        changed = frozenset(image for image, said in (tweets or {}).items() if not read.fits(image, said))
        texts = {image: said for image, said in texts.items() if image not in changed}
        sha256 = hashlib.sha256(jsonl_of(texts).encode()).hexdigest()
        return replace(read, texts=texts, sha256=sha256, changed=changed)
