"""Closed-form gradients: one forward–backward gives a quantity and its derivative."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_ita.crf.log_space import LogMessages

# emissions, start, transitions, end
Potentials = tuple[Tensor, Tensor, Tensor, Tensor]


class LogPartition(torch.autograd.Function):
    """log Z, whose gradient is the marginals."""

    @staticmethod
    def forward(ctx: Any, chain: LogMessages, *potentials: Tensor) -> Tensor:
        """Looks log Z up."""
        ctx.chain = chain
        return chain.log_partition

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Weighs the marginals."""
        chain: LogMessages = ctx.chain
        emissions_grad = chain.marginals * grad[:, None, None]
        # shape: (tags, tags)
        transitions_grad = torch.einsum("b,bij->ij", grad, chain.pair_sums())
        last = chain.mask.sum(1) - 1
        # shape: (tags,)
        end_grad = emissions_grad[torch.arange(len(grad), device=grad.device), last].sum(0)
        return None, emissions_grad, emissions_grad[:, 0].sum(0), transitions_grad, end_grad


class Messages(torch.autograd.Function):
    """α and β, whose gradient is one more sweep over the chain."""

    @staticmethod
    def forward(ctx: Any, chain: LogMessages, *potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Looks the messages up."""
        ctx.chain = chain
        return chain.alpha.clone(), chain.beta.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor | None, ...]:
        """Sweeps back."""
        inside = ctx.chain.mask[..., None]
        return None, *ctx.chain.vjp(torch.where(inside, alpha_grad, 0), torch.where(inside, beta_grad, 0))
