"""Vocabularies: the words that zero-shot engines choose from, one per line of a text file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning_ita.contexts.engines.loading import digest
from lightning_ita.errors import DataError, unknown
from lightning_ita.files import read_text, user_path
from lightning_ita.text import printable, quoted

# A model embeds each entry before the first image is read, and compares it with every region of every image.
MOST_ENTRIES = 100_000
SHIPPED = Path(__file__).parents[1] / "vocabularies"


@dataclass(frozen=True)
class Vocabulary:
    """Words to choose from.

    Attributes:
        entries: The words or phrases, as they stand in prompts and in the tags.
        version: The file's name and digest.
    """

    entries: tuple[str, ...]
    version: str


def read_vocabulary(name: str) -> Vocabulary:
    """Reads a vocabulary.

    Args:
        name: One that is shipped (``nouns``, ``attributes``), or a UTF-8 file: one entry per line, ``#`` starts a
            comment.

    Raises:
        UserError: It does not exist or is empty, an entry occurs twice, or there are more than `MOST_ENTRIES`.
    """
    path = user_path(name)
    if not path.is_file():
        path = SHIPPED / f"{name}.txt"
        if not path.is_file():
            raise unknown("vocabulary (or file)", name, sorted(file.stem for file in SHIPPED.glob("*.txt")))
    entries: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        entry = " ".join(line.partition("#")[0].split())
        if entry in entries:
            raise DataError(f"{quoted(entry)} stands in line {entries[entry]} already", path, number)
        if entry:
            entries[entry] = number
    if not entries:
        raise DataError("no entries: write one word or phrase per line", path)
    if len(entries) > MOST_ENTRIES:
        raise DataError(f"{len(entries):,} entries; at most {MOST_ENTRIES:,} are compared with each image", path)
    return Vocabulary(tuple(entries), f"{printable(path.name)} {digest(path)}")
