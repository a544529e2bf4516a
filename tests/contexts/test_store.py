"""The store: entries by engine, their way to data modules, and files that are not one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.jsonl import jsonl_of, read_contexts
from lightning_ita.contexts.store import ContextStore, Count, Entry, StoredEngine
from lightning_ita.errors import UserError
from lightning_ita.images.files import FileState
from tests.contexts.fakes import SizeAndColour

RAPID = StoredEngine("ocr", "rapidocr", "v6", "3.10", {"min_score": 0.5})
STRICTER = StoredEngine("ocr", "rapidocr", "v6", "3.10", {"min_score": 0.9})
STATE = FileState(3, 4, "ab")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "contexts.db"


def said(image: str, *texts: str) -> Entry:
    return Entry(image, STATE, Reading(texts))


def test_what_is_written_is_read_back(path: Path) -> None:
    reading = Reading(("Straße №1", "“two”"), (0.98765, 0.5), ((0.0, 1.0, 2.5, 3.0), (1.0, 1.0, 2.0, 2.0)))
    with ContextStore(path) as store:
        store.write(RAPID, [Entry("ü", STATE, reading), Entry("b", STATE, error="empty file"), Entry("a")])
    with ContextStore(path, readonly=True) as store:
        entries = list(store.entries(RAPID))
    assert [entry.image for entry in entries] == ["a", "b", "ü"]
    assert entries[2].reading == Reading(reading.texts, (0.9877, 0.5), reading.boxes)
    assert entries[2].state == STATE
    assert entries[2].time.endswith("Z")
    assert (entries[1].reading, entries[1].error) == (None, "empty file")


def test_other_parameters_make_other_entries(path: Path) -> None:
    with ContextStore(path) as store:
        store.write(RAPID, [said("a", "x", "y"), said("b")])
        store.write(STRICTER, [said("a", "x")])
        store.write(RAPID, [said("b", "z")])
        assert store.engines() == [RAPID, STRICTER]
        assert RAPID.key != STRICTER.key
        assert [store.count(engine) for engine in (RAPID, STRICTER)] == [Count(2, 0, 0), Count(1, 0, 0)]
        assert store.contexts("ocr", choice=RAPID.key).texts == {"a": ("x", "y"), "b": ("z",)}
        assert store.contexts("ocr", choice=STRICTER.key).texts == {"a": ("x",)}
        assert store.known(StoredEngine("ocr", "rapidocr", "v6", "3.11", {"min_score": 0.5})) == {}


def test_an_engine_is_the_same_after_it_was_stored(path: Path) -> None:
    engine = StoredEngine.of(SizeAndColour(boxes=(1, 2), names={"b": 1, "a": [2]}))
    with ContextStore(path) as store:
        store.write(engine, [said("a")])
        store.write(StoredEngine.of(SizeAndColour(names={"a": [2], "b": 1}, boxes=[1, 2])), [said("b")])
        assert store.engines() == [engine]
        assert store.known(engine).keys() == {"a", "b"}


def test_the_user_chooses_between_engines(path: Path) -> None:
    with ContextStore(path) as store:
        with pytest.raises(UserError, match=r"has no ocr contexts \(it has nothing yet\).*--kinds ocr.*--import"):
            store.choose("ocr")
        store.write(RAPID, [said("a")])
        assert store.choose("ocr") == RAPID
        store.write(STRICTER, [said("a")])
        store.write(StoredEngine("ocr", "tesseract", "", "5.3"), [said("a")])
        with pytest.raises(UserError, match="several engines; choose one:\n") as error:
            store.choose("ocr")
        assert all(f"\n  ocr={engine.key}  " in str(error.value) for engine in store.engines("ocr"))
        assert f"\nfor example --context-engines ocr={RAPID.key} (align and predict: --engines)" in str(error.value)
        with pytest.raises(UserError, match="several engines") as error:
            store.choose("ocr", "rapidocr:v6")
        assert "tesseract" not in str(error.value)
        assert store.choose("ocr", "tesseract").version == "5.3"
        assert store.choose("ocr", STRICTER.key) == STRICTER
        with pytest.raises(UserError, match="no ocr contexts of 'easyocr'; it has:"):
            store.choose("ocr", "easyocr")
        with pytest.raises(UserError, match=r"has no cap contexts \(it has ocr\)"):
            store.choose("cap")


def test_of_a_model_in_a_folder_the_name_is_shown(path: Path) -> None:
    engine = StoredEngine("cap", "blip", "/home/someone/blip2", "1")
    with ContextStore(path) as store:
        store.write(engine, [said("a")])
        contexts = store.contexts("cap", choice="blip:/home/someone/blip2")
        assert store.contexts("cap", choice="blip:blip2") == contexts
        with pytest.raises(UserError, match="no cap contexts of 'blip:blip'"):
            store.choose("cap", "blip:blip")
    assert contexts.source == f"blip:blip2 ({engine.key})"
    assert contexts.provenance["model"] == "blip2"


def test_contexts_out_of_a_store_are_those_of_the_file_it_exports(path: Path, tmp_path: Path) -> None:
    with ContextStore(path) as store:
        store.write(RAPID, [said("b", "Ünï", " "), said("a"), Entry("c", STATE, error="damaged"), said("other", "x")])
        contexts = store.contexts("ocr", {"a", "b", "c", "never seen"})
    file = tmp_path / "x.ocr.rapid.jsonl"
    file.write_text(jsonl_of(contexts.texts), encoding="utf-8")
    read = read_contexts(file, "ocr")
    assert read.texts == contexts.texts == {"a": (), "b": ("Ünï",)}
    assert read.sha256 == contexts.sha256
    assert contexts.failed == {"c": "damaged"}
    assert contexts.unread({"a", "b", "c", "never seen"}) == 1
    assert contexts.source == f"rapidocr:v6 ({RAPID.key})"
    assert contexts.provenance["parameters"] == {"min_score": 0.5}


def test_a_log_beside_a_store_is_read_where_the_folder_cannot_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ContextStore(path) as store:
        store.write(RAPID, [said("a", "first")])
        monkeypatch.setattr(os, "access", lambda *_: False)
        with ContextStore(path, readonly=True) as other:  # what was written is in the log alone
            assert other.contexts("ocr").texts == {"a": ("first",)}
    with ContextStore(path, readonly=True) as other:
        assert other.contexts("ocr").texts == {"a": ("first",)}


def test_a_write_that_fails_leaves_nothing(path: Path) -> None:
    with ContextStore(path) as store:
        store.write(RAPID, [said("a", "x")])
        store.connection.execute(
            "CREATE TEMP TRIGGER full BEFORE INSERT ON main.entries WHEN NEW.image = 'b' "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
        with pytest.raises(UserError, match="no room; what was written before is kept"):
            store.write(RAPID, [said("a", "y"), said("b", "y")])
        assert store.contexts("ocr").texts == {"a": ("x",)}


def test_other_files_are_not_taken_for_stores(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such store; `lightning-ita align --images DIR"):
        ContextStore(tmp_path / "none.db", readonly=True)
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 9)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    for readonly in (True, False):
        with pytest.raises(UserError, match=r"text.db: file is not a database"):
            ContextStore(tmp_path / "text.db", readonly)
        with pytest.raises(UserError, match=r"other.db is a database, but not a store of contexts"):
            ContextStore(tmp_path / "other.db", readonly)
    with ContextStore(tmp_path / "new.db") as store:
        store.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer version"):
        ContextStore(tmp_path / "new.db")
