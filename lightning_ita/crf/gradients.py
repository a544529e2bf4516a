"""Closed-form gradients: one forward–backward gives a quantity and, by another name, its derivative.

Each function looks its value up in a trellis that has been computed already. None of them can be differentiated
twice: PyTorch says so when asked to.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_ita.crf.trellis import Trellis

# The trellis gets none; then emissions, start, transitions, end.
Gradients = tuple[None, Tensor, Tensor, Tensor, Tensor]


class LogPartition(torch.autograd.Function):
    """Log Z, whose gradient is the marginals."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Looks log Z up, shape (batch,)."""
        ctx.trellis = trellis
        return trellis.log_partition

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Weighs the marginals."""
        trellis: Trellis = ctx.trellis
        emissions_grad = trellis.marginals * grad[:, None, None]
        transitions_grad = trellis.weighted_transition_counts(grad)
        # shape: (tags,)
        end_grad = emissions_grad[torch.arange(len(grad), device=grad.device), trellis.last].sum(0)
        return None, emissions_grad, emissions_grad[:, 0].sum(0), transitions_grad, end_grad


class Marginals(torch.autograd.Function):
    """p(y_t = j), whose gradient is one more sweep over the chain."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Looks the marginals up, shape (batch, length, tags)."""
        ctx.trellis = trellis
        return trellis.marginals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Goes through the softmax of log α + log β, then back through both recursions."""
        marginals = ctx.trellis.marginals
        grad = grad * marginals
        grad -= marginals * grad.sum(2, keepdim=True)
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
