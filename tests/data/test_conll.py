from __future__ import annotations

from pathlib import Path

import pytest

from lightning_ita.data.conll import read_tweets
from lightning_ita.errors import DataError

TYPES = ("PER", "LOC", "ORG", "OTHER")


def read(tmp_path: Path, content: str | bytes, **options: str) -> list:
    path = tmp_path / "train.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_tweets(path, TYPES, **options)  # type: ignore[arg-type]


def test_tweets_are_read_with_their_ids(tmp_path: Path) -> None:
    first, second = read(tmp_path, "IMGID:7\nKobe\tB-PER\n!\tO\n\nIMGID:8\nhi\tO\n")
    assert (first.id, first.words, first.tags) == ("7", ("Kobe", "!"), ("B-PER", "O"))
    assert (second.id, second.words) == ("8", ("hi",))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks_make_no_difference(tmp_path: Path, end: str, mark: str) -> None:
    text = mark + end.join(["IMGID:7", "Kobe\tB-PER", "", "IMGID:8", "hi\tO"])
    assert [tweet.words for tweet in read(tmp_path, text)] == [("Kobe",), ("hi",)]


@pytest.mark.parametrize("word", ["\u00a0", "\ufe0f", "a\u2028b", "\u0085", "IMGID:", "#"])
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
        ("IMGID:7\nKobe B-PER\n", r"line 2: expected word<TAB>tag, found 'Kobe B-PER'"),
        ("IMGID:7\n\tO\n", r"line 2: expected word<TAB>tag"),
        ("IMGID:7\nKobe\tB-PRE\n", r"line 2: unknown tag 'B-PRE'. Did you mean 'B-PER'\?"),
        ("Kobe\tB-PER\n", "line 1: a tweet without IMGID"),
        ("IMGID:7\nhi\tO\n\nKobe\tB-PER\n", "line 4: a tweet without IMGID"),
        ("IMGID:7\nhi\tO\n\nIMGID:7\nho\tO\n", "line 4: id '7' stands twice, first on line 1"),
        ("IMGID:\nhi\tO\n", "line 1: IMGID: without an id"),
        ("IMGID:7\n\nIMGID:8\nhi\tO\n", "line 2: tweet '7' has no words"),
        ("", "no tweets in this split"),
        (b"IMGID:7\nhi\tO\ncaf\xe9\tO\n", r"line 3: not UTF-8 \(byte 0xe9\)"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        read(tmp_path, content)
    assert str(tmp_path / "train.txt") in str(error.value)
