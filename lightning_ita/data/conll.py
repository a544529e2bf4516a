"""Reads tweets from files: a line ``IMGID:<image>``, one line ``word<TAB>tag`` per word, then an empty line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from lightning_ita.data.raw_tags import RawTags
from lightning_ita.errors import DataError, UserError, unknown
from lightning_ita.files import Lines
from lightning_ita.images.ids import image_id
from lightning_ita.tags import LabelConvention, as_bio, repair
from lightning_ita.text import quoted

# Longest word, in characters, and longest tweet, in words. No tweet is so long; files without line ends, without empty
# lines, or with other columns look so.
MAX_WORD, MAX_WORDS = 10_000, 10_000
# Most columns of a line that a message shows.
MAX_COLUMNS_SHOWN = 8
IMAGE = "IMGID:"
# A line that CoNLL-2003 and its successors put between documents.
DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True, slots=True)
class Tweet:
    """A tweet and its mentions.

    Attributes:
        id: Names the tweet within its split: the id of its image; ``123#2``, ``123#3`` ... for further tweets of image
            123; ``#7`` for a tweet without an image that is the seventh of its split.
        words: The words, as tokenised by the corpus.
        tags: One BIO tag per word.
        image: The id of its image (see `lightning_ita.images.ids.image_id`), by which contexts and pictures are found;
            ``None`` where it has none.
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    image: str | None


@dataclass(frozen=True)
class Split:
    """One split of a corpus, as it was read.

    Attributes:
        tweets: Its tweets.
        sha256: Digest of the file.
        types: Its entity types, and the first line that names each.
        notes: What a user should know: what was read differently from how it is written, what is missing or repeated.
    """

    tweets: list[Tweet]
    sha256: str
    types: Mapping[str, int]
    notes: list[str]


def read_tweets(
    path: Path,
    types: Sequence[str] | None = None,
    labels: LabelConvention = "repair",
    columns: Sequence[int] | None = None,
) -> list[Tweet]:
    """Reads the tweets of one split; arguments and errors as for `read_split`."""
    return read_split(path, types, labels, columns).tweets


def read_split(
    path: Path,
    types: Sequence[str] | None = None,
    labels: LabelConvention = "repair",
    columns: Sequence[int] | None = None,
) -> Split:
    """Reads one split of a corpus.

    The line ``IMGID:<image>`` is left out for tweets without an image. BIOES, BILOU and BMES tags are read as BIO.

    Args:
        path: The file.
        types: The corpus's entity types; any if not given.
        labels: ``repair`` turns stray ``I-`` tags into ``B-``; ``strict`` leaves them as they are.
        columns: Which columns hold the word and the tag, counted from 0, where a file has others beside them. If not
            given, a line has two columns: the word, one tab, the tag.

    Raises:
        DataError: A line has other columns or an empty word, a tag is not a tag or has another type than `types`, an
            ``IMGID:`` has no id or no words follow it, there are no tweets, or the file is no readable UTF-8 file.
        UserError: `labels` or `columns` are not what they can be.
    """
    if labels not in get_args(LabelConvention):
        raise unknown("labels", labels, get_args(LabelConvention))
    drafts = _Drafts(path, types, columns)
    lines = Lines(path)
    for number, line in lines:
        drafts.read(number, line.rstrip("\r"))
    drafts.finish()
    if not drafts.tweets:
        raise DataError(f"no tweets in this split; expected lines {IMAGE}<image>, then word<TAB>tag", path)
    bio = [as_bio(tweet.tags) for tweet in drafts.tweets]
    repaired = [repair(tags) for tags in bio]
    tweets = [
        Tweet(id_, tuple(tweet.words), tuple(tags), tweet.image)
        for id_, tweet, tags in zip(
            _ids(drafts.tweets), drafts.tweets, repaired if labels == "repair" else bio, strict=True
        )
    ]
    notes = [*drafts.notes(), *_inside_first(bio, repaired, labels), *_image_notes(drafts.tweets)]
    return Split(tweets, lines.sha256, drafts.tags.types, notes)


def image_of(line: str) -> str | None:
    """Returns the image id that a line ``IMGID:<image>`` names, empty where it names none; ``None`` for other lines.

    A line with something after a tab is a word, which may be ``IMGID:``, and its tag.
    """
    return image_id(line.removeprefix(IMAGE)) if line.startswith(IMAGE) and "\t" not in line.rstrip() else None


@dataclass(slots=True)
class _Draft:
    """A tweet that is being read: the line it starts at, its image, its words and their tags."""

    line: int
    image: str | None
    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


class _Drafts:
    """Groups the lines of a file into tweets."""

    def __init__(self, path: Path, types: Sequence[str] | None, columns: Sequence[int] | None):
        self.path = path
        self.columns = _Columns(path, columns)
        self.tags = RawTags(path, types)
        self.tweets: list[_Draft] = []
        self.current: _Draft | None = None
        self.documents = 0

    def read(self, number: int, line: str) -> None:
        image = image_of(line)
        if image is not None:
            self.finish()
            if not image:
                raise DataError(f"{IMAGE} without an id; a tweet without an image has no such line", self.path, number)
            self.current = _Draft(number, image)
        elif not line.strip(" \t"):
            self.finish()
        else:
            word, tag = self.columns.read(number, line)
            if word == DOCUMENT:
                self.documents += 1
                self.finish()
                return
            if self.current is None:
                self.current = _Draft(number, None)
            if len(self.current.words) == MAX_WORDS:
                reason = f"a tweet of more than {MAX_WORDS} words; tweets are separated by empty lines"
                raise DataError(reason, self.path, self.current.line)
            self.current.words.append(sys.intern(word))  # most words are frequent ones
            self.current.tags.append(self.tags.read(number, tag))

    def finish(self) -> None:
        """Ends the tweet that is being read, if one is."""
        draft, self.current = self.current, None
        if draft is None:
            return
        if not draft.words:
            raise DataError(f"the tweet of image {quoted(draft.image)} has no words", self.path, draft.line)
        self.tweets.append(draft)

    def notes(self) -> Iterator[str]:
        """Yields what a user should know of the lines read."""
        yield from self.tags.notes()
        if self.documents:
            yield f"{_counted(self.documents, 'line', 'lines')} {DOCUMENT} left out"


