"""The probability that a chain has given tags at given positions, summed over all other tags."""

import torch
from torch import Tensor


def segment_log_prob(
    log_marginals: Tensor,
    onward: Tensor,
    transitions: Tensor,
    mask: Tensor,
    rows: Tensor,
    starts: Tensor,
    tags: Tensor,
    not_followed_by: Tensor | None,
) -> Tensor:
    """Returns log p(y[start : start + n] = tags, y[start + n] ≠ the tag that must not follow) for each segment.

    A linear chain is a Markov chain: the probability is that of the first tag, which the forward and the backward pass
    give, times p(y_t = j | y_{t-1} = i) ∝ exp(A[i, j] + e_t[j] + log β_t[j]) for each step inside the segment.

    Args:
        log_marginals: log p(y_t = j), (batch, length, tags).
        onward: Emissions plus log β, each position up to a constant, (batch, length, tags).
        transitions: (tags, tags).
        mask: Prefix mask, (batch, length).
        rows: Row of each segment, int64, (segments,).
        starts: First position of each segment, int64, (segments,).
        tags: Its tags, int64, (segments, longest), −1 behind shorter ones.
        not_followed_by: The tag that must not stand behind it, int64, (segments,), −1 for any; any if not given.

    Returns:
        (segments,); −inf where it is impossible, NaN where the row has no distribution.
    """
    total = log_marginals[rows, starts, tags[:, 0]]
    lengths = (tags >= 0).sum(1)
    for step in range(1, tags.shape[1]):
        inside = step < lengths
        position = torch.where(inside, starts + step, 0)
        # shape: (segments, tags)
        moves = _log_moves(transitions[tags[:, step - 1].clamp_min(0)] + onward[rows, position])
        chosen = moves.gather(1, tags[:, step].clamp_min(0)[:, None])[:, 0]
        total = total + torch.where(inside, chosen, 0)
    if not_followed_by is None:
        return total
    ends = starts + lengths
    there = ends < mask.sum(1)[rows]
    last = tags.gather(1, lengths[:, None] - 1)[:, 0]
    moves = _log_moves(transitions[last] + onward[rows, torch.where(there, ends, 0)])
    barred = torch.arange(moves.shape[1], device=moves.device) == not_followed_by[:, None]
    allowed = torch.logsumexp(moves.masked_fill(barred, -torch.inf), dim=1)
    return total + torch.where(there & (not_followed_by >= 0), allowed, 0)


def _log_moves(scores: Tensor) -> Tensor:
    """Returns the log-softmax over tags; −inf where no tag can follow, since the tag before is impossible, too."""
    moves = scores.log_softmax(1)
    return torch.where((scores == -torch.inf).all(1, keepdim=True), -torch.inf, moves)
