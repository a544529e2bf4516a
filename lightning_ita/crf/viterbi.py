"""The best tag sequence (Viterbi)."""

from typing import NamedTuple

import torch
from torch import Tensor


class ForbiddenTransitions(NamedTuple):
    """Which moves a decoded sequence may not make; True forbids.

    Attributes:
        start: Tags that may not come first, bool, shape (tags,).
        transition: ``transition[i, j]`` forbids going from tag i to tag j, bool, shape (tags, tags).
        end: Tags that may not come last, bool, shape (tags,).
    """

    start: Tensor
    transition: Tensor
    end: Tensor


def viterbi(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """The highest-scoring tag sequence of each row.

    Args:
        emissions: (batch, length, tags), finite at padding.
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).

    Returns:
        Tags, int64, shape (batch, length), −1 at padding.
    """
    batch, length, tags = emissions.shape
    # shape: (length, batch, tags)
    best = emissions.transpose(0, 1).contiguous()
    pointers = torch.empty(best.shape, dtype=torch.int64, device=best.device)
    best[0] += start
    # Row j holds the scores of coming to tag j, so that the reduction runs over the last dimension.
    to_from = transitions.T.contiguous()
    for t in range(1, length):
        # shape: (batch, tags)
        score, pointers[t] = (best[t - 1].unsqueeze(1) + to_from).max(dim=2)
        best[t] += score
    # Padding points to itself, so that every row can be traced from the last column.
    pointers = torch.where(mask.T[..., None], pointers, torch.arange(tags, device=best.device))
    last = mask.sum(1) - 1
    # shape: (batch, 1)
    tag = (best[last, torch.arange(batch, device=best.device)] + end).argmax(dim=1, keepdim=True)
    path = torch.empty(length, batch, 1, dtype=torch.int64, device=best.device)
    path[-1] = tag
    for t in range(length - 1, 0, -1):
        path[t - 1] = tag = pointers[t].gather(1, tag)
    return torch.where(mask, path[..., 0].T, -1)
