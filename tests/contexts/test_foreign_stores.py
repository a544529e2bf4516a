"""Stores that somebody else made, damaged or took away: read right, or an error that says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.jsonl import jsonl_of, read_contexts
from lightning_ita.contexts.store import ContextStore, Entry, StoredEngine
from lightning_ita.errors import DataError, UserError
from lightning_ita.images.files import FileState

ENGINE = StoredEngine("cap", "blip", "base", "1", {"beams": 3})
STATE = FileState(3, 4, "ab")
# The full test: CASES=10000 python -m pytest tests/contexts -k any_
CASES = int(os.environ.get("CASES", "300"))


def entry(image: str, *texts: str) -> Entry:
    return Entry(image, STATE, Reading(texts, (0.5,) * len(texts), ((0.0, 1.0, 2.0, 3.0),) * len(texts)))


def make(path: Path) -> Path:
    with ContextStore(path) as store:
        store.write(ENGINE, [entry("a", "x", "y"), entry("b"), Entry("c", error="damaged")])
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "contexts.db")


def change(path: Path, script: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    if values:
        connection.execute(script, values)
    else:
        connection.executescript(script)
    connection.commit()
    connection.close()


def read_all(path: Path) -> dict[str, tuple[str, ...]]:
    with ContextStore(path, readonly=True) as store:
        for engine in store.engines():
            store.known(engine)
            store.count(engine)
            list(store.entries(engine))
        return dict(store.contexts("cap").texts)


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"


@pytest.mark.parametrize(
    "script",
    [
        "ALTER TABLE entries RENAME TO old; CREATE VIEW entries AS "
        f"{ENDLESS} SELECT 1 AS engine, x AS image, 1 AS size, 1 AS modified, '' AS sha256, '[]' AS texts, "
        "'[]' AS scores, '[]' AS boxes, NULL AS error, '' AS time FROM n",
        "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
        "ALTER TABLE entries ADD COLUMN more TEXT",
        "ALTER TABLE engines RENAME COLUMN version TO release",
        "DROP TABLE engines",
        "CREATE INDEX i ON entries (abs(size))",
        "CREATE TABLE more (x)",
        "DROP TABLE entries; CREATE TABLE entries (engine, image COLLATE NOCASE, size, modified, sha256, texts, scores,"
        " boxes, error, time, PRIMARY KEY (engine, image)) WITHOUT ROWID",
    ],
    ids=["endless view", "trigger", "column", "renamed", "dropped", "index", "table", "collation"],
)
@pytest.mark.parametrize("readonly", [True, False])
def test_tables_of_another_form_are_refused_before_they_are_used(path: Path, script: str, readonly: bool) -> None:
    change(path, script)
    with pytest.raises(UserError, match="its tables are not those of a store of contexts; name another file"):
        ContextStore(path, readonly)


def test_what_sqlites_own_tools_do_to_a_store_changes_nothing(path: Path, tmp_path: Path) -> None:
    change(path, "ANALYZE; VACUUM")
    assert read_all(path) == {"a": ("x", "y"), "b": ()}
    source = sqlite3.connect(path)
    script = "\n".join(source.iterdump())
    source.close()
    change(tmp_path / "copy.db", script)
    change(tmp_path / "copy.db", "PRAGMA application_id = 0x49544131; PRAGMA user_version = 1")
    assert read_all(tmp_path / "copy.db") == {"a": ("x", "y"), "b": ()}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("texts", "[", "texts: not JSON"),
        ("texts", "[" * 100_000 + "]" * 100_000, "texts: nested too deeply"),
        ("texts", "[1]", "expected a text, found 1"),
        ("texts", '"a"', "texts: expected a list, found 'a'"),
        ("texts", r'["\ud800"]', "texts: half a character"),
        ("texts", b"[]", "texts: expected text, found b'"),
        ("texts", json.dumps(["x" * 2**21]), "2,097,152 characters of text for one image; at most 1,048,576"),
        ("scores", "9" * 10_000, "scores: a number has too many digits"),
        ("scores", "[0.5]", "1 scores for 2 texts"),
        ("scores", '["a", 1]', "scores are not finite numbers"),
        ("scores", "[NaN, 1]", "NaN is not JSON"),
        ("scores", f"[1{'0' * 400}, 1]", "scores are not finite numbers"),
        ("boxes", "[[1, 2], [3, 4]]", "boxes are not four finite numbers each"),
        ("boxes", "[1, 2]", "boxes: expected a list, found 1"),
        ("size", "large", "size: expected a whole number, found 'large'"),
        ("sha256", b"\0", "sha256: expected text, found"),
        ("time", 3, None),
        ("error", b"\xff", "error: expected text"),
        ("image", b"\xff", "image: expected text, found b'"),
    ],
)
def test_a_row_of_another_form_is_named(path: Path, column: str, value: object, reason: str | None) -> None:
    change(path, f"UPDATE entries SET {column} = ? WHERE image = 'a'", value)
    if reason is None:
        assert read_all(path)["a"] == ("x", "y")  # the column is of text: SQLite converts
        return
    with pytest.raises(DataError, match=reason) as error:
        read_all(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "blip:base" in message
    assert len(message) < 600
    assert "\n" not in message


@pytest.mark.parametrize(
    ("column", "value"), [("parameters", "[]"), ("parameters", "{"), ("name", b"\0"), ("kind", b"cap")]
)
def test_an_engine_of_another_form_is_named(path: Path, column: str, value: object) -> None:
    change(path, f"UPDATE engines SET {column} = ?", value)
    with pytest.raises(
        DataError, match=rf"engine 1: {column}: .*; the store was damaged or changed by another program"
    ):
        read_all(path)


def test_a_value_beyond_the_bound_is_not_read(path: Path) -> None:
    change(path, "UPDATE entries SET texts = ? WHERE image = 'a'", json.dumps(["x" * 2**25]))
    with pytest.raises(UserError, match=r"contexts\.db: .*too big"):
        read_all(path)


def test_what_a_stranger_wrote_is_shown_and_not_acted_on(path: Path) -> None:
    change(path, "UPDATE engines SET name = ?, model = ?, version = ?", "\x1b[2J", "[red]\n" + "m" * 1000, "\x07")
    with ContextStore(path, readonly=True) as store:
        (engine,) = store.engines()
        assert engine.title.startswith(r"\x1b[2J:[red]\n" + "mmm")
        assert len(engine.title) == 300
        with pytest.raises(UserError, match="it has:") as error:
            store.choose("cap", "other")
    assert "\x1b" not in str(error.value)
    assert r"\x07, " in str(error.value)


def test_ids_are_compared_in_one_form(path: Path, tmp_path: Path) -> None:
    with ContextStore(path) as store:
        store.write(ENGINE, [entry("1.JPG", "one"), entry("e\u0301", "e")])
        assert store.contexts("cap", ["é.png", " 1 "]).texts == {"1": ("one",), "é": ("e",)}
        assert {"1", "é"} < store.known(ENGINE).keys()
    # As written before ids had one form: an error under the tweet's name of the image, and later its reading.
    change(
        path,
        "INSERT INTO entries "
        "SELECT engine, '2.jpg', NULL, NULL, NULL, '[]', '[]', '[]', 'gone', time FROM entries LIMIT 1",
    )
    with ContextStore(path) as store:
        assert store.contexts("cap").failed == {"c": "damaged", "2": "gone"}
        store.write(ENGINE, [entry("2", "two")])
        assert store.known(ENGINE)["2"].size == 3
        contexts = store.contexts("cap")
        assert (contexts.texts["2"], contexts.failed) == (("two",), {"c": "damaged"})
    change(path, "UPDATE entries SET error = NULL WHERE image = '2.jpg'")
    with pytest.raises(DataError, match="image '2' occurs twice among those of blip:base"):
        read_all(path)


@pytest.mark.parametrize("make_other", [None, shutil.copy, lambda old, new: make(Path(new))])
def test_a_store_that_was_taken_away_is_noticed_at_the_next_write(
    path: Path, make_other: Callable[[str, str], Any] | None
) -> None:
    with ContextStore(path) as store:
        store.check_present()
        path.rename(path.with_name("elsewhere.db"))
        if make_other is not None:
            make_other(str(path.with_name("elsewhere.db")), str(path))
        what = "was deleted" if make_other is None else "was replaced by another file"
        for act in (
            store.check_present,
            lambda: store.write(ENGINE, [entry("z")]),
            lambda: store.same_file(ENGINE, {"a": STATE}),
            lambda: store.check_kept(ENGINE, ["a"]),
        ):
            with pytest.raises(UserError, match=rf"contexts\.db {what} while it was in use"):
                act()


def test_entries_that_were_removed_meanwhile_are_noticed(path: Path) -> None:
    with ContextStore(path) as store:
        store.check_kept(ENGINE, ["a.jpg", "b", "c"])
        change(path, "DELETE FROM entries WHERE image = 'b'")
        with pytest.raises(UserError, match=r"has lost what blip:base \(.*\) read in 1 of 3 images"):
            store.check_kept(ENGINE, ["a.jpg", "b", "c"])


@pytest.mark.parametrize("readonly", [True, False])
def test_pipes_devices_and_folders_are_no_stores(tmp_path: Path, readonly: bool) -> None:
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "device.db").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.db", tmp_path / "device.db", tmp_path):
        with pytest.raises(UserError, match="is not a store of contexts but a folder, a pipe or a device"):
            ContextStore(path, readonly)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    max_leaves=5,
).map(json.dumps)
CONTENT = st.one_of(
    JSON,
    st.text(),
    st.binary(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.none(),
    st.lists(st.text(st.characters()) | st.floats() | st.integers(), max_size=3).map(json.dumps),
    st.sampled_from(["1.jpg", "e\u0301", "[]", "{}", '["x", "y"]', "[0.1, 2]", "[[1, 2, 3, 4], [0, 0, 1e99, 2]]"]),
)
COLUMNS = {
    "engines": ("id", "kind", "name", "model", "version", "parameters"),
    "entries": ("engine", "image", "size", "modified", "sha256", "texts", "scores", "boxes", "error", "time"),
}
CHANGES = st.lists(
    st.sampled_from([(table, column) for table, columns in COLUMNS.items() for column in columns]).flatmap(
        lambda place: st.tuples(st.just(place), CONTENT, st.sampled_from(["a", "b", "c"]))
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=CASES)
@given(changes=CHANGES)
def test_any_content_of_a_store_is_read_right_or_refused(
    changes: list[tuple[tuple[str, str], Any, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    template = tmp_path_factory.getbasetemp() / "template.db"
    if not template.exists():
        make(template)
        change(template, "PRAGMA journal_mode = DELETE")
    path = Path(shutil.copy(template, template.with_name("changed.db")))
    connection = sqlite3.connect(path)
    for (table, column), value, image in changes:
        where = "" if table == "engines" else " WHERE image = ?"
        try:
            connection.execute(f"UPDATE {table} SET {column} = ?{where}", (value, image)[: 1 + bool(where)])
        except (sqlite3.Error, UnicodeEncodeError):  # the tables themselves do not take it
            continue
    connection.commit()
    texts = dict(
        connection.execute(
            "SELECT image, texts FROM entries WHERE error IS NULL AND engine IN (SELECT id FROM engines)"
        )
    )
    connection.close()
    refused, found = None, {}
    try:
        found = read_all(path)
    except UserError as error:
        refused = str(error)
    if refused is not None:
        assert all(line.isprintable() for line in refused.split("\n"))
        assert len(refused) < 3000
        return
    # Whatever is not refused is what the rows say.
    said = {
        image.strip().removesuffix(".jpg").replace("e\u0301", "é"): json.loads(text) for image, text in texts.items()
    }
    for image, expected in found.items():
        assert list(expected) == [text for text in said[image] if text.strip()]
    (path.parent / "out.jsonl").write_text(jsonl_of(found), encoding="utf-8")
    assert read_contexts(path.parent / "out.jsonl", "cap").texts == found
