from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.data import DATASETS
from lightning_ita.data.corpus import SPLITS, Corpus, find_folder, read_corpus
from lightning_ita.data.custom import Custom
from lightning_ita.data.datamodule import CustomDataModule
from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from tests.conftest import write_corpus

COARSE_AND_FINE = "IMGID:1\nTed\tB-person\tB-politician\nspoke\tO\tO\n"


def read(folder: Path, types: Any = None, files: dict[str, str] | None = None, **options: Any) -> Corpus:
    return read_corpus("mine", folder, types, Source(context_files=files or {}), **options)


def custom(data_dir: Path, types: Any = None, columns: Any = None) -> Corpus:
    return Custom().read(Source(str(data_dir), types=types, columns=columns))


def captions(folder: Path, texts: dict[str, list[str]], name: str = "mine") -> None:
    lines = [json.dumps({"image": image, "texts": said}) for image, said in texts.items()]
    (folder / f"{name}.cap.x.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_corpora_are_read_without_torch_lightning_or_pillow() -> None:
    heavy = ("torch", "pytorch_lightning", "transformers", "PIL", "numpy")
    code = (
        "import sys, lightning_ita.data.custom, lightning_ita.data.twitter15, lightning_ita.tags; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in heavy if name in loaded] == []


def test_the_valid_split_may_be_called_dev(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "mine")
    before = read(folder)
    (folder / "valid.txt").rename(folder / "dev.txt")
    assert find_folder("mine", tmp_path, "") == folder
    assert read(folder) == before
    (folder / "valid.txt").write_text("IMGID:1\nhi\tO\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"has valid.txt and dev.txt: which one is the valid split\? Remove the other."):
        read(folder)


def test_types_are_those_of_train(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, train="IMGID:1\nacme\tB-brand\nX\tI-brand\nok\tO\nRome\tB-place\n", valid="a\tO\n")
    (folder / "test.txt").write_text("IMGID:3\nok\tO\nacme\tB-brand\n", encoding="utf-8")
    assert read(folder).types == ("brand", "place")
    (folder / "test.txt").write_text("ok\tO\npie\tB-food\nX\tI-thing\nY\tS-food\n", encoding="utf-8")
    with pytest.raises(
        UserError,
        match=r"test.txt, line 2: types 'food', 'thing' that train.txt does not have \('brand', 'place'\).*"
        r"name all types: --types brand,food,place,thing",
    ):
        read(folder)
    named = read(folder, ("thing", "place", "food", "brand"))
    assert named.types == ("thing", "place", "food", "brand")
    assert "mine: train has no mention of 'food', 'thing', which a model cannot learn" in named.warnings


def test_a_corpus_without_mentions_has_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.txt: every word is tagged O: there is no mention to learn from"):
        read(write_corpus(tmp_path, train="hi\tO\n"))


def test_types_that_look_alike_are_reported(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, train="a\tB-PER\nb\tB-Per\nc\tB-News paper\nd\tB-\uff2e\u200bewspaper\ne\tB-LOC\n")
    assert [warning for warning in read(folder).warnings if "differ only" in warning] == [
        "mine: the types 'PER' and 'Per' differ only in how they are written; are they one?",
        "mine: the types 'News paper' and 'Ｎ\\u200bewspaper' differ only in how they are written; are they one?",
    ]


def test_notes_of_the_splits_become_warnings(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, train="a\tB-PER \nb\tB-LOC\n\nx\tO\n", valid="a\tS-PER\n", test="b\tO\n")
    assert read(folder).warnings == (
        "mine: train: 1 tag is read without white space, in composed characters (first in line 1)",
        "mine: train, valid, test: no tweet has an image",
        "mine: valid: tags with S- (BIOES or alike) are read as BIO",
        "mine: test has no mention: all scores are 0",
    )
    assert "mine: valid has no mention: the best epoch cannot be told, and is the first" in (
        read(write_corpus(tmp_path, valid="a\tO\n")).warnings
    )


def test_image_ids_are_compared_in_one_form(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, train="IMGID:1.jpg\na\tB-PER\n\nIMGID:cafe\u0301\nb\tO\n")
    for context, image in (("1.jpg", "1.jpg"), ("1", "1.jpg"), ("1.jpg", "1")):
        captions(folder, {context: ["a man"], "caf\u00e9.JPG": ["a cup"]})
        (folder / "train.txt").write_text(f"IMGID:{image}\na\tB-PER\n\nIMGID:cafe\u0301\nb\tO\n", encoding="utf-8")
        corpus = read(folder, ("PER", "LOC"), kinds=["cap"])
        assert [corpus.texts(tweet) for tweet in corpus.splits["train"]] == [{"cap": ("a man",)}, {"cap": ("a cup",)}]


def test_tweets_of_one_image_share_its_contexts_and_those_without_have_none(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, train="IMGID:1\na\tB-PER\n\nIMGID:1\nb\tO\n\nc\tO\n")
    captions(folder, {"1": ["a man"], "1#2": ["a dog"], "#3": ["a cat"]})
    corpus = read(folder, ("PER", "LOC"), kinds=["cap"])
    assert [(tweet.id, corpus.texts(tweet)) for tweet in corpus.splits["train"]] == [
        ("1", {"cap": ("a man",)}),
        ("1#2", {"cap": ("a man",)}),
        ("#3", {}),
    ]


def test_a_kind_that_says_nothing_of_a_split_is_told(tmp_path: Path) -> None:
    folder = write_corpus(
        tmp_path, train="IMGID:1\na\tB-PER\n", valid="IMGID:2\nb\tB-PER\n", test="IMGID:3\nc\tB-PER\n"
    )
    captions(folder, {"1": ["a man"], "2": [], "3": ["a dog"]})
    warnings = read(folder, ("PER",), kinds=["cap"]).warnings
    assert [each for each in warnings if "has no cap" in each] == ["mine: x has no cap context of any image of valid"]


def test_tweets_that_lack_a_context_are_counted_by_split(tmp_path: Path) -> None:
    sizes = {"train": 40, "valid": 20, "test": 10}
    ids = {split: [f"{split}{number}" for number in range(size)] for split, size in sizes.items()}
    blocks = {split: "\n".join(f"IMGID:{image}\n{image}\tB-PER\n" for image in ids[split]) for split in SPLITS}
    folder = write_corpus(tmp_path, **blocks)
    said = {image: [f"a man at {image}"] for split in SPLITS for image in ids[split]}
    captions(folder, said)
    assert not read(folder, ("PER",), kinds=["cap"]).warnings
    captions(folder, {image: said[image] for image in [*ids["train"][:5], *ids["valid"][:18], *ids["test"][:8]]})
    assert read(folder, ("PER",), kinds=["cap"]).warnings == (
        "mine: x has no entry for the images of many tweets, which have no cap context: "
        "35 of 40 in train, 2 of 10 in test",
    )
    files = {"ocr": str(folder / "mine.cap.x.jsonl")}
    captions(folder, {each: said[each] if "test" in each else [] for each in said} | {"train0": ["a"]})
    only_no_split = "mine: x has no {} context of any image of valid"
    assert read(folder, ("PER",), kinds=["cap"]).warnings == (
        only_no_split.format("cap"),
        "mine: x has cap entries without a text for 59 of 70 images",
    )
    assert read(folder, ("PER",), files, kinds=["ocr"]).warnings == (only_no_split.format("ocr"),)


def test_a_file_without_contexts_is_empty(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    captions(folder, {})
    with pytest.raises(UserError, match=r"mine\.cap\.x\.jsonl: is empty: it has no cap context"):
        read(folder, kinds=["cap"])


def test_a_misspelt_kind_is_suggested_from_the_files_there(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path)
    (folder / "mine.know.chatgpt.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"no knwo contexts for mine: .* Did you mean know, of .*mine.know.chatgpt"):
        read(folder, kinds=["knwo"])


def test_text_only_corpora_have_no_contexts_to_ask_for(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, train="a\tB-PER\n", valid="a\tB-PER\n\nb\tO\n", test="a\tB-PER\n\nc\tO\n")
    corpus = read(folder)
    assert all(tweet.image is None for split in SPLITS for tweet in corpus.splits[split])
    captions(folder, {"1": ["a man"]})
    with pytest.raises(
        UserError, match="no tweet of mine has an image, so that there are no cap contexts; leave them out"
    ):
        read(folder, kinds=["cap"])


def test_pipes_and_devices_in_a_corpus_are_refused(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "mine")
    (folder / "test.txt").unlink()
    os.mkfifo(folder / "test.txt")
    with pytest.raises(UserError, match=r"test.txt: not a regular file"):
        read(find_folder("mine", tmp_path, ""))
    (folder / "train.txt").unlink()
    (folder / "train.txt").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"train.txt: not a regular file"):
        read(find_folder("mine", tmp_path, ""))
    os.mkfifo(folder / "mine.cap.x.jsonl")
    for given in ({}, {"cap": str(folder / "mine.cap.x.jsonl")}):
        with pytest.raises(UserError, match=r"not a regular file"):
            read(write_corpus(tmp_path / "other"), kinds=["cap"], files=given or {"cap": "/dev/zero"})


def test_a_null_character_in_a_path_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no null character"):
        find_folder("mine", f"{tmp_path}/\0", "")
    with pytest.raises(UserError, match="no null character"):
        read(write_corpus(tmp_path), kinds=["cap"], files={"cap": "a\0b"})


def test_three_columns_need_a_choice_which_is_part_of_the_identity(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "custom", train=COARSE_AND_FINE, valid=COARSE_AND_FINE, test=COARSE_AND_FINE)
    with pytest.raises(UserError, match=r"train.txt, line 2: 3 columns: .*--columns 0,2"):
        custom(tmp_path)
    coarse, fine = (custom(tmp_path, columns=columns) for columns in ((0, 1), (0, 2)))
    assert (coarse.types, fine.types) == (("person",), ("politician",))
    assert len({corpus.digests[split] for corpus in (coarse, fine) for split in SPLITS}) == 2
    assert read(folder, columns=(0, 1)).splits == coarse.splits


def test_named_types_are_part_of_the_identity_where_they_differ(tmp_path: Path) -> None:
    write_corpus(tmp_path / "custom")
    own = custom(tmp_path)
    assert own.types == ("LOC", "PER")
    assert custom(tmp_path, ["LOC", " PER"]) == own
    other = custom(tmp_path, ["PER", "LOC"])
    assert other.splits == own.splits
    assert not set(other.digests.values()) & set(own.digests.values())
    with pytest.raises(UserError, match=r"line 4: unknown tag 'B-LOC'"):
        custom(tmp_path, ["PER"])
    for types, expected in (
        ([], "a list of names"),
        ("PER,LOC", "a list of names"),
        ([1], "a list of names"),
        (["PER", "PER "], "'PER' occurs twice"),
    ):
        with pytest.raises(UserError, match=expected):
            custom(tmp_path, types)


def test_corpora_of_ones_own_have_names(tmp_path: Path) -> None:
    for name, word in (("politics", "Ted"), ("sports", "Kobe")):
        folder = write_corpus(tmp_path / name, train=f"IMGID:1\n{word}\tB-PER\n")
        captions(folder, {"1": [name]}, name)
    source = Source(str(tmp_path), types=["PER", "LOC"])
    politics, sports = (DATASETS[f"custom-{name}"]().read(source, ["cap"]) for name in ("politics", "sports"))
    assert (politics.name, sports.name) == ("politics", "sports")
    assert (politics.splits["train"][0].words, sports.splits["train"][0].words) == (("Ted",), ("Kobe",))
    assert politics.texts(politics.splits["train"][0]) == {"cap": ("politics",)}
    itself = replace(source, data_dir=str(tmp_path / "politics"))
    assert Custom("politics").read(itself).splits == politics.splits
    assert CustomDataModule(str(tmp_path), "sports", types=["PER", "LOC"], contexts=["cap"]).corpus == sports
    write_corpus(tmp_path)
    with pytest.raises(
        UserError, match=r"has train.txt, but corpus 'others' is read from a folder of its name: .*others"
    ):
        Custom("others").read(source)


def test_names_of_own_corpora_are_data_sets() -> None:
    DATASETS.check("custom-politics")
    assert DATASETS.path("custom-politics") == DATASETS.path("custom")
    assert "custom-politics" not in list(DATASETS)
    with pytest.raises(UserError, match=r"unknown dataset 'costum-politics'"):
        DATASETS.check("costum-politics")
    for name in ("", "a/b", "../a", ".a", "a b", "[x]", "a" * 65, "a\n"):
        with pytest.raises(UserError, match=r"letters, digits"):
            DATASETS.check(f"custom-{name}")


def test_the_generated_demo_takes_the_contexts_that_are_named(tmp_path: Path) -> None:
    captions(tmp_path, {"train-0000": ["a named caption"]})
    corpus = Demo().read(Source(context_files={"cap": str(tmp_path / "mine.cap.x.jsonl")}), ["cap", "tag"])
    assert corpus.texts(corpus.splits["train"][0])["cap"] == ("a named caption",)
    generated = Demo().read(Source(), ["cap", "tag"])
    assert not any("no entry" in each or "without a text" in each for each in generated.warnings)
    assert any("no entry" in each for each in corpus.warnings)
    assert corpus.digests["cap"] != generated.digests["cap"]
    assert corpus.digests["tag"] == generated.digests["tag"]
