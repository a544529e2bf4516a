"""Autograd functions whose backward pass reuses the result of the forward–backward algorithm.

The forward pass of each function returns a copy of a value that is stored in the trellis; its backward pass is the
closed-form gradient, computed from the same trellis. Nothing is recorded step by step along the chain.

The gradients cannot be differentiated again: it is an error to try, never a missing term (see `differentiable_once`).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from lightning_ita.crf.trellis import Trellis

# Gradients of trellis (always None), emissions, start, transitions, end.
Gradients = tuple[None, Tensor, Tensor, Tensor, Tensor]


class _Undifferentiable(torch.autograd.Function):
    """Returns copies of gradients; computing a derivative of them raises an error."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Copies the first `count` tensors. The others are what those depend on: the error is found through them."""
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        """Raises the error."""
        raise RuntimeError(
            "trying to differentiate twice: the gradients of a ChainDistribution have no derivatives, so a gradient "
            "penalty or a Hessian (create_graph=True) cannot be computed through it"
        )


def differentiable_once(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., Any]:
    """Decorates a backward pass that autograd must not differentiate.

    ``torch.autograd.function.once_differentiable`` is not enough: it raises an error only where the incoming gradient
    itself requires a gradient, and only on the way to that one. Our gradients depend on the potentials through the
    trellis, which autograd does not see, so that ``log_partition.sum()`` with a gradient penalty would train without
    the penalty. Here the dependence on the potentials is recorded, with an error for its derivative.

    Args:
        backward: Returns the gradients of the four potentials last. Its forward pass has saved the potentials.
    """

    @wraps(backward)
    def wrapper(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            results = backward(ctx, *grads)
        if not torch.is_grad_enabled():  # it is only with create_graph=True
            return results
        gradients = results[-4:]
        return *results[:-4], *_Undifferentiable.apply(4, *gradients, *grads, *ctx.saved_tensors)

    return wrapper


class LogProb(torch.autograd.Function):
    """Log p(y). Its gradient is the counts of tags and transitions in y minus their expected counts."""

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
        """Returns the log-probability of the tags, shape (batch,). Tags and emissions must be zero at padding."""
        last_tags = tags.gather(1, trellis.last[:, None])[:, 0]
        # shape: (batch, length - 1)
        moves = tags[:, :-1] * len(start) + tags[:, 1:]
        moved = torch.where(mask[:, 1:], transitions.take(moves), 0)
        emitted = emissions.gather(2, tags[..., None])
        ctx.trellis, ctx.tags, ctx.mask, ctx.moves = trellis, tags, mask, moves
        ctx.save_for_backward(emissions, start, transitions, end)
        return emitted.sum((1, 2)) + moved.sum(1) + start[tags[:, 0]] + end[last_tags] - trellis.log_partition

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradient: counts in the tags minus marginals."""
        trellis: Trellis = ctx.trellis
        # shape: (batch, length)
        weights = grad[:, None] * ctx.mask
        emissions_grad = trellis.marginals * -grad[:, None, None]
        emissions_grad.scatter_add_(2, ctx.tags[..., None], weights[..., None])
        transitions_grad = (trellis.transition_counts * -grad[:, None, None]).sum(0)
        transitions_grad.view(-1).scatter_add_(0, ctx.moves.flatten(), weights[:, 1:].flatten())
        return None, None, None, emissions_grad, *_ends(emissions_grad, transitions_grad, trellis.last)


class LogPartition(torch.autograd.Function):
    """Log Z. Its gradient is the marginals and the expected counts of transitions."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Returns log Z, shape (batch,)."""
        ctx.trellis = trellis
        ctx.save_for_backward(*potentials)
        return trellis.log_partition.clone()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Returns the gradient: marginals, weighted by the incoming gradient."""
        trellis: Trellis = ctx.trellis
        emissions_grad = trellis.marginals * grad[:, None, None]
        transitions_grad = (trellis.transition_counts * grad[:, None, None]).sum(0)
        return None, emissions_grad, *_ends(emissions_grad, transitions_grad, trellis.last)


class Marginals(torch.autograd.Function):
    """p(y_t = j). Its backward pass is one more pass over the chain."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Returns the marginals, shape (batch, length, tags)."""
        ctx.trellis = trellis
        ctx.save_for_backward(*potentials)
        return trellis.marginals.clone()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Goes back through the softmax of log α + log β, then through both recursions."""
        marginals = ctx.trellis.marginals
        grad = grad * marginals
        grad -= marginals * grad.sum(2, keepdim=True)
        return None, *ctx.trellis.vjp(grad, grad)


class LogMarginals(torch.autograd.Function):
    """Log p(y_t = j). Its backward pass is one more pass over the chain."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> Tensor:
        """Returns the log-marginals, shape (batch, length, tags)."""
        ctx.trellis = trellis
        ctx.save_for_backward(*potentials)
        return trellis.log_marginals()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> Gradients:
        """Goes back through the log-softmax of log α + log β, then through both recursions."""
        grad = grad - ctx.trellis.marginals * grad.sum(2, keepdim=True)
        return None, *ctx.trellis.vjp(grad, grad)


class LogMessages(torch.autograd.Function):
    """Log α and log β. Their backward pass is one more pass over the chain."""

    @staticmethod
    def forward(ctx: Any, trellis: Trellis, *potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the messages, each (batch, length, tags)."""
        ctx.trellis = trellis
        ctx.save_for_backward(*potentials)
        return trellis.log_messages()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, alpha_grad: Tensor, beta_grad: Tensor) -> Gradients:
        """Goes back through both recursions."""
        return None, *ctx.trellis.vjp(alpha_grad, beta_grad)


def _ends(emissions_grad: Tensor, transitions_grad: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of start, transitions and end.

    A tag's start score is added to each sequence that its first emission is added to, so both have the same gradient;
    so have its end score and its last emission.
    """
    rows = torch.arange(len(last), device=last.device)
    return emissions_grad[:, 0].sum(0), transitions_grad, emissions_grad[rows, last].sum(0)
