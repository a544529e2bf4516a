"""The tables of a store of contexts, and opening a file that should have them but that anyone may have made."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from functools import cache
from pathlib import Path

from lightning_ita.errors import UserError
from lightning_ita.invocation import spelled

# "ITA1", in the header of the file: tells a store from any other database.
APPLICATION_ID = 0x49544131
FORMAT = 1
# Seconds a writer waits for the others.
PATIENCE = 60.0
# Longest value or row that SQLite returns or takes, in bytes: a few times the texts of one image.
MAX_VALUE_BYTES = 2**24
# A store has two tables and what SQLite adds to them.
MOST_TABLES = 100

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


def connect(path: Path, readonly: bool) -> sqlite3.Connection:
    """Opens a store, or makes one.

    The file may be another user's: functions in its schema are not trusted, and anything but the two tables of a store
    (a view without end in place of a table, a trigger) is refused before it is used.

    Raises:
        UserError: The file is missing, is something else, or has the tables of something else.
        sqlite3.Error: SQLite cannot open it.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a store of contexts but a folder, a pipe or a device; name another file")
    if readonly and not path.exists():
        raise UserError(f"{path}: no such store; `{spelled('align', '--images', 'DIR', '--store', path)}` makes it")
    mode = "mode=ro" if readonly else "mode=rwc"
    log = path.with_name(f"{path.name}-wal")
    if readonly and not os.access(path.parent, os.W_OK) and not (log.exists() and log.stat().st_size):
        mode += "&immutable=1"  # SQLite would write a log's index beside it; without a log, nobody writes now
    if not readonly:
        path.parent.mkdir(parents=True, exist_ok=True)
    address = f"{path.absolute().as_uri()}?{mode}"
    connection = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        # Tables first: who makes a store writes both in one transaction.
        tables = _tables(connection)
        known = connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        if not known and (readonly or tables):
            raise UserError(f"{path} is a database, but not a store of contexts; name another file")
        if known and connection.execute("PRAGMA user_version").fetchone()[0] > FORMAT:
            raise UserError(f"{path} was written by a newer version of this program; update to read it")
        if not readonly:
            _create(connection, new=not known)
            tables = _tables(connection)
        if tables != _expected_tables():
            raise UserError(f"{path}: its tables are not those of a store of contexts; name another file")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, new: bool) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # Enough for a killed process; a power cut may cost the last entries, never the file.
            connection.execute("PRAGMA synchronous = NORMAL")
            if new:
                connection.executescript(SCHEMA)
            return
        except sqlite3.OperationalError as error:
            # Changing to the write-ahead log does not wait for others by itself.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            if connection.in_transaction:
                connection.rollback()
            time.sleep(0.05)


def _tables(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Returns kind and definition of all tables, views, indexes and triggers by name, less those SQLite adds itself.

    Comments and white space in the definitions do not count.
    """
    columns = ", ".join(f"coalesce(CAST({name} AS TEXT), '')" for name in ("type", "name", "sql"))
    rows = connection.execute(f"SELECT {columns} FROM sqlite_master").fetchmany(MOST_TABLES)
    return {
        name: (type_, " ".join(re.sub(r"--[^\n]*", " ", sql).split()))
        for type_, name, sql in rows
        if not name.startswith("sqlite_")
    }


@cache
def _expected_tables() -> dict[str, tuple[str, str]]:
    memory = sqlite3.connect(":memory:")
    memory.executescript(SCHEMA)
    try:
        return _tables(memory)
    finally:
        memory.close()
