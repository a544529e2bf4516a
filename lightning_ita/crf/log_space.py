"""Forward–backward in log space: exact at any score, −inf included."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogTrellis:
    """What one forward–backward says about a batch of chains; no gradient is recorded here.

    Attributes:
        emissions: (batch, length, tags), zero at padding.
        mask: (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).
        alpha: Log-sum of the prefixes that end at a position with a tag, its emission included; (batch, length, tags).
        beta: Log-sum of the suffixes that follow a position with a tag; (batch, length, tags).
        log_partition: (batch,).
    """

    emissions: Tensor
    mask: Tensor
    start: Tensor
    transitions: Tensor
    end: Tensor
    alpha: Tensor
    beta: Tensor
    log_partition: Tensor

    def __getitem__(self, rows: slice) -> "LogTrellis":
        return LogTrellis(
            self.emissions[rows],
            self.mask[rows],
            self.start,
            self.transitions,
            self.end,
            self.alpha[rows],
            self.beta[rows],
            self.log_partition[rows],
        )

    @cached_property
    def last(self) -> Tensor:
        """Index of the last position of each row, shape (batch,)."""
        return self.mask.sum(1) - 1

    @cached_property
    def marginals(self) -> Tensor:
        """p(y_t = j), shape (batch, length, tags), zero at padding."""
        log_marginals = self.alpha + self.beta - self.log_partition[:, None, None]
        return torch.where(self.mask[..., None], log_marginals.exp(), 0)

    @cached_property
    def pair_marginals(self) -> Tensor:
        """p(y_{t-1} = i, y_t = j) for t ≥ 1, shape (batch, length − 1, tags, tags), zero at padding."""
        # shape: (batch, length - 1, 1, tags)
        after = (self.emissions + self.beta)[:, 1:, None, :]
        # shape: (batch, length - 1, tags, tags)
        log_pairs = self.alpha[:, :-1, :, None] + self.transitions + after - self.log_partition[:, None, None, None]
        return torch.where(self.mask[:, 1:, None, None], log_pairs.exp(), 0)

    def transition_counts(self) -> Tensor:
        """Expected count of each transition, shape (batch, tags, tags)."""
        return self.pair_marginals.sum(1)

    def weighted_transition_counts(self, weights: Tensor) -> Tensor:
        """Σ_b weights[b] · transition_counts[b], shape (tags, tags)."""
        return torch.einsum("b,bij->ij", weights, self.transition_counts())

    def log_messages(self) -> tuple[Tensor, Tensor]:
        """Log α and log β, each (batch, length, tags), zero at padding."""
        padding = ~self.mask[..., None]
        return self.alpha.masked_fill(padding, 0), self.beta.masked_fill(padding, 0)

    def vjp(self, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pulls gradients with respect to alpha and beta back to the potentials.

        Args:
            alpha_grad: (batch, length, tags), zero at padding.
            beta_grad: (batch, length, tags), zero at padding.

        Returns:
            Gradients with respect to emissions, start, transitions and end.
        """
        follows = self.mask[:, 1:, None, None]
        # p(y_{t-1} = i | y_t = j, prefix)
        # shape: (batch, length - 1, tags, tags)
        before = self.alpha[:, :-1, :, None] + self.transitions - (self.alpha - self.emissions)[:, 1:, None, :]
        before = torch.where(follows & (self.alpha[:, 1:, None, :] > -torch.inf), before.exp(), 0)
        # p(y_t = j | y_{t-1} = i, suffix)
        # shape: (batch, length - 1, tags, tags)
        after = self.transitions + (self.emissions + self.beta)[:, 1:, None, :] - self.beta[:, :-1, :, None]
        after = torch.where(follows & (self.beta[:, :-1, :, None] > -torch.inf), after.exp(), 0)
        u, v = alpha_grad.clone(), beta_grad.clone()
        for t in range(1, u.shape[1]):
            # shape: (batch, tags)
            u[:, -t - 1] += torch.matmul(before[:, -t], u[:, -t, :, None])[..., 0]
            v[:, t] += torch.matmul(v[:, t - 1, None, :], after[:, t - 1])[:, 0]
        # shape: (tags, tags)
        transitions_grad = (before * u[:, 1:, None, :] + after * v[:, :-1, :, None]).sum((0, 1))
        # shape: (tags,)
        end_grad = v[torch.arange(len(v), device=v.device), self.last].sum(0)
        return u + v - beta_grad, u[:, 0].sum(0), transitions_grad, end_grad


def forward_backward(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> LogTrellis:
    """Runs both recursions in one loop.

    Args:
        emissions: (batch, length, tags), finite at padding.
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).

    Returns:
        The messages, detached.
    """
    batch, length, tags = emissions.shape
    # Both directions as one: the second half walks the chain from its end, over transposed transitions.
    # shape: (length, 2, batch, tags)
    scores = torch.stack([emissions, emissions.flip(1)]).permute(2, 0, 1, 3).contiguous()
    # shape: (2, 1, tags, tags)
    steps = torch.stack([transitions, transitions.T])[:, None]
    # shape: (2, batch, tags)
    first = torch.stack([start, end])[:, None].expand(2, batch, tags)
    # Walking backwards, a chain begins where its padding ends.
    # shape: (length, 2, batch, 1)
    begun = torch.stack([torch.ones_like(mask), mask.flip(1).roll(1, 1)]).permute(2, 0, 1)[..., None]
    messages = torch.empty_like(scores)
    messages[0] = first
    for t in range(1, length):
        # shape: (2, batch, tags, 1)
        state = (messages[t - 1] + scores[t - 1]).unsqueeze(-1)
        torch.where(begun[t], torch.logsumexp(state + steps, dim=2), first, out=messages[t])
    alpha = messages[:, 0].transpose(0, 1) + emissions
    beta = messages[:, 1].transpose(0, 1).flip(1)
    log_partition = torch.logsumexp(alpha[:, 0] + beta[:, 0], dim=-1)
    return LogTrellis(emissions, mask, start, transitions, end, alpha, beta, log_partition)
