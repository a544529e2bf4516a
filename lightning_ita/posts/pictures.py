"""What is known of the pictures of posts: read by engines now, or earlier, in both cases through the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_ita.contexts.alignment import align
from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.store import ContextStore, StoredEngine
from lightning_ita.images.ids import IMAGE_SUFFIXES, image_id
from lightning_ita.posts.records import Record


class Pictures:
    """Gives the contexts of the pictures of a chunk of posts.

    Args:
        store: Where readings are kept: of these engines, or of earlier ones.
        folder: Where the pictures lie that the input names.
        engines: Engines that read pictures which the store does not know; none where the store has all there is.
        chosen: Whose contexts to take by kind, where no engine reads them now.
    """

    def __init__(self, store: ContextStore, folder: Path, engines: Sequence[Engine], chosen: Mapping[str, str | None]):
        self.store = store
        self.folder = folder
        self.engines = engines
        self.chosen = chosen

    def _files(self, image: str) -> list[Path]:
        """Returns the file that the input names, or those of this name with an ending of a picture."""
        path = self.folder / image
        candidates = [path, *(path.with_name(path.name + suffix) for suffix in sorted(IMAGE_SUFFIXES))]
        try:
            return [each for each in candidates if each.is_file()][:1]
        except OSError:  # a name that is too long
            return []

    def contexts(self, chunk: Sequence[Record]) -> tuple[dict[int, dict[str, tuple[str, ...]]], dict[int, str]]:
        """Returns contexts by kind, and what went wrong with pictures, both by the number of the post.

        Raises:
            UserError: The store cannot be read or written, or an engine fails on each of its first pictures.
        """
        wanted = {record.number: record.image for record in chunk if record.error is None and record.image}
        files: dict[str, set[Path]] = {}
        for image in wanted.values():
            files.setdefault(image_id(Path(image).name), set()).update(self._files(image))
        paths = {image: sorted(found) for image, found in files.items()}
        texts: dict[str, dict[str, tuple[str, ...]]] = {}
        failed: dict[str, str] = {}
        choices = dict(self.chosen)
        for engine in self.engines if paths else ():
            align(engine, paths, self.store)
            choices[engine.kind] = StoredEngine.of(engine).key
        for kind, choice in choices.items() if paths else ():
            read = self.store.contexts(kind, paths.keys(), choice)
            for image, said in read.texts.items():
                texts.setdefault(image, {})[kind] = said
            for image, reason in read.failed.items():
                failed[image] = f"picture: {reason}"
        found: dict[int, dict[str, tuple[str, ...]]] = {}
        notes: dict[int, str] = {}
        for number, image in wanted.items():
            name = image_id(Path(image).name)
            found[number] = {kind: said for kind, said in texts.get(name, {}).items() if said}
            if name in failed:
                notes[number] = failed[name]
        return found, notes
