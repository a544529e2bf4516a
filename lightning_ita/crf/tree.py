"""Products of all prefixes and suffixes of a chain of matrices, in a number of steps logarithmic in its length.

This suits devices on which starting an operation takes longer than computing it. The matrices are multiplied pairwise,
level by level, until one product is left (the tree). Then, from the top down, each position receives a vector times the
product of all matrices to its left, or the product of all to its right times a vector (Blelloch, 1990, "Prefix sums and
their applications"). This works for every associative product; used here are the ordinary one, log-sum-exp, and
max-plus.

Shapes: a level is (batch, nodes, n, n), where the number of nodes is a power of two.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Product = Callable[[Tensor, Tensor], Tensor]


def log_product(left: Tensor, right: Tensor) -> Tensor:
    """Returns out[i, j] = log Σ_k exp(left[i, k] + right[k, j])."""
    return torch.logsumexp(left.unsqueeze(-1) + right.unsqueeze(-3), dim=-2)


def max_product(left: Tensor, right: Tensor) -> Tensor:
    """Returns out[i, j] = max_k left[i, k] + right[k, j]."""
    return (left.unsqueeze(-1) + right.unsqueeze(-3)).amax(-2)


def log_identity(matrices: Tensor) -> Tensor:
    """Returns the identity matrix of log_product and max_product: 0 on the diagonal, −inf elsewhere, shape (n, n)."""
    identity = torch.full(matrices.shape[-2:], -torch.inf, dtype=matrices.dtype, device=matrices.device)
    return identity.fill_diagonal_(0)


def ascend(matrices: Tensor, identity: Tensor, product: Product) -> list[Tensor]:
    """Builds the tree.

    Args:
        matrices: (batch, length, n, n).
        identity: The product's identity; pads the number of leaves to a power of two, (n, n).
        product: An associative product.

    Returns:
        The levels, from the leaves to the root.
    """
    missing = (1 << (matrices.shape[1] - 1).bit_length()) - matrices.shape[1]
    padding = identity.expand(matrices.shape[0], missing, -1, -1)
    levels = [torch.cat([matrices, padding], dim=1)]
    while levels[-1].shape[1] > 1:
        levels.append(product(levels[-1][:, 0::2], levels[-1][:, 1::2]))
    return levels


def prefixes(levels: list[Tensor], first: Tensor, product: Product) -> Tensor:
    """Returns `first`, (batch, n), times all matrices before each leaf: (batch, leaves, n)."""
    # shape: (batch, nodes, 1, n)
    state = first[:, None, None, :]
    for level in reversed(levels[:-1]):
        state = torch.stack([state, product(state, level[:, 0::2])], dim=2).flatten(1, 2)
    return state[:, :, 0]


def suffixes(levels: list[Tensor], last: Tensor, product: Product) -> Tensor:
    """Returns all matrices after each leaf times `last`, (batch, n): (batch, leaves, n)."""
    # shape: (batch, nodes, n, 1)
    state = last[:, None, :, None]
    for level in reversed(levels[:-1]):
        state = torch.stack([product(level[:, 1::2], state), state], dim=2).flatten(1, 2)
    return state[..., 0]


def best_path(levels: list[Tensor], first: Tensor, last: Tensor) -> Tensor:
    """Returns the highest-scoring tag sequence; leaf t scores the step from tag t to tag t + 1.

    Args:
        levels: Built with :func:`max_product`.
        first: Scores of the first tag, (batch, n).
        last: Scores of the last tag, (batch, n).

    Returns:
        Tags, (batch, leaves + 1).
    """
    tags = first.shape[1]
    # shape: (batch,)
    ends = (first[:, :, None] + levels[-1][:, 0] + last[:, None, :]).flatten(1).argmax(1)
    # shape: (batch, nodes + 1)
    path = torch.stack([ends.div(tags, rounding_mode="floor"), ends.remainder(tags)], dim=1)
    for level in reversed(levels[:-1]):
        # The best tag in the middle of each node, given the tags at its two ends.
        # shape: (batch, nodes, n)
        left = level[:, 0::2].take_along_dim(path[:, :-1, None, None], dim=2)[:, :, 0]
        right = level[:, 1::2].take_along_dim(path[:, 1:, None, None], dim=3)[..., 0]
        middle = (left + right).argmax(2)
        path = torch.cat([torch.stack([path[:, :-1], middle], dim=2).flatten(1), path[:, -1:]], dim=1)
    return path


def recur(matrices: Tensor, inputs: Tensor) -> Tensor:
    """Solves u_t = inputs_t + matrices_t u_{t+1}, from u_{length} = 0.

    Args:
        matrices: (batch, length − 1, n, n).
        inputs: (batch, length, n).

    Returns:
        u, (batch, length, n).
    """
    n = inputs.shape[2]
    # The map u ↦ inputs + matrices u, as one matrix that acts on (u, 1)
    # shape: (batch, length, n + 1, n + 1)
    affine = F.pad(matrices, (0, 1, 0, 1, 0, 1))
    affine[:, :, :n, n] = inputs
    affine[:, :, n, n] = 1
    levels = ascend(affine, torch.eye(n + 1, dtype=inputs.dtype, device=inputs.device), torch.matmul)
    last = F.pad(inputs.new_zeros(len(inputs), n), (0, 1), value=1)
    after = suffixes(levels, last, torch.matmul)[:, : inputs.shape[1], :, None]
    return (affine @ after)[:, :, :n, 0]
