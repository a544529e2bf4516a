"""Alignment: every image is read once, whatever happens to it, to its neighbours, or to the process."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.contexts import preparing
from lightning_ita.contexts.alignment import Progress, align
from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.preparing import KILLED
from lightning_ita.contexts.store import ContextStore, StoredEngine
from lightning_ita.errors import UserError
from lightning_ita.images.files import find_images
from tests.contexts.fakes import DEADLY, HATED, SizeAndColour, draw, draw_many

REPOSITORY = Path(__file__).parents[2]
# The full test: KILLS=20 python -m pytest -s tests/contexts/test_alignment.py -k killed_at
KILLS = int(os.environ.get("KILLS", "3"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return draw_many(tmp_path / "images", 10)


def run(engine: SizeAndColour, folder: Path, **options: object) -> Progress:
    with ContextStore(folder.parent / "contexts.db") as store:
        return align(engine, find_images(folder), store, **options)  # type: ignore[arg-type]


def texts(folder: Path) -> dict[str, tuple[str, ...]]:
    with ContextStore(folder.parent / "contexts.db", readonly=True) as store:
        return dict(store.contexts("tag").texts)


def errors(folder: Path) -> dict[str, str]:
    with ContextStore(folder.parent / "contexts.db", readonly=True) as store:
        return dict(store.contexts("tag").failed)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_read_in_batches_and_never_again(images: Path, workers: int) -> None:
    engine = SizeAndColour(batch_size=4)
    told: list[int] = []
    first = run(engine, images, workers=workers, watch=lambda progress: told.append(progress.done))
    assert (first.total, first.before, first.done) == (10, 0, 10)
    assert engine.batches == [4, 4, 2]
    assert told[-1] == 10
    assert texts(images)["0003"][0] == "23x30"
    again = run(engine, images, workers=workers)
    assert (again.before, again.done, len(engine.batches)) == (10, 0, 3)
    run(SizeAndColour(batch_size=10, other=1), images, workers=workers)
    with ContextStore(images.parent / "contexts.db") as store:
        assert len(store.engines("tag")) == 2


def test_a_changed_image_is_read_again_and_one_only_touched_is_not(images: Path) -> None:
    engine = SizeAndColour()
    run(engine, images)
    draw(images / "0003.jpg", (70, 30))
    os.utime(images / "0004.jpg", ns=(1, 1))
    changed = run(engine, images)
    assert (changed.before, changed.done, sum(engine.batches)) == (8, 2, 11)
    assert texts(images)["0003"][0] == "70x30"
    assert run(engine, images).before == 10


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_an_error_of_its_own(images: Path, workers: int) -> None:
    (images / "cut.jpg").write_bytes((images / "0000.jpg").read_bytes()[:500])
    (images / "page.jpg").write_bytes(b"<html>")
    (images / "loop.jpg").symlink_to("loop.jpg")
    draw(images / "two.jpg")
    draw(images / "two.png")
    draw(images / "hated.png", (HATED, 5))
    progress = run(SizeAndColour(batch_size=5), images, workers=workers)
    assert (progress.done, progress.errors.total()) == (15, 5)
    found = errors(images)
    assert found["page"].startswith("not an image but an HTML page")
    assert "symbolic links" in found["loop"]
    assert found["two"] == "several files have this id: two.jpg, two.png"
    assert found["hated"] == "engine failed: RuntimeError: I will not look at this"
    assert "truncated" in found["cut"].lower()
    assert len(texts(images)) == 10
    assert run(SizeAndColour(), images).before == 15
    retried = run(SizeAndColour(), images, retry_errors=True)
    assert (retried.before, retried.done, retried.errors.total()) == (10, 5, 5)
    (images / "two.png").unlink()
    draw(images / "page.jpg")
    mended = run(SizeAndColour(), images)
    assert (mended.done, mended.errors.total()) == (2, 0)


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (lambda: Reading(("a",), (float("nan"),)), "scores are not finite numbers"),
        (lambda: Reading(("a", "b"), (0.5,)), "1 scores for 2 texts"),
        (lambda: Reading(("\ud800",)), r"a text has half a character \(a lone surrogate\): '\\ud800'"),
        (lambda: Reading((3,)), "expected a text, found 3"),  # type: ignore[arg-type]
        (lambda: Reading(("a",), (), ((0.0, 1.0, 2.0, float("inf")),)), "boxes are not four finite numbers each"),
        (lambda: Reading(("x" * 2**21,)), "2,097,152 characters of text for one image"),
    ],
)
def test_a_reading_that_cannot_be_kept_is_an_error_of_its_image(
    images: Path, monkeypatch: pytest.MonkeyPatch, reading: Callable[[], Reading], reason: str
) -> None:
    read = SizeAndColour.read

    def wrong(engine: SizeAndColour, prepared: Sequence[Any]) -> list[Reading]:
        return [
            reading() if size[0] == 23 else each
            for (size, _), each in zip(prepared, read(engine, prepared), strict=True)
        ]

    monkeypatch.setattr(SizeAndColour, "read", wrong)
    assert run(SizeAndColour(), images).errors.total() == 1
    assert list(errors(images)) == ["0003"]
    assert re.match(f"engine failed: ValueError: {reason}", errors(images)["0003"])
    assert len(texts(images)) == 9


def test_images_of_any_date_are_read_once(images: Path) -> None:
    for number, year in enumerate((1910, 2300, 2400)):
        seconds = (year - 1970) * 31_556_952
        os.utime(images / f"000{number}.jpg", (seconds, seconds))
    assert run(SizeAndColour(), images).done == 10
    assert run(SizeAndColour(), images).before == 10


def test_a_missing_image_is_an_error_until_it_is_there(images: Path) -> None:
    found = {**find_images(images), "gone": ()}
    with ContextStore(images.parent / "contexts.db") as store:
        assert align(SizeAndColour(), found, store).errors == {"no file of this name": 1}
        assert align(SizeAndColour(), found, store).done == 0
        assert align(SizeAndColour(), {**found, "gone": (draw(images / "gone.png"),)}, store).done == 1
    assert errors(images) == {}


def test_what_was_read_in_another_folder_is_kept(images: Path) -> None:
    run(SizeAndColour(), images)
    before = texts(images)
    draw(images.parent / "more" / "new.png")
    found = {**dict.fromkeys(before, ()), **find_images(images.parent / "more")}
    with ContextStore(images.parent / "contexts.db") as store:
        progress = align(SizeAndColour(), found, store)
    assert (progress.before, progress.done, progress.errors) == (10, 1, {})
    assert {image: said for image, said in texts(images).items() if image != "new"} == before


def test_an_image_that_kills_its_process_costs_no_other(images: Path) -> None:
    draw(images / "deadly.png", (DEADLY, 5))
    progress = run(SizeAndColour(), images, workers=2)
    assert (progress.done, progress.errors) == (11, {KILLED: 1})
    assert errors(images) == {"deadly": KILLED}
    assert run(SizeAndColour(), images, workers=2).before == 11


def test_an_engine_that_always_fails_ends_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    for number in range(20):
        draw(tmp_path / "images" / f"{number}.png", (HATED, 5))
    for batch_size in (3, 16):
        with pytest.raises(UserError, match=r"tag=size failed on each of the first 10 images.*I will not look"):
            run(SizeAndColour(batch_size), tmp_path / "images")
    with ContextStore(tmp_path / "contexts.db") as store:
        assert store.engines() == []
    for number in range(9, 20):
        (tmp_path / "images" / f"{number}.png").unlink()
    assert run(SizeAndColour(3), tmp_path / "images").errors.total() == 9


def test_large_images_are_read_in_smaller_batches(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_ita.contexts import alignment

    monkeypatch.setattr(alignment, "WAITING_BYTES", 10_000)
    engine = SizeAndColour(batch_size=8)
    assert run(engine, images, workers=2).done == 10
    assert max(engine.batches) <= 4


def command(folder: Path, store: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "tests.contexts.aligning", f"--images={folder}", f"--store={store}", "--kinds=tag"),
        *more,
    ]


def start(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*arguments),  # type: ignore[arg-type]
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def content(path: Path) -> list[tuple[object, ...]]:
    with ContextStore(path) as store:
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        engines = store.engines()
        assert len(engines) <= 1
        return [
            (entry.image, entry.state, entry.reading, entry.error)
            for engine in engines
            for entry in store.entries(engine)
        ]


def test_killed_at_any_moment_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    folder, moment = draw_many(tmp_path / "images", 300), random.Random(1)
    (folder / "0007.jpg").write_bytes(b"<html>")
    whole, killed = tmp_path / "whole.db", tmp_path / "killed.db"
    slow = ("--options", "tag.seconds=0.01", "--batch-size=2")
    assert start(folder, whole, *slow).wait(60) == 0
    begin = time.monotonic()
    assert start(folder, whole, *slow).wait(60) == 0
    nothing_to_do = time.monotonic() - begin
    done = []
    for _ in range(KILLS):
        process = start(folder, killed, *slow)
        # Before the store exists, while it is made, and while it grows: within a tenth of the whole alignment.
        time.sleep((nothing_to_do + 0.3) * (0.4 + 0.6 * moment.random()))
        process.kill()
        process.wait(60)
        done.append(len(content(killed)) if killed.is_file() else 0)
    print("images done after each kill:", *done)
    assert done == sorted(done)
    assert start(folder, killed, *slow).wait(60) == 0
    assert content(killed) == content(whole)


def test_workers_end_with_a_killed_alignment(tmp_path: Path) -> None:
    folder = draw_many(tmp_path / "images", 30)
    process = start(folder, tmp_path / "contexts.db", "--workers=2", "--options", "tag.seconds=5")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("the system does not tell a process's children")
    deadline = time.monotonic() + 60
    while len(workers := children.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2
    process.kill()
    process.wait()
    while any(Path(f"/proc/{worker}/exe").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}/exe").exists() for worker in workers)


def test_two_processes_on_one_store_lose_nothing(tmp_path: Path) -> None:
    folder, store = draw_many(tmp_path / "images", 120), tmp_path / "contexts.db"
    both = [start(folder, store, "--options", "tag.seconds=0.01") for _ in range(2)]
    other = start(folder, store, "--engines", "tag=other", "--options", "tag.other=1")
    assert [process.wait(120) for process in (*both, other)] == [0, 0, 0]
    with ContextStore(store) as opened:
        assert [opened.count(engine).images for engine in opened.engines()] == [120, 120]
    alone = tmp_path / "alone.db"
    assert start(folder, alone).wait(60) == 0
    with ContextStore(store) as opened, ContextStore(alone) as undisturbed:
        expected = list(undisturbed.contexts("tag").texts.items())
        for engine in opened.engines():
            assert list(opened.contexts("tag", choice=engine.key).texts.items()) == expected


def test_a_process_passes_over_what_another_did(images: Path) -> None:
    engine = SizeAndColour(batch_size=2)

    def meanwhile(_: object) -> None:
        if len(engine.batches) == 1:
            with ContextStore(images.parent / "contexts.db") as other:
                align(SizeAndColour(batch_size=10), find_images(images), other)

    progress = run(engine, images, watch=meanwhile)
    assert sum(engine.batches) + progress.elsewhere == 10
    assert progress.elsewhere >= 6


def test_results_do_not_depend_on_the_start_method(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing.sys, "platform", "elsewhere")
    assert run(SizeAndColour(), images, workers=1).errors.total() == 0
    assert StoredEngine.of(SizeAndColour()).key
    assert len(texts(images)) == 10
