"""Closed-form gradients: one forward–backward gives a quantity and, by another name, its derivative.

Each function looks its value up in a trellis that has been computed already, and hands out a copy. None of them can be
differentiated twice: PyTorch says so when asked to.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_ita.crf.trellis import Trellis

# The trellis gets none; then emissions, start, transitions, end.
Gradients = tuple[None, Tensor, Tensor, Tensor, Tensor]


class LogProb(torch.autograd.Function):
    """Log p(y), whose gradient is what y has less what is to be expected."""

    @staticmethod
    def forward(
        ctx: Any,
        trellis: Trellis,
        tags: Tensor,
        mask: Tensor,
        emissions: Tensor,
        start: Tensor,
        transitions: Tensor,
        end: Tensor,
    ) -> Tensor:
        """Scores the tags, shape (batch,). Both tags and emissions are zero at padding."""
        last_tags = tags.gather(1, trellis.last[:, None])[:, 0]
        # shape: (batch, length - 1)
        moves = tags[:, :-1] * len(start) + tags[:, 1:]
        moved = torch.where(mask[:, 1:], transitions.take(moves), 0)
        emitted = emissions.gather(2, tags[..., None])
        ctx.trellis, ctx.tags, ctx.mask, ctx.moves = trellis, tags, mask, moves
        return emitted.sum((1, 2)) + moved.sum(1) + start[tags[:, 0]] + end[last_tags] - trellis.log_partition

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Weighs the counts of the tags less the marginals."""
        trellis: Trellis = ctx.trellis
        # shape: (batch, length)
        weights = grad[:, None] * ctx.mask
        emissions_grad = trellis.marginals * -grad[:, None, None]
        emissions_grad.scatter_add_(2, ctx.tags[..., None], weights[..., None])
        transitions_grad = (trellis.transition_counts * -grad[:, None, None]).sum(0)
        transitions_grad.view(-1).scatter_add_(0, ctx.moves.flatten(), weights[:, 1:].flatten())
        return None, None, None, emissions_grad, *_ends(emissions_grad, transitions_grad, trellis.last)


class LogPartition(torch.autograd.Function):
    """Log Z, whose gradient is the marginals."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Looks log Z up, shape (batch,)."""
        ctx.trellis = trellis
        return trellis.log_partition.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Weighs the marginals."""
        trellis: Trellis = ctx.trellis
        emissions_grad = trellis.marginals * grad[:, None, None]
        transitions_grad = (trellis.transition_counts * grad[:, None, None]).sum(0)
        return None, emissions_grad, *_ends(emissions_grad, transitions_grad, trellis.last)


class Marginals(torch.autograd.Function):
    """p(y_t = j), whose gradient is one more sweep over the chain."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Looks the marginals up, shape (batch, length, tags)."""
        ctx.trellis = trellis
        return trellis.marginals.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Goes through the softmax of log α + log β, then back through both recursions."""
        marginals = ctx.trellis.marginals
        grad = grad * marginals
        grad -= marginals * grad.sum(2, keepdim=True)
        return None, *ctx.trellis.vjp(grad, grad)


class LogMarginals(torch.autograd.Function):
    """Log p(y_t = j), whose gradient is one more sweep over the chain."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Looks the marginals up, shape (batch, length, tags)."""
        ctx.trellis = trellis
        return trellis.log_marginals()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Goes through the log-softmax of log α + log β, then back through both recursions."""
        grad = grad - ctx.trellis.marginals * grad.sum(2, keepdim=True)
        return None, *ctx.trellis.vjp(grad, grad)


class LogMessages(torch.autograd.Function):
    """Log α and log β, whose gradient is one more sweep over the chain."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Looks the messages up, each (batch, length, tags)."""
        ctx.trellis = trellis
        return trellis.log_messages()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, alpha_grad: Tensor, beta_grad: Tensor) -> Gradients:
        """Goes back through both recursions."""
        return None, *ctx.trellis.vjp(alpha_grad, beta_grad)


def _ends(emissions_grad: Tensor, transitions_grad: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of start, transitions and end: the first and last tags' are those of their emissions."""
    rows = torch.arange(len(last), device=last.device)
    return emissions_grad[:, 0].sum(0), transitions_grad, emissions_grad[rows, last].sum(0)
