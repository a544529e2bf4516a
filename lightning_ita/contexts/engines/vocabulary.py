"""Vocabularies: the words that zero-shot engines choose from, one a line of a text file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning_ita.contexts.engines.loading import digest
from lightning_ita.errors import DataError, unknown
from lightning_ita.files import read_text

SHIPPED = Path(__file__).parents[1] / "vocabularies"


@dataclass(frozen=True)
class Vocabulary:
    """Words to choose from.

    Attributes:
        entries: Each word or phrase, as prompts will hold it and texts will say it.
        version: The file's name and digest.
    """

    entries: tuple[str, ...]
    version: str


def read_vocabulary(name: str) -> Vocabulary:
    """Reads a vocabulary.

    Args:
        name: One that is shipped (``nouns``, ``attributes``), or a UTF-8 file: one entry a line, ``#`` begins a
            comment.

    Raises:
        UserError: It does not exist, or is empty; an entry stands twice.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        path = SHIPPED / f"{name}.txt"
        if not path.is_file():
            raise unknown("vocabulary (or file)", name, sorted(file.stem for file in SHIPPED.glob("*.txt")))
    entries: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        entry = " ".join(line.partition("#")[0].split())
        if entry in entries:
            raise DataError(f"{entry!r} stands in line {entries[entry]} already", path, number)
        if entry:
            entries[entry] = number
    if not entries:
        raise DataError("no entries: write one word or phrase a line", path)
    return Vocabulary(tuple(entries), f"{path.name} {digest(path)}")
