"""The real command from images to a store, and from the store to a table, with an engine that needs no model."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.commands import ablate, align, train
from lightning_ita.commands.cli import guard
from lightning_ita.contexts.engines import ENGINES, check_engine
from lightning_ita.contexts.jsonl import read_contexts
from lightning_ita.contexts.store import ContextStore
from lightning_ita.data.custom import Custom
from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.studies.cell import Cell, short_form
from tests.conftest import write_corpus
from tests.contexts.fakes import SizeAndColour, draw

IDS = ("train0", "valid1", "test2")


@pytest.fixture(autouse=True)
def fake_engines(monkeypatch: pytest.MonkeyPatch) -> list[SizeAndColour]:
    """Replaces engines by those that need no model; returns the ones that were made."""
    made: list[SizeAndColour] = []

    def make(
        kinds: Sequence[str], _: object, options: Mapping[str, Mapping[str, Any]], *more: object
    ) -> list[SizeAndColour]:
        engines = [SizeAndColour(kind=kind, **options.get(kind, {})) for kind in kinds]
        made.extend(engines)
        return list(engines)

    monkeypatch.setattr(align, "check_engines", lambda kinds, _: [check_engine(kind, None) for kind in kinds])
    monkeypatch.setattr(align, "make_engines", make)
    return made


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, image in enumerate((*IDS, "<b>other</b>")):
        draw(tmp_path / "images" / f"{image.replace('/', '∕')}.jpg", (30 + number, 20))
    return tmp_path / "images"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "contexts.db"


def run(store: Path, *arguments: object) -> int:
    return align.main([f"--store={store}", "--workers=0", *map(str, arguments)])


def test_images_become_contexts_once(
    images: Path, store: Path, capsys: pytest.CaptureFixture[str], fake_engines: list[SizeAndColour]
) -> None:
    (images / "bad.png").write_bytes(b"")
    assert run(store, "--images", images, "--kinds=ocr,tag", "--options", "ocr.words=[1,2]", "tag.name_of=x") == 0
    said = capsys.readouterr().out
    assert re.search(r"tag size:mean \([0-9a-f]{8}\): 5 images done, .* images/s, 1 error\n  1 × empty file\n", said)
    assert [engine.parameters for engine in fake_engines] == [{"name_of": "x"}, {"words": [1, 2]}]
    fake_engines.clear()
    assert run(store, "--images", images, "--kinds=ocr,tag", "--options", "ocr.words=[1,2]", "tag.name_of=x") == 0
    assert "0 images done, 5 were done before, 0 errors" in capsys.readouterr().out
    assert all(not engine.batches for engine in fake_engines)
    assert run(store, "--images", images, "--kinds=ocr", "--options", "ocr.words=[1,2]", "--strict") == 1
    assert "1 error, and --strict is given" in capsys.readouterr().out
    draw(images / "bad.png")
    assert run(store, "--images", images, "--kinds=ocr", "--options", "ocr.words=[1,2]", "--strict") == 0
    assert run(store, "--stats") == 0
    assert "× empty file (for example bad)" in capsys.readouterr().out


def test_only_what_is_wanted_is_read(images: Path, store: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "custom", test="IMGID:gone\na\tO\n")
    tweets = ["--tweets", corpus / "train.txt", corpus / "test.txt"]
    run(store, "--images", images, "--kinds=tag", *tweets)
    with ContextStore(store) as opened:
        contexts = opened.contexts("tag")
    assert (set(contexts.texts), contexts.failed) == ({"train0"}, {"gone": "no file of this name"})
    run(store, "--images", images, "--kinds=cap", "--limit=2")
    with ContextStore(store) as opened:
        assert list(opened.contexts("cap").texts) == ["<b>other<∕b>", "test2"]


def test_files_go_into_the_store_and_out_of_it(tmp_path: Path, store: Path, images: Path) -> None:
    texts = {"train0": ["a man", "a “dog”"], "test2": []}
    file = tmp_path / "custom.cap.blip2.jsonl"
    file.write_text("".join(json.dumps({"image": f"{i}.jpg", "texts": t}) + "\n" for i, t in texts.items()))
    out = tmp_path / "out.jsonl"
    assert run(store, "--import", file, f"tag={file}", "--export", f"cap={out}") == 0
    assert read_contexts(out, "cap").texts == {"test2": (), "train0": ("a man", "a “dog”")}
    run(store, "--import", file)
    with ContextStore(store) as opened:
        (engine,) = opened.engines("cap")
        assert (engine.name, engine.model) == ("imported", "custom.cap.blip2.jsonl")
        assert opened.count(engine).images == 2
    run(store, "--images", images, "--kinds=cap")
    with pytest.raises(UserError, match="several engines; choose one"):
        run(store, "--export", f"cap={out}")
    run(store, "--export", f"cap={out}", "--engines", "cap=size")
    assert len(read_contexts(out, "cap").texts) == 4
    page = tmp_path / "page.html"
    other = ["--kinds=cap", "--options", "cap.words=3", "--engines", "cap=size", "--limit=1"]
    run(store, "--images", images, *other, "--export", f"cap={out}", "--report", page)
    assert len(read_contexts(out, "cap").texts) == 1  # of the engine that was just run
    assert page.read_text(encoding="utf-8").count('class="engine"') == 3  # and the imported tags


def test_the_second_part_of_a_files_name_is_the_kind_as_in_studies(tmp_path: Path, store: Path) -> None:
    for name in ("custom.know.cap.jsonl", "custom.cap.jsonl"):
        (tmp_path / name).write_text('{"image": "train0", "texts": ["a man"]}\n', encoding="utf-8")
        run(store, "--import", tmp_path / name)
    with ContextStore(store) as opened:
        engines = {engine.kind: engine.model for engine in opened.engines()}
    assert engines == {"know": "custom.know.cap.jsonl", "cap": "custom.cap.jsonl"}


def test_the_report_shows_pictures_beside_what_was_said(images: Path, store: Path, tmp_path: Path) -> None:
    (images / "bad.png").write_bytes(b"<html><script>")
    page = tmp_path / "page.html"
    run(store, "--images", images, "--kinds=tag,ocr", "--report", page)
    html = page.read_text(encoding="utf-8")
    assert html.count('src="data:image/jpeg;base64,') == 4
    assert html.count('<article class="card">') == 5
    assert "30x20" in html
    assert "not an image but an HTML page" in html
    assert "&lt;b&gt;other" in html
    assert "<b>" not in html
    assert not re.search(r"https?://|<link|@import|src=\"(?!data:)", html)
    with pytest.raises(UserError, match="has no contexts of the 1 images given; --kinds reads them first"):
        run(store, "--images", draw(tmp_path / "new" / "x.png").parent, "--report", page)


def test_the_report_of_many_images_is_a_sample(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_ita.contexts import page as align_report
    from lightning_ita.images.files import find_images

    for number in range(9):
        draw(tmp_path / "images" / f"{number}.png", (8, 8))
    run(store, "--images", tmp_path / "images", "--kinds=tag")
    with ContextStore(store) as opened:
        html = align_report.report(opened, find_images(tmp_path / "images"), most=3)
    assert re.findall(r'class="id">(\d) ', html) == ["0", "3", "6"]
    assert "3 of 9 images, evenly spaced by id" in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do: give one of --kinds"),
        (["--kinds=ocr"], "need --images DIR"),
        (["--kinds=orc", "--images=IMAGES"], "unknown context 'orc'. Did you mean 'ocr'"),
        (["--kinds=ocr", "--images=nowhere"], "nowhere: no such folder"),
        (["--kinds=ocr", "--images=IMAGES", "--limit=0"], "--limit 0: expected 1 or more"),
        (["--kinds=ocr", "--images=IMAGES", "--workers=-1"], "--workers -1: expected 0 or more"),
        (["--kinds=ocr", "--images=IMAGES", "--batch-size=0"], "--batch-size 0: expected 1 or more"),
        (["--kinds=none"], "nothing to do"),
        (["--stats", "--store=~no-such-user/x.db"], "~no-such-user/x.db: there is no home folder of this name"),
        (["--import", "ok=x"], r"unknown context 'ok'|x: No such file"),
        (["--kinds=ocr", "--images=IMAGES", "--options", "words=2"], "expected KIND.NAME=VALUE"),
        (["--kinds=ocr", "--images=IMAGES", "--options", "cap.captions=2"], "cap.captions: --kinds does not name cap"),
        (["--kinds=ocr", "--images=IMAGES", "--options", "ocr.a=2", "ocr.a=3"], "ocr.a is given twice"),
        (["--kinds=ocr", "--images=IMAGES", "--engines", "cap=blip"], "neither --kinds nor --export names cap"),
        (["--export", "ocr=contexts.db", "--store=contexts.db"], "would replace the file of --store"),
        (["--export", "ocr=./contexts.db-wal", "--store=contexts.db"], "would replace the file of --store"),
        (["--export", "ocr=x", "tag=x"], "--export x would replace the file of --export"),
        (["--export", "ocr=x", "--report=x", "--images=IMAGES"], "--report x would replace the file of --export"),
        (["--tweets", "OTHER", "--export", "ocr=OTHER"], "would replace the file of --tweets"),
        (["--import", "cap=OTHER", "--export", "cap=OTHER"], "would replace the file of --import"),
        (["--export", "ocr=IMAGES"], "is not a regular file but a folder, a pipe or a device"),
        (["--report=/dev/null", "--images=IMAGES"], "/dev/null is not a regular file"),
        (["--stats", "--store=IMAGES"], "is not a store of contexts but a folder, a pipe or a device"),
        (["--kinds=ocr", "--images=IMAGES", "--engines", "tesseract"], "expected KIND=VALUE, for example ocr=rapidocr"),
        (
            ["--kinds=ocr", "--images=IMAGES", "--tweets", "OTHER"],
            "none of the 1 images of the tweets .* tweets have 'elsewhere'",
        ),
        (["--kinds=ocr", "--images=IMAGES", "--tweets", "IMAGES/a.txt"], "a.txt"),
        (["--stats"], "no such store"),
        (["--import", "captions.jsonl"], "its name does not tell the kind; write --import KIND=captions.jsonl"),
    ],
)
def test_what_a_user_gets_wrong_is_said(
    images: Path, store: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = images.parent / "other.txt"
    other.write_text("IMGID:elsewhere\na\tO\n", encoding="utf-8")
    before = other.read_bytes()
    given = [each.replace("IMAGES", str(images)).replace("OTHER", str(other)) for each in arguments]
    with pytest.raises(SystemExit) as status:
        guard(lambda _: run(store, *given))
    assert status.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert other.read_bytes() == before


def failure(store: Path, *arguments: object) -> str:
    """Runs the command as a terminal would; returns what an error says."""
    with pytest.raises(SystemExit) as status, contextlib.redirect_stderr(io.StringIO()) as errors:
        guard(lambda _: run(store, *arguments))
    assert status.value.code == 2
    return errors.getvalue()


@pytest.mark.parametrize("how", ["deleted", "replaced", "overwritten"])
def test_a_store_that_vanishes_while_images_are_read_is_an_error(
    how: str,
    images: Path,
    store: Path,
    tmp_path: Path,
    fake_engines: list[SizeAndColour],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = tmp_path / "other.db"
    run(other, "--images", draw(tmp_path / "one" / "x.png").parent, "--kinds=ocr")
    read = SizeAndColour.read

    def disturbed(engine: SizeAndColour, prepared: Sequence[Any]) -> list[Any]:
        readings = read(engine, prepared)
        if len(engine.batches) == 2:
            if how == "deleted":
                store.unlink()
            elif how == "replaced":
                shutil.copy(other, tmp_path / "copy.db")
                (tmp_path / "copy.db").rename(store)
            else:
                change = sqlite3.connect(store)
                change.execute("DELETE FROM entries")
                change.commit()
                change.close()
        return readings

    monkeypatch.setattr(SizeAndColour, "read", disturbed)
    said = failure(store, "--images", images, "--kinds=tag", "--batch-size=2")
    expected = {
        "deleted": "contexts.db was deleted while it was in use",
        "replaced": "contexts.db was replaced by another file while it was in use",
        "overwritten": "contexts.db has lost what size:mean",
    }
    assert expected[how] in said
    monkeypatch.setattr(SizeAndColour, "read", read)
    run(store, "--images", images, "--kinds=tag", "--strict")
    with ContextStore(store, readonly=True) as opened:
        assert len(opened.contexts("tag").texts) == 4


@pytest.mark.parametrize("lost", ["out.jsonl", "page.html", "contexts.db", "changed"])
def test_files_that_were_written_are_there_at_the_end(
    lost: str, images: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, "--images", images, "--kinds=tag")
    count = align.count_errors

    def disturbed(*arguments: Any) -> int:
        if lost == "changed":
            (tmp_path / "out.jsonl").write_text("")
        else:
            (tmp_path / lost).unlink()
        return count(*arguments)

    monkeypatch.setattr(align, "count_errors", disturbed)
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    said = failure(store, "--images", images, "--kinds=tag", "--export", f"tag={out}", "--report", page)
    if lost == "contexts.db":
        assert "contexts.db was deleted while it was in use" in said
    else:
        file = "out.jsonl" if lost == "changed" else lost
        assert f"{file} was written, and has been deleted or changed since" in said


def test_what_a_store_says_does_nothing_to_the_terminal(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "e_[/x].db"
    (images / "[bold]\x1b[31m.jpg").write_bytes(b"<html>")
    run(store, "--images", images, "--kinds=tag")
    change = sqlite3.connect(store)
    change.execute("UPDATE engines SET version = ?, model = ?", ("\x1b[2J[/red]\n[link=x]", "m" * 10_000))
    change.execute("UPDATE entries SET error = ? WHERE error IS NOT NULL", ("\x1b]0;owned\x07" + "e" * 10**6,))
    change.commit()
    change.close()
    capsys.readouterr()
    out = tmp_path / "[out].jsonl"
    assert run(store, "--stats", "--export", f"tag={out}", "--engines", "tag=size") == 0
    said = capsys.readouterr().out
    assert "e_[/x].db" in said
    assert "[/red]" in said.replace(" ", "").replace("\n", "")
    assert r"1 × \x1b]0;owned\x07eee" in said
    assert r"(for example [bold]\x1b[31m)" in said
    assert f"written: {out}: 4 images by size:mmm" in said
    assert all(line.isprintable() for line in said.split("\n"))
    assert len(said) < 5000


def test_names_that_are_not_utf8_are_printed(
    images: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / os.fsdecode(b"a\xff\n.jsonl")
    file.write_text('{"image": "train0", "texts": ["x"]}\n')
    for folder in ("one", "two"):
        shutil.copy(images / "train0.jpg", draw(images / folder / "y.png").with_name(os.fsdecode(b"bad\xff.jpg")))
    run(store, "--images", images, "--kinds=tag", "--import", f"cap={file}", "--export", f"cap={file}.out")
    said = capsys.readouterr().out
    assert r"imported: " in said
    assert r"a\udcff\n.jsonl: 1 images as cap=" in said
    assert r"several files have this id: bad\udcff.jpg, bad\udcff.jpg" in said
    with ContextStore(store, readonly=True) as opened:
        assert opened.engines("cap")[0].model == r"a\udcff\n.jsonl"


def test_ids_of_tweets_files_and_contexts_are_compared_in_one_form(images: Path, store: Path, tmp_path: Path) -> None:
    tweets = tmp_path / "tweets.txt"
    tweets.write_text("IMGID: train0.jpg\na\tO\n\nIMGID:e\u0301.png\na\tO\n\nIMGID:\tO\n\nIMGID:\n", encoding="utf-8")
    draw(images / "\u00e9.jpg")
    file = tmp_path / "x.cap.y.jsonl"
    file.write_text('{"image": "train0.png", "texts": ["x"]}\n{"image": "\u00e9", "texts": ["y"]}\n')
    assert run(store, "--images", images, "--kinds=tag", "--tweets", tweets, "--import", file, "--strict") == 0
    out = tmp_path / "out.jsonl"
    run(store, "--tweets", tweets, "--export", f"cap={out}")
    with ContextStore(store, readonly=True) as opened:
        assert set(opened.contexts("tag").texts) == {"train0", "é"}
    assert read_contexts(out, "cap").texts == {"train0": ("x",), "é": ("y",)}


def test_pipes_and_devices_are_refused_and_not_waited_for(images: Path, store: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (images / "pipe.jpg").symlink_to(tmp_path / "pipe")
    for device in ("zero", "null"):
        (images / f"{device}.jpg").symlink_to(f"/dev/{device}")
    assert run(store, "--images", images, "--kinds=tag") == 0
    with ContextStore(store, readonly=True) as opened:
        contexts = opened.contexts("tag")
    assert contexts.failed == dict.fromkeys(
        ["pipe", "zero", "null"], "not a regular file but a folder, a pipe or a device"
    )
    assert len(contexts.texts) == 4
    for arguments in (["--import", f"cap={tmp_path / 'pipe'}"], ["--stats", "--tweets", tmp_path / "pipe"]):
        assert "pipe: not a regular file" in failure(store, *arguments)


def test_arguments_and_folders_are_checked_before_torch_is_imported(tmp_path: Path) -> None:
    code = """
