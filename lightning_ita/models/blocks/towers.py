"""Transformer layers that attend to their own states and, beside them, to states that were generated for them.

Generated states are keys and values as they are: they are split into heads, and not projected (BGA-MNER).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_ita.errors import UserError
from lightning_ita.models.blocks.cross_layer import FeedForward
from lightning_ita.models.dropout import Dropout, dropout

# Families whose layers are BERT's, part by part.
LIKE_BERT = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta"})


def check_like_bert(encoder: nn.Module, system: str) -> None:
    """Checks that an encoder's layers can be computed one by one by `bert_layer`.

    Raises:
        UserError: They cannot.
    """
    family = getattr(encoder.config, "model_type", "")
    if family not in LIKE_BERT:
        raise UserError(
            f"{system} computes the encoder layer by layer, for families whose layers are BERT's "
            f"({', '.join(sorted(LIKE_BERT))}), not for {family or 'this one'}: give another --encoder"
        )


def attend(query: Tensor, own: tuple[Tensor, Tensor], extra: Tensor, bias: Tensor, heads: int, rate: float) -> Tensor:
    """Attends to a layer's own states and to generated ones.

    Args:
        query: (batch, queries, width)
        own: Keys and values of the layer's own states, (batch, length, width) each.
        extra: (batch, generated, width), generated states.
        bias: (batch, length + generated), added to the scores: 0 at states, -inf where there is none.
        heads: Number of heads.
        rate: Probability with which an attention weight is set to zero.

    Returns:
        (batch, queries, width)
    """
    # (batch, heads, length, width of a head) each
    query, key, value = (
        states.unflatten(2, (heads, -1)).transpose(1, 2)
        for states in (query, *(torch.cat([states, extra.to(states.dtype)], 1) for states in own))
    )
    scores = (query @ key.transpose(2, 3)).float() * key.shape[-1] ** -0.5 + bias[:, None, None]
    weights = dropout(scores.softmax(-1), rate).to(value.dtype)
    return (weights @ value).transpose(1, 2).flatten(2)


def bert_layer(layer: Any, states: Tensor, extra: Tensor, bias: Tensor, rate: float) -> Tensor:
    """Computes a layer of BERT whose attention sees generated states, too.

    Args:
        layer: A layer of an encoder of a family in `LIKE_BERT`.
        states: (batch, length, width)
        extra: (batch, generated, width), see `attend`.
        bias: (batch, length + generated), see `attend`.
        rate: Dropout of the attention weights; 0 in evaluation mode.

    Returns:
        (batch, length, width)
    """
    attention = layer.attention.self
    own = attention.key(states), attention.value(states)
    attended = attend(attention.query(states), own, extra, bias, attention.num_attention_heads, rate)
    result: Tensor = layer.feed_forward_chunk(layer.attention.output(attended, states))
    return result


class PreNormLayer(nn.Module):
    """A Transformer layer with layer normalisation before each part, whose attention sees generated states, too.

    Args:
        width: Width of the states.
        heads: Attention heads.
        rate: Dropout of attention weights and of each part's result.
    """

    def __init__(self, width: int, heads: int, rate: float = 0.1):
        super().__init__()
        self.heads = heads
        self.rate = rate
        self.before_attention, self.before_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.feed_forward = FeedForward(width, 4 * width)
        self.dropout = Dropout(rate)

    def forward(self, states: Tensor, extra: Tensor, bias: Tensor) -> Tensor:
        """Returns the states after this layer; arguments as for `bert_layer`."""
        normed = self.before_attention(states)
        own = self.key(normed), self.value(normed)
        attended = attend(self.query(normed), own, extra, bias, self.heads, self.rate if self.training else 0.0)
        states = states + self.dropout(self.output(attended))
        result: Tensor = states + self.dropout(self.feed_forward(self.before_feed_forward(states)))
        return result
