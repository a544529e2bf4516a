"""The folder on disk: its layout, all or nothing, and the command that writes it."""

import dataclasses
import json

import pytest
from PIL import Image

from lightning_ita.commands.corpus import main
from lightning_ita.demo import DemoConfig, generate, write
from lightning_ita.demo import writing as writing_module
from lightning_ita.errors import UserError

CONFIG = DemoConfig(train=12, valid=6, test=6, rate_missing=0.15, rate_unreadable=0.15)
SIZES = ["--train", "12", "--valid", "6", "--test", "8"]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read_conll(path):
    tweets = {}
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        head, *lines = block.split("\n")
        tweets[head.removeprefix("IMGID:")] = [tuple(line.split("\t")) for line in lines]
    return tweets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(CONFIG, tmp_path_factory.mktemp("demo") / "nested" / "corpus", images=True)


def test_layout(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"train.txt", "valid.txt", "test.txt", "images", "contexts", "demo.json"}
    assert {path.name for path in (folder / "contexts").iterdir()} == {f"demo.{k}.jsonl" for k in ("tag", "cap", "ocr")}


def test_tweets_read_back(folder):
    for split, tweets in generate(CONFIG).splits.items():
        assert read_conll(folder / f"{split}.txt") == {
            t.id: list(zip(t.words, t.tags, strict=True)) for t in tweets
        }  # fmt: skip


def test_contexts_read_back(folder):
    for kind, texts in generate(CONFIG).contexts.items():
        lines = (folder / "contexts" / f"demo.{kind}.jsonl").read_text(encoding="utf-8").splitlines()
        assert {entry["image"]: entry["texts"] for entry in map(json.loads, lines)} == texts


def test_truth_reads_back(folder):
    truth = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    assert DemoConfig(**truth["config"]) == CONFIG
    for tweets in generate(CONFIG).splits.values():
        for tweet in tweets:
            entry = truth["tweets"][tweet.id]
            assert (entry["kind"], entry["type"], entry["image"]) == (tweet.kind, tweet.type, tweet.image)
            assert entry["scene"]["words"] == list(tweet.scene.words)
            assert entry["shows"] == tweet.scene.shows


def test_images_are_whole_missing_or_unreadable_as_the_truth_says(folder):
    seen = set()
    for tweets in generate(CONFIG).splits.values():
        for tweet in tweets:
            path = folder / "images" / f"{tweet.id}.png"
            seen.add(tweet.image)
            if tweet.image == "missing":
                assert not path.exists()
            elif tweet.image == "ok":
                with Image.open(path) as image:
                    image.load()
            else:
                with pytest.raises(OSError), Image.open(path) as image:  # noqa: PT011  Pillow raises several.
                    image.load()
    assert seen == {"ok", "missing", "unreadable"}


def test_same_bytes_every_time(folder, tmp_path):
    assert contents(write(CONFIG, tmp_path / "again", images=True)) == contents(folder)


def test_pictures_are_optional_and_can_be_added(folder, tmp_path):
    plain = write(CONFIG, tmp_path / "corpus")
    assert not (plain / "images").exists()
    write(CONFIG, plain, images=True)
    assert contents(plain) == contents(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"], "scratch folders left behind"


def test_writing_again_touches_nothing(tmp_path, monkeypatch):
    corpus = write(CONFIG, tmp_path / "corpus")
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    monkeypatch.setattr(writing_module.os, "replace", None)
    write(CONFIG, corpus)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_failure_leaves_nothing(tmp_path):
    def broken(tweets):
        yield from tweets[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(CONFIG, tmp_path / "corpus", images=True, track=broken)
    assert list(tmp_path.iterdir()) == []


def test_failure_while_adding_pictures_leaves_the_texts(tmp_path):
    def broken(tweets):
        yield from tweets[:3]
        raise KeyboardInterrupt

    corpus = write(CONFIG, tmp_path / "corpus")
    before = contents(corpus)
    with pytest.raises(KeyboardInterrupt):
        write(CONFIG, corpus, images=True, track=broken)
    assert contents(corpus) == before


def test_empty_folder_is_filled(tmp_path):
    (tmp_path / "corpus").mkdir()
    assert (write(CONFIG, tmp_path / "corpus") / "train.txt").exists()


def test_other_corpus_is_replaced_only_on_request(tmp_path):
    corpus = write(CONFIG, tmp_path / "corpus")
    other = dataclasses.replace(CONFIG, seed=1)
    before = contents(corpus)
    with pytest.raises(FileExistsError, match="another configuration"):
        write(other, corpus)
    assert contents(corpus) == before
    write(other, corpus, overwrite=True)
    assert contents(corpus) == contents(write(other, tmp_path / "fresh"))


def test_other_files_are_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="no demo corpus"):
        write(CONFIG, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_file_in_the_way(tmp_path):
    (tmp_path / "corpus").write_text("a file")
    with pytest.raises(FileExistsError, match="no demo corpus"):
        write(CONFIG, tmp_path / "corpus")


@pytest.mark.parametrize("other_draws", [False, True])
def test_another_process_finishes_the_same_corpus_first(tmp_path, folder, other_draws):
    def meanwhile(tweets):
        write(CONFIG, tmp_path / "corpus", images=other_draws)
        return tweets

    write(CONFIG, tmp_path / "corpus", images=True, track=meanwhile)
    assert contents(tmp_path / "corpus") == contents(folder)


def test_another_process_finishes_another_corpus_first(tmp_path):
    other = dataclasses.replace(CONFIG, seed=1)

    def meanwhile(tweets):
        write(other, tmp_path / "corpus")
        return tweets

    with pytest.raises(OSError, match="not empty"):
        write(CONFIG, tmp_path / "corpus", images=True, track=meanwhile)
    assert contents(tmp_path / "corpus") == contents(write(other, tmp_path / "fresh"))


def test_command_writes_corpus_and_contact_sheet(tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    main(["--out", str(tmp_path / "corpus"), *SIZES, "--images", "--contact-sheet", str(sheet), "--sheet-tweets", "7"])
    assert "12 train, 6 valid, 8 test tweets" in capsys.readouterr().out
    assert (tmp_path / "corpus" / "images").is_dir()
    with Image.open(sheet) as image:
        assert image.width > image.height > 300


def test_command_takes_rates(tmp_path):
    main(["--out", str(tmp_path / "corpus"), *SIZES, "--rate_ambiguous", "0.8", "--seed", "3"])
    truth = json.loads((tmp_path / "corpus" / "demo.json").read_text(encoding="utf-8"))
    assert (truth["config"]["rate_ambiguous"], truth["config"]["seed"]) == (0.8, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate_ambiguous", "2"], "a rate lies between 0 and 1"),
        (["--train", "0"], "at least one tweet"),
    ],
)
def test_command_refuses_impossible_settings(tmp_path, arguments, message):
    with pytest.raises(UserError) as stop:
        main(["--out", str(tmp_path / "corpus"), *arguments])
    assert message in str(stop.value)
    assert not (tmp_path / "corpus").exists()


def test_command_refuses_a_folder_with_other_things(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no demo corpus"):
        main(["--out", str(tmp_path), *SIZES])


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "lightning-ita corpus --out demo --images" in text
    assert "Share of tweets whose image file is truncated" in " ".join(text.split())
