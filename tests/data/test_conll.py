from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from lightning_ita import files
from lightning_ita.data import conll
from lightning_ita.data.conll import Split, Tweet, read_split, read_tweets
from lightning_ita.errors import DataError, UserError

TYPES = ("PER", "LOC", "ORG", "OTHER")
COARSE_AND_FINE = "IMGID:1\nTed\tB-person\tB-politician\nspoke\tO\tO\n"


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "train.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(tmp_path: Path, content: str | bytes, types: tuple[str, ...] | None = TYPES, **options: Any) -> list[Tweet]:
    return read_tweets(write(tmp_path, content), types, **options)


def split(tmp_path: Path, content: str, **options: Any) -> Split:
    return read_split(write(tmp_path, content), **options)


def test_tweets_are_read_with_their_ids(tmp_path: Path) -> None:
    first, second = read(tmp_path, "IMGID:7\nKobe\tB-PER\n!\tO\n\nIMGID:8\nhi\tO\n")
    assert (first.id, first.image, first.words, first.tags) == ("7", "7", ("Kobe", "!"), ("B-PER", "O"))
    assert (second.id, second.words) == ("8", ("hi",))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("empty", ["", "  ", "\t"])
def test_line_ends_and_byte_order_marks_make_no_difference(tmp_path: Path, end: str, mark: str, empty: str) -> None:
    text = mark + end.join(["IMGID:7", "Kobe\tB-PER", empty, empty, "IMGID:8", "hi\tO"])
    assert [tweet.words for tweet in read(tmp_path, text)] == [("Kobe",), ("hi",)]


@pytest.mark.parametrize("word", ["\u00a0", "\ufe0f", "a\u2028b", "\u0085", "IMGID:", "#", "\x00", "a b"])
def test_words_of_odd_characters_are_words(tmp_path: Path, word: str) -> None:
    (tweet,) = read(tmp_path, f"IMGID:7\n{word}\tO\nKobe\tB-PER\n")
    assert tweet.words == (word, "Kobe")


