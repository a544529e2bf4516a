"""Forward–backward on scaled probabilities, for the CPU: three small operations per step compute both directions.

Sums of products replace log-sum-exps (Rabiner, 1989, section V.A). The result is exact as long as nothing underflows,
and the spread of the scores tells in advance whether anything can: a step multiplies by factors between exp(−spread)
and 1, so that in float64, with the state rescaled often enough, no entry leaves the range of normal numbers while the
spread is at most :data:`WIDEST_SPREAD`. Chains with a wider spread are left to :mod:`lightning_ita.crf.log_space`.

It is written in NumPy, because most of its time is the overhead of small operations, which is half as large in NumPy as
in PyTorch, and because NumPy starts no threads for them.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

# exp(−708) is the smallest normal float64, and a marginal is the product of two messages, each ≥ exp(−300).
WIDEST_SPREAD = 300.0


@dataclass(frozen=True)
class ScaledTrellis:
    """The results of one forward–backward for a batch of chains, in float64.

    With X = exp(emissions) and E = exp(transitions), each rescaled, α_t = X_t ∘ (α_{t-1} E), and γ_t = X_t ∘ β_t obeys
    the same recursion in the backward direction: γ_t = X_t ∘ (γ_{t+1} Eᵀ). In a dimension of size 2, index 0 is the
    forward direction in time, index 1 the backward direction.

    Attributes:
        dtype: The dtype of the results.
        mask: (length, batch).
        last: Index of the last position, (batch,).
        steps: E and its transpose, (2, tags, tags).
        factors: X, zero at padding, rescaled where the state was rescaled, (length, 2, batch, tags).
        before: The state before a position's factor: α_t / X_t forwards, β_t backwards; same shape.
        after: The state after a position's factor: α_t forwards, γ_t backwards; same shape.
        log_partition: (batch,).
    """

    dtype: np.dtype
    mask: NDArray[np.bool_]
    last: Tensor
    steps: Array
    factors: Array
    before: Array
    after: Array
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

    def _result(self, values: Array) -> Tensor:
        return torch.from_numpy(values.astype(self.dtype, order="C"))

    @cached_property
    def _beta(self) -> Array:
        """β_t, scaled so that Σ_j α_t(j) β_t(j) = 1, shape (length, batch, tags)."""
        beta = self.before[::-1, 1]
        # shape: (length, batch)
        total = np.einsum("lbt,lbt->lb", self.after[:, 0], beta)
        total[~self.mask] = 1
        return beta / total[..., None]

    @cached_property
    def marginals(self) -> Tensor:
        """p(y_t = j), shape (batch, length, tags), zero at padding."""
        return self._result((self.after[:, 0] * self._beta).swapaxes(0, 1))

    @cached_property
    def transition_counts(self) -> Tensor:
        """Σ_t p(y_{t-1} = i, y_t = j), shape (batch, tags, tags)."""
        # shape: (length - 1, batch, tags)
        leaving, arriving = self.after[:-1, 0], self.factors[1:, 0] * self._beta[1:]
        return self._result(_outer(leaving, arriving) * self.steps[0])

    def log_marginals(self) -> Tensor:
        """Log p(y_t = j), shape (batch, length, tags), zero at padding."""
        marginals = self.after[:, 0] * self._beta
        marginals += ~self.mask[..., None]
        return self._result(np.log(marginals, out=marginals).swapaxes(0, 1))

    def log_messages(self) -> tuple[Tensor, Tensor]:
        """Log α and log β, each up to one constant per position, (batch, length, tags), zero at padding."""
        padding = ~self.mask[..., None]
        alpha, beta = (np.log(state + padding) for state in (self.after[:, 0], self.before[::-1, 1]))
        return self._result(alpha.swapaxes(0, 1)), self._result(beta.swapaxes(0, 1))

    def vjp(self, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Computes gradients with respect to the potentials from those with respect to log α and log β.

        The adjoint of log α, divided by α, obeys the recursion of β, and the adjoint of log β, divided by β, that of
        α: both are computed by `sweep`, with the incoming gradients added at each position.

        Args:
            alpha_grad: (batch, length, tags), zero at padding.
            beta_grad: (batch, length, tags), zero at padding.

        Returns:
            Gradients with respect to emissions, start, transitions and end.

        Raises:
            NotImplementedError: If autograd computes many gradients at once (``is_grads_batched``, ``vectorize``).
        """
        alpha, beta = self.after[:, 0], self.before[::-1, 1]
        # Both axes reversed: γ forwards in time and α backwards.
        # shape: (length, 2, batch, tags)
        states = self.after[::-1, ::-1]
        alpha_grads, beta_grads = (_array(grad).swapaxes(0, 1) for grad in (alpha_grad, beta_grad))
        entering = np.stack([beta_grads, alpha_grads[::-1]], axis=1, dtype=np.float64)
        entering /= np.maximum(states, 1e-300)  # only at padding are states smaller, and gradients are 0 there
        after = np.empty_like(entering)
        sweep(entering, after, self.factors[::-1, ::-1], self.steps)
        # shape: (length, batch, tags)
        into_alpha, into_beta = entering[::-1, 1] * alpha, after[:, 0] * beta
        counts = _outer(alpha[:-1], after[::-1, 1][1:]) + _outer(after[:-1, 0], states[1:, 0])
        ends = into_beta[self.last.numpy(), np.arange(len(self.last))]
        return (
            self._result((into_alpha + into_beta - beta_grads).swapaxes(0, 1)),
            self._result(into_alpha[0].sum(0)),
            self._result(counts.sum(0) * self.steps[0]),
            self._result(ends.sum(0)),
        )


