"""The tags of named entity recognition: BIO on disk and in every output, BIOES or BIO inside the model.

BIO tag ids are laid out as ``O, B-type₀, I-type₀, B-type₁, I-type₁, ...``; functions on tensors rely on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lightning_ita.crf import ForbiddenTransitions

TagScheme = Literal["BIO", "BIOES"]
LabelConvention = Literal["repair", "strict"]


def bio_tags(types: Sequence[str]) -> list[str]:
    """Returns the BIO tags of entity types in the order of their ids."""
    return ["O"] + [f"{prefix}-{type_}" for type_ in types for prefix in "BI"]


def repair(tags: Sequence[str]) -> list[str]:
    """Turns each stray ``I-`` (after O, or after another type) into ``B-``, as UMT, UMGF and ITA count them."""
    repaired = list(tags)
    previous = "O"
    for index, tag in enumerate(tags):
        if tag.startswith("I-") and previous[2:] != tag[2:]:
            repaired[index] = "B-" + tag[2:]
        previous = tag
    return repaired


class TagSet:
    """The tags a model uses inside, and their way to and from BIO.

    Args:
        types: Entity types, for example ``("PER", "LOC", "ORG", "OTHER")``.
        scheme: ``BIOES``, as the official ITA code, or ``BIO``.
    """

    def __init__(self, types: Sequence[str], scheme: TagScheme = "BIOES"):
        self.types = tuple(types)
        self.scheme = scheme
        self.bio = bio_tags(types)
        prefixes = "BI" if scheme == "BIO" else "BIES"
        self.tags = ["O"] + [f"{prefix}-{type_}" for type_ in types for prefix in prefixes]
        self._id = {tag: index for index, tag in enumerate(self.tags)}
        bio_id = {tag: index for index, tag in enumerate(self.bio)}
        to_bio = {"S": "B", "E": "I"}
        self._bio_id_of = torch.tensor([bio_id[to_bio.get(tag[0], tag[0]) + tag[1:]] for tag in self.tags])

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
            ids.append(self._id[tag])
        return ids

    def to_bio(self, ids: Tensor) -> Tensor:
        """Maps the model's tag ids to BIO tag ids, of any shape; negative ids (padding) stay -1."""
        bio = self._bio_id_of.to(ids.device)[ids.clamp_min(0)]
        return bio.masked_fill(ids < 0, -1)

    def forbidden(self) -> ForbiddenTransitions:
        """Returns the starts, transitions and ends that no well-formed sequence of this scheme has."""

        def opens(tag: str) -> bool:
            return tag[0] in "OBS"

        def closes(tag: str) -> bool:
            return tag[0] in "OES" or self.scheme == "BIO"

        def follows(tag: str, following: str) -> bool:
            continues = tag[0] in "BI" and following[0] in "IE" and tag[2:] == following[2:]
            return continues or (closes(tag) and opens(following))

        return ForbiddenTransitions(
            start=torch.tensor([not opens(tag) for tag in self.tags]),
            transition=torch.tensor([[not follows(tag, following) for following in self.tags] for tag in self.tags]),
            end=torch.tensor([not closes(tag) for tag in self.tags]),
        )
