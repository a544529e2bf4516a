"""Reads a corpus from disk: three splits of tweets, the contexts of their images, and warnings about both."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

from lightning_ita.contexts.jsonl import Contexts, read_contexts
from lightning_ita.data.conll import Split, Tweet, read_split
from lightning_ita.data.raw_tags import look_alikes
from lightning_ita.data.releases import release_of, split_warnings
from lightning_ita.data.source import Source
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import user_path
from lightning_ita.invocation import spelled
from lightning_ita.tags import LabelConvention
from lightning_ita.text import quoted

SPLITS = ("train", "valid", "test")
# The names under which corpora have a split's file.
FILES = {"train": ("train.txt",), "valid": ("valid.txt", "dev.txt"), "test": ("test.txt",)}

# The share of a split's tweets above which it is told that they lack a kind of context.
MANY = 0.1


@dataclass(frozen=True)
class Corpus:
    """Tweets, the contexts of their images, and where both come from.

    Attributes:
        name: The data set's name.
        types: Its entity types.
        splits: Tweets by split.
        contexts: Contexts by kind.
        digests: SHA-256 by split and by kind of context: the identity of the data.
        warnings: What a reader of results on it should know.
        pictures: `lightning_ita.images.pictures.Picture` by image id, where a system looks at them.
        boxes: Places of objects in pixels by image id, where a detector has left some; ``None`` where none has.
    """

    name: str
    types: tuple[str, ...]
    splits: Mapping[str, Sequence[Tweet]]
    contexts: Mapping[str, Contexts]
    digests: Mapping[str, str]
    warnings: tuple[str, ...] = field(default=(), compare=False)
    pictures: Mapping[str, Any] = field(default_factory=dict, compare=False)
    boxes: Mapping[str, Sequence[tuple[float, float, float, float]]] | None = field(default=None, compare=False)

    @property
    def release(self) -> str:
        """The known release the splits belong to, or ``unknown``."""
        return release_of(self.name, {split: self.digests[split] for split in SPLITS})

    def texts(self, tweet: Tweet) -> dict[str, tuple[str, ...]]:
        """Returns the contexts of a tweet's image by kind, leaving out kinds that say nothing of it."""
        if tweet.image is None:
            return {}
        found = ((kind, contexts.texts.get(tweet.image, ())) for kind, contexts in self.contexts.items())
        return {kind: texts for kind, texts in found if texts}