import contextlib, sys
from lightning_ita.commands import align
for arguments in (["--help"], ["--kinds=orc"], ["--kinds=ocr", "--images=/no/where"],
                  ["--kinds=ocr", "--images=.", "--engines", "ocr=easyocr"]):
    with contextlib.suppress(SystemExit, align.UserError):
        align.main(arguments)
        sys.exit("went on")
heavy = {"torch", "transformers", "torchvision", "pytorch_lightning", "open_clip", "rapidocr"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for kind, registry in ENGINES.items():
        for name in registry:
            assert re.search(rf"^  {kind}={name} +\w.{{20}}", done.stdout, re.MULTILINE)


def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        align.main(["--help"])
    assert "lightning-ita align --images DIR --kinds tag,ocr --store contexts.db" in capsys.readouterr().out


def test_a_study_reads_the_store_and_says_whose_contexts_it_had(
    images: Path, store: Path, tmp_path: Path, tiny_encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "custom")
    (images / "test2.jpg").write_bytes(b"<html>")
    run(store, "--images", images, "--kinds=tag,ocr", "--options", "ocr.words=2")
    out = tmp_path / "out"
    common = ["--dataset=custom", f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--recipe.epochs=1"]
    study = ["--contexts=ocr", "--cva=off", "--keep-models=best", "--seeds=1", "--jobs=1", f"--out={out}"]
    assert ablate.main([*common, *study, f"--context-store={store}"]) == 0
    said = capsys.readouterr().out
    with ContextStore(store, readonly=True) as opened:
        (engine,) = opened.engines("ocr")
    assert f"size:mean ({engine.key}) failed on 1 image: its tweet has no ocr context" in said
    (path,) = (out / "cells").glob("*ita-ocr*/metrics.json")
    metrics = json.loads(path.read_text())
    assert metrics["contexts"] == {"ocr": f"size:mean ({engine.key})"}
    known = {"engine": "size", "model": "mean", "version": "1", "parameters": {"words": 2}}
    assert metrics["context_engines"] == {"ocr": known}
    assert "size mean 1, words=2" in (path.parent / "model" / "README.md").read_text()
    assert metrics["splits"]["test"]["without_context"] == 1
    assert f"({engine.key})" in said.rpartition("contexts: ocr")[2]  # no markup of the terminal's
    assert f"contexts: ocr from size:mean ({engine.key})" in (out / "table.md").read_text()

    # The same texts out of a file are the same cell.
    exported = tmp_path / "exported.jsonl"
    run(store, "--export", f"ocr={exported}")
    files = Custom().read(Source(str(corpus), {"ocr": str(exported)}), ["ocr"])
    stored = Custom().read(Source(str(corpus), context_store=str(store)), ["ocr"])
    with ContextStore(store, readonly=True) as opened:
        everything = opened.contexts("ocr").sha256
    assert everything == files.digests["ocr"]
    tweet = files.splits["train"][0]
    assert tweet.image == "train0"
    assert files.texts(tweet) == stored.texts(tweet) != {}
    (images / "<b>other<∕b>.jpg").unlink(missing_ok=True)
    run(
        store,
        "--export",
        f"ocr={exported}",
        "--tweets",
        *(corpus / f"{split}.txt" for split in ("train", "valid", "test")),
    )
    files = Custom().read(Source(str(corpus), {"ocr": str(exported)}), ["ocr"])
    cell = Cell("custom", short_form("ocr", "off"), tiny_encoder)
    assert cell.resolve(files.digests).identity == cell.resolve(stored.digests).identity

    assert train.main([*common, "--contexts=tag", "--cva=off", f"--out={out}", f"--context-store={store}"]) == 0


def test_a_store_of_several_engines_asks_which(images: Path, store: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "custom")
    run(store, "--images", images, "--kinds=ocr")
    run(store, "--images", images, "--kinds=ocr", "--options", "ocr.words=2", "--limit=1")
    source = Source(str(corpus), context_store=str(store))
    cell = Cell("custom", short_form("ocr", "off"))
    with pytest.raises(UserError, match="several engines; choose one"):
        cell.read(source)
    with ContextStore(store) as opened:
        first, second = opened.engines("ocr")
    chosen = Source(str(corpus), context_store=str(store), context_engines={"ocr": first.key})
    assert cell.read(chosen).contexts["ocr"].texts.keys() == set(IDS)
    other = Source(str(corpus), context_store=str(store), context_engines={"ocr": second.key})
    with pytest.raises(UserError, match="has read none of the images of custom"):
        cell.read(other)
    with pytest.raises(UserError, match=r"no cap contexts \(it has ocr\)"):
        Cell("custom", short_form("cap", "off")).read(source)


def test_the_generated_demo_takes_a_store_too(store: Path, tmp_path: Path) -> None:
    ids = [tweet.id for tweet in Demo().read(Source()).splits["train"][:3]]
    for image in ids:
        draw(tmp_path / "images" / f"{image}.png")
    run(store, "--images", tmp_path / "images", "--kinds=ocr")
    corpus = Demo().read(Source(context_store=str(store)), ["ocr"])
    assert set(corpus.contexts["ocr"].texts) == set(ids)
    assert any("has not read" in warning for warning in corpus.warnings)
