"""The tweets that ``lightning-ita align`` has engines read, and what it shows instead of reading with ``--dry-run``."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lightning_ita.commands.cli import say
from lightning_ita.contexts.alignment import find_tasks
from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.preparing import prepare_image
from lightning_ita.contexts.store import ContextStore, StoredEngine
from lightning_ita.contexts.tweets import notes, reads
from lightning_ita.data.conll import read_tweets
from lightning_ita.data.corpus import FILES
from lightning_ita.errors import DataError
from lightning_ita.files import user_path
from lightning_ita.text import counted

# Tweets that --dry-run shows.
SHOWN = 3


@dataclass(frozen=True)
class Tweets:
    """Tweets by image, and by split.

    Attributes:
        texts: Their words, separated by blanks, by the id of their image: of the files named, and of tweets beside them
            that have the same image.
        splits: The same by file: of the files named, and of the other splits in their folders.
        without: How many of the files named have no image, under whose id a text could be kept.
    """

    texts: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, Collection[str]]
    without: int


def read_tweet_files(files: Sequence[str], columns: Sequence[int] | None) -> Tweets:
    """Reads the split files that are named, and those beside them, so that passages of other splits are known.

    Raises:
        DataError: A file is no split of a corpus, or no tweet of the files named has an image.
    """
    named = {path.resolve(): path for path in map(user_path, files)}
    # Of a file that is a link, the other splits lie beside the link or beside the file that it leads to.
    folders = dict.fromkeys(
        folder for place, path in named.items() for folder in (path.absolute().parent, place.parent)
    )
    beside = [folder / name for folder in folders for names in FILES.values() for name in names]
    places = named | {path.resolve(): path for path in beside if path.is_file() and path.resolve() not in named}
    texts: dict[str, list[str]] = {}
    splits: dict[str, list[str]] = {}
    without = 0
    for place, path in places.items():  # those named come first, so that `texts` has all their images
        tweets = read_tweets(path, columns=columns)
        splits[str(place)] = [" ".join(tweet.words) for tweet in tweets]
        for tweet, text in zip(tweets, splits[str(place)], strict=True):
            if tweet.image is not None and (place in named or tweet.image in texts):
                texts.setdefault(tweet.image, []).append(text)
            without += place in named and tweet.image is None
    if not texts:
        raise DataError("no tweet has an image (IMGID:...), under whose id its texts are kept", user_path(files[0]))
    return Tweets({image: tuple(texts[image]) for image in sorted(texts)}, splits, without)


def dry_run(
    engine: Engine,
    images: Mapping[str, Sequence[Path]],
    path: Path,
    retry_errors: bool,
    tweets: Mapping[str, Sequence[str]],
    console: Console,
) -> None:
    """Prints how much an engine would read, and, of engines that read tweets, what it would send for the first."""
    stored = StoredEngine.of(engine)
    known = {}
    if path.exists():
        with ContextStore(path, readonly=True) as store:
            known = store.known(stored)
    tasks, errors = find_tasks(images, known, retry_errors, tweets, reads(engine))
    before = len(images) - len(tasks) - len(errors)
    counts = f"{len(tasks)} to read, {before} were read before, {counted(len(errors), 'error')}"
    say(console, f"{engine.kind} {stored.label}: {counts}")
    for note in notes(engine):
        say(console, f"{engine.kind} {engine.name}: {note}")
    preview = getattr(engine, "preview", None)
    if preview is None:
        return
    for task in tasks[:SHOWN]:
        ready = prepare_image(task, engine.prepare)
        shown = ready.error if ready.input is None else preview(pickle.loads(ready.input))
        for line in [f"--- {task.image}", *str(shown).split("\n")]:
            say(console, line)