def find_folder(name: str, data_dir: str | os.PathLike[str] | None, how_to_get: str) -> Path:
    """Returns the folder that holds a data set's ``train.txt``, ``valid.txt`` (or ``dev.txt``) and ``test.txt``.

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
    base = user_path(data_dir)
    folders = [base / name, base]
    for folder in folders:
        if _exists(folder / "train.txt"):
            missing = [names[0] for names in FILES.values() if not any(_exists(folder / each) for each in names)]
            if missing:
                raise UserError(f"{folder} has train.txt but not {' and '.join(missing)}. {how_to_get}")
            return folder
    looked = " or ".join(str(folder / layout) for folder in folders)
    exists = "" if _exists(base) else f" ({base} does not exist)"
    raise UserError(f"dataset {name!r} not found{exists}: looked for {looked}. {how_to_get}")


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)  # a link to nothing is an error of its own when it is read
    except ValueError:  # a null character in the path
        return False


def split_files(folder: Path) -> dict[str, Path]:
    """Returns the file of each split in a data set's folder.

    Raises:
        UserError: A split has two files: ``valid.txt`` and ``dev.txt``.
    """
    files = {}
    for split, names in FILES.items():
        there = [folder / name for name in names if _exists(folder / name)] or [folder / names[0]]
        if len(there) > 1:
            raise UserError(f"{folder} has {' and '.join(names)}: which one is the {split} split? Remove the other.")
        files[split] = there[0]
    return files


def find_contexts(name: str, kind: str, folder: Path, given: Mapping[str, str]) -> Path:
    """Returns the file of one kind of context.

    Args:
        name: The data set's name.
        kind: ``cap``, ``tag``, ``ocr`` or any other.
        folder: The folder of the data set.
        given: Files by kind as the user named them; ``{dataset}`` in a path stands for the data set's name.

    Raises:
        UserError: The file does not exist, none was found, or several were.
    """
    if kind in given:
        path = user_path(given[kind].replace("{dataset}", name))
        if not _exists(path):
            raise UserError(f"--context-files {kind}={path}: no such file")
        return path
    found = _named(name, kind, folder)
    if len(found) == 1:
        return found[0]
    remedy = f"name it with --context-files {kind}=FILE"
    if found:
        raise UserError(f"several files of {kind} contexts for {name}: {', '.join(map(str, found))}; {remedy}")
    looked = " or ".join(str(place / f"{name}.{kind}.*.jsonl") for place in _places(folder))
    there = {path.name[len(name) + 1 :].split(".")[0]: path for path in _named(name, "*", folder)}
    near = get_close_matches(kind, there, n=1)
    hint = f" Did you mean {near[0]}, of {there[near[0]]}?" if near else ""
    raise UserError(
        f"no {kind} contexts for {name}: looked for {looked}; {remedy}, or a store of `align` "
        f"with --context-store.{hint} "
        f'A file has one {{"image": id, "texts": [text, ...]}} per line.'
    )


def _places(folder: Path) -> list[Path]:
    return [folder / "contexts", folder.parent / "contexts", folder]


def _named(name: str, kind: str, folder: Path) -> list[Path]:
    """Returns the files of contexts of a data set and kind (or ``*``) that are found by their names."""
    return [path for place in _places(folder) for path in sorted(place.glob(f"{glob.escape(name)}.{kind}.*jsonl"))]


def read_corpus(
    name: str,
    folder: Path,
    types: Sequence[str] | None,
    source: Source,
    kinds: Iterable[str] = (),
    labels: LabelConvention = "repair",
    columns: Sequence[int] | None = None,
) -> Corpus:
    """Reads a data set from disk and checks it.

    Args:
        name: The data set's name.
        folder: Where ``train.txt``, ``valid.txt`` (or ``dev.txt``) and ``test.txt`` lie.
        types: Its entity types; if not given, those of ``train.txt``, sorted.
        source: Where its contexts lie.
        kinds: Kinds of context wanted.
        labels: How stray ``I-`` tags are read: ``repair`` or ``strict``.
        columns: Columns of the word and the tag, where the files have others; see `read_split`.

    Raises:
        UserError: A file is missing or malformed, a type is found in valid or test alone, or a file of contexts knows
            none of the images.
    """
    files = split_files(folder)
    read = {split: read_split(path, types, labels, columns) for split, path in files.items()}
    types = types_of_train(read, files) if types is None else types
    splits = {split: found.tweets for split, found in read.items()}
    digests = {split: found.sha256 for split, found in read.items()}
    contexts = {kind: contexts_of(name, kind, folder, source, splits) for kind in kinds}
    digests |= {kind: found.sha256 for kind, found in contexts.items()}
    warnings = [*reading_warnings(name, read), *corpus_warnings(name, splits, contexts, digests)]
    return Corpus(name, tuple(types), splits, contexts, digests, tuple(warnings))


def types_of_train(read: Mapping[str, Split], files: Mapping[str, Path]) -> tuple[str, ...]:
    """Returns the entity types that the tags of ``train.txt`` name, sorted.

    Raises:
        DataError: It names none, or the tags of another split name others.
    """
    types = read["train"].types
    if not types:
        raise DataError("every word is tagged O: there is no mention to learn from", files["train"])
    for split in SPLITS[1:]:
        further = read[split].types.keys() - types.keys()
        if further:
            everything = sorted(set().union(*(each.types for each in read.values())))
            raise DataError(
                f"{'types' if len(further) > 1 else 'the type'} {', '.join(map(quoted, sorted(further)))} "
                f"that {files['train'].name} does not have ({', '.join(map(quoted, sorted(types)))}), and that a model "
                f"cannot learn; if that is meant, name all types: --types {','.join(everything)}",
                files[split],
                min(read[split].types[type_] for type_ in further),
            )
    return tuple(sorted(types))


def image_ids(splits: Mapping[str, Sequence[Tweet]]) -> dict[str, None]:
    """Returns the ids of the images of all tweets, each once, in the order of the tweets."""
    return {tweet.image: None for tweet in chain.from_iterable(splits.values()) if tweet.image is not None}


def texts_by_image(splits: Mapping[str, Sequence[Tweet]]) -> dict[str, list[str]]:
    """Returns the words of the tweets with an image, separated by blanks, by the id of their image."""
    texts: dict[str, list[str]] = {}
    for tweet in chain.from_iterable(splits.values()):
        if tweet.image is not None:
            texts.setdefault(tweet.image, []).append(" ".join(tweet.words))
    return texts


def contexts_of(name: str, kind: str, folder: Path, source: Source, splits: Mapping[str, Sequence[Tweet]]) -> Contexts:
    """Reads the contexts of a corpus's images: from the file that the source names, its store, or a file found.

    A kind that no engine of the store has read is looked for in files.

    Args:
        name: The data set's name.
        kind: The kind of context.
        folder: The folder of the data set.
        source: Where contexts lie.
        splits: The tweets.

    Raises:
        UserError: The file or the store is missing or cannot be read, has nothing on these images, or no tweet has one.
    """
    ids = image_ids(splits)
    if not ids:
        raise UserError(f"no tweet of {name} has an image, so that there are no {kind} contexts; leave them out")
    if source.context_store is not None and kind not in source.context_files:
        from lightning_ita.contexts.store import ContextStore  # imports Pillow, which files of contexts do not need

        path = user_path(source.context_store)
        with ContextStore(path, readonly=True) as store:
            if kind not in {engine.kind for engine in store.engines()} and _named(name, kind, folder):
                return contexts_of(name, kind, folder, replace(source, context_store=None), splits)
            contexts = store.contexts(kind, ids.keys(), source.context_engines.get(kind), texts_by_image(splits))
        if not contexts.texts and contexts.changed:
            raise DataError(
                f"{contexts.source} has read tweets of other words for all {len(contexts.changed)} images of {name} "
                f"that it knows: is it another corpus's store? `{spelled('align', '--kinds', kind)}` reads these",
                path,
            )
        if not contexts.texts:
            hint = f"has read none of the images of {name}: is it another corpus's store?"
            raise DataError(f"{contexts.source} {hint}", path)
        return contexts
    path = find_contexts(name, kind, folder, source.context_files)
    contexts = read_contexts(path, kind)
    if not contexts.texts:
        raise DataError(f"is empty: it has no {kind} context", path)
    if not ids.keys() & contexts.texts.keys():
        example = next(iter(contexts.texts), None)
        raise DataError(
            f"none of its {len(contexts.texts)} image ids is that of a tweet: it has {quoted(example)}, "
            f"tweets have {quoted(next(iter(ids)))}. Is it the file of another data set?",
            path,
        )
    return contexts


def reading_warnings(name: str, read: Mapping[str, Split]) -> Iterator[str]:
    """Yields what a user should know of how the splits were read, and of their entity types."""
    for note in dict.fromkeys(chain.from_iterable(split.notes for split in read.values())):
        yield f"{name}: {', '.join(split for split, found in read.items() if note in found.notes)}: {note}"
    types = dict.fromkeys(chain.from_iterable(split.types for split in read.values()))
    for one, other in look_alikes(list(types)):
        yield f"{name}: the types {quoted(one)} and {quoted(other)} differ only in how they are written; are they one?"
    unlearned = [type_ for type_ in types if type_ not in read["train"].types]
    if unlearned:
        yield f"{name}: train has no mention of {', '.join(map(quoted, unlearned))}, which a model cannot learn"
    for split, effect in (("valid", "the best epoch cannot be told, and is the first"), ("test", "all scores are 0")):
        if not any(tag[0] == "B" for tweet in read[split].tweets for tag in tweet.tags):
            yield f"{name}: {split} has no mention: {effect}"


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
    ids = image_ids(splits).keys()
    for split, (kind, source) in product(SPLITS, contexts.items()):
        seen = {tweet.image for tweet in splits[split] if tweet.image is not None}
        if seen and not any(source.texts.get(image) for image in seen):
            warnings.append(f"{name}: {source.source} has no {kind} context of any image of {split}")
    for kind, source in contexts.items():
        warnings += [f"{name}: {source.source} {note}" for note in _gaps(splits, kind, source)]
        told = (len(source.failed), "failed on"), (source.unread(ids), "has not read")
        for number, what in (*told, (len(source.changed), "has read tweets of other words for")):
            if number:
                images = "1 image: its tweet has" if number == 1 else f"{number} images: their tweets have"
                warnings.append(f"{name}: {source.source} {what} {images} no {kind} context")
        repeated_text = source.repeated()
        if repeated_text is not None:
            text, count = repeated_text
            why = "; probably broken images" if kind == "cap" else ""
            warnings.append(f"{name}: {count} images share the {kind} context {quoted(text)}{why}")
    return warnings


def _gaps(splits: Mapping[str, Sequence[Tweet]], kind: str, source: Contexts) -> Iterator[str]:
    """Yields a note where many tweets with an image lack an entry in a file, and one where most entries are empty.

    A split without any context is told elsewhere, and so is what the engine of a store has not read.
    """
    lacking = []
    for split, tweets in splits.items():
        images = [tweet.image for tweet in tweets if tweet.image is not None]
        without = sum(image not in source.texts for image in images)
        if not source.provenance and MANY * len(images) < without and any(source.texts.get(each) for each in images):
            lacking.append(f"{without:,} of {len(images):,} in {split}")
    if lacking:
        yield f"has no entry for the images of many tweets, which have no {kind} context: {', '.join(lacking)}"
    entries = [source.texts[image] for image in image_ids(splits) if image in source.texts]
    empty = entries.count(())
    if kind != "ocr" and len(entries) / 2 <= empty < len(entries):
        yield f"has {kind} entries without a text for {empty:,} of {len(entries):,} images"
