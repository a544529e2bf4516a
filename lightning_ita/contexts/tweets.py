"""Engines that read a tweet, alone or together with its image; see `lightning_ita.contexts.engine.Engine` for the rest.

Texts are kept by image id, like those of other engines. What an entry was made from is told by a digest that covers the
tweet's text: if the text changes, the tweet is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lightning_ita.contexts.engine import Engine

IMAGE, TWEET, BOTH = frozenset({"image"}), frozenset({"tweet"}), frozenset({"image", "tweet"})


@dataclass(frozen=True)
class Post:
    """A tweet, as an engine reads it.

    Attributes:
        image: The id of its image.
        text: Its words, separated by blanks.
    """

    image: str
    text: str

    @property
    def sha256(self) -> str:
        """Digest of its text."""
        return hashlib.sha256(self.text.encode(errors="surrogatepass")).hexdigest()


class TweetEngine(Engine, Protocol):
    """An engine that reads the tweet, and, if it says so, the image too.

    Attributes:
        reads: `TWEET` or `BOTH`. Engines without this attribute read the image.
        at_once: 0, or, for engines that wait for a server, how many tweets are read at a time: each by its own call of
            `read`, in a thread, and stored as soon as it is read.
        prepare: Called with the `Post`, or with the upright RGB image and the `Post`.
    """

    reads: frozenset[str]
    at_once: int
    prepare: Callable[..., Any]

    def check_tweets(self, images: Collection[str]) -> None:
        """Told the images of all tweets before any is read; raises a `UserError` where they do not fit the options."""
        ...

    def close(self) -> None:
        """Ends what `read` waits for in other threads, since nobody waits for them any more."""
        ...

    def preview(self, prepared: Any) -> str:
        """Returns what would be sent for a tweet, for people to read."""
        ...

    def notes(self) -> list[str]:
        """Returns what a user should know of the calls of `read` so far: what they cost."""
        ...


def reads(engine: Engine) -> frozenset[str]:
    """Returns what an engine reads: `IMAGE`, `TWEET` or `BOTH`."""
    read: frozenset[str] = getattr(engine, "reads", IMAGE)
    return read


def at_once(engine: Engine) -> int:
    """Returns how many tweets an engine reads at a time in threads; 0 if it reads batches."""
    threads: int = getattr(engine, "at_once", 0)
    return threads


def notes(engine: Engine) -> list[str]:
    """Returns what a user should know of what an engine has read so far."""
    told: list[str] = getattr(engine, "notes", list)()
    return told


def check_tweets(engine: Engine, images: Collection[str]) -> None:
    """Tells an engine the images of all tweets before any is read.

    Raises:
        UserError: They do not fit the engine's options.
    """
    getattr(engine, "check_tweets", lambda images: None)(images)


def close(engine: Engine) -> None:
    """Ends what an engine waits for in other threads."""
    getattr(engine, "close", lambda: None)()


def posts_of(texts: Mapping[str, Sequence[str]], image: str) -> tuple[Post, ...]:
    """Returns the tweets with an image that differ in their words."""
    return tuple(Post(image, text) for text in dict.fromkeys(texts.get(image, ())))
