"""One pass of an encoder over several views at once.

The views of a batch differ in length, so that padding them together wastes a quarter of the arithmetic. Here their
sub-tokens stand one behind the other in a single row: layers that look at one sub-token at a time (all but attention)
see one long matrix, and attention is confined to each view of each tweet. Since nothing but the first sub-token of each
word is read off the last layer, that layer computes nothing else once it has attended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

from lightning_ita.data.batching import ViewBatch
from lightning_ita.models.dropout import dropout

# The name under which transformers finds the attention of this module.
PACKED_ATTENTION = "packed_views"
# Encoders that attend to all positions alike, and know these by their position ids.
PACKABLE = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta", "xlm-roberta-xl"})


class Block(NamedTuple):
    """Views padded to one length, row behind row.

    Attributes:
        rows: Views.
        length: Sub-tokens of each, padding included.
        bias: float32 (rows, 1, 1, length), added to the scores: 0 where there is a sub-token, else -inf.
    """

    rows: int
    length: int
    bias: Tensor


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
    heads = query.shape[1]
    # (rows · heads, length, width) each
    query, key, value = (
        tensor.unflatten(0, (block.rows, block.length)).transpose(1, 2).flatten(0, 1) for tensor in (query, key, value)
    )
    # Not torch's fused kernel: for CPUs it has no dropout, and at the length of tweets it is slower.
    # (rows · heads, length, length)
    bias = block.bias.to(query.dtype).expand(-1, heads, block.length, -1).flatten(0, 1)
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)
    attended = dropout(scores.softmax(-1), dropout_rate) @ value
    return attended.unflatten(0, (block.rows, heads)).transpose(1, 2).flatten(0, 1)


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
    """Views as one row: arguments of an encoder with packed attention.

    Attributes:
        input_ids: int64 (1, sub-tokens).
        position_ids: int64 (1, sub-tokens), as the encoder counts them.
        layout: Where each view stands.
        first_subtokens: int64 (views · batch · words,), position of each word's first sub-token in the row.
    """

    input_ids: Tensor
    position_ids: Tensor
    layout: PaddedLayout | VariableLengthLayout
    first_subtokens: Tensor


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
            absent = view.attention_mask[:, None, None] == 0
            blocks.append(
                Block(
                    rows, length, absent.new_zeros(absent.shape, dtype=torch.float32).masked_fill_(absent, -torch.inf)
                )
            )
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
    return Packed(torch.cat(ids)[None], torch.cat(positions)[None], layout, torch.cat(first).flatten())


def position_offset(encoder: nn.Module) -> int:
    """Returns the position id of a view's first sub-token, as an encoder of a family in `PACKABLE` counts them.

    XLM-R and RoBERTa count from padding_idx + 1, so that two of their 514 positions are never used.
    """
    padding_idx = encoder.get_submodule("embeddings.position_embeddings").padding_idx
    return 0 if padding_idx is None else int(padding_idx) + 1  # type: ignore[arg-type]


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
    packed = pack(views, position_offset(encoder), padding=views[0].input_ids.device.type == "cpu")
    # (views · batch · words, hidden)
    hidden = encoder(attention_mask=None, **packed._asdict()).last_hidden_state[0]
    return hidden.unflatten(0, (-1, views[0].first_subtokens.shape[1]))


def use_packed_attention(encoder: nn.Module) -> None:
    """Lets an encoder read all views of a batch in one pass, if it is of a family known to take it so."""
    if getattr(encoder.config, "model_type", None) in PACKABLE:
        encoder.set_attn_implementation(PACKED_ATTENTION)  # type: ignore[operator]
        last: Any = encoder.get_submodule("encoder.layer")[-1].attention  # type: ignore[index]
        last.output.register_forward_pre_hook(partial(_keep_words, last.self))


def _keep_words(attention: nn.Module, _: nn.Module, args: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Leaves the first sub-token of each word of what a layer attended to, and of its residual."""
    return tuple(states.index_select(1, attention.first_subtokens) for states in args)  # type: ignore[arg-type]


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    layout: PaddedLayout | VariableLengthLayout,
    first_subtokens: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    # (1, heads, sub-tokens, width) to (sub-tokens, heads, width)
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    # For `_keep_words`, here and when activations are computed anew in the backward pass.
    module.first_subtokens = first_subtokens
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return layout.attend(query, key, value, scale, dropout)[None], None


AttentionInterface.register(PACKED_ATTENTION, _packed_attention)
