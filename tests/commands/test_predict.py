"""The real command over every input and output, killed and resumed, with pictures, and with much that is wrong."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_ita.commands import align, predict
from lightning_ita.contexts.store import ContextStore
from lightning_ita.data.conll import read_tweets
from lightning_ita.errors import UserError
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.posts import stream
from tests.contexts.aligning import make_fakes
from tests.contexts.fakes import draw
from tests.posts.conftest import kept  # noqa: F401, a fixture

WORDS = [["Jordan", "in", "Chicago"], ["see", "you"], [], ["Kobe", "&", "<b>"], ["a", "b", "c"]]


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """Words, which need no NLTK; one row cannot be read."""
    lines = [json.dumps({"text": words, "contexts": {"cap": "a man"}}) for words in WORDS]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join([*lines[:2], "{", *lines[2:]]) + "\n", encoding="utf-8")
    return path


def run(kept: str, posts: Path | str, out: Path | str, *more: str) -> int:  # noqa: F811
    return predict.main([f"--model={kept}", f"--input={posts}", f"--output={out}", "--device=cpu", *more])


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def expected(kept: str) -> list[Any]:  # noqa: F811
    return Tagger.from_pretrained(kept).predict(WORDS, [{"cap": "a man"}] * len(WORDS))


def test_jsonl(kept: str, posts: Path, tmp_path: Path, expected: list[Any], capsys: Any) -> None:  # noqa: F811
    out = tmp_path / "deep" / "out.jsonl"
    assert run(kept, posts, out) == 0
    lines = lines_of(out)
    assert [line["row"] for line in lines] == [1, 2, 3, 4, 5, 6]
    good = [line for line in lines if "error" not in line]
    assert [[m["text"] for m in line["mentions"]] for line in good] == [[m.text for m in p.mentions] for p in expected]
    assert good[0]["mentions"][0]["probability"] == pytest.approx(expected[0].mentions[0].probability, abs=1e-6)
    assert {line["view"] for line in good} == {"I+T"}
    (error,) = lines_of(out.with_name("out.jsonl.errors.jsonl"))
    assert (error["row"], error["line"]) == (3, 3)
    assert "6 posts" in capsys.readouterr().err
    assert run(kept, posts, out) == 0
    assert "finished already" in capsys.readouterr().err
    assert run(kept, posts, out, "--overwrite", "--strict") == 1
    assert lines_of(out) == lines


def test_a_finished_output_goes_on_with_an_input_that_has_grown(
    kept: str,  # noqa: F811
    posts: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    out = tmp_path / "out.jsonl"
    assert run(kept, posts, out) == 0
    before = lines_of(out)
    other = tmp_path / "other.jsonl"
    other.write_text(posts.read_text(encoding="utf-8").replace("Chicago", "Texas"), encoding="utf-8")
    with pytest.raises(UserError, match=r"the first 6 posts .* or this is another input"):
        run(kept, other, out)
    with posts.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": ["Kobe", "again"]}) + "\n")
    assert run(kept, posts, out) == 0
    assert "continuing after 6 posts" in capsys.readouterr().err
    assert lines_of(out)[:6] == before
    assert [line["row"] for line in lines_of(out)] == [1, 2, 3, 4, 5, 6, 7]
    whole = out.read_bytes()
    for change in (lambda: out.write_bytes(whole + b"{}\n"), lambda: out.write_bytes(b""), out.unlink):
        change()
        with pytest.raises(UserError, match="removed or changed since the run was finished; --overwrite starts again"):
            run(kept, posts, out)
    assert run(kept, posts, out, "--overwrite") == 0
    assert out.read_bytes() == whole


def test_csv(kept: str, posts: Path, tmp_path: Path, expected: list[Any]) -> None:  # noqa: F811
    assert run(kept, posts, tmp_path / "out.csv", "--view=I+T") == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mention"] for row in rows if row["mention"]] == [m.text for post in expected for m in post.mentions]
    assert {row["row"] for row in rows} == {"1", "2", "3", "4", "5", "6"}
    assert [row["row"] for row in rows if row["error"]] == ["3"]


def test_conll_is_read_back_and_scored(kept: str, posts: Path, tmp_path: Path, capsys: Any) -> None:  # noqa: F811
    out = tmp_path / "out.conll"
    assert run(kept, posts, out) == 0
    tweets = read_tweets(out, ("PER", "LOC"))
    assert [list(tweet.words) for tweet in tweets] == [words for words in WORDS if words]
    capsys.readouterr()
    assert run(kept, out, tmp_path / "again.conll", "--evaluate", "--view=T") == 0
    said = capsys.readouterr().err
    assert "precision" in said
    scores = json.loads((tmp_path / "again.conll.scores.json").read_text())["scores"]
    assert set(scores) >= {"f1", "PER/f1", "LOC/recall"}
    own = tmp_path / "again.conll"
    assert run(kept, own, tmp_path / "third.conll", "--evaluate", "--view=T") == 0
    assert json.loads((tmp_path / "third.conll.scores.json").read_text())["scores"]["f1"] == 100
    other = tmp_path / "other.conll"
    other.write_text("Kobe\tB-CITY\n", encoding="utf-8")
    with pytest.raises(UserError, match="row 1 is tagged 'B-CITY', but the model knows PER, LOC"):
        run(kept, other, tmp_path / "other.jsonl", "--evaluate")


@pytest.mark.parametrize(("labels", "mentions"), [("repair", 3), ("strict", 1)])
def test_stray_tags_count_as_the_model_counted_them(
    tiny_encoder: str, tmp_path: Path, labels: Any, mentions: int
) -> None:
    recipe = Recipe(labels=labels)
    Tagger.create("bert-crf", ("PER", "LOC"), recipe, tiny_encoder).save_pretrained(tmp_path / "model")
    stray = tmp_path / "stray.conll"
    stray.write_text("Kobe\tI-PER\nin\tO\nNew\tB-LOC\nYork\tI-LOC\nBryant\tI-PER\n", encoding="utf-8")
    assert run(str(tmp_path / "model"), stray, tmp_path / "out.jsonl", "--evaluate") == 0
    state = json.loads((tmp_path / "out.jsonl.state.json").read_text(encoding="utf-8"))
    assert sum(state["scores"][2]) == mentions


def test_brat_and_inline(kept: str, posts: Path, tmp_path: Path, expected: list[Any]) -> None:  # noqa: F811
    assert run(kept, posts, tmp_path / "out.ann") == 0
    text = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert text.splitlines() == ["Jordan in Chicago", "see you", "", "", "Kobe & <b>", "a b c"]
    found = [line.split("\t") for line in (tmp_path / "out.ann").read_text(encoding="utf-8").splitlines()]
    assert [name for name, *_ in found] == [f"T{number + 1}" for number in range(len(found))]
    for _, place, mention in found:
        _, start, end = place.split()
        assert text[int(start) : int(end)] == mention
    assert len(found) == sum(len(post.mentions) for post in expected) > 0
    assert run(kept, posts, tmp_path / "inline.txt") == 0
    inline = (tmp_path / "inline.txt").read_text(encoding="utf-8").splitlines()
    assert len(inline) == 6
    assert "&amp;" in inline[4]
    assert "&lt;b&gt;" in inline[4]
    assert sum(line.count("</") for line in inline) == len(found)


def test_the_text_beside_brats_annotations_replaces_nothing(kept: str, tmp_path: Path) -> None:  # noqa: F811
    posts = tmp_path / "posts.txt"
    posts.write_text("Kobe\tO\n", encoding="utf-8")
    for more in ([], ["--overwrite"]):
        with pytest.raises(UserError, match=r"posts\.ann writes posts\.txt, too, and would replace the input"):
            run(kept, posts, tmp_path / "posts.ann", "--format=conll", *more)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"mine\.txt exists; name another --output, or give --overwrite"):
        run(kept, posts, tmp_path / "mine.ann", "--format=conll")
    assert (posts.read_text(encoding="utf-8"), (tmp_path / "mine.txt").read_text()) == ("Kobe\tO\n", "mine")


def test_a_killed_run_goes_on_to_the_same_bytes(
    kept: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.setattr(stream, "CHUNK", 4)
    path = tmp_path / "posts.jsonl"
    lines = [json.dumps({"text": [f"w{number}", "in", "Spain"][: 1 + number % 3]}) for number in range(30)]
    lines[7] = "{"
    path.write_text("\n".join(lines), encoding="utf-8")
    outputs = ("jsonl", "csv", "conll", "ann")
    for ending in outputs:
        assert run(kept, path, tmp_path / f"whole.{ending}") == 0
    write = stream._save
    for ending in outputs:
        out, calls = tmp_path / f"out.{ending}", []

        def killed(*args: Any, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) in (3, 5):
                raise KeyboardInterrupt
            write(*args)

        monkeypatch.setattr(stream, "_save", killed)
        for _ in range(2):  # its third chunk is written and not yet noted
            with pytest.raises(KeyboardInterrupt):
                run(kept, path, out)
        assert run(kept, path, out) == 0
        assert "continuing after 12 posts" in capsys.readouterr().err
        assert out.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
        errors = [tmp_path / f"{name}.{ending}.errors.jsonl" for name in ("out", "whole")]
        assert errors[0].read_bytes() == errors[1].read_bytes() != b""
    assert (tmp_path / "out.txt").read_bytes() == (tmp_path / "whole.txt").read_bytes()
    monkeypatch.setattr(stream, "_save", write)

    state = tmp_path / "out.csv.state.json"
    values = json.loads(state.read_text())
    state.write_text(json.dumps({**values, "finished": False, "records": 8}))
    with pytest.raises(UserError, match="the first 8 posts of the input were changed"):
        run(kept, path, tmp_path / "out.csv")
    state.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        run(kept, path, tmp_path / "out.csv")
    with pytest.raises(UserError, match="made with another model or other arguments"):
        run(kept, path, tmp_path / "out.jsonl", "--view=T")


def test_standard_input_and_output(kept: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:  # noqa: F811
    text = b'{"text": ["Jordan"]}\n{"text": ["in", "Chicago"]}\n'
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert predict.main([f"--model={kept}", "--format=jsonl", "--device=cpu"]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["Jordan", "in Chicago"]


def test_what_is_wrong_is_said_before_the_model_is_loaded(
    posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tagger, "from_pretrained", lambda *_: pytest.fail("the model was loaded"))
    table = tmp_path / "a.csv"
    table.write_text("text,picture\nKobe,p.jpg\n", encoding="utf-8")
    (tmp_path / "dir").mkdir()
    for more, message in [
        ([f"--input={table}", "--text-column=post"], "unknown column 'post'"),
        ([f"--input={posts}", "--view=TI"], "unknown view 'TI'"),
        ([f"--input={table}", "--contexts-from=cap"], "need --image-column"),
        ([f"--input={table}", "--columns=0,1"], "csv has none by number"),
        ([f"--input={table}", "--images=pictures"], "--images pictures needs --image-column"),
        ([f"--input={table}", "--contexts-from=cap", "--image-column=picture", "--view=T"], "does not use"),
        ([f"--input={table}", "--context-store=a.db", "--image-column=picture", "--view=T"], "does not use"),
        ([f"--input={table}", "--engines", "ocr=rapidocr"], "--contexts-from does not name ocr"),
        ([f"--input={table}", "--image-column=picture", "--contexts-from=know"], "reads tweets and not images"),
        ([f"--input={table}", "--image-column=picture", "--contexts-from=mood"], "unknown context 'mood'"),
        ([f"--input={posts}", f"--output={posts}"], "would replace the input"),
        ([f"--input={posts}", f"--output={tmp_path / 'dir'}", "--output-format=csv"], "not a regular file"),
        ([f"--input={posts}", "--output=a.doc"], "its ending does not tell the format"),
        ([f"--input={posts}", "--output-format=brat"], "cannot go to standard output"),
        ([f"--input={tmp_path / 'none.csv'}"], "No such file"),
    ]:
        with pytest.raises(UserError, match=message):
            predict.main(["--model=m", *more])


def test_an_output_of_somebody_else_is_left_alone(kept: str, posts: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "mine.jsonl"
    out.write_text("mine")
    with pytest.raises(UserError, match=r"mine\.jsonl exists"):
        run(kept, posts, out)
    assert out.read_text() == "mine"
    with pytest.raises(UserError, match="--device moon"):
        run(kept, posts, tmp_path / "o.jsonl", "--device=moon")
    with pytest.raises(UserError, match="no such folder"):
        run(str(tmp_path / "none"), posts, tmp_path / "o.jsonl")
    table = tmp_path / "a.csv"
    table.write_text("text,picture\nKobe,p.jpg\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"not read by ITA-Cap.*; it reads cap"):
        run(kept, table, tmp_path / "o.jsonl", "--contexts-from=ocr", "--image-column=picture")


def test_what_the_model_does_not_read_is_told(kept: str, posts: Path, tmp_path: Path, capsys: Any) -> None:  # noqa: F811
    posts.write_text(posts.read_text(encoding="utf-8").replace('"cap"', '"caption"'), encoding="utf-8")
    assert run(kept, posts, tmp_path / "o.jsonl") == 0
    assert "5 with contexts that the model does not read" in capsys.readouterr().err
    table = tmp_path / "a.csv"
    table.write_text("text,picture\nKobe,p.jpg\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"--images .*: ITA-Cap.* does not look at pictures"):
        run(kept, table, tmp_path / "p.jsonl", f"--images={tmp_path}", "--image-column=picture")


def test_raw_posts_of_every_sort(kept: str, tmp_path: Path) -> None:  # noqa: F811
    pytest.importorskip("nltk")
    table = tmp_path / "a.csv"
    posts = [
        "Jordan in Chicago",
        "",
        " ",
        "word " * 10_000,
        "nul \0 nul",
        "a" * 200_001,
        "\U0001f600 &amp; http://t.co/x",
    ]
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([post] for post in posts)])
    assert run(kept, table, tmp_path / "o.jsonl") == 0
    lines = lines_of(tmp_path / "o.jsonl")
    assert [line["row"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert ["error" in line for line in lines] == [False] * 5 + [True, False]
    assert "at most 200,000 are read" in lines[5]["error"]
    assert lines[3]["words_cut"] > 9_800
    assert [line.get("text") for line in lines[:3]] == posts[:3]


@pytest.mark.parametrize("format_", ["jsonl", "csv", "tsv", "lines", "conll", "parquet"])
def test_bad_posts_are_recorded_whatever_the_format(kept: str, format_: str, tmp_path: Path) -> None:  # noqa: F811
    """What is wrong with one post is recorded; the posts before and behind it are tagged as ever."""
    good, long, nul = "Jordan", "word " * 10_000, "nul\0nul"
    path = tmp_path / "posts"
    if format_ == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"text": [[good], [], None, long.split(), [nul], [""], [good]]}), path)
        bad = [6]
    elif format_ == "jsonl":
        lines = [json.dumps({"text": words}) for words in ([good], [], None, long.split(), [nul])]
        lines += [
            '{"text": ["\\ud800"]}',
            '{"text": ["\\udc00 b"]}',
            '{"text": {}}',
            "\0",
            json.dumps({"text": [good]}),
        ]
        path.write_text("\n".join(lines), encoding="utf-8")
        bad = [6, 7, 8, 9]
    elif format_ == "conll":
        blocks = [good, "\n".join(long.split()), nul, "b\tX-PER", "", "IMGID:7\n", "\ta", good]
        path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
        bad = [4, 5, 6]
    else:
        pytest.importorskip("nltk")
        rows = [good, "", " ", long, nul, "c" * 200_001, good]
        path.write_text("\n".join((["text"] if format_ != "lines" else []) + rows) + "\n", encoding="utf-8")
        bad = [5] if format_ != "lines" else [6]
    assert run(kept, path, tmp_path / "o.jsonl", f"--format={format_}") == 0
    lines = lines_of(tmp_path / "o.jsonl")
    assert [line["row"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["row"] for line in lines if "error" in line] == bad
    assert lines[0]["mentions"] == lines[-1]["mentions"]
    assert lines[0]["text"] == lines[-1]["text"] == good


def test_kinds_of_an_earlier_run_are_read_from_a_store_that_is_named(
    tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(align, "make_engines", make_fakes)
    Tagger.create("ita", ("PER",), None, tiny_encoder, contexts=("tag", "ocr")).save_pretrained(tmp_path / "model")
    draw(tmp_path / "a.png")
    (tmp_path / "posts.jsonl").write_text('{"text": ["Kobe"], "image": "a.png"}\n', encoding="utf-8")
    out = tmp_path / "o.jsonl"
    for kinds, more, expected in [
        ("tag,ocr", [], {"tag", "ocr"}),
        ("ocr", [], {"ocr"}),
        ("ocr", [f"--context-store={out}.contexts.db"], {"tag", "ocr"}),
    ]:
        again = ["--image-column=image", f"--contexts-from={kinds}", "--overwrite", *more]
        assert run(str(tmp_path / "model"), tmp_path / "posts.jsonl", out, *again) == 0
        assert lines_of(out)[0]["contexts"].keys() == expected


def test_engines_of_pictures_have_options(tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align, "make_engines", make_fakes)
    Tagger.create("ita", ("PER",), None, tiny_encoder, contexts=("ocr",)).save_pretrained(tmp_path / "model")
    draw(tmp_path / "a.png")
    (tmp_path / "posts.jsonl").write_text('{"text": ["Kobe"], "image": "a.png"}\n', encoding="utf-8")
    command = [str(tmp_path / "model"), tmp_path / "posts.jsonl", tmp_path / "o.jsonl", "--image-column=image"]
    assert run(*command, "--contexts-from=ocr", "--options", "ocr.words=[1,2]") == 0  # type: ignore[arg-type]
    with ContextStore(tmp_path / "o.jsonl.contexts.db") as store:
        assert [engine.parameters for engine in store.engines()] == [{"words": [1, 2]}]
    with pytest.raises(UserError, match="made with another model or other arguments"):
        run(*command, "--contexts-from=ocr")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"--options cap\.captions: --contexts-from does not name cap"):
        run(*command, "--contexts-from=ocr", "--options", "cap.captions=1")  # type: ignore[arg-type]


def test_pictures_are_read_through_the_store(tiny_encoder: str, tmp_path: Path) -> None:
    """OCR of real pictures; one is missing and one is damaged, and both posts are tagged by their text."""
    pytest.importorskip("rapidocr")
    from PIL import Image, ImageDraw, ImageFont

    from lightning_ita.models.recipes import Recipe

    model = Tagger.create("ita", ("PER",), Recipe(), tiny_encoder, contexts=("ocr",))
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "pictures").mkdir()
    image = Image.new("RGB", (400, 120), "white")
    ImageDraw.Draw(image).text((20, 30), "CHICAGO", fill="black", font=ImageFont.load_default(60))
    image.save(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "b.png").write_bytes(b"no picture")
    lines = [{"text": ["Jordan"], "image": name} for name in ("a.png", "b.png", "c.png")] + [{"text": ["Kobe"]}]
    posts = tmp_path / "posts.jsonl"
    posts.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    more = ["--image-column=image", f"--images={tmp_path / 'pictures'}"]
    store = f"--context-store={tmp_path / 'store.db'}"
    assert run(str(tmp_path / "model"), posts, tmp_path / "o.jsonl", *more, "--contexts-from=ocr", store) == 0
    tagged = lines_of(tmp_path / "o.jsonl")
    assert tagged[0]["contexts"] == {"ocr": ["CHICAGO"]}
    assert [line["view"] for line in tagged] == ["I+T", "T", "T", "T"]
    assert [line.get("error", "").partition(":")[0] for line in tagged] == ["", "image 'b.png'", "image 'c.png'", ""]
    # Without engines, from the store alone, it is the same.
    assert run(str(tmp_path / "model"), posts, tmp_path / "p.jsonl", *more, store) == 0
    assert lines_of(tmp_path / "p.jsonl") == tagged
