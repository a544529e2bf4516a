"""Forward–backward in log space: exact for all scores, −inf included, and on every device.

On the CPU it goes along the chain, and is used for scores whose spread is too wide for
:mod:`lightning_ita.crf.scaled`. On CUDA it is two kernels (:mod:`lightning_ita.crf.fused`). On other accelerators it
computes products in a tree, so that the number of kernels grows with the logarithm of the length. On none does it wait
for the device. Measured on an H100, the tree takes 3.3 times as long as the kernels for a likelihood and its gradient
(32 chains of up to 128 positions, 17 tags).
"""

from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType

import torch
from torch import Tensor

from lightning_ita.crf.tree import ascend, log_identity, log_product, prefixes, recur, suffixes
from lightning_ita.devices import has_float64


def fused_kernels(scores: Tensor) -> ModuleType | None:
    """Returns :mod:`lightning_ita.crf.fused` where it can be used: on CUDA, with Triton, and not too many tags.

    Args:
        scores: Emissions, (batch, length, tags).
    """
    kernels = _kernels() if scores.device.type == "cuda" else None
    return kernels if kernels is not None and scores.shape[2] <= kernels.MOST_TAGS else None


@cache
def _kernels() -> ModuleType | None:
    """Imports the kernels once: without Triton, every attempt would search all folders again."""
    try:
        from lightning_ita.crf import fused
    except ImportError:
        return None
    return fused


