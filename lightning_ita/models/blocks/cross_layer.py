"""Transformer layers whose queries read another sequence: words read pictures, pictures read words.

Attention over an empty set of keys returns exactly 0. That is how every system reads a tweet without a picture: the
text view has no visual keys, and neither has a tweet whose picture is missing or cannot be read.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ita.errors import UserError
from lightning_ita.models.dropout import Dropout

Activation = Literal["gelu", "relu"]
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class Attention(nn.Module):
    """Multi-head attention whose result is 0 where there is no key.

    Unlike in `torch.nn.MultiheadAttention` an empty set of keys does not give NaN, and keys have no bias: it would add
    the same number to all scores of a query, which the softmax takes away again, so that it would never be trained.

    Args:
        width: Width of queries, keys and results.
        heads: Number of heads.
        dropout: Probability with which an attention weight is set to zero in training.
        project_values: Whether values and results are projected; if not, the keys themselves are averaged.

    Raises:
        UserError: The width cannot be divided by the number of heads.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, project_values: bool = True):
        super().__init__()
        if width % heads:
            raise UserError(f"{heads} attention heads do not divide a width of {width}")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width) if project_values else nn.Identity()
        self.output = nn.Linear(width, width) if project_values else nn.Identity()

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Attends to the keys that there are.

        Args:
            queries: (batch, queries, width)
            keys: (batch, keys, width), the values as well; finite where there is no key.
            mask: bool (batch, keys), True where there is a key.

        Returns:
            (batch, queries, width), 0 in rows without any key.
        """
        absent = ~mask.any(1)
        # A softmax over nothing is NaN, also in the backward pass: rows without a key attend to all, and get 0 below.
        allowed = (mask | absent[:, None])[:, None, None]
        # (batch, heads, length, width of a head) each
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(queries), self.key(keys), self.value(keys))
        )
        rate = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value.to(key.dtype), attn_mask=allowed, dropout_p=rate)
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result.masked_fill(absent[:, None, None], 0.0)


class FeedForward(nn.Sequential):
    """Two linear layers with a nonlinearity between them, applied at each position.

    Args:
        width: Width of inputs and results.
        inner: Width between the two layers.
        activation: The nonlinearity.
        dropout: Probability with which a number between the two layers is set to zero in training.
    """

    def __init__(self, width: int, inner: int, activation: Activation = "gelu", dropout: float = 0.0):
        super().__init__(nn.Linear(width, inner), _ACTIVATIONS[activation](), Dropout(dropout), nn.Linear(inner, width))


class Sublayer(nn.Module):
    """What stands around every part of a Transformer layer: dropout, residual connection, layer normalisation.

    Args:
        width: Width of inputs and results.
        dropout: Probability with which a number of the part's result is set to zero in training.
        residual: Whether the input is added to the part's result.
        eps: Added to the variance that the normalisation divides by.
    """

    def __init__(self, width: int, dropout: float, residual: bool = True, eps: float = 1e-5):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width, eps)
        self.residual = residual

    def forward(self, inputs: Tensor, result: Tensor) -> Tensor:
        """Returns LN(inputs + dropout(result)), or LN(dropout(result)) without residual connection."""
        result = self.dropout(result)
        normed: Tensor = self.norm(inputs + result if self.residual else result)
        return normed


class CrossLayer(nn.Module):
    """A post-LN Transformer layer whose queries read another sequence; with both the same, a usual layer of BERT.

    With queries q, keys k and dropout D: a = LN(q + D(MHA(q; k))), result LN(a + D(FFN(a))). Without any key a is
    LN(q), or LN(0) without residual connection.

    Args:
        width: Width of queries, keys and results.
        heads: Attention heads.
        feed_forward: Width between the two layers of FFN; 0 leaves FFN out: the result is a.
        activation: Nonlinearity of FFN.
        dropout: Dropout of attention weights and of the results of MHA and FFN.
        inner_dropout: Dropout between the two layers of FFN.
        residual: Whether q is added to MHA's result, and a to FFN's.
        project_values: See `Attention`.
        eps: See `Sublayer`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        activation: Activation = "gelu",
        dropout: float = 0.1,
        inner_dropout: float = 0.0,
        residual: bool = True,
        project_values: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.attention = Attention(width, heads, dropout, project_values)
        self.attended = Sublayer(width, dropout, residual, eps)
        self.feed_forward = FeedForward(width, feed_forward, activation, inner_dropout) if feed_forward else None
        self.fed = Sublayer(width, dropout, residual, eps) if feed_forward else None

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Returns the queries after they have read the keys; arguments as for `Attention.forward`."""
        states: Tensor = self.attended(queries, self.attention(queries, keys, mask))
        if self.feed_forward is None or self.fed is None:
            return states
        fed: Tensor = self.fed(states, self.feed_forward(states))
        return fed


def initialise_as_bert(module: nn.Module) -> None:
    """Draws the weights of all linear layers from N(0, 0.02), and sets their biases to 0, as BERT does."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def initialise_uniformly(module: nn.Module) -> None:
    """Draws the weights of all linear layers by Xavier's uniform rule, and sets their biases to 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def mean_over(states: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean of the states that there are: 0 where there is none.

    Args:
        states: (batch, length, width), finite.
        mask: bool (batch, length), True where there is a state.
    """
    weights = mask.to(states.dtype)[..., None]
    return (states * weights).sum(1) / weights.sum(1).clamp_min(torch.finfo(states.dtype).tiny)
