"""Forward–backward on scaled probabilities: two small operations a step, for both directions at once.

Sums of products replace log-sum-exps (Rabiner, 1989, section V.A). That is exact as long as nothing underflows, and
the spread of the scores tells beforehand whether anything can: each step multiplies by factors between exp(−spread)
and 1, so in float64, rescaled in time, no entry leaves the range of normal numbers while the spread is at most
:data:`WIDEST_SPREAD`. Wider chains belong to :mod:`lightning_ita.crf.log_space`.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

# exp(−708) is the smallest normal float64, and a marginal is the product of two messages, each ≥ exp(−300).
WIDEST_SPREAD = 300.0


@dataclass(frozen=True)
class ScaledTrellis:
    """What one forward–backward says about a batch of chains, in float64, no gradient recorded.

    Index 0 of the tensors named "both" walks forwards in time, index 1 backwards. With X = exp(emissions) and
    E = exp(transitions), each rescaled, α_t = X_t ∘ (α_{t-1} E) and X_t ∘ β_t obey the same recursion, mirrored.

    Attributes:
        dtype: Of the results.
        mask: (length, batch).
        last: Index of the last position, (batch,).
        steps: E and its transpose, both (2, tags, tags).
        factors: X, zero at padding, rescaled as the state was, both (2, length, batch, tags).
        before: The state before the position's factor, so that β_t is ``before[1].flip(0)[t]``.
        after: The state after the position's factor, so that α_t is ``after[0, t]``.
        log_partition: (batch,).
    """

    dtype: torch.dtype
    mask: Tensor
    last: Tensor
    steps: Tensor
    factors: Tensor
    before: Tensor
    after: Tensor
    log_partition: Tensor

    def __getitem__(self, rows: slice) -> "ScaledTrellis":
        return replace(
            self,
            mask=self.mask[:, rows],
            last=self.last[rows],
            factors=self.factors[:, :, rows],
            before=self.before[:, :, rows],
            after=self.after[:, :, rows],
            log_partition=self.log_partition[rows],
        )

    @cached_property
    def _beta(self) -> Tensor:
        """β_t such that Σ_j α_t(j) β_t(j) = 1, shape (length, batch, tags)."""
        # shape: (length, batch, tags)
        beta = self.before[1].flip(0)
        # shape: (length, batch, 1)
        total = torch.linalg.vecdot(self.after[0], beta)[..., None]
        return beta.div_(total.masked_fill_(~self.mask[..., None], 1))

    @cached_property
    def marginals(self) -> Tensor:
        """p(y_t = j), shape (batch, length, tags), zero at padding."""
        return (self.after[0] * self._beta).transpose(0, 1).to(self.dtype)

    def transition_counts(self) -> Tensor:
        """Expected count of each transition, shape (batch, tags, tags)."""
        # shape: (length - 1, batch, tags)
        arriving = self.factors[0, 1:] * self._beta[1:]
        leaving = self.after[0, :-1]
        # shape: (batch, tags, tags)
        return torch.bmm(leaving.permute(1, 2, 0), arriving.transpose(0, 1)).mul_(self.steps[0]).to(self.dtype)

    def weighted_transition_counts(self, weights: Tensor) -> Tensor:
        """Σ_b weights[b] · transition_counts[b], shape (tags, tags)."""
        tags = self.steps.shape[-1]
        # shape: (length - 1, batch, tags)
        arriving = self.factors[0, 1:] * self._beta[1:] * weights[:, None]
        counts = self.after[0, :-1].reshape(-1, tags).T @ arriving.view(-1, tags)
        return counts.mul_(self.steps[0]).to(self.dtype)

    def log_messages(self) -> tuple[Tensor, Tensor]:
        """Log α and log β, each up to a constant at each position, shape (batch, length, tags), zero at padding."""
        padding = ~self.mask[..., None]
        alpha = self.after[0].log().masked_fill_(padding, 0)
        beta = self.before[1].flip(0).log_().masked_fill_(padding, 0)
        return alpha.transpose(0, 1).to(self.dtype), beta.transpose(0, 1).to(self.dtype)

    def vjp(self, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pulls gradients with respect to log α and log β back to the potentials.

        The adjoint of log α, divided by α, obeys the recursion of β, and the other way round: only what enters at
        each position is another.

        Args:
            alpha_grad: (batch, length, tags), zero at padding.
            beta_grad: (batch, length, tags), zero at padding.

        Returns:
            Gradients with respect to emissions, start, transitions and end.
        """
        alpha, beta = self.after[0], self.before[1].flip(0)
        mirrored = self.after.flip(0, 1)
        # shape: (2, length, batch, tags)
        entering = torch.empty_like(self.before)
        entering[0] = beta_grad.transpose(0, 1)
        entering[1] = alpha_grad.transpose(0, 1).flip(0)
        entering /= torch.where(mirrored > 0, mirrored, 1)
        before, after = entering, torch.empty_like(entering)
        sweep(before, after, self.factors.flip(0, 1), self.steps)
        # shape: (length, batch, tags)
        into_alpha, into_beta = before[1].flip(0) * alpha, after[0] * beta
        emissions_grad = (into_alpha + into_beta).transpose(0, 1) - beta_grad
        tags = self.steps.shape[-1]
        # shape: (tags, tags)
        counts = alpha[:-1].reshape(-1, tags).T @ after[1].flip(0)[1:].reshape(-1, tags)
        counts += after[0, :-1].reshape(-1, tags).T @ mirrored[0, 1:].reshape(-1, tags)
        # shape: (tags,)
        end_grad = into_beta[self.last, torch.arange(len(self.last))].sum(0)
        grads = emissions_grad, into_alpha[0].sum(0), counts.mul_(self.steps[0]), end_grad
        return tuple(grad.to(self.dtype) for grad in grads)  # type: ignore[return-value]