class _Columns:
    """Finds the word and the tag among the columns of a line."""

    def __init__(self, path: Path, chosen: Sequence[int] | None):
        given = chosen if isinstance(chosen, Sequence) else ()
        numbers = {each for each in given if type(each) is int and each >= 0}
        if chosen is not None and not len(given) == len(numbers) == 2:
            raise UserError(f"columns {quoted(chosen)}: name two different ones, counted from 0: word,tag as in 0,1")
        self.path = path
        self.chosen = chosen
        self.word, self.tag = chosen or (0, 1)
        self.width = 2 if chosen is None else 0

    def read(self, number: int, line: str) -> tuple[str, str]:
        cells = line.split("\t")
        if not self.width and len(cells) > max(self.word, self.tag):
            self.width = len(cells)
        if len(cells) != self.width:
            raise self._wrong(number, line, cells)
        word, tag = cells[self.word], cells[self.tag]
        if not word:
            raise DataError(f"no word before the tag: {quoted(line)}", self.path, number)
        if len(word) > MAX_WORD:
            raise DataError(f"a word of {len(word)} characters; at most {MAX_WORD} are read", self.path, number)
        return word, tag

    def _wrong(self, number: int, line: str, cells: list[str]) -> DataError:
        if "\r" in line:
            remedy = "lines end with carriage returns alone; convert the file, for example with `tr '\\r' '\\n'`"
        elif len(cells) == 1 and len(line.split()) > 1:
            remedy = "columns are separated by tabs, not by blanks; `sed -E 's/ +/\\t/g'` converts a file"
        elif len(cells) == 1:
            remedy = "a word needs a tag, O outside of mentions"
        elif self.chosen is None:
            remedy = "choose the columns of word and tag with --columns, for example --columns 0,2 (counted from 0)"
        elif not self.width:
            remedy = f"--columns {self.word},{self.tag} needs {max(self.word, self.tag) + 1} or more (counted from 0)"
        else:
            remedy = f"the lines before have {self.width}"
        if len(cells) == 1:
            found = f"expected word<TAB>tag, found {quoted(line)}"
        else:
            shown = ", ".join(quoted(cell) for cell in cells[:MAX_COLUMNS_SHOWN])
            found = f"{len(cells)} columns: {shown}{', …' if len(cells) > MAX_COLUMNS_SHOWN else ''}"
        return DataError(f"{found}; {remedy}", self.path, number)


def _ids(drafts: Sequence[_Draft]) -> Iterator[str]:
    """Yields an id for each tweet; see `Tweet`."""
    images = {draft.image for draft in drafts}
    last: dict[str | None, int] = {}
    for position, draft in enumerate(drafts, start=1):
        if draft.image is not None and draft.image not in last:
            last[draft.image] = 1
            yield draft.image
            continue
        stem = draft.image or ""
        number = last.get(draft.image, 0) + 1
        if draft.image is None:
            number = max(number, position)
        while f"{stem}#{number}" in images:  # "123#2" may also be the name of an image
            number += 1
        last[draft.image] = number
        yield f"{stem}#{number}"


def _inside_first(bio: Sequence[list[str]], repaired: Sequence[list[str]], labels: LabelConvention) -> Iterator[str]:
    """Yields a note where most mentions start with ``I-``: that is IOB1, not a few mistakes."""
    strays = sum(old != new for pair in zip(bio, repaired, strict=True) for old, new in zip(*pair, strict=True))
    mentions = sum(tag[0] == "B" for tags in repaired for tag in tags)
    if 2 * strays > mentions:
        what = "read as their first word's B-" if labels == "repair" else "which strict labels do not count as mentions"
        yield f"{strays} of {mentions} mentions start with I- (IOB1), {what}"


def _image_notes(drafts: Sequence[_Draft]) -> Iterator[str]:
    """Yields notes on tweets without an image, further tweets of one image, and tweets repeated word for word."""
    without = [draft.line for draft in drafts if draft.image is None]
    if without and len(without) < len(drafts):
        yield f"{_counted(len(without), 'tweet has', 'tweets have')} no image (first in line {without[0]})"
    elif without:
        yield "no tweet has an image"
    seen: set[str] = set()
    words: set[tuple[str | None, tuple[str, ...]]] = set()
    further, repeated = [], []
    for draft in drafts:
        if draft.image in seen:
            further.append(draft.line)
        if (key := (draft.image, tuple(draft.words))) in words:
            repeated.append(draft.line)
        words.add(key)
        if draft.image is not None:
            seen.add(draft.image)
    if further:
        yield f"{_counted(len(further), 'tweet shares its', 'tweets share their')} image with one before"
    if repeated:
        tweets = _counted(len(repeated), "tweet is", "tweets are")
        yield f"{tweets} the same as one before, word for word (first in line {repeated[0]})"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
