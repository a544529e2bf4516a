"""Finds the contexts of posts' images in a store of contexts, where engines first read the images that are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_ita.contexts.alignment import align, no_one_file
from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.jsonl import Contexts
from lightning_ita.contexts.store import ContextStore, StoredEngine
from lightning_ita.data.pictures import boxes_of
from lightning_ita.data.words import cut
from lightning_ita.errors import UserError
from lightning_ita.images.crops import Box
from lightning_ita.images.ids import IMAGE_SUFFIXES, image_id
from lightning_ita.posts.records import Record


def files_of(folder: Path, image: str) -> list[Path]:
    """Returns the file that an input names, or those of this name with an ending of a picture; one is expected."""
    path = folder / image
    try:
        if path.is_file():
            return [path]
        for endings in (sorted(IMAGE_SUFFIXES), sorted(map(str.upper, IMAGE_SUFFIXES))):
            found = [each for ending in endings if (each := path.with_name(path.name + ending)).is_file()]
            if found:
                return found
    except (OSError, ValueError):  # a name that is too long, empty, or of characters that no name has
        pass
    return []


def _id_of(image: str) -> str:
    """Returns the id of the image that an input names; empty where it can be no file's name."""
    name = image_id(Path(image).name)
    return name if "\0" not in name and name == name.encode(errors="replace").decode() else ""


def _fits(contexts: Contexts, image: str, post: str | Sequence[str]) -> bool:
    """Tells whether contexts of an image were read from this post, as it is or cut as any corpus, or from no post."""
    if image not in contexts.tweets:
        return True
    if not isinstance(post, str):
        return contexts.fits(image, [" ".join(post)])
    try:
        cuts = (" ".join(word.text for word in cut(post, handles)) for handles in ("whole", "split"))
        return any(contexts.fits(image, [text]) for text in (post, *cuts))
    except UserError:  # this post is told to be at fault where it is tagged
        return False


class PictureFiles:
    """Gives the files of the pictures of posts, for a system that looks at them.

    Args:
        folder: Where the pictures lie that the input names.
        places: A store that has places of objects in them, and the engine of it that has found them.
    """

    def __init__(self, folder: Path, places: tuple[ContextStore, StoredEngine] | None = None):
        self.folder = folder
        self.places = places

    def files(self, chunk: Sequence[Record]) -> tuple[dict[int, Path], dict[int, str]]:
        """Returns files, and what went wrong, both by the number of the post."""
        named = {record.number: record.image for record in chunk if record.error is None and record.image}
        found = {number: files_of(self.folder, image) for number, image in named.items()}
        wrong = {number: reason for number, files in found.items() if (reason := no_one_file(files)) is not None}
        return {number: files[0] for number, files in found.items() if number not in wrong}, wrong

    def boxes(self, chunk: Sequence[Record]) -> tuple[dict[int, Sequence[Box]] | None, dict[int, str]]:
        """Returns places of objects, and what went wrong, both by the number of the post; no places without a store."""
        if self.places is None:
            return None, {}
        images = {record.number: _id_of(record.image) for record in chunk if record.error is None and record.image}
        found = boxes_of(*self.places, images.values())
        unread = {number: "the store has no places of objects in it" for number, i in images.items() if i not in found}
        return {number: found[image] for number, image in images.items() if image in found}, unread


class Pictures:
    """Returns the contexts of the images of a chunk of posts.

    Args:
        store: The store of contexts.
        folder: The folder of the images that the input names.
        engines: Engines that read the images that the store has no entry of; none to use only what is stored.
        chosen: For the kinds that no engine reads now: the engine whose stored contexts to use, by kind.
    """

    def __init__(self, store: ContextStore, folder: Path, engines: Sequence[Engine], chosen: Mapping[str, str | None]):
        self.store = store
        self.folder = folder
        self.engines = engines
        self.chosen = chosen

    def contexts(self, chunk: Sequence[Record]) -> tuple[dict[int, dict[str, tuple[str, ...]]], dict[int, str]]:
        """Returns contexts by kind, and the errors of images, both by the number of the post.

        Raises:
            UserError: The store cannot be read or written, or an engine fails on each of its first images.
        """
        named = {record.number: record.image for record in chunk if record.error is None and record.image}
        wanted = {number: _id_of(image) for number, image in named.items()}
        notes = {number: "no such file" for number, name in wanted.items() if not name}
        files = {number: files_of(self.folder, named[number]) for number, name in wanted.items() if name}
        paths: dict[str, set[Path]] = {}
        for number, found_here in files.items():
            if found_here:
                paths.setdefault(wanted[number], set()).update(found_here)
        choices = dict(self.chosen)
        for engine in self.engines if paths else ():
            align(engine, {image: sorted(found_here) for image, found_here in paths.items()}, self.store)
            choices[engine.kind] = StoredEngine.of(engine).key
        ids = {wanted[number] for number in files}
        read = [self.store.contexts(kind, ids, choice) for kind, choice in choices.items()] if ids else []
        failed = {image: reason for contexts in read for image, reason in contexts.failed.items()}
        now = {engine.kind for engine in self.engines}
        posts = {record.number: record.post for record in chunk}
        given = {record.number: record.contexts for record in chunk}  # of the input, which come first
        found: dict[int, dict[str, tuple[str, ...]]] = {number: {} for number in wanted}
        for number, own in files.items():
            name = wanted[number]
            for contexts in read:
                if not own and contexts.kind in now:
                    continue  # what is stored under this id was read in another picture
                if not _fits(contexts, name, posts[number]):
                    notes[number] = f"its {contexts.kind} context was read from a post of other words"
                elif said := contexts.texts.get(name):
                    found[number][contexts.kind] = said
            known = any(name in contexts.texts for contexts in read)
            if name in failed:
                notes[number] = failed[name]
            elif not own and (now or not known):
                notes[number] = "no file of this name"
            elif not known and choices.keys() - given[number].keys():
                notes[number] = "the store has nothing of it"
        return found, notes
