"""Pictures that fail are recorded with their posts, and all others are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.store import ContextStore, Entry, StoredEngine
from lightning_ita.contexts.tweets import Post
from lightning_ita.images.files import FileState
from lightning_ita.posts.pictures import Pictures
from lightning_ita.posts.records import Record
from tests.contexts.fakes import HATED, SizeAndColour, draw

BAD = {
    "zero.png": "empty file",
    "half.png": "damaged",
    "hated.png": "engine failed",
    "folder.png": "no file of this name",
    "loop.png": "no file of this name",
    "none.png": "no file of this name",
    "n" * 5000: "no file of this name",
    "https://example.org/b.png": "no file of this name",
    "..": "no file of this name",
    ".": "no such file",
    "/": "no such file",
    " .. /.": "no file of this name",
    "\0": "no such file",
    "\udce9.png": "no such file",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw(tmp_path / "good.png")
    draw(tmp_path / "hated.png", size=(HATED, 9))
    draw(tmp_path / "x" / "same.png", colour="red")
    draw(tmp_path / "y" / "same.png", colour="blue")
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "half.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    return tmp_path


def record(number: int, image: str | None) -> Record:
    return Record(number, number, str(number), ("a",), image)


@pytest.mark.parametrize("together", [True, False])
def test_bad_pictures_are_recorded_and_the_rest_is_read(folder: Path, together: bool) -> None:
    images = ["good.png", *BAD, "good", None]
    records = [record(number, image) for number, image in enumerate(images)]
    found: dict[int, dict[str, tuple[str, ...]]] = {}
    notes: dict[int, str] = {}
    for _ in range(2):  # a second time from the store alone, which holds nothing that it cannot read again
        with ContextStore(folder / "store.db") as store:
            pictures = Pictures(store, folder, [SizeAndColour()], {})
            for chunk in [records] if together else [[each] for each in records]:
                texts, errors = pictures.contexts(chunk)
                found |= texts
                notes |= errors
        assert found[0] == found[len(images) - 2] == {"tag": ("40x30", "rgb[55, 36, 100]")}
        assert len(images) - 1 not in found
        assert all(not found[number] for number in notes)
        assert notes.keys() == set(range(1, len(BAD) + 1))
        for number, expected in enumerate(BAD.values(), 1):
            assert expected in notes[number]


def test_pictures_of_one_name_in_two_folders_are_never_mixed_up(folder: Path) -> None:
    images = ["x/same.png", "y/same.png"]
    with ContextStore(folder / "store.db") as store:
        pictures = Pictures(store, folder, [SizeAndColour()], {})
        for number, image in enumerate(images):
            texts, notes = pictures.contexts([record(number, image)])
            assert not notes
            assert texts[number]["tag"][1] == ("rgb[55, 36, 200]" if number else "rgb[255, 36, 0]")
        texts, notes = pictures.contexts([record(number, image) for number, image in enumerate(images)])
    assert texts == {0: {}, 1: {}}
    assert all("several files have this id" in note for note in notes.values())


def test_a_picture_that_is_missing_has_nothing_of_another_and_costs_nothing(folder: Path) -> None:
    images = ["x/same.png", "z/same.png", "good.png"]
    records = [record(number, image) for number, image in enumerate(images)]
    with ContextStore(folder / "store.db") as store:
        pictures = Pictures(store, folder, [SizeAndColour()], {})
        for chunk in (records, records[1:]):
            texts, notes = pictures.contexts(chunk)
            assert (texts[1], notes) == ({}, {1: "no file of this name"})
        elsewhere = Pictures(store, folder / "x", [SizeAndColour()], {})
        assert elsewhere.contexts(records[2:]) == ({2: {}}, {2: "no file of this name"})
        assert pictures.contexts(records)[0][2] == texts[2] != {}
        read = store.contexts("tag")
        stored = Pictures(store, folder, [], {"tag": None})
        assert stored.contexts([record(0, "half.png"), record(1, "good.png"), record(2, "none.png")])[1] == {
            0: "the store has nothing of it",
            2: "no file of this name",
        }
        told = replace(record(0, "half.png"), contexts={"tag": ("a dog",)})
        assert stored.contexts([told]) == ({0: {}}, {})  # nothing of the store is needed
    assert (read.texts.keys(), read.failed) == ({"same", "good"}, {})


@pytest.mark.parametrize("tweet", ["what's up @joe", "what's up @ joe"])
def test_a_context_that_was_read_from_another_post_is_left_out(folder: Path, tweet: str) -> None:
    engine = StoredEngine("know", "openai", "tiny", "1")
    state = FileState(1, 0, Post("good", tweet).sha256)
    posts = ["what's up @joe", tuple(tweet.split()), "something else", ("what's", "up"), "\ud800"]
    records = [replace(record(number, "good.png"), post=post) for number, post in enumerate(posts)]
    with ContextStore(folder / "store.db") as store:
        store.write(engine, [Entry("good", state, Reading(("Joe is a friend",)))])
        texts, notes = Pictures(store, folder, [], {"know": None}).contexts(records)
    assert [texts[number] for number in range(5)] == [{"know": ("Joe is a friend",)}] * 2 + [{}] * 3
    assert notes == dict.fromkeys([2, 3, 4], "its know context was read from a post of other words")
