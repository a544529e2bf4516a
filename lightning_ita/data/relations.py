"""Relation data: tweets with labels that say whether the picture adds to the text, on which relation gates are trained.

Two sources: a demo corpus of its own, which knows the truth, so that its supervision is made and not annotated; and the
data set of Vempala and Preoţiuc-Pietro (ACL 2019), where a user has it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.pictures import Drawing
from lightning_ita.data.words import cut
from lightning_ita.demo import DemoConfig, generate
from lightning_ita.errors import DataError
from lightning_ita.files import Lines, user_path
from lightning_ita.images.files import ImageError, signature
from lightning_ita.images.pictures import Picture, digest_of, read_picture
from lightning_ita.text import quoted

TRAIN, TEST = "train", "test"
# Share of the rows that are trained on, the first ones of the file: 3,576 of the 4,471 published ones, as in RpBERT.
TRAIN_SHARE = 0.8
COLUMNS = ("tweet_id", "tweet", "image_adds")
# Where the pictures are looked for, from the folder of the file on.
PICTURE_FOLDERS = (".", "images", "image", "data")
# The demo corpus that relations are made from is none that anybody trains or tests on: its seed is its own. Pictures
# add something in half of its tweets; none are missing, and none suggest a wrong type.
DEMO = DemoConfig(
    seed=20_190_719,
    train=600,
    valid=1,
    test=200,
    rate_ambiguous=0.5,
    rate_misleading=0.0,
    rate_unrelated=0.2,
    rate_missing=0.0,
    rate_unreadable=0.0,
)
# What each kind of demo tweet says of its picture; *misleading* ones say nothing clear and are left out.
ADDS = {"ambiguous": True, "resolvable": False, "unrelated": False}
_LAST_LINK = re.compile(r"\s*https?://t\.co/\S*\s*$")
_ID = re.compile(r"[0-9]{6,20}")


@dataclass(frozen=True)
class Relations:
    """Tweets with pictures, and whether each picture adds to the meaning of its tweet.

    Attributes:
        source: Where they come from, for people.
        splits: Tweets by split, ``train`` and ``test``; their tags mean nothing.
        adds: Whether the picture adds, by the tweet's id.
        pictures: The pictures, by the tweet's id.
        sha256: Digest of texts, answers and pictures.
        notes: What a user should know: rows left out, and why.
    """

    source: str
    splits: Mapping[str, Sequence[Tweet]]
    adds: Mapping[str, bool]
    pictures: Mapping[str, Picture] = field(repr=False)
    sha256: str
    notes: tuple[str, ...] = ()

    def corpus(self, types: Sequence[str]) -> Corpus:
        """Returns the tweets as a corpus without mentions, as the inputs of a system read one.

        Args:
            types: Entity types of the system.
        """
        return Corpus("relations", tuple(types), self.splits, {}, {}, pictures=self.pictures)


def relations(file: str | None = None) -> Relations:
    """Returns relations, made once per process, or read once as long as the file is not changed.

    Args:
        file: The data set of Vempala and Preoţiuc-Pietro; the demo corpus if not given.

    Raises:
        DataError: The file or its pictures cannot be used.
    """
    if file is None:
        return _made()
    path = user_path(file).absolute()
    return _read(path, *signature(path))


@cache
def _made() -> Relations:
    return made()


@cache
def _read(path: Path, *_: int | None) -> Relations:
    return read_relations(path)


def made(config: DemoConfig = DEMO) -> Relations:
    """Makes relations from a demo corpus: a picture adds to an *ambiguous* tweet, and to no other.

    Args:
        config: Of the demo corpus.
    """
    corpus = generate(config)
    splits: dict[str, list[Tweet]] = {TRAIN: [], TEST: []}
    adds: dict[str, bool] = {}
    pictures: dict[str, Picture] = {}
    shows = []
    for split, tweets in splits.items():
        for tweet in corpus.splits[split]:
            if tweet.kind in ADDS and tweet.image == "ok":
                name = f"relation-{tweet.id}"
                tweets.append(_tweet(name, tweet.words))
                adds[name], pictures[name] = ADDS[tweet.kind], Drawing(name, tweet.scene, readable=True)
                shows.append(repr(tweet.scene))
    # By what the pictures show: the identity of a result does not change with a comment in the code that draws.
    sha256 = _digest(splits, adds, json.dumps(shows))
    return Relations(f"made: a demo corpus with seed {config.seed}", splits, adds, pictures, sha256)


def read_relations(path: Path) -> Relations:
    r"""Reads the data set of Vempala and Preoţiuc-Pietro (ACL 2019), as RpBERT's official code reads it.

    A CSV file with the columns ``tweet_id``, ``tweet`` and ``image_adds`` among others, ``\`` before quotation marks
    within a text. The last link to t.co, which stands for the picture, is removed from the text. The pictures are
    ``T<tweet_id>.jpg`` beside the file or in a folder ``images`` there. The first four fifths of the rows are for
    training.

    Raises:
        DataError: It cannot be read, has no such columns or no usable row, or none of the pictures is there.
    """
    rows = csv.DictReader((f"{line}\n" for _, line in Lines(path)), escapechar="\\", doublequote=False)
    tweets: dict[str, tuple[str, bool, int]] = {}
    damaged: Counter[str] = Counter()
    count = 0
    try:
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise DataError(_no_columns(missing, rows.fieldnames or ()), path, 1)
        for row in rows:
            count += 1
            name, text, adds = (row[column] for column in COLUMNS)
            reason = _damage(name, text, adds)
            if reason is None and name in tweets:
                reason = "named twice"
            if reason is not None:
                damaged[reason] += 1
                continue
            tweets[name] = _LAST_LINK.sub("", text), adds == "1", count
    except csv.Error as error:
        raise DataError(f"not the CSV file that is expected: {error}", path, rows.line_num) from None
    folder, pictures = _pictures(path, tweets, damaged)
    splits: dict[str, list[Tweet]] = {TRAIN: [], TEST: []}
    for name, (text, _, number) in tweets.items():
        if name in pictures and (words := [word.text for word in cut(text)]):
            splits[TRAIN if number <= int(TRAIN_SHARE * count) else TEST].append(_tweet(name, words))
    adds = {tweet.id: tweets[tweet.id][1] for part in splits.values() for tweet in part}
    pictures = {name: picture for name, picture in pictures.items() if name in adds}
    notes = (f"{path.name}: of {count} rows, left out: {_counted(damaged)}",) if damaged else ()
    if len({adds[tweet.id] for tweet in splits[TRAIN]}) < 2:
        raise DataError(f"of {count} rows none is left to train on for one of the two answers{_why(damaged)}", path)
    sha256 = _digest(splits, adds, digest_of(pictures))
    return Relations(f"{path.name}, pictures in {folder.name}", splits, adds, pictures, sha256, notes)


def _digest(splits: Mapping[str, Sequence[Tweet]], adds: Mapping[str, bool], pictures: str) -> str:
    rows = [[split, tweet.id, tweet.words, adds[tweet.id]] for split, tweets in splits.items() for tweet in tweets]
    return hashlib.sha256(json.dumps([rows, pictures]).encode()).hexdigest()


def _tweet(name: str, words: Sequence[str]) -> Tweet:
    return Tweet(name, tuple(words), ("O",) * len(words), name)


def _no_columns(missing: Sequence[str], there: Sequence[str]) -> str:
    known = f"it has {', '.join(map(quoted, there[:8]))}" if there else "it is empty"
    hint = (
        "; the file that is public since 2023 has no texts: its authors give the whole data set to whom asks"
        if "tweet" in missing and "image_adds" in there
        else ""
    )
    return f"no column {' and no column '.join(map(quoted, missing))} ({known}){hint}"


def _damage(name: str | None, text: str | None, adds: str | None) -> str | None:
    """Says what is wrong with a row, or returns ``None``."""
    if name is None or not _ID.fullmatch(name):
        return "no whole id (spreadsheets write 6.9E+17)"
    if adds not in ("0", "1"):
        return "image_adds is not 0 or 1"
    if not text or not _LAST_LINK.sub("", text).strip():
        return "no text"
    return None


def _counted(damaged: Counter[str]) -> str:
    return ", ".join(f"{number} ({reason})" for reason, number in damaged.most_common())


def _why(damaged: Counter[str]) -> str:
    return f"; left out were {_counted(damaged)}" if damaged else ""


def _pictures(path: Path, tweets: Mapping[str, object], damaged: Counter[str]) -> tuple[Path, dict[str, Picture]]:
    """Returns the folder that holds pictures of these tweets, and the pictures; counts those that are not there."""
    if not tweets:
        raise DataError(f"no row has an id, a text, and image_adds 0 or 1{_why(damaged)}", path)
    folders = [path.parent / name for name in PICTURE_FOLDERS]
    for folder in folders:
        files = {name: folder / f"T{name}.jpg" for name in tweets}
        files = {name: file for name, file in files.items() if file.is_file()}
        if not files:
            continue
        found: dict[str, Picture] = {}
        for name, file in files.items():
            try:
                found[name] = read_picture(name, file)
            except ImageError:
                damaged["picture cannot be read"] += 1
        if len(files) < len(tweets):
            damaged["no picture"] += len(tweets) - len(files)
        return folder.resolve(), found
    first = next(iter(tweets))
    looked = " or ".join(str(folder / f"T{first}.jpg") for folder in folders)
    raise DataError(f"none of the pictures of its {len(tweets)} tweets is there: looked for {looked}", path)