def test_stray_inside_tags_are_repaired_unless_strict(tmp_path: Path) -> None:
    text = "IMGID:7\na\tI-PER\nb\tI-PER\nc\tB-LOC\nd\tI-ORG\ne\tO\nf\tI-LOC\n"
    assert read(tmp_path, text)[0].tags == ("B-PER", "I-PER", "B-LOC", "B-ORG", "O", "B-LOC")
    assert read(tmp_path, text, labels="strict")[0].tags == ("I-PER", "I-PER", "B-LOC", "I-ORG", "O", "I-LOC")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("IMGID:7\nKobe B-PER\n", r"line 2: expected word<TAB>tag, found 'Kobe B-PER'; columns are separated by tabs"),
        ("IMGID:7\nKobe\n", r"line 2: expected word<TAB>tag, found 'Kobe'; a word needs a tag"),
        ("IMGID:7\rKobe\tB-PER\rhi\tO\r", r"line 1: .*carriage returns alone"),
        ("IMGID:7\n\tO\n", r"line 2: no word before the tag: '\\tO'"),
        ("IMGID:7\nhi\t\n", r"line 2: a word without a tag; O outside of mentions"),
        ("IMGID:7\nKobe\tB-PRE\n", r"line 2: unknown tag 'B-PRE'. Did you mean 'B-PER'\?.* --types, if given, name"),
        ("IMGID:7\nKobe\tPER\n", r"line 2: 'PER' has no prefix; expected O, or B-PER for a first word and I-PER for"),
        ("IMGID:7\nKobe\tb-PER\n", r"line 2: 'b-PER' is not a tag; expected O outside of mentions, B-TYPE for the"),
        ("IMGID:7\nKobe\tPER-B\n", r"line 2: 'PER-B' is not a tag"),
        ("IMGID:7\nKobe\tB-\n", r"line 2: 'B-' is not a tag"),
        ("IMGID:7\nhi\t0\n", r"line 2: '0' is not a tag; expected O outside of mentions"),
        ("IMGID:\nhi\tO\n", "line 1: IMGID: without an id; a tweet without an image has no such line"),
        ("IMGID:7\n\nIMGID:8\nhi\tO\n", "line 1: the tweet of image '7' has no words"),
        ("", "no tweets in this split"),
        (b"IMGID:7\nhi\tO\ncaf\xe9\tO\n", r"line 3: not UTF-8 \(byte 0xe9\)"),
        (b"IMGID:7\n\xed\xa0\x80\tO\n", r"line 2: not UTF-8 \(byte 0xed\)"),  # half of a surrogate pair
        ("IMGID:7\nhi\tO\n".encode("utf-16"), r"line 1: not UTF-8 \(byte 0xff\)"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        read(tmp_path, content)
    assert str(tmp_path / "train.txt") in str(error.value)
    assert "\n" not in str(error.value)


def test_three_columns_are_not_a_word_with_a_tab(tmp_path: Path) -> None:
    expected = (
        r"line 2: 3 columns: 'Ted', 'B-person', 'B-politician'; choose .* with --columns, for example --columns 0,2"
    )
    with pytest.raises(DataError, match=expected):
        read(tmp_path, COARSE_AND_FINE, None)


@pytest.mark.parametrize(("columns", "type_"), [((0, 1), "person"), ([0, 2], "politician")])
def test_two_of_several_columns_are_chosen(tmp_path: Path, columns: Any, type_: str) -> None:
    (tweet,) = read(tmp_path, COARSE_AND_FINE, None, columns=columns)
    assert (tweet.words, tweet.tags) == (("Ted", "spoke"), (f"B-{type_}", "O"))


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        (COARSE_AND_FINE, (0, 3), r"line 2: 3 columns: .*; --columns 0,3 needs 4 or more"),
        ("IMGID:1\na\tb\tO\nc\tO\n", (0, 2), r"line 3: 2 columns: 'c', 'O'; the lines before have 3"),
        ("IMGID:1\na\tb\tO\nc\td\te\tO\n", (0, 2), r"line 3: 4 columns: .*; the lines before have 3"),
        ("IMGID:1\na\tO\n", (1, 1), "name two different ones, counted from 0"),
        ("IMGID:1\na\tO\n", (0, -1), "name two different ones, counted from 0"),
        ("IMGID:1\na\tO\n", ("0", "1"), "name two different ones, counted from 0"),
        ("IMGID:1\na\tO\n", (0, 1, 2), "name two different ones, counted from 0"),
        ("IMGID:1\na\tO\n", 3, "name two different ones, counted from 0"),
    ],
)
def test_columns_that_are_not_there_are_errors(tmp_path: Path, content: str, columns: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        read(tmp_path, content, None, columns=columns)


def test_unknown_labels_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown labels 'Strict'. Did you mean 'strict'\?"):
        read(tmp_path, "IMGID:1\na\tO\n", labels="Strict")


@pytest.mark.parametrize("tag", ["B-PER ", "B-PER\u00a0", "\u2003B-PER", "B- PER"])
def test_white_space_in_a_tag_makes_no_type_of_its_own(tmp_path: Path, tag: str) -> None:
    found = split(tmp_path, f"IMGID:1\nKobe\tB-PER\nand\tO \nTed\t{tag}\n")
    assert (found.tweets[0].tags, dict(found.types)) == (("B-PER", "O", "B-PER"), {"PER": 2})
    assert found.notes == ["2 tags are read without white space, in composed characters (first in line 3)"]


def test_white_space_inside_a_type_is_reported(tmp_path: Path) -> None:
    found = split(tmp_path, "IMGID:1\nAnn\tB-PER\nLee\tB-PER X\n", types=None)
    assert found.notes == ["types with white space in them: 'PER X' (first in line 3)"]


def test_types_in_another_unicode_form_are_one_type(tmp_path: Path) -> None:
    found = split(tmp_path, "IMGID:1\na\tB-caf\u00e9\nb\tB-cafe\u0301\n")
    assert (found.tweets[0].tags, list(found.types)) == (("B-caf\u00e9",) * 2, ["caf\u00e9"])
    assert found.notes == ["1 tag is read without white space, in composed characters (first in line 3)"]


def test_types_may_have_bars_dollars_and_hyphens(tmp_path: Path) -> None:
    found = split(tmp_path, "IMGID:1\na\tB-a|b\nb\tI-a|b\nc\tB-$x$\nd\tB-B-1\n")
    assert found.tweets[0].tags == ("B-a|b", "I-a|b", "B-$x$", "B-B-1")
    assert list(found.types) == ["a|b", "$x$", "B-1"]


@pytest.mark.parametrize(
    ("tags", "expected", "letters"),
    [
        ("B-PER I-PER E-PER S-PER O S-LOC", "B-PER I-PER I-PER B-PER O B-LOC", "E-, S-"),  # BIOES
        ("B-PER I-PER L-PER U-PER O U-LOC", "B-PER I-PER I-PER B-PER O B-LOC", "L-, U-"),  # BILOU
        ("B-PER M-PER E-PER S-PER O S-LOC", "B-PER I-PER I-PER B-PER O B-LOC", "E-, M-, S-"),  # BMES
        ("E-PER I-PER E-PER O", "B-PER B-PER I-PER O", "E-"),  # IOE2: mentions end with E- alone
    ],
)
def test_other_schemes_are_read_as_bio(tmp_path: Path, tags: str, expected: str, letters: str) -> None:
    found = split(tmp_path, "IMGID:1\n" + "".join(f"w\t{tag}\n" for tag in tags.split()), types=("PER", "LOC"))
    assert found.tweets[0].tags == tuple(expected.split())
    assert found.notes == [f"tags with {letters} (BIOES or alike) are read as BIO"]


@pytest.mark.parametrize(
    ("labels", "tags", "note"),
    [
        ("repair", "B-PER I-PER O B-PER B-PER", "2 of 3 mentions start with I- (IOB1), read as their first word's B-"),
        ("strict", "I-PER I-PER O I-PER B-PER", "which strict labels do not count as mentions"),
    ],
)
def test_iob1_is_recognised(tmp_path: Path, labels: str, tags: str, note: str) -> None:
    text = "IMGID:1\na\tI-PER\nb\tI-PER\nc\tO\nd\tI-PER\ne\tB-PER\n"
    found = split(tmp_path, text, labels=labels)
    assert found.tweets[0].tags == tuple(tags.split())
    (said,) = found.notes
    assert note in said


def test_several_tweets_of_one_image_have_ids_of_their_own(tmp_path: Path) -> None:
    # An image may itself be called 123#2, and images are compared in one form.
    images = ["123.jpg", "123", "123#2", "123", "cafe\u0301", "caf\u00e9"]
    found = split(tmp_path, "".join(f"IMGID:{image}\nw{index}\tO\n\n" for index, image in enumerate(images)))
    assert [tweet.id for tweet in found.tweets] == ["123", "123#3", "123#2", "123#4", "caf\u00e9", "caf\u00e9#2"]
    assert [tweet.image for tweet in found.tweets] == ["123", "123", "123#2", "123", "caf\u00e9", "caf\u00e9"]
    assert found.notes == ["3 tweets share their image with one before"]


def test_ids_stay_unique_where_images_are_called_like_them(tmp_path: Path) -> None:
    # Images called 1#2, 1#3 ... and #1, #2 ... have the ids that tweets of image 1, and without an image, would have.
    images = [f"{stem}#{number}" for stem in ("1", "") for number in range(1, 2001)]
    text = "".join(f"IMGID:{image}\nw\tO\n\n" for image in images) + "IMGID:1\nw\tO\n\nw\tO\n\n" * 2000
    ids = [tweet.id for tweet in split(tmp_path, text).tweets]
    assert len(set(ids)) == 8000
    assert (ids[:4000], ids[4000], ids[4001], ids[4002], ids[-2]) == (images, "1", "#4002", "1#2001", "1#3999")


def test_tweets_without_an_image_are_tweets_and_counted(tmp_path: Path) -> None:
    found = split(tmp_path, "IMGID:1\nhi\tO\n\nKobe\tB-PER\nBryant\tI-PER\n\n\nIMGID:#2\nho\tO\n\nhi\tO\n")
    assert [(tweet.id, tweet.image) for tweet in found.tweets] == [("1", "1"), ("#3", None), ("#2", "#2"), ("#4", None)]
    assert found.notes == ["2 tweets have no image (first in line 4)"]
    text_only = split(tmp_path, "-DOCSTART-\tO\n\nhi\tO\n\nho\tO\n")
    assert [(tweet.id, tweet.words, tweet.image) for tweet in text_only.tweets] == [
        ("#1", ("hi",), None),
        ("#2", ("ho",), None),
    ]
    assert text_only.notes == ["1 line -DOCSTART- left out", "no tweet has an image"]


def test_repeated_tweets_are_reported(tmp_path: Path) -> None:
    found = split(tmp_path, "IMGID:1\nhi\tO\n\n" * 3)
    assert found.notes == [
        "2 tweets share their image with one before",
        "2 tweets are the same as one before, word for word (first in line 4)",
    ]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "train.txt"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(DataError, match=r"not a regular file|No such file"):
        read_tweets(path, TYPES)


def test_a_word_or_tag_without_end_takes_no_memory_and_no_screen(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    for start, end in ((b"IMGID:1\n", b"\tB-PER\n"), (b"IMGID:1\nKobe\tB-", b"\n")):
        with path.open("wb") as file:
            file.write(start)
            file.seek(200 * 2**20, os.SEEK_CUR)  # a hole: 200 MiB that need no disk
            file.write(end)
        tracemalloc.start()
        with pytest.raises(DataError, match=r"train.txt, line 2: longer than 1 MiB") as error:
            read_tweets(path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        tracemalloc.stop()
        assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("IMGID:1\n" + "a" * 10_001 + "\tO\n", "line 2: a word of 10001 characters; at most 10000 are read"),
        ("IMGID:1\na\tB-" + "b" * 500_000 + "\n", "line 2: a type longer than 100 characters: 'b+…'"),
        ("IMGID:1\na\tB-\x1b[31mred\n", r"line 2: a type with control characters: '\\x1b\[31mred'"),
        ("IMGID:1\na" + "\tO" * 100_000 + "\n", r"line 2: 100001 columns: 'a', 'O', 'O', 'O', 'O', 'O', 'O', 'O', …;"),
        ("hi\tO\n" * 10_001, "line 1: a tweet of more than 10000 words; tweets are separated by empty lines"),
        ("".join(f"a\tB-{number}\n\n" for number in range(1001)), "line 2001: more than 1000 entity types"),
        ("IMGID:1\n" + "blank " * 100_000 + "\n", "columns are separated by tabs"),
    ],
)
def test_what_is_too_long_is_an_error_of_one_short_line(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        read(tmp_path, content, None)
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


def test_a_file_larger_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 2**20)
    with pytest.raises(DataError, match="larger than 1 MiB, the most that is read"):
        read(tmp_path, "IMGID:1\n" + "a\tO\n" * 9000 + "\nIMGID:2\n" + ("a\tO\n" * 9000 + "\n") * 40)


def test_the_bounds_leave_real_words_alone(tmp_path: Path) -> None:
    assert conll.MAX_WORD >= 10_000
    (tweet,) = read(tmp_path, "IMGID:1\nhttp://t.co/" + "x" * 2000 + "\tO\n")
    assert len(tweet.words[0]) == 2012
