"""Folders of strangers: whatever is changed in a study, it is reported with its own numbers, or refused with a reason.

`FUZZ_CASES=10000 python -m pytest tests/studies/report/test_fuzz.py` tries more than the suite does.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_ita.commands import report
from lightning_ita.errors import UserError
from lightning_ita.studies.plan import read_plan
from lightning_ita.studies.report import page
from lightning_ita.studies.report.reading import read_study
from lightning_ita.studies.study import collect
from lightning_ita.studies.tables.ablation import write_tables
from tests.studies.studies import first_version, write_study

CASES = int(os.environ.get("FUZZ_CASES", "100"))
WORDS = ["", "x", "off", "token", "ita", "bert-crf", "T", "B-PER", "PER", "O", "twitter17", "minilm", "../..", "a/b"]
CODE = ["<script>", "\x1b[2J", "[/x]", "$x$", "=1+1", "|", "\u202e", "\u0000", "![](http://x)", "# x", "é" * 5000]
NUMBERS = [0, 1, 2, 3, -1, 0.5, 100.0, 1e308, -1e308, 10**30, float("nan"), float("inf"), 2**32, True, None]
DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]
junk = st.sampled_from([*WORDS, *CODE, *NUMBERS, [], {}, [None], {"x": 1}, {"version": 3}, DEEP])


@pytest.fixture(scope="module", params=[1, 2], ids=["version 1", "version 2"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("fuzz") / "study"
    write_study(study, seeds=(1, 2), tweets=6)
    (study / "failed" / "twitter15-ita-cap-off-seed9-0123456789abcdef.log").write_text("the loss became nan\n")
    if request.param == 1:
        first_version(study)
    return study


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value in a tree."""
    yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(below, (*path, key))


@st.composite
def changes(draw: st.DrawFn, value: Any) -> Any:
    """Draws a tree with one value replaced, removed, doubled, or under another name."""
    *above, last = draw(st.sampled_from([path for path in places(value) if path]))
    parent = value
    for key in above:
        parent = parent[key]
    kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "double"]))
    if kind == "remove":
        del parent[last]
    elif kind == "replace" or isinstance(parent, list):
        parent[last] = draw(junk)
    elif kind == "rename":
        parent[str(draw(st.sampled_from([*WORDS, *CODE])))] = parent.pop(last)
    else:
        parent[last] = [parent[last], parent[last]]
    return value


def change_content(draw: st.DrawFn, file: Path) -> None:
    """Changes a value in a file that has values, else some of its bytes."""
    lines = file.read_bytes().split(b"\n") if file.suffix == ".jsonl" else [file.read_bytes()]
    index = draw(st.integers(0, max(len(lines) - 2, 0)))
    read, write = (yaml.safe_load, yaml.safe_dump) if file.suffix == ".yaml" else (json.loads, json.dumps)
    try:
        value = read(lines[index])
    except (ValueError, yaml.YAMLError, RecursionError):  # an earlier change
        value = None
    if not isinstance(value, dict) or not value:
        return change_bytes(draw, file)
    lines[index] = write(draw(changes(value))).encode("utf-8", "surrogatepass")
    file.write_bytes(b"\n".join(lines))


def change_bytes(draw: st.DrawFn, file: Path) -> None:
    """Cuts a file, or puts bytes into it, or says everything twice."""
    raw = file.read_bytes()
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(start + 40, len(raw))))
    put = draw(st.sampled_from([b"", b"\xff", b"\x00", b'"', b"{", b"[" * 3000, b"&a [*a]", b"1" * 5000, b"\n\n", raw]))
    file.write_bytes(raw[:start] + put + (raw[end:] if draw(st.booleans()) else b""))


def readable(paths: Iterable[Path]) -> list[Path]:
    """Returns the regular files among some paths, less the holes of an earlier change, which would fill the memory."""
    return sorted(path for path in paths if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**24)


def change_file(draw: st.DrawFn, file: Path) -> None:
    """Puts something else in the place of a file."""
    kind = draw(st.sampled_from(["nothing", "folder", "pipe", "device", "loop", "hole", "other"]))
    content = draw(st.sampled_from(readable(file.parent.iterdir()))).read_bytes()
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "loop":
        file.symlink_to(file)
    elif kind == "hole":
        file.touch()
        os.truncate(file, 2**35)
    elif kind == "other":
        file.write_bytes(content)


