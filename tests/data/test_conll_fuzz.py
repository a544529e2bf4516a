"""Files of tweets that anyone may have written: read right, or refused with a `UserError`.

10,000 cases of each property: ``FUZZ=10000 python -m pytest tests/data/test_conll_fuzz.py``.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_ita.data.conll import read_split
from lightning_ita.errors import UserError
from lightning_ita.images.ids import image_id

CASES = settings(max_examples=int(os.environ.get("FUZZ", "150")))
TYPES = ("PER", "LOC", "a|b", "$x$")
# Mentions as lengths and types; 0 is a word outside of mentions.
Mention = tuple[int, str]

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\ufeff")
words = st.one_of(
    st.sampled_from(["Kobe", "IMGID:", "IMGID:7", "\u00a0", "\ufe0f", "\u0085", "a\u2028b", "#", "O", "B-PER", " "]),
    st.text(characters, min_size=1, max_size=6),
)
images = st.one_of(
    st.none(), st.sampled_from(["1", "1.jpg", "1#2", "#2", "cafe\u0301"]), st.from_regex(r"\w{1,4}", fullmatch=True)
)
mentions = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(TYPES)), min_size=1, max_size=6)
tweets = st.lists(st.tuples(images, mentions), min_size=1, max_size=6)
dialects = st.fixed_dictionaries(
    {
        "scheme": st.sampled_from(["BIO", "BIOES", "BILOU", "BMES"]),
        "end": st.sampled_from(["\n", "\r\n"]),
        "mark": st.sampled_from(["", "\ufeff"]),
        "empty": st.sampled_from(["", " ", "\t"]),
        "columns": st.sampled_from([None, (0, 1), (0, 2), (2, 0), (1, 3)]),
        "blank": st.sampled_from(["", " ", "\u00a0"]),
        "last": st.booleans(),
    }
)


def tags_of(scheme: str, mention: Mention) -> list[str]:
    length, type_ = mention
    inside, last, single = {"BIO": "IIB", "BIOES": "IES", "BILOU": "ILU", "BMES": "MES"}[scheme]
    prefixes = {0: "", 1: single, 2: "B" + last}.get(length, "B" + inside * (length - 2) + last)
    return [f"{prefix}-{type_}" for prefix in prefixes] or ["O"]


@CASES
@given(data=st.data(), drawn=tweets, dialect=dialects)
def test_what_was_written_is_what_is_read(tmp_path: Path, data: st.DataObject, drawn: list, dialect: dict) -> None:
    expected, lines = [], []
    for image, found in drawn:
        bio = [tag for mention in found for tag in tags_of("BIO", mention)]
        written = [tag + dialect["blank"] for mention in found for tag in tags_of(dialect["scheme"], mention)]
        said = data.draw(st.lists(words, min_size=len(bio), max_size=len(bio)))
        expected.append((None if image is None else image_id(image), tuple(said), tuple(bio)))
        lines += [] if image is None else [f"IMGID:{image}"]
        for word, tag in zip(said, written, strict=True):
            columns = dialect["columns"] or (0, 1)
            cells = ["?"] * (2 if dialect["columns"] is None else 4)
            cells[columns[0]], cells[columns[1]] = word, tag
            lines.append("\t".join(cells))
        lines.append(dialect["empty"])
    text = dialect["mark"] + dialect["end"].join(lines) + dialect["end"] * dialect["last"]
    path = tmp_path / "train.txt"
    path.write_bytes(text.encode())
    found = read_split(path, TYPES, "strict", dialect["columns"])
    assert [(tweet.image, tweet.words, tweet.tags) for tweet in found.tweets] == expected
    assert len({tweet.id for tweet in found.tweets}) == len(expected)


pieces = st.one_of(
    st.sampled_from(
        [
            b"\n",
            b"\t",
            b"\n\n",
            b"\r",
            b"IMGID:",
            b"IMGID:1",
            b"\tO\n",
            b"\tB-PER\n",
            b"\tI-LOC\n",
            b" ",
            b"-DOCSTART-\tO\n",
        ]
    ),
    st.sampled_from(["\u00a0", "\ufeff", "\u2028", "\u202e", "\x1b[31m", "e\u0301", "\U0001f44d"]).map(str.encode),
    st.sampled_from(
        [b"\tE-PER\n", b"\tS-PER \n", b"\tB-per\n", b"\tPER\n", b"\tB- PER\n", b"\tB-PER\tB-x\n", b"\tO\tO\n"]
    ),
    st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=3),
)
base = b"IMGID:1\nKobe\tB-PER\nBryant\tI-PER\n\nIMGID:1\nhi\tO\n\nin\tO\nSpain\tB-LOC\n"


@CASES
@given(
    parts=st.lists(pieces, max_size=12), cut=st.integers(0, len(base)), columns=st.sampled_from([None, (0, 1), (1, 0)])
)
def test_anything_else_is_refused_or_every_line_of_it_is_read(
    tmp_path: Path, parts: list[bytes], cut: int, columns: tuple[int, int] | None
) -> None:
    raw = base[:cut] + b"".join(parts) + base[cut:]
    path = tmp_path / "train.txt"
    path.write_bytes(raw)
    try:
        found = read_split(path, None, "repair", columns)
    except UserError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 1000  # noqa: PT018
        return
    lines = [line.rstrip("\r") for line in raw.decode("utf-8-sig").split("\n")]
    named = [line for line in lines if line.startswith("IMGID:") and "\t" not in line.rstrip()]
    tabbed = [line.split("\t") for line in lines if "\t" in line and line.strip(" \t") and line not in named]
    word, tag = columns or (0, 1)
    kept = [cells for cells in tabbed if cells[word] != "-DOCSTART-"]
    assert [each for tweet in found.tweets for each in tweet.words] == [cells[word] for cells in kept]
    outside = [unicodedata.normalize("NFC", cells[tag]).strip() == "O" for cells in kept]
    assert [each == "O" for tweet in found.tweets for each in tweet.tags] == outside
    assert [tweet.image for tweet in found.tweets if tweet.image is not None] == [image_id(each[6:]) for each in named]
    assert len({tweet.id for tweet in found.tweets}) == len(found.tweets)


def test_the_fuzzed_base_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(base)
    assert [tweet.id for tweet in read_split(path).tweets] == ["1", "1#2", "#3"]
    with pytest.raises(UserError):
        read_split(path, ("LOC",))
