"""A corpus as it lies on disk: three splits of tweets, files of contexts, and what is to be known about them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from lightning_ita.contexts.jsonl import Contexts, read_contexts
from lightning_ita.contexts.store import ContextStore
from lightning_ita.data.conll import Tweet, read_tweets
from lightning_ita.data.releases import release_of, split_warnings
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import sha256_of
from lightning_ita.tags import LabelConvention

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Corpus:
    """Tweets, what was said of their images, and where both come from.

    Attributes:
        name: The data set's name.
        types: Its entity types.
        splits: Tweets by split.
        contexts: Contexts by kind.
        digests: SHA-256 by split and by kind of context: the identity of the data.
        warnings: What a reader of results on it should know.
    """

    name: str
    types: tuple[str, ...]
    splits: Mapping[str, Sequence[Tweet]]
    contexts: Mapping[str, Contexts]
    digests: Mapping[str, str]
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def release(self) -> str:
        """The known release the splits belong to, or ``unknown``."""
        return release_of(self.name, {split: self.digests[split] for split in SPLITS})

    def texts(self, tweet_id: str) -> dict[str, tuple[str, ...]]:
        """Returns the contexts of one tweet's image by kind, leaving out kinds that say nothing of it."""
        found = ((kind, contexts.texts.get(tweet_id, ())) for kind, contexts in self.contexts.items())
        return {kind: texts for kind, texts in found if texts}


def find_folder(name: str, data_dir: str | os.PathLike[str] | None, how_to_get: str) -> Path:
    """Returns the folder that holds a data set's ``train.txt``, ``valid.txt`` and ``test.txt``.

    Args:
        name: The data set's name.
        data_dir: The folder itself, or the folder above it.
        how_to_get: Where a user finds the data, for the error.

    Raises:
        UserError: No folder was given, or the files are not there.
    """
    layout = f"{{{','.join(f'{split}.txt' for split in SPLITS)}}}"
    if data_dir is None:
        raise UserError(f"dataset {name!r} needs --data-dir DIR, where DIR/{name}/{layout} lie. {how_to_get}")
    base = Path(data_dir).expanduser()
    folders = [base / name, base]
    for folder in folders:
        if (folder / "train.txt").is_file():
            missing = [f"{split}.txt" for split in SPLITS if not (folder / f"{split}.txt").is_file()]
            if missing:
                raise UserError(f"{folder} has train.txt but not {' and '.join(missing)}. {how_to_get}")
            return folder
    looked = " or ".join(str(folder / layout) for folder in folders)
    exists = "" if base.is_dir() else f" ({base} does not exist)"
    raise UserError(f"dataset {name!r} not found{exists}: looked for {looked}. {how_to_get}")


def find_contexts(name: str, kind: str, folder: Path, given: Mapping[str, str]) -> Path:
    """Returns the file of one kind of context.

    Args:
        name: The data set's name.
        kind: ``cap``, ``tag`` or ``ocr``.
        folder: The folder of the data set.
        given: Files by kind as the user named them; ``{dataset}`` in a path stands for the data set's name.

    Raises:
        UserError: The file does not exist, none was found, or several were.
    """
    if kind in given:
        path = Path(given[kind].replace("{dataset}", name)).expanduser()
        if not path.is_file():
            raise UserError(f"--context-files {kind}={path}: no such file")
        return path
    places = [folder / "contexts", folder.parent / "contexts", folder]
    found = [path for place in places for path in sorted(place.glob(f"{name}.{kind}.*jsonl"))]
    if len(found) == 1:
        return found[0]
    remedy = f"name it with --context-files {kind}=FILE"
    if found:
        raise UserError(f"several files of {kind} contexts for {name}: {', '.join(map(str, found))}; {remedy}")
    looked = " or ".join(str(place / f"{name}.{kind}.*.jsonl") for place in places)
    raise UserError(
        f"no {kind} contexts for {name}: looked for {looked}; {remedy}. "
        f'A file has one {{"image": id, "texts": [text, ...]}} a line.'
    )