def sweep(before: Tensor, after: Tensor, factors: Tensor, steps: Tensor, rescale_every: int | None = None) -> Tensor:
    """Runs after[t] = factors[t] ∘ (before[t] + after[t−1] steps) in place, both directions at once.

    Args:
        before: What enters at each position, (2, length, batch, tags); what the state is there, afterwards.
        after: Written, same shape.
        factors: Same shape; where the state is rescaled, the factor is too.
        steps: (2, tags, tags).
        rescale_every: After how many positions to rescale the state to a maximum of 1; None for never.

    Returns:
        Log of the product of all scales, (2, batch).
    """
    # One unbind makes all views at once: to index in the loop would cost as much as to compute.
    befores, afters, scales = before.unbind(1), after.unbind(1), factors.unbind(1)
    log_scale = before.new_zeros(2, before.shape[2])
    torch.mul(befores[0], scales[0], out=afters[0])
    for t in range(1, len(befores)):
        torch.mul(befores[t].baddbmm_(afters[t - 1], steps), scales[t], out=afters[t])
        if rescale_every and t % rescale_every == 0 and t < len(befores) - 1:
            # shape: (2, batch, 1)
            peak = afters[t].amax(-1, keepdim=True)
            peak.masked_fill_(peak == 0, 1)  # padding
            afters[t].div_(peak)
            scales[t].div_(peak)
            log_scale += peak[..., 0].log_()
    return log_scale


def forward_backward(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> ScaledTrellis | None:
    """Runs both recursions in one loop.

    Args:
        emissions: (batch, length, tags), zero at padding.
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).

    Returns:
        The trellis, or None where the scores are spread too widely for it to be exact.
    """
    batch, length, tags = emissions.shape
    # shape: (batch, length)
    peaks, lows = emissions.amax(2), emissions.amin(2)
    # shape: (tags + 2, tags)
    moves = torch.cat([transitions, start[None], end[None]]).double()
    low, peak = moves.aminmax()
    spread = ((peaks - lows).max() + (peak - low)).item()
    if not spread <= WIDEST_SPREAD:  # written so that NaN does not pass
        return None
    moves = (moves - peak).exp_()
    steps = torch.stack([moves[:tags], moves[:tags].T])
    inside, lengths = mask.T, mask.sum(1)
    # shape: (2, length, batch, tags)
    factors = emissions.new_empty(2, length, batch, tags, dtype=torch.float64)
    torch.sub(emissions.transpose(0, 1), peaks.T[..., None], out=factors[0])
    factors[0].exp_().mul_(inside[..., None])
    factors[1] = factors[0].flip(0)
    # Walking backwards, a chain begins where its padding ends.
    before, after = torch.zeros_like(factors), torch.empty_like(factors)
    before[0, 0] = moves[tags]
    before[1, length - lengths, torch.arange(batch)] = moves[tags + 1]
    # Between two rescalings a state shrinks by exp(−spread) or grows by the number of tags at most, each step.
    every = max(1, int(WIDEST_SPREAD / max(spread, math.log(tags), 1)) - 1)
    log_scale = sweep(before, after, factors, steps, every)
    log_total = torch.linalg.vecdot(after[0, 0], before[1, -1]).log_()
    log_partition = log_total + log_scale[1] + peaks.sum(1) + peak * (lengths + 1)
    return ScaledTrellis(
        emissions.dtype, inside, lengths - 1, steps, factors, before, after, log_partition.to(emissions.dtype)
    )
