"""Generating the states of one modality from those of the other: learned queries that read those that are kept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_ita.models.blocks.cross_layer import FeedForward, Sublayer
from lightning_ita.models.dropout import dropout

# τ of the comparison of real and generated states.
TEMPERATURE = 6.0


class KeptAttention(nn.Module):
    """Multi-head attention in which each key counts as much as it is kept.

    The weight of key j is keep_j · exp(s_j) / Σ_k keep_k · exp(s_k). That of a dropped key is 0, but not the gradient
    with respect to keep_j.

    Args:
        width: Width of queries, keys and results.
        heads: Number of heads.
        dropout: Probability with which an attention weight is set to zero in training.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        # Without bias, which the softmax would take away again: it would never be trained.
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, keep: Tensor) -> Tensor:
        """Attends to the keys that are kept.

        Args:
            queries: (batch or 1, queries, width)
            keys: (batch or 1, keys, width), the values as well.
            keep: (batch, keys), from 0 to 1; 1 at one key of each row at least.

        Returns:
            (batch, queries, width)
        """
        return self.read(self.ask(queries), keys, keep)

    def ask(self, queries: Tensor) -> Tensor:
        """Returns the projections of queries by head, for `read`, (batch or 1, heads, queries, width of a head)."""
        return self._by_head(self.query(queries))

    def _by_head(self, states: Tensor) -> Tensor:
        return states.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def read(self, query: Tensor, keys: Tensor, keep: Tensor) -> Tensor:
        """Attends to the keys that are kept; with the queries from `ask`, otherwise as a call."""
        # (batch, heads, length, width of a head) each
        key, value = self._by_head(self.key(keys)), self._by_head(self.value(keys))
        # (batch, heads, queries, keys)
        scores = (query @ key.transpose(2, 3)).float() * key.shape[-1] ** -0.5
        keep = keep[:, None, None]
        largest = scores.detach().masked_fill(keep < 0.5, -torch.inf).amax(-1, keepdim=True)
        # A dropped key may score far higher than all kept ones. Its weight is 0 in any case; its gradient is that of a
        # key which scores as high as the highest kept one, so that it has a bound.
        weights = (scores - largest).clamp_max(0.0).exp() * keep
        weights = (weights / weights.sum(-1, keepdim=True)).to(value.dtype)
        if self.training:
            weights = dropout(weights, self.dropout)
        result: Tensor = self.output((weights @ value).transpose(1, 2).flatten(2))
        return result


class Queries(NamedTuple):
    """Queries that are ready to read the states of another modality, at any level.

    Attributes:
        states: (batch, length, width)
        asked: The same as `KeptAttention.ask` returns them.
    """

    states: Tensor
    asked: Tensor


class Generator(nn.Module):
    """Generates the states of one modality from those of the other: learned queries and one decoder layer (post-LN).

    Args:
        width: Width of the states of both modalities.
        heads: Attention heads.
        feed_forward: Width between the two layers of the feed-forward part.
        queries: Most states that are generated for a tweet.
        dropout: Dropout of attention weights and of each part's result.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, queries: int, dropout: float = 0.1):
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width).uniform_(-0.1, 0.1))
        self.among = KeptAttention(width, heads, dropout)
        self.reading = KeptAttention(width, heads, dropout)
        self.feed_forward = FeedForward(width, feed_forward, "relu", dropout)
        self.after_among, self.after_reading, self.fed = (Sublayer(width, dropout) for _ in range(3))

    def ready(self, mask: Tensor) -> Queries:
        """Returns the queries after they have attended to each other, which does not depend on what they will read.

        Args:
            mask: bool (batch, length), True where a state is to be generated; the first ones of each row.
        """
        # The same in each row until some are masked.
        queries = self.queries[None, : mask.shape[1]]
        states: Tensor = self.after_among(queries, self.among(queries, queries, mask.float()))
        return Queries(states, self.reading.ask(states))

    def forward(self, queries: Queries, memory: Tensor, keep: Tensor) -> Tensor:
        """Generates one state per query.

        Args:
            queries: From `ready`.
            memory: (batch, states, width), states of the other modality.
            keep: (batch, states), 1 where a state is kept, 0 where it is dropped or there is none.

        Returns:
            (batch, length, width)
        """
        states = self.after_reading(queries.states, self.reading.read(queries.asked, memory, keep))
        generated: Tensor = self.fed(states, self.feed_forward(states))
        return generated


def softened(states: Tensor) -> Tensor:
    """Returns log softmax(states / τ) over the channels of each state, in float32."""
    return (states.float() / TEMPERATURE).log_softmax(-1)


def divergence(real: Tensor, generated: Tensor) -> Tensor:
    """Returns τ · KL(softmax(real / τ) ‖ softmax(generated / τ)) over the channels of each state.

    Args:
        real: (..., width), from `softened`: it is compared with several.
        generated: (..., width), the states themselves.

    Returns:
        float32 (...)
    """
    return TEMPERATURE * (real.exp() * (real - softened(generated))).sum(-1)


def mean_where(values: Tensor, weights: Tensor) -> Tensor:
    """Returns the weighted mean of each row, (batch,); the weights get no gradient, so that none is made small by it.

    Args:
        values: (batch, length)
        weights: (batch, length), not all 0 in a row.
    """
    weights = weights.detach().to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1)
