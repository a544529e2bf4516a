"""Reads tags as they are written in files: white space, Unicode forms, BIOES, entity types that look alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_ita.errors import DataError, unknown
from lightning_ita.tags import AS_BIO, bio_tags
from lightning_ita.text import quoted

# Longest entity type, in characters, and most types of a corpus: with more, a column of something else is being read.
MAX_TYPE, MAX_TYPES = 100, 1000
EXPLAINED = "O outside of mentions, B-TYPE for the first word of a mention, I-TYPE for its other words"


def clean(text: str) -> str:
    """Returns a text without white space around it, in composed Unicode form (NFC)."""
    return unicodedata.normalize("NFC", text).strip()


def look_alikes(types: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields pairs of types that differ only in case, in blanks and invisible characters, or in Unicode form."""
    first: dict[str, str] = {}
    for type_ in types:
        folded = unicodedata.normalize("NFKC", type_).casefold()
        look = "".join(each for each in folded if not each.isspace() and unicodedata.category(each) != "Cf")
        if look in first:
            yield first[look], type_
        first.setdefault(look, type_)


class RawTags:
    """Reads the tags of one file.

    White space around a tag or its type is removed, and characters are composed (NFC): ``B-PER `` is ``B-PER``.

    Args:
        path: The file, for errors.
        types: The corpus's entity types; any if not given.

    Attributes:
        types: The types found, and the first line of each.
    """

    def __init__(self, path: Path, types: Sequence[str] | None):
        self.path = path
        self.allowed = None if types is None else frozenset(types)
        self.order = tuple(types or ())
        self.types: dict[str, int] = {}
        self._read: dict[str, str] = {"O": "O"}
        self._changed: list[int] = []

    def read(self, number: int, written: str) -> str:
        """Returns a tag as `lightning_ita.tags.as_bio` takes it.

        Raises:
            DataError: It is not a tag, or has another type than the corpus.
        """
        tag = self._read.get(written)
        if tag is None:
            tag = self._read[written] = self._checked(number, written)
        if written != tag:
            self._changed.append(number)
        return tag

    def _checked(self, number: int, written: str) -> str:
        prefix, hyphen, type_ = clean(written).partition("-")
        type_ = clean(type_)
        if prefix == "O" and not hyphen:
            return "O"
        tag = f"{prefix}-{type_}"
        if prefix not in AS_BIO or not type_:
            raise DataError(self._not_a_tag(written), self.path, number)
        if len(type_) > MAX_TYPE or any(unicodedata.category(each) == "Cc" for each in type_):
            reason = f"longer than {MAX_TYPE} characters" if len(type_) > MAX_TYPE else "with control characters"
            raise DataError(f"a type {reason}: {quoted(type_)}", self.path, number)
        if self.allowed is not None and type_ not in self.allowed:
            remedy = "Another corpus is --dataset custom; its --types, if given, name all of its types."
            raise DataError(f"{unknown('tag', tag, bio_tags(self.order))} {remedy}", self.path, number)
        self.types.setdefault(type_, number)
        if len(self.types) > MAX_TYPES:
            raise DataError(f"more than {MAX_TYPES} entity types: is this the column of the tags?", self.path, number)
        return tag

    def _not_a_tag(self, written: str) -> str:
        if not clean(written):
            return f"a word without a tag; {EXPLAINED}"
        if clean(written).isalpha() and 1 < len(written) <= MAX_TYPE:
            type_ = clean(written)
            return (
                f"{quoted(written)} has no prefix; expected O, or B-{type_} for a first word and I-{type_} for others"
            )
        return f"{quoted(written)} is not a tag; expected {EXPLAINED}"

    def notes(self) -> Iterator[str]:
        """Yields what a user should know of these tags."""
        if self._changed:
            tags = "1 tag is" if len(self._changed) == 1 else f"{len(self._changed)} tags are"
            yield f"{tags} read without white space, in composed characters (first in line {self._changed[0]})"
        blank = [type_ for type_ in self.types if any(each.isspace() for each in type_)]
        if blank:
            names = ", ".join(map(quoted, blank))
            yield f"types with white space in them: {names} (first in line {self.types[blank[0]]})"
        prefixes = sorted({tag[0] for tag in self._read.values()} - set("BIO"))
        if prefixes:
            yield f"tags with {', '.join(f'{prefix}-' for prefix in prefixes)} (BIOES or alike) are read as BIO"
