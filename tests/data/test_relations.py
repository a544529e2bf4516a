from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lightning_ita.data import relations
from lightning_ita.data.relations import made, read_relations
from lightning_ita.demo import DemoConfig, generate
from lightning_ita.errors import DataError

HEADER = '"tweet_id","user_id","tweet","text_is_represented","image_adds"'
SMALL = DemoConfig(seed=3, train=30, valid=1, test=10, rate_missing=0.2)


def write(folder: Path, *rows: str, pictures: tuple[str, ...] | None = None, header: str = HEADER) -> Path:
    """Writes a file as the published one is written, and a picture for each of its rows."""
    path = folder / "textimage-data.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    place = folder / "images"
    place.mkdir(exist_ok=True)
    names = [row.split('"')[1] for row in rows] if pictures is None else pictures
    for number, name in enumerate(names):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(place / f"T{name}.jpg")
    return path


def row(number: int, text: str, adds: str = "1") -> str:
    return f'"{698197155698184192 + number}","7","{text}","0","{adds}"'


def test_a_picture_adds_to_ambiguous_tweets_alone() -> None:
    corpus = generate(SMALL)
    found = made(SMALL)
    tweets = {f"relation-{tweet.id}": tweet for split in ("train", "test") for tweet in corpus.splits[split]}
    usable = {name for name, tweet in tweets.items() if tweet.kind != "misleading" and tweet.image == "ok"}
    assert {tweet.id for split in found.splits.values() for tweet in split} == usable == found.adds.keys()
    assert len(usable) < len(tweets)
    for name, adds in found.adds.items():
        assert adds == (tweets[name].kind == "ambiguous")
    assert {len(split) for split in found.splits.values()} != {0}
    for tweet in found.splits["train"]:
        assert tweet.words == tweets[tweet.id].words
        assert found.pictures[tweet.id].open().size == (320, 240)
    assert made(SMALL) == found
    assert made(DemoConfig(seed=4, train=30, valid=1, test=10)).sha256 != found.sha256


def test_the_made_relations_are_balanced_and_of_no_corpus_that_is_tested() -> None:
    found = relations.relations()
    assert 0.4 < sum(found.adds.values()) / len(found.adds) < 0.6
    assert len(found.splits["train"]) == relations.DEMO.train
    assert relations.DEMO.seed != DemoConfig().seed


def test_the_published_format_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        row(0, 'my \\"done with\\" face, see http://a.b/c https://t.co/SzKzjNalqc', "0"),
        row(1, "Happy Flag Day! https://t.co/boWxoYrqVn"),
        row(2, "two https://t.co/aaa https://t.co/bbb", "0"),
        row(3, "three"),
        row(4, "four \\\\ five"),
    )
    found = read_relations(path)
    words = {tweet.id[-3:]: tweet.words for split in found.splits.values() for tweet in split}
    assert words["192"] == ("my", '"', "done", "with", '"', "face", ",", "see", "http://a.b/c")
    assert words["194"] == ("two", "https://t.co/aaa")
    assert words["196"] == ("four", "\\", "five")
    assert [len(found.splits[name]) for name in ("train", "test")] == [4, 1]
    assert [found.adds[tweet.id] for tweet in found.splits["train"]] == [False, True, False, True]
    assert found.pictures["698197155698184193"].open().size == (4, 4)
    assert found.notes == ()


def test_damaged_rows_are_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        row(0, "one"),
        row(1, "two", "0"),
        row(1, "two again"),
        '"6.92094E+17","7","id of a spreadsheet","1","1"',
        row(3, "text in a label", "maybe"),
        row(4, "https://t.co/onlyalink"),
        '"698197155698184200","7"',
        row(9, "no picture"),
        row(10, "no image at all"),
        row(11, "last"),
        pictures=("698197155698184192", "698197155698184193", "698197155698184202", "698197155698184203"),
    )
    (tmp_path / "images" / "T698197155698184202.jpg").unlink()
    found = read_relations(path)
    assert found.adds.keys() == {"698197155698184192", "698197155698184193", "698197155698184203"}
    (note,) = found.notes
    assert "of 10 rows, left out" in note
    for counted in (
        "1 (named twice)",
        "1 (no whole id",
        "2 (image_adds is not 0 or 1)",
        "1 (no text)",
        "2 (no picture)",
    ):
        assert counted in note


@pytest.mark.parametrize(
    ("rows", "header", "pictures", "reason"),
    [
        ((), HEADER, (), "no row has an id"),
        (("x",), "tweet_id,text_is_represented,image_adds", (), "since 2023 has no texts"),
        (("x",), "a,b", (), "no column 'tweet_id' and no column 'tweet'"),
        ((row(0, "one"), row(1, "two", "0")), HEADER, ("1",), "none of the pictures of its 2 tweets is there"),
        ((row(0, "one"), row(1, "two")), HEADER, None, "for one of the two answers"),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, rows: tuple[str, ...], header: str, pictures: tuple[str, ...] | None, reason: str
) -> None:
    path = write(tmp_path, *rows, header=header, pictures=pictures)
    with pytest.raises(DataError, match=reason):
        read_relations(path)


def test_other_answers_and_other_pictures_are_other_data(tmp_path: Path) -> None:
    rows = [row(0, "one"), row(1, "two", "0"), row(2, "three")]
    digests = {read_relations(write(tmp_path, *rows)).sha256 for _ in range(2)}
    assert len(digests) == 1
    digests.add(read_relations(write(tmp_path, *rows[:2], row(2, "three", "0"))).sha256)
    path = write(tmp_path, *rows)
    assert relations.relations(str(path)).sha256 in digests
    write(tmp_path, *rows, row(3, "four"))  # in the place of the file that was read
    assert relations.relations(str(path)).sha256 not in digests
    path = write(tmp_path, *rows)
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "images" / "T698197155698184192.jpg")
    digests.add(read_relations(path).sha256)
    assert len(digests) == 3
