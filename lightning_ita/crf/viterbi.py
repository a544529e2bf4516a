"""The Viterbi algorithm: the best tag sequence of a chain."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_ita.crf.log_space import chain_matrices, fused_kernels
from lightning_ita.crf.tree import ascend, best_path, log_identity, max_product


class ForbiddenTransitions(NamedTuple):
    """The starts, transitions and ends that a decoded sequence must not contain; True forbids.

    Attributes:
        start: Tags that must not come first, bool, shape (tags,).
        transition: ``transition[i, j]`` forbids going from tag i to tag j, bool, shape (tags, tags).
        end: Tags that must not come last, bool, shape (tags,).
    """

    start: Tensor
    transition: Tensor
    end: Tensor


def viterbi(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor, log_depth: bool
) -> Tensor:
    """Returns the highest-scoring tag sequence of each row.

    Args:
        emissions: (batch, length, tags), zero at padding.
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).
        log_depth: Whether to compute in a tree, or with fused kernels; otherwise along the chain, which needs the CPU.

    Returns:
        Tags, int64, shape (batch, length), −1 at padding.
    """
    if not log_depth:
        return _along_chain(emissions, mask, start, transitions, end)
    if fused := fused_kernels(emissions):
        return fused.viterbi(emissions, mask, start, transitions, end)
    first = start + emissions[:, 0]
    levels = ascend(chain_matrices(emissions, mask, transitions), log_identity(transitions), max_product)
    path = best_path(levels, first, end.expand_as(first))[:, : mask.shape[1]]
    return torch.where(mask, path, -1)


def _along_chain(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """Computes the sequences step by step, in NumPy, whose small operations have less overhead than PyTorch's.

    The batch is the last dimension, so that maxima over tags are vectorised.
    """
    batch, length = mask.shape
    moves, inside = transitions.numpy(), mask.T.numpy()
    # shape: (length, tags, batch)
    best = emissions.numpy().transpose(1, 2, 0).copy()
    best[0] += start.numpy()[:, None]
    # shape: (tags, tags, batch)
    tiled = np.repeat(moves[:, :, None], batch, axis=2)
    arriving, highest = np.empty_like(tiled), np.empty_like(best[0])
    for t in range(1, length):
        np.add(best[t - 1, :, None], tiled, out=arriving)
        np.maximum.reduce(arriving, axis=0, out=highest)
        np.add(best[t], highest, out=best[t])
    path = np.full((length, batch), -1)
    last, rows = mask.sum(1).numpy() - 1, np.arange(batch)
    path[last, rows] = (best[last, :, rows] + end.numpy()).argmax(1)
    # Best predecessors are computed on the way back only, for the chosen tags: 1 / tags of the work.
    # shape: (length, batch, tags)
    candidates, arrivals = np.ascontiguousarray(best.swapaxes(1, 2)), np.ascontiguousarray(moves.T)
    for t in range(length - 1, 0, -1):
        np.copyto(path[t - 1], (candidates[t - 1] + arrivals[path[t]]).argmax(1), where=inside[t])
    return torch.from_numpy(path.T.copy())