def read_corpus(
    name: str,
    folder: Path,
    types: Sequence[str],
    kinds: Iterable[str] = (),
    context_files: Mapping[str, str] | None = None,
    labels: LabelConvention = "repair",
    context_store: str | None = None,
    context_engines: Mapping[str, str] | None = None,
) -> Corpus:
    """Reads a data set from disk and checks it.

    Args:
        name: The data set's name.
        folder: Where ``train.txt``, ``valid.txt`` and ``test.txt`` lie.
        types: Its entity types.
        kinds: Kinds of context wanted.
        context_files: Files by kind, where they are not found by their name.
        labels: What becomes of stray ``I-`` tags.
        context_store: A store of contexts, for kinds that `context_files` does not name.
        context_engines: Whose contexts to take from the store, by kind.

    Raises:
        UserError: A file is missing or malformed, or a file of contexts knows none of the images.
    """
    paths = {split: folder / f"{split}.txt" for split in SPLITS}
    splits = {split: read_tweets(path, types, labels) for split, path in paths.items()}
    digests = {split: sha256_of(path) for split, path in paths.items()}
    contexts = {}
    for kind in kinds:
        if context_store is not None and kind not in (context_files or {}):
            contexts[kind] = stored_contexts(name, kind, context_store, splits, context_engines or {})
        else:
            path = find_contexts(name, kind, folder, context_files or {})
            contexts[kind] = read_contexts(path, kind)
            check_ids(contexts[kind], splits, path)
        digests[kind] = contexts[kind].sha256
    return Corpus(
        name, tuple(types), splits, contexts, digests, tuple(corpus_warnings(name, splits, contexts, digests))
    )


def stored_contexts(
    name: str,
    kind: str,
    context_store: str,
    splits: Mapping[str, Sequence[Tweet]],
    context_engines: Mapping[str, str],
) -> Contexts:
    """Reads what an engine said of a corpus's images from a store.

    Raises:
        UserError: The store cannot be read, has no or several engines of the kind, or nothing on these images.
    """
    path = Path(context_store).expanduser()
    ids = {tweet.id for tweets in splits.values() for tweet in tweets}
    with ContextStore(path, readonly=True) as store:
        contexts = store.contexts(kind, ids, context_engines.get(kind))
    if not contexts.texts:
        raise DataError(f"{contexts.source} has read none of the images of {name}: is it another corpus's store?", path)
    return contexts


def check_ids(contexts: Contexts, splits: Mapping[str, Sequence[Tweet]], path: Path) -> None:
    """Checks that a file of contexts is about these tweets.

    Raises:
        DataError: It knows none of the images.
    """
    ids = {tweet.id for tweets in splits.values() for tweet in tweets}
    if not ids & contexts.texts.keys():
        example = next(iter(contexts.texts), None)
        raise DataError(
            f"none of its {len(contexts.texts)} image ids is that of a tweet: it has {example!r}, "
            f"tweets have {next(iter(ids))!r}. Is it the file of another data set?",
            path,
        )


def corpus_warnings(
    name: str, splits: Mapping[str, Sequence[Tweet]], contexts: Mapping[str, Contexts], digests: Mapping[str, str]
) -> list[str]:
    """Returns what a reader of results on these splits should know."""
    warnings = split_warnings(name, {split: digests[split] for split in SPLITS})
    for left, right in combinations(SPLITS, 2):
        repeated = {tweet.words for tweet in splits[left]} & {tweet.words for tweet in splits[right]}
        if repeated and digests[left] != digests[right]:
            tweets = f"{len(repeated)} tweets stand" if len(repeated) > 1 else "1 tweet stands"
            warnings.append(f"{name}: {tweets} in both {left} and {right}")
    ids = {tweet.id for tweets in splits.values() for tweet in tweets}
    for kind, source in contexts.items():
        for number, what in ((len(source.failed), "failed on"), (source.unread(ids), "has not read")):
            if number:
                images = "1 image: its tweet has" if number == 1 else f"{number} images: their tweets have"
                warnings.append(f"{name}: {source.source} {what} {images} no {kind} context")
        repeated_text = source.repeated()
        if repeated_text is not None:
            text, count = repeated_text
            warnings.append(f"{name}: {count} images share the {kind} context {text!r}; probably broken images")
    return warnings
