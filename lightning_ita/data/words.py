"""Splits raw posts into words, with the offsets of each word in the post.

Words are cut by the pattern of NLTK's ``TweetTokenizer``, which knows URLs, @names, #tags, emoticons and emojis. HTML
entities (``&amp;``) are read as the characters that they stand for, as NLTK does; offsets are of the post as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from lightning_ita.errors import UserError
from lightning_ita.text import quoted

# Longest post, in characters, and the longest time it may take, in seconds: some texts make patterns slow.
MAX_CHARACTERS, MAX_SECONDS = 200_000, 10
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,30});", re.IGNORECASE)
_HANDLE = re.compile(r"[@#]\w")


class Word(NamedTuple):
    """A word of a post.

    Attributes:
        text: The word as it is read.
        start: Where it begins in the post, in characters.
        end: Where it ends.
    """

    text: str
    start: int
    end: int


def cut(post: str, handles: str = "whole") -> list[Word]:
    """Cuts a post into words.

    Args:
        post: The post.
        handles: ``whole`` leaves @names and #tags as they are; ``split`` makes the sign a word of its own, as in the
            corpus Twitter-17.

    Raises:
        UserError: It is too long, has half a character (a lone surrogate), or NLTK is not installed.
    """
    check_text(post)
    text, places = _unescaped(post)
    try:
        found = [match.span() for match in _pattern().finditer(text, timeout=MAX_SECONDS)]
    except TimeoutError:
        raise UserError(f"a post that cannot be cut into words within {MAX_SECONDS} s: {quoted(post)}") from None
    if handles == "split":
        found = [part for span in found for part in _split(text, *span)]
    # Its pattern takes a control character that counts as white space for a word.
    found = [(start, end) for start, end in found if text[start:end].strip()]
    return [Word(text[start:end], places[start], places[end]) for start, end in found]


def join(words: Sequence[str]) -> tuple[str, list[Word]]:
    """Joins words that somebody else has cut to a text, with blanks between them.

    Raises:
        UserError: One is empty, or not a text, or has half a character.
    """
    found, start = [], 0
    for word in words:
        if not isinstance(word, str) or not word:
            raise UserError(f"a post is a text or a sequence of words; {quoted(word)} is not a word")
        found.append(Word(word, start, start + len(word)))
        start += len(word) + 1
    text = " ".join(words)
    check_text(text)
    return text, found


def check_text(text: str) -> None:
    """Checks that a text can be read.

    Raises:
        UserError: It is too long, or has half a character.
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"a post of {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(
            "a post with half a character (a lone surrogate, as programs leave that cut texts by bytes)"
        ) from None


def _split(text: str, start: int, end: int) -> list[tuple[int, int]]:
    return [(start, start + 1), (start + 1, end)] if _HANDLE.match(text, start, end) else [(start, end)]


def _unescaped(post: str) -> tuple[str, Sequence[int]]:
    """Returns a post with its HTML entities read, and where in the post each of its characters and its end are."""
    if "&" not in post:
        return post, range(len(post) + 1)
    parts: list[str] = []
    places: list[int] = []
    last = 0
    for match in _ENTITY.finditer(post):
        read = html.unescape(match[0])
        # &nbsp; and the like stay: a blank would end a word of which it is no end in the post.
        if read == match[0] or len(read) != 1 or not read.isprintable() or read.isspace():
            continue
        parts += [post[last : match.start()], read]
        places += [*range(last, match.start()), match.start()]
        last = match.end()
    parts.append(post[last:])
    places += range(last, len(post) + 1)
    return "".join(parts), places


@cache
def _pattern() -> Any:
    try:
        from nltk.tokenize.casual import TweetTokenizer
    except ImportError as error:
        raise UserError(
            f"cutting raw text into words needs the package nltk, which cannot be imported ({error}); "
            "`pip install lightning-ita[predict]` brings it. Posts given as lists of words need no such package."
        ) from None
    return TweetTokenizer().WORD_RE
