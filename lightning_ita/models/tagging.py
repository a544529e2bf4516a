"""A tag set on tensors: the model's tag ids to BIO tag ids, and the transitions that decoding forbids."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_ita.crf import ForbiddenTransitions
from lightning_ita.tags import TagSet


def to_bio(tag_set: TagSet, ids: Tensor) -> Tensor:
    """Maps the model's tag ids to BIO tag ids.

    Args:
        tag_set: The tags inside the model.
        ids: Its tag ids, of any shape; negative ones are padding.

    Returns:
        BIO tag ids of the same shape, -1 at padding.
    """
    bio = torch.tensor(tag_set.bio_ids, device=ids.device)[ids.clamp_min(0)]
    return bio.masked_fill(ids < 0, -1)


def forbidden_transitions(tag_set: TagSet, device: torch.device | str | None = None) -> ForbiddenTransitions:
    """Returns the starts, transitions and ends that no well-formed tag sequence has, as decoding takes them.

    Args:
        tag_set: The tags inside the model.
        device: Where the tensors are needed.
    """
    return ForbiddenTransitions(*(torch.tensor(table, device=device) for table in tag_set.forbidden()))
