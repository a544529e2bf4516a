"""Tweets on disk: ``IMGID:<image>``, then ``word<TAB>tag`` a line, then an empty line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_ita.errors import DataError, unknown
from lightning_ita.files import read_text
from lightning_ita.tags import LabelConvention, bio_tags, repair


@dataclass(frozen=True, slots=True)
class Tweet:
    """A tweet and its mentions.

    Attributes:
        id: The id of the tweet's image, which is how corpora name their tweets.
        words: The words, as tokenised by the corpus.
        tags: One BIO tag a word.
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_tweets(path: Path, types: Sequence[str], labels: LabelConvention = "repair") -> list[Tweet]:
    """Reads one split of a corpus.

    Args:
        path: The file.
        types: The corpus's entity types.
        labels: ``repair`` turns stray ``I-`` tags into ``B-``; ``strict`` leaves them as they stand.

    Raises:
        DataError: A line has no tab or an empty word, a tag is unknown, words stand before the first ``IMGID:``,
            an id stands twice, a tweet has no words, the file is not UTF-8, or it has no tweets.
    """
    known = bio_tags(types)
    tweets: list[Tweet] = []
    first_line: dict[str, int] = {}
    current: str | None = None
    words: list[str] = []
    tags: list[str] = []

    def finish(line: int) -> None:
        nonlocal current, words, tags
        if current is None:
            return
        if not words:
            raise DataError(f"tweet {current!r} has no words", path, line)
        tweets.append(Tweet(current, tuple(words), tuple(repair(tags) if labels == "repair" else tags)))
        current, words, tags = None, [], []

    number = 0
    # Not splitlines(): words hold U+0085 and U+2028, which it takes for line ends.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.rstrip("\r")
        if line.startswith("IMGID:") and "\t" not in line:
            finish(number)
            current = line.removeprefix("IMGID:").strip()
            if not current:
                raise DataError("IMGID: without an id", path, number)
            if current in first_line:
                raise DataError(f"id {current!r} stands twice, first on line {first_line[current]}", path, number)
            first_line[current] = number
        elif not line:
            finish(number)
        else:
            word, tab, tag = line.rpartition("\t")
            if not tab or not word:
                raise DataError(f"expected word<TAB>tag, found {line!r}", path, number)
            if tag not in known:
                raise DataError(str(unknown("tag", tag, known)), path, number)
            if current is None:
                raise DataError("a tweet without IMGID: every tweet starts with a line IMGID:<image>", path, number)
            words.append(word)
            tags.append(tag)
    finish(number)
    if not tweets:
        raise DataError("no tweets in this split; expected lines IMGID:<image>, then word<TAB>tag", path)
    return tweets
