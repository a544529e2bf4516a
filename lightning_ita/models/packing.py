"""One pass of an encoder over several views at once.

The views of a batch differ in length, so that padding them together wastes a quarter of the arithmetic. Here their
sub-tokens stand one behind the other in a single row: layers that look at one sub-token at a time (all but attention)
see one long matrix, and attention is confined to each view of each tweet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

from lightning_ita.data.batching import ViewBatch
from lightning_ita.models.dropout import dropout
from lightning_ita.models.encoders import position_offset

# The name under which transformers finds the attention of this module.
PACKED_ATTENTION = "packed_views"
# Encoders that attend to all positions alike, and know these by their position ids.
PACKABLE = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta", "xlm-roberta-xl"})


class Block(NamedTuple):
    """Views padded to one length, row behind row.

    Attributes:
        rows: Views.
        length: Sub-tokens of each, padding included.
        mask: bool (rows, 1, 1, length), True where there is a sub-token; ``None`` where there is no padding.
    """

    rows: int
    length: int
    mask: Tensor | None


@dataclass(frozen=True)
class PaddedLayout:
    """Views one behind the other, each kind padded to its own longest: for CPUs, where gathering costs more.

    Attributes:
        blocks: One a kind of view.
    """

    blocks: Sequence[Block]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout_rate: float) -> Tensor:
        """Attends within each view.

        Args:
            query: (sub-tokens, heads, width); `key` and `value` likewise.
            key: See `query`.
            value: See `query`.
            scale: Factor of the scores.
            dropout_rate: Probability with which an attention weight is dropped.

        Returns:
            (sub-tokens, heads, width)
        """
        sizes = [block.rows * block.length for block in self.blocks]
        parts = zip(self.blocks, query.split(sizes), key.split(sizes), value.split(sizes), strict=True)
        # Under autocast the scores would be copied to float32 and back for the softmax.
        with torch.autocast(query.device.type, enabled=False):
            return torch.cat([_attend_block(*part, scale, dropout_rate) for part in parts])


def _attend_block(block: Block, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout_rate: float) -> Tensor:
    # (rows, heads, length, width) each
    query, key, value = (
        tensor.unflatten(0, (block.rows, block.length)).transpose(1, 2) for tensor in (query, key, value)
    )
    # Not torch's fused kernel: for CPUs it has no dropout, and at the length of tweets it is slower.
    # (rows, heads, length, length)
    scores = query @ key.transpose(-1, -2) * scale
    if block.mask is not None:
        scores = scores.masked_fill(~block.mask, torch.finfo(scores.dtype).min)
    attended = dropout(scores.softmax(-1), dropout_rate) @ value
    return attended.transpose(1, 2).flatten(0, 1)


@dataclass(frozen=True)
class VariableLengthLayout:
    """Views one behind the other without padding: for GPUs, whose attention kernels take any lengths.

    Attributes:
        offsets: int64 (views + 1,), where each view begins, and the end.
        longest: Sub-tokens of the longest view, or more.
    """

    offsets: Tensor
    longest: int

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout_rate: float) -> Tensor:
        """Attends within each view; see `PaddedLayout.attend`."""
        # (views, heads, length of each, width)
        query, key, value = (
            torch.nested.nested_tensor_from_jagged(
                tensor, self.offsets, min_seqlen=1, max_seqlen=self.longest
            ).transpose(1, 2)
            for tensor in (query, key, value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout_rate, scale=scale)
        return attended.transpose(1, 2).values()


class Packed(NamedTuple):
    """Views as one row.

    Attributes:
        input_ids: int64 (1, sub-tokens).
        position_ids: int64 (1, sub-tokens), as the encoder counts them.
        first_subtokens: int64 (views · batch, words), position of each word's first sub-token in the row.
        layout: Where each view stands.
    """

    input_ids: Tensor
    position_ids: Tensor
    first_subtokens: Tensor
    layout: PaddedLayout | VariableLengthLayout


def pack(views: Sequence[ViewBatch], offset: int, padding: bool) -> Packed:
    """Writes views one behind the other.

    Args:
        views: The views of one batch.
        offset: Position of a view's first sub-token; see `position_offset`.
        padding: Whether each kind of view stays padded (`PaddedLayout`), or padding is left out.
    """
    ids, positions, first, blocks, lengths = [], [], [], [], []
    start = 0
    for view in views:
        rows, length = view.input_ids.shape
        place = torch.arange(offset, offset + length, device=view.input_ids.device).expand(rows, -1)
        if padding:
            ids.append(view.input_ids.flatten())
            positions.append(place.flatten())
            starts = torch.arange(start, start + rows * length, length, device=place.device)
            full = len(view.subtokens) == rows * length
            blocks.append(Block(rows, length, None if full else view.attention_mask[:, None, None].bool()))
        else:
            ids.append(view.input_ids.flatten()[view.subtokens])
            positions.append(place.flatten()[view.subtokens])
            lengths.append(view.attention_mask.sum(1))
            starts = start + lengths[-1].cumsum(0) - lengths[-1]
        first.append(view.first_subtokens + starts[:, None])
        start += len(ids[-1])
    layout: PaddedLayout | VariableLengthLayout = PaddedLayout(blocks)
    if not padding:
        longest = max(view.input_ids.shape[1] for view in views)
        layout = VariableLengthLayout(F.pad(torch.cat(lengths).cumsum(0), (1, 0)), longest)
    return Packed(torch.cat(ids)[None], torch.cat(positions)[None], torch.cat(first), layout)


def word_states(encoder: nn.Module, views: Sequence[ViewBatch]) -> Tensor:
    """Encodes the views of a batch, and returns the last layer's state at the first sub-token of each word.

    Encoders of other families than `PACKABLE` read one view after the other.

    Args:
        encoder: A Hugging Face encoder; see `use_packed_attention`.
        views: The views, of the same tweets.

    Returns:
        (views · batch, words, hidden); what stands at padding means nothing.
    """
    if getattr(encoder.config, "_attn_implementation", None) != PACKED_ATTENTION:
        states = []
        for view in views:
            # (batch, subtokens, hidden)
            hidden = encoder(input_ids=view.input_ids, attention_mask=view.attention_mask).last_hidden_state
            states.append(hidden.gather(1, view.first_subtokens[..., None].expand(-1, -1, hidden.shape[-1])))
        return torch.cat(states)
    packed = pack(views, position_offset(encoder.config), padding=views[0].input_ids.device.type == "cpu")
    # (sub-tokens, hidden)
    hidden = encoder(
        input_ids=packed.input_ids, position_ids=packed.position_ids, attention_mask=None, layout=packed.layout
    ).last_hidden_state[0]
    return hidden[packed.first_subtokens.flatten()].unflatten(0, packed.first_subtokens.shape)


def use_packed_attention(encoder: nn.Module) -> None:
    """Lets an encoder read all views of a batch in one pass, if it is of a family known to take it so."""
    if getattr(encoder.config, "model_type", None) in PACKABLE:
        encoder.set_attn_implementation(PACKED_ATTENTION)  # type: ignore[operator]


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    layout: PaddedLayout | VariableLengthLayout,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    # (1, heads, sub-tokens, width) to (sub-tokens, heads, width)
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return layout.attend(query, key, value, scale, dropout)[None], None


AttentionInterface.register(PACKED_ATTENTION, _packed_attention)