def change_folder(draw: st.DrawFn, file: Path) -> None:
    """Removes, doubles or renames the folder of a file, or puts the one of another cell in its place."""
    folder = file.parent
    name = draw(st.sampled_from([f"{folder.name[:-16]}{'0' * 16}", "x", ".x.part", "<b>", "[red]"]))
    kind = draw(st.sampled_from(["remove", "rename", "double", "swap"]))
    if kind == "remove":
        shutil.rmtree(folder)
    elif kind == "swap":
        other = draw(st.sampled_from(sorted(path for path in folder.parent.iterdir() if path.is_dir())))
        if other != folder:
            shutil.rmtree(folder)
            copy(other, folder)
    elif folder.with_name(name).exists():  # an earlier change
        return
    elif kind == "rename":
        folder.rename(folder.with_name(name))
    else:
        copy(folder, folder.with_name(name))


def copy(folder: Path, to: Path) -> None:
    """Copies a folder, less what an earlier change put into it that cannot be copied."""

    def copy_file(source: str, target: str) -> None:
        if os.path.isfile(source) and os.path.getsize(source) < 2**30:
            shutil.copyfile(source, target)

    shutil.copytree(folder, to, symlinks=True, copy_function=copy_file)


@st.composite
def damaged(draw: st.DrawFn, original: Path, study: Path) -> None:
    """Draws a copy of a study with one or two changes."""
    shutil.copytree(original, study)
    for _ in range(draw(st.integers(1, 2))):
        file = draw(st.sampled_from(readable(study.rglob("*"))))
        kinds = [change_content] * 6 + [change_bytes] * 2 + [change_file]
        kinds += [change_folder] if file.parent.parent.name == "cells" else []
        draw(st.sampled_from(kinds))(draw, file)


def rows(out: Path) -> dict[tuple[str, str, str, str], str]:
    """Returns mean test F1 of each row of a report, by what it is and how many seeds it has."""
    with (out / "rows.csv").open(encoding="utf-8", newline="") as file:
        return {(r["dataset"], r["system"], r["view"], r["seeds"]): r["f1_mean"] for r in csv.DictReader(file)}


def refused(study: Path, out: Path, shown: io.StringIO) -> str | None:
    """Runs the command; returns why it refuses the study, if it does."""
    try:
        with contextlib.redirect_stdout(shown):
            assert report.main([str(study), f"--out={out}", "--resamples=100"]) == 0
    except UserError as error:
        return str(error)
    return None


@given(st.data())
@settings(max_examples=CASES)
def test_any_study_is_reported_or_refused(original: Path, data: st.DataObject) -> None:
    right = original.with_name("report")
    if not right.exists():
        assert refused(original, right, io.StringIO()) is None
    numbers = rows(right)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        study, out, shown = Path(folder) / "study", Path(folder) / "out", io.StringIO()
        data.draw(damaged(original, study))
        if data.draw(st.integers(0, 19)):  # plots take most of the time
            patch.setattr(page, "plots", lambda evidence: [])
        reason = refused(study, out, shown)
        if reason is not None:
            assert len(reason) < 5000
            assert reason.isprintable()
            return
        assert "\x1b" not in shown.getvalue()
        text = (out / "report.md").read_text(encoding="utf-8")
        assert "<script>" not in text.replace("\\<script>", "")
        assert "](http" not in text.replace("\\](http", "")
        assert all(numbers.get(row, f1) == f1 for row, f1 in rows(out).items())


@given(st.data())
@settings(max_examples=CASES // 2)
def test_any_study_is_collected_into_tables_or_refused(original: Path, data: st.DataObject) -> None:
    cells = [result.cell for result in read_study(original).results]
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        data.draw(damaged(original, study))
        try:
            read_plan(study)
            write_tables(collect(cells, study), Path(folder) / "tables")
        except UserError as error:
            reason = str(error)
        else:
            reason = ""
        assert len(reason) < 5000
        assert reason.isprintable()
