"""Passages that resemble a tweet, out of a file: the offline half of retrieval-augmented recognition."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.options import check_count
from lightning_ita.contexts.tweets import TWEET, Post
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import Lines, parse_json, user_path
from lightning_ita.registry import require
from lightning_ita.text import quoted

MOST_PASSAGES = 100
URL = re.compile(r"https?://\S*")
# What is left out where tweets are compared, tokenised in any way: "https : //t . co/x", "& amp ;", "RT @a _ b :".
LINK = re.compile(
    r"(?:https?\s*:\s*/\s*/|(?<!\w)www\s*\.|pic\s*\.(?=\s*twitter\b))\s*"  # how it starts
    r"[\w-]*(?:\s*\.\s*[\w-]+)*(?:\s*:\d+)?(?:\s*/\s*\S*)?",  # its host, port and path
    re.IGNORECASE,
)
RETWEET = re.compile(r"^\W*rt\W*@(?:[^:]{0,40}:|\s*\w+(?:\s*_\s*\w+)*)")
ENTITY = re.compile(r"&\s*(#?\w+)\s*;")
# How a tweet ends that Twitter has cut, perhaps within a link. With fewer letters before, anything might continue it.
CUT = re.compile(r"(?:\bh(?:t(?:t(?:ps?\W*)?)?)?)?\s*\.\s*\.\s*\.\s*$")
LEAST_START = 30


class Bm25:
    """Engine ``ret=bm25``: the passages of a file that share the rarest words with a tweet (BM25), best first.

    Passages may themselves be tweets. One that is the tweet itself would tell nothing, and one of another split would
    carry words of test into training: neither is returned unless `same` says so, with a title before it or without.
    Tweets are compared without blanks, case, punctuation, links and the start of retweets, and HTML entities are read
    as the characters that they stand for, so that it does not matter how a text was tokenised. A passage that goes on
    where a tweet was cut ("...") is that tweet, and so is one that was cut where the tweet goes on.

    Args:
        model: The file: JSON lines with ``text`` and perhaps ``title`` (its name ends in ``.jsonl``), or a text file
            with a passage per line.
        top_k: Passages per tweet, at most.
        same: Which passages that are tweets of the corpus are returned: ``split``: others of the tweet's own split;
            ``others``: any but the tweet itself; ``all``.
        k1: How soon a word that is repeated in a passage stops to count more.
        b: How much a passage's length counts against it, from 0 to 1.
        batch_size: Tweets read at once.
        tweets: Texts of the tweets by split; the command gives them.

    Raises:
        UserError: The file or the package is missing, the file has no passage, or a value is out of its range.
    """

    kind = "ret"
    name = "bm25"
    reads = TWEET
    at_once = 0

    def __init__(
        self,
        model: str | None = None,
        *,
        top_k: int = 3,
        same: Literal["split", "others", "all"] = "split",
        k1: float = 1.5,
        b: float = 0.75,
        batch_size: int = 64,
        tweets: Mapping[str, Collection[str]] | None = None,
    ):
        if model is None:
            raise UserError("ret=bm25 needs a file of passages: ret=bm25:FILE, JSON lines with a text, or plain lines")
        self._bm25s = require("bm25s", extra="retrieval")
        if not 0 <= b <= 1 or not 0 <= k1 < float("inf"):
            raise UserError(f"b must lie between 0 and 1 and k1 be 0 or more, not {b} and {k1}")
        self.same = same
        self.top_k, self.batch_size = check_count("top_k", top_k, MOST_PASSAGES), check_count("batch_size", batch_size)
        path = user_path(model)
        self.model = path.name  # its content is in the version: it may lie anywhere
        bare, digest = read_passages(path)
        self.passages = list(bare)
        self._index = self._bm25s.BM25(k1=k1, b=b)
        self._index.index(self._words(self.passages), show_progress=False)
        self._splits = _splits_by_tweet(tweets or {})
        ordered, cut = sorted(self._splits), _starts_of(tweets or {})
        self._tweets = {  # passages that are tweets, with their title or without
            number: essences
            for number, passage in enumerate(self.passages)
            if (essences := _tweets_in(passage, ordered, cut) | _tweets_in(bare[passage], ordered, cut))
        }
        self.prepare = _text_of
        self.version = f"bm25s {version('bm25s')}, sha256:{digest[:16]}"
        # How passages are compared with tweets. 1: titles and entities hid that a passage is one; 2: tokenising did.
        self.parameters: Mapping[str, Any] = {"top_k": top_k, "same": same, "k1": k1, "b": b, "compared": 3}
        if self._tweets and same == "split":
            self.parameters |= {"splits": _digest_of(tweets or {})}

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        plain = [URL.sub(" ", text) for text in texts]
        words: list[list[str]] = self._bm25s.tokenize(plain, stopwords="en", return_ids=False, show_progress=False)
        return words

    def preview(self, prepared: str) -> str:
        """Returns the words that are looked for; nothing is sent anywhere."""
        return f"looks for: {' '.join(self._words([prepared])[0])}"

    def notes(self) -> list[str]:
        """Returns how many passages are tweets of the corpus."""
        count = len(self._tweets)
        return [f"{count:,} of {len(self.passages):,} passages are tweets of these splits; ret.same={self.same}"] * (
            count > 0
        )

    def read(self, prepared: Sequence[str]) -> list[Reading]:
        """Finds the passages for each tweet."""
        return [
            Reading(tuple(self.passages[number] for number in self._found(tweet, words)))
            for tweet, words in zip(prepared, self._words(prepared), strict=True)
        ]

    def _found(self, tweet: str, words: Sequence[str]) -> list[int]:
        """Returns the numbers of the best passages that may be returned for a tweet."""
        if not words:
            return []
        scores = self._index.get_scores(list(words))
        shared = np.flatnonzero(scores > 0)
        best = shared[np.argsort(-scores[shared], kind="stable")]
        essence = essence_of(tweet)
        found: list[int] = []
        for number in best.tolist():
            if len(found) == self.top_k:
                break
            if self._allowed(essence, number):
                found.append(number)
        return found

    def _allowed(self, tweet: str, number: int) -> bool:
        if self.same == "all":
            return True
        own = self._splits.get(tweet, frozenset())
        return all(
            passage != tweet and (self.same == "others" or (self._splits[passage] == own and len(own) == 1))
            for passage in self._tweets.get(number, ())
        )


def read_passages(path: Path) -> tuple[dict[str, str], str]:
    """Reads a file of passages; each passage once.

    Returns:
        The passages' bare texts, by the passages with their titles before them, and the file's SHA-256.

    Raises:
        DataError: The file cannot be read, has no passage, or a line of JSON is not of the expected form.
    """
    lines = Lines(path)
    as_json = path.suffix.lower() in (".jsonl", ".ndjson")
    found = _objects(lines, path) if as_json else ((line, line) for _, line in lines)
    passages: dict[str, str] = {}
    for line, text in found:
        passage = " ".join(line.split())
        if passage and (passage not in passages or text != line):  # with its title apart, if it has one anywhere
            passages[passage] = text
    if not passages:
        raise DataError("no passages: write one per line", path)
    return passages, lines.sha256


def _objects(lines: Lines, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise DataError(str(error), path, number) from None
        title = entry.get("title", "") if isinstance(entry, dict) else None
        if not (isinstance(title, str) and isinstance(entry.get("text"), str)):
            raise DataError(f'expected {{"text": passage}}, perhaps with "title", found {quoted(line)}', path, number)
        text = entry["text"]
        yield (f"{title}: {text}" if title.strip() else text), text


def essence_of(text: str) -> str:
    """Returns what is compared of tweets: letters and digits, without case, links and the start of retweets.

    Example:
        >>> essence_of("RT @ NBA : I do n't & amp ; wo n't https : //t . co/xyz")
        'idontwont'
        >>> essence_of("I don't &amp; won't")
        'idontwont'
    """
    return _letters(_plain(text))


def start_of(text: str) -> str:
    """Returns the essence of a tweet that was cut, up to the cut; empty for other tweets, and where it is short."""
    whole, cuts = CUT.subn("", _plain(text).rstrip())
    start = _letters(whole) if cuts else ""
    return start if len(start) >= LEAST_START else ""


def _plain(text: str) -> str:
    for _ in range(2):  # "&amp;gt;" is found too
        text = html.unescape(ENTITY.sub(r"&\1;", text))
    plain = unicodedata.normalize("NFKC", text).lower()
    return RETWEET.sub(" ", LINK.sub(" ", plain))


def _letters(plain: str) -> str:
    return "".join(re.findall(r"\w+", plain))


def _text_of(post: Post) -> str:
    return post.text


def _splits_by_tweet(tweets: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for split, texts in tweets.items():
        for text in texts:
            if essence := essence_of(text):
                found.setdefault(essence, set()).add(split)
    return {essence: frozenset(splits) for essence, splits in found.items()}


def _starts_of(tweets: Mapping[str, Collection[str]]) -> dict[str, dict[str, str]]:
    """Returns the essences of cut tweets by their start, by the first letters of it."""
    found: dict[str, dict[str, str]] = {}
    for text in chain.from_iterable(tweets.values()):
        if start := start_of(text):
            found.setdefault(start[:LEAST_START], {})[start] = essence_of(text)
    return found


def _tweets_in(text: str, tweets: Sequence[str], cut: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Returns the essences of the tweets that a passage is, where the tweet, the passage or neither is cut.

    Args:
        text: The passage.
        tweets: The essences of all tweets, sorted.
        cut: Those of tweets that are cut; see `_starts_of`.
    """
    passage, start = essence_of(text), start_of(text)
    found = {tweet for begun, tweet in cut.get(passage[:LEAST_START], {}).items() if passage.startswith(begun)}
    first = bisect_left(tweets, start or passage)
    for tweet in (tweets[index] for index in range(first, len(tweets))):
        if not (tweet.startswith(start) if start else tweet == passage):
            break
        found.add(tweet)
    return found


def _digest_of(tweets: Mapping[str, Collection[str]]) -> str:
    """Digests which tweets are in one split, whatever the splits' names."""
    splits = sorted("\n".join(sorted(texts)) for texts in tweets.values())
    return "sha256:" + hashlib.sha256("\n\n".join(splits).encode()).hexdigest()[:16]
