"""The tags of named entity recognition: BIO in corpora and in every output, BIOES or BIO inside the model.

BIO tag ids are laid out as ``O, B-type₀, I-type₀, B-type₁, I-type₁, ...``; functions on tensors rely on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from lightning_ita.errors import UserError, unknown
from lightning_ita.text import quoted

TagScheme = Literal["BIO", "BIOES"]
LabelConvention = Literal["repair", "strict"]


def bio_tags(types: Sequence[str]) -> list[str]:
    """Returns the BIO tags of entity types in the order of their ids."""
    return ["O"] + [f"{prefix}-{type_}" for type_ in types for prefix in "BI"]


def repair(tags: Sequence[str]) -> list[str]:
    """Turns each stray ``I-`` (after O, or after another type) into ``B-``, as UMT, UMGF and ITA count them.

    Example:
        >>> repair(["O", "I-PER", "I-PER", "I-LOC"])
        ['O', 'B-PER', 'I-PER', 'B-LOC']
    """
    repaired = list(tags)
    previous = "O"
    for index, tag in enumerate(tags):
        if tag.startswith("I-") and previous[2:] != tag[2:]:
            repaired[index] = "B-" + tag[2:]
        previous = tag
    return repaired


# What the prefixes of BIO, BIOES, BILOU and BMES are in BIO, and which of them end a mention.
AS_BIO = {"B": "B", "I": "I", "M": "I", "E": "I", "L": "I", "S": "B", "U": "B"}
ENDS = frozenset("ELSU")


def as_bio(tags: Sequence[str]) -> list[str]:
    """Turns the tags of BIOES, BILOU or BMES into BIO; BIO tags stay as they are, stray ``I-`` tags included.

    Args:
        tags: ``O``, or one of `AS_BIO`, a hyphen and an entity type each.

    Example:
        >>> as_bio(["B-PER", "E-PER", "O", "S-LOC"])
        ['B-PER', 'I-PER', 'O', 'B-LOC']
    """
    bio = []
    previous = "O"
    for tag in tags:
        if tag != "O":
            prefix, type_ = AS_BIO[tag[0]], tag[2:]
            # What follows the end of a mention is another mention: without B-, BIO would read both as one.
            if prefix == "I" and previous[0] in ENDS and previous[2:] == type_:
                prefix = "B"
            bio.append(f"{prefix}-{type_}")
        else:
            bio.append(tag)
        previous = tag
    return bio


class Forbidden(NamedTuple):
    """What no well-formed tag sequence has; every table is indexed by the model's tag ids.

    Attributes:
        start: Whether no sequence starts with a tag.
        transition: Whether a tag (first index) is never followed by another (second index).
        end: Whether no sequence ends with a tag.
    """

    start: tuple[bool, ...]
    transition: tuple[tuple[bool, ...], ...]
    end: tuple[bool, ...]


@dataclass(frozen=True)
class TagSet:
    """The tags that a model uses inside, and how they map to and from BIO.

    Args:
        types: Entity types, for example ``("PER", "LOC", "ORG", "OTHER")``.
        scheme: ``BIOES``, as the official ITA code, or ``BIO``.

    Raises:
        UserError: The scheme is unknown, or a type is empty or occurs twice.
    """

    types: tuple[str, ...]
    scheme: TagScheme = "BIOES"

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", tuple(self.types))
        if self.scheme not in get_args(TagScheme):
            raise unknown("tag scheme", self.scheme, get_args(TagScheme))
        for index, type_ in enumerate(self.types):
            if not type_ or type_ in self.types[:index]:
                raise UserError(f"entity types: {quoted(type_)} {'occurs twice' if type_ else 'is empty'}")

    @cached_property
    def tags(self) -> list[str]:
        """The model's tags in the order of their ids."""
        prefixes = "BI" if self.scheme == "BIO" else "BIES"
        return ["O"] + [f"{prefix}-{type_}" for type_ in self.types for prefix in prefixes]

    @cached_property
    def bio(self) -> list[str]:
        """The BIO tags in the order of their ids."""
        return bio_tags(self.types)

    @cached_property
    def bio_ids(self) -> list[int]:
        """The BIO tag id of each of the model's tags: ``S-`` becomes ``B-``, ``E-`` becomes ``I-``."""
        bio_id = {tag: index for index, tag in enumerate(self.bio)}
        to_bio = {"S": "B", "E": "I"}
        return [bio_id[to_bio.get(tag[0], tag[0]) + tag[1:]] for tag in self.tags]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {tag: index for index, tag in enumerate(self.tags)}

    def __len__(self) -> int:
        return len(self.tags)

    def encode(self, bio: Sequence[str]) -> list[int]:
        """Returns the model's tag ids for one tweet's BIO tags.

        Under BIOES a mention's last tag becomes ``E-`` and a mention of one word ``S-``. A stray ``I-`` stays inside
        its mention (``I-`` or ``E-``): the labels are not repaired here.
        """
        ids = []
        for tag, following in zip(bio, [*bio[1:], "O"], strict=True):
            ends = following != "I-" + tag[2:]
            if self.scheme == "BIOES" and tag != "O" and ends:
                tag = ("S" if tag[0] == "B" else "E") + tag[1:]
            ids.append(self._ids[tag])
        return ids

    def mention(self, type_: int, words: int) -> tuple[list[int], int]:
        """Returns the tag ids of a mention, and the one that must not follow it.

        Args:
            type_: Index of its type.
            words: Its words.

        Returns:
            One tag id per word; and under BIO the ``I-`` of the type, which would make the mention longer. Under BIOES
            the mention's own last tag says that it ends: -1.
        """
        name = self.types[type_]
        ids = self.encode([f"B-{name}", *[f"I-{name}"] * (words - 1)])
        return ids, self._ids[f"I-{name}"] if self.scheme == "BIO" else -1

    def forbidden(self) -> Forbidden:
        """Returns the starts, transitions and ends that no well-formed sequence of this scheme has."""

        def opens(tag: str) -> bool:
            return tag[0] in "OBS"

        def closes(tag: str) -> bool:
            return tag[0] in "OES" or self.scheme == "BIO"

        def follows(tag: str, following: str) -> bool:
            continues = tag[0] in "BI" and following[0] in "IE" and tag[2:] == following[2:]
            return continues or (closes(tag) and opens(following))

        return Forbidden(
            start=tuple(not opens(tag) for tag in self.tags),
            transition=tuple(tuple(not follows(tag, following) for following in self.tags) for tag in self.tags),
            end=tuple(not closes(tag) for tag in self.tags),
        )