@dataclass(frozen=True)
class LogTrellis:
    """The results of one forward–backward for a batch of chains, in float64 where the device has it.

    Attributes:
        dtype: The dtype of the results.
        mask: (batch, length).
        emissions: Emissions minus their maximum at each position, (batch, length, tags).
        transitions: (tags, tags).
        alpha: Log-sum-exp of the scores of all prefixes that end in a tag, with its emission, up to one constant per
            position, (batch, length, tags).
        beta: Log-sum-exp of the scores of all suffixes that follow a tag, likewise, (batch, length, tags).
        log_partition: (batch,).
        log_depth: Whether to compute in a tree, or with fused kernels.
    """

    dtype: torch.dtype
    mask: Tensor
    emissions: Tensor
    transitions: Tensor
    alpha: Tensor
    beta: Tensor
    log_partition: Tensor
    log_depth: bool

    def __getitem__(self, rows: slice) -> "LogTrellis":
        return LogTrellis(
            self.dtype,
            self.mask[rows],
            self.emissions[rows],
            self.transitions,
            self.alpha[rows],
            self.beta[rows],
            self.log_partition[rows],
            self.log_depth,
        )

    @cached_property
    def last(self) -> Tensor:
        """Index of the last position, (batch,)."""
        return self.mask.sum(1) - 1

    @cached_property
    def marginals(self) -> Tensor:
        """p(y_t = j), shape (batch, length, tags), zero at padding."""
        return torch.where(self.mask[..., None], (self.alpha + self.beta).softmax(2), 0).to(self.dtype)

    @cached_property
    def transition_counts(self) -> Tensor:
        """Σ_t p(y_{t-1} = i, y_t = j), shape (batch, tags, tags)."""
        # shape: (batch, length - 1, tags, tags)
        scores = self.alpha[:, :-1, :, None] + self.transitions + (self.emissions + self.beta)[:, 1:, None, :]
        pairs = scores.flatten(2).softmax(2).view(scores.shape)
        return torch.where(self.mask[:, 1:, None, None], pairs, 0).sum(1).to(self.dtype)

    def log_marginals(self) -> Tensor:
        """Log p(y_t = j), shape (batch, length, tags), zero at padding."""
        return torch.where(self.mask[..., None], (self.alpha + self.beta).log_softmax(2), 0).to(self.dtype)

    def log_messages(self) -> tuple[Tensor, Tensor]:
        """Log α and log β, each up to one constant per position, (batch, length, tags), zero at padding."""
        padding = ~self.mask[..., None]
        return self.alpha.masked_fill(padding, 0).to(self.dtype), self.beta.masked_fill(padding, 0).to(self.dtype)

    def vjp(self, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Computes gradients with respect to the potentials from those with respect to log α and log β.

        Args:
            alpha_grad: (batch, length, tags), zero at padding.
            beta_grad: (batch, length, tags), zero at padding.

        Returns:
            Gradients with respect to emissions, start, transitions and end.
        """
        into_alpha, into_beta, counts = self._adjoints(alpha_grad, beta_grad)
        ends = into_beta[torch.arange(len(self.mask), device=self.mask.device), self.last]
        grads = into_alpha + into_beta - beta_grad, into_alpha[:, 0].sum(0), counts, ends.sum(0)
        return tuple(grad.to(self.dtype) for grad in grads)  # type: ignore[return-value]

    def _adjoints(self, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the gradients of α and β with what later steps add, (batch, length, tags), and of transitions."""
        onward = self.emissions + self.beta
        if self.log_depth and (fused := fused_kernels(self.emissions)):
            return fused.adjoints(self.alpha, onward, self.mask, self.transitions, alpha_grad, beta_grad)
        batch = len(self.mask)
        inside = self.mask[:, 1:, None, None]
        # p(y_{t-1} = i | y_t = j, prefix) and p(y_t = j | y_{t-1} = i, suffix); 0 where all of them are impossible
        # shape: (batch, length - 1, tags, tags)
        before = (self.alpha[:, :-1, :, None] + self.transitions).softmax(2)
        before = torch.where(inside & ~before.isnan(), before, 0)
        after = (self.transitions + onward[:, 1:, None, :]).softmax(3)
        after = torch.where(inside & ~after.isnan(), after, 0)
        # The adjoint of α runs backwards; that of β runs forwards and is reversed, so that both are solved together.
        matrices = torch.cat([before, after.mT.flip(1)])
        inputs = torch.cat([alpha_grad, beta_grad.flip(1)]).to(matrices.dtype)
        solved = recur(matrices, inputs) if self.log_depth else _walk(matrices, inputs)
        # shape: (batch, length, tags)
        into_alpha, into_beta = solved[:batch], solved[batch:].flip(1)
        # shape: (tags, tags)
        counts = (before * into_alpha[:, 1:, None, :] + after * into_beta[:, :-1, :, None]).sum((0, 1))
        return into_alpha, into_beta, counts


def _walk(matrices: Tensor, inputs: Tensor) -> Tensor:
    """Solves u_t = inputs_t + matrices_t u_{t+1}; see :func:`lightning_ita.crf.tree.recur`."""
    solved = inputs.clone()
    for t in range(inputs.shape[1] - 2, -1, -1):
        solved[:, t] += (matrices[:, t] @ solved[:, t + 1, :, None])[..., 0]
    return solved


def working_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype to compute in: float64 where the device has it, since log-sums grow with the length.

    Autocast leaves float64 alone, too.
    """
    return torch.float64 if has_float64(device) else dtype


def forward_backward(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor, log_depth: bool
) -> LogTrellis:
    """Runs both recursions.

    Args:
        emissions: (batch, length, tags), zero at padding.
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).
        log_depth: Whether to compute in a tree, or with fused kernels; otherwise along the chain.
    """
    dtype = emissions.dtype
    double = working_dtype(emissions.device, dtype)
    if log_depth and (fused := fused_kernels(emissions)):
        centred, alpha, beta, log_partition = fused.forward_backward(emissions, mask, start, transitions, end, double)
        return LogTrellis(dtype, mask, centred, transitions.to(double), alpha, beta, log_partition, log_depth)
    start, transitions, end = (scores.to(double) for scores in (start, transitions, end))
    # Minus their maximum (0 where all are −inf), so that a constant added to all of them costs no precision.
    # shape: (batch, length, 1)
    peaks = emissions.amax(2, keepdim=True).to(double)
    peaks = torch.where(peaks.isfinite(), peaks, 0)
    centred = emissions.to(double) - peaks
    first = start + centred[:, 0]
    last = end.expand_as(first)
    messages = _through_tree if log_depth else _along_chain
    alpha, beta = messages(centred, mask, start, first, transitions, last)
    log_partition = torch.logsumexp(first + beta[:, 0], dim=1) + peaks.sum((1, 2))
    return LogTrellis(dtype, mask, centred, transitions, alpha, beta, log_partition.to(dtype), log_depth)


def _along_chain(
    emissions: Tensor, mask: Tensor, start: Tensor, first: Tensor, transitions: Tensor, last: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns α and β; one loop computes both directions."""
    # shape: (length, 2, batch, tags)
    scores = torch.stack([emissions, emissions.flip(1)]).permute(2, 0, 1, 3).contiguous()
    # shape: (2, 1, tags, tags)
    steps = torch.stack([transitions, transitions.T])[:, None]
    # In the backward direction a chain begins after its padding.
    # shape: (length, 2, batch, 1)
    begun = torch.stack([torch.ones_like(mask), mask.flip(1).roll(1, 1)]).permute(2, 0, 1)[..., None]
    # The messages before the first emission is added. Not `first` minus that emission: −inf − (−inf) is NaN.
    # shape: (2, batch, tags)
    entering = torch.stack([start.expand_as(first), last])
    messages = [entering]
    for t in range(1, len(scores)):
        # shape: (2, batch, tags, 1)
        state = (messages[-1] + scores[t - 1]).unsqueeze(-1)
        messages.append(torch.where(begun[t], torch.logsumexp(state + steps, dim=2), entering))
    # shape: (2, batch, length, tags)
    stacked = torch.stack(messages, dim=2)
    return stacked[0] + emissions, stacked[1].flip(1)


def _through_tree(
    emissions: Tensor, mask: Tensor, start: Tensor, first: Tensor, transitions: Tensor, last: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns α and β, both computed from one tree."""
    levels = ascend(chain_matrices(emissions, mask, transitions), log_identity(transitions), log_product)
    length = emissions.shape[1]
    # Leaf t holds the step from position t to t + 1: the product before it is α_t, the one after it β_{t+1}, and the
    # product of all leaves gives β_0.
    alpha = prefixes(levels, first, log_product)[:, :length]
    whole = log_product(levels[-1], last[:, None, :, None])[..., 0]
    beta = torch.cat([whole, suffixes(levels, last, log_product)], dim=1)[:, :length]
    return alpha, beta


def chain_matrices(emissions: Tensor, mask: Tensor, transitions: Tensor) -> Tensor:
    """Returns the scores of the step that follows each position: transition plus next emission; identity at padding.

    Returns:
        (batch, length, tags, tags).
    """
    # shape: (batch, length - 1, tags, tags)
    moves = transitions + emissions[:, 1:, None, :]
    identity = log_identity(transitions)
    moves = torch.where(mask[:, 1:, None, None], moves, identity)
    return torch.cat([moves, identity.expand(len(moves), 1, -1, -1)], dim=1)