def _array(grad: Tensor) -> NDArray[np.floating]:
    """Returns a gradient as an array."""
    try:
        return grad.numpy()
    except RuntimeError as error:
        raise NotImplementedError(
            "gradients of marginals cannot be computed for many outputs at once (is_grads_batched=True, "
            "vectorize=True): compute them one after another"
        ) from error


def _outer(left: Array, right: Array) -> Array:
    """Returns Σ_l left[l, b, i] · right[l, b, j], shape (batch, tags, tags).

    One small product per row: a single product over all rows would be large enough for BLAS to start its threads.
    Reversed views are copied, since BLAS takes no negative strides.
    """
    return left.transpose(1, 2, 0) @ np.ascontiguousarray(right).swapaxes(0, 1)


def sweep(before: Array, after: Array, factors: Array, steps: Array, rescale_every: int | None = None) -> Array:
    """Computes before[t] += after[t−1] steps and after[t] = before[t] ∘ factors[t] for all t in place, both directions.

    Args:
        before: The values added at each position, (length, 2, batch, tags); replaced by the state before the factor.
        after: The state after the factor is written here; same shape.
        factors: Same shape; a factor is rescaled in place where the state is.
        steps: (2, tags, tags).
        rescale_every: After how many positions the state is rescaled to a maximum of 1; None for never.

    Returns:
        Log of the product of all scales, (2, batch).
    """
    log_scale = np.zeros(before.shape[1:3])
    arriving = np.empty(before.shape[1:])
    np.multiply(before[0], factors[0], out=after[0])
    for t in range(1, len(before)):
        state = before[t]
        np.matmul(after[t - 1], steps, out=arriving)
        np.add(state, arriving, out=state)
        np.multiply(state, factors[t], out=after[t])
        if rescale_every and t % rescale_every == 0 and t < len(before) - 1:
            # shape: (2, batch, 1)
            peak = after[t].max(-1, keepdims=True)
            peak[peak == 0] = 1  # padding
            after[t] /= peak
            factors[t] /= peak
            log_scale += np.log(peak[..., 0])
    return log_scale


def forward_backward(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor
) -> ScaledTrellis | None:
    """Computes both recursions in one loop.

    Args:
        emissions: (batch, length, tags), zero at padding.
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).

    Returns:
        The trellis, or None if the spread of the scores is too wide for it to be exact.
    """
    batch, length, tags = emissions.shape
    inside, lengths = mask.T.numpy(), mask.sum(1)
    # shape: (batch, length)
    peaks = emissions.amax(2).numpy()
    # shape: (tags + 2, tags)
    moves = np.concatenate([transitions.numpy(), start.numpy()[None], end.numpy()[None]], dtype=np.float64)
    # shape: (length, 2, batch, tags)
    factors = np.empty((length, 2, batch, tags))
    with np.errstate(invalid="ignore", over="ignore"):  # the check below excludes what ∞ leads to
        peak = moves.max()
        moves = np.exp(moves - peak)
        np.subtract(emissions.numpy().swapaxes(0, 1), peaks.T[..., None], out=factors[:, 0])
        np.exp(factors[:, 0], out=factors[:, 0])
        smallest = moves.min() * factors[:, 0].min()
    if not smallest >= math.exp(-WIDEST_SPREAD):
        return None
    factors[:, 0] *= inside[..., None]
    factors[:, 1] = factors[::-1, 0]
    steps = np.stack([moves[:tags], moves[:tags].T])
    # In the backward direction a chain begins after its padding.
    before, after = np.zeros_like(factors), np.empty_like(factors)
    before[0, 0] = moves[tags]
    before[length - lengths.numpy(), 1, np.arange(batch)] = moves[tags + 1]
    # In each step between two rescalings, a state shrinks at most by exp(−spread) and grows at most by the number of
    # tags.
    rescale_every = max(1, int(WIDEST_SPREAD / max(-math.log(smallest), math.log(tags), 1)) - 1)
    log_scale = sweep(before, after, factors, steps, rescale_every)
    total = np.einsum("bt,bt->b", after[0, 0], before[-1, 1])
    log_partition = np.log(total) + log_scale[1] + peaks.sum(1, dtype=np.float64) + peak * (lengths.numpy() + 1)
    dtype = emissions.numpy().dtype
    return ScaledTrellis(
        dtype, inside, lengths - 1, steps, factors, before, after, torch.from_numpy(log_partition.astype(dtype))
    )
