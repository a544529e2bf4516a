"""Encodes several views of a batch in one forward pass, without padding them to a common length.

The views of a batch differ in length; padding them to the longest would waste a quarter of the arithmetic. Here their
sub-tokens are concatenated into one row. Linear layers, which treat each sub-token alone, get one long matrix, and
attention is restricted to the sub-tokens of the same view of the same tweet. Only the first sub-token of each word is
used after the last layer, so that the last layer drops all others as soon as its attention is done.
"""

from __future__ import annotations

import threading
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

# Where views are cut into runs, without gradients: rows of a run, and padding that is left alone.
SMALLEST_RUN, MOST_PADDING = 8, 0.1
# On CPUs in bfloat16, the numbers of sub-tokens and words are rounded up to this many binary digits: oneDNN compiles a
# kernel for every shape of a matrix product, which takes longer than most products of this size.
DIGITS = 4
# The name under which this module's attention is registered with transformers.
PACKED_ATTENTION = "packed_views"
# Families whose attention is not restricted to a window, and which get positions from position ids alone.
PACKABLE = frozenset({"bert", "camembert", "electra", "roberta", "xlm-roberta", "xlm-roberta-xl"})
# What the attention of this thread is given last: several may tag with one model, which must not change for that.
_OF_THREAD = threading.local()


class Block(NamedTuple):
    """Views of one kind, padded to one length.

    Attributes:
        rows: Number of views.
        length: Sub-tokens per view, padding included.
        bias: float32 (rows, 1, 1, length), added to the attention scores: 0 at sub-tokens, -inf at padding.
    """

    rows: int
    length: int
    bias: Tensor


@dataclass(frozen=True)
class PaddedLayout:
    """Concatenated views, padded to the longest of their kind: where there is no kernel for views of other lengths.

    Attributes:
        blocks: One per kind of view: all text views, all cross-modal views.
        filling: Sub-tokens behind all views that belong to none; see `DIGITS`.
    """

    blocks: Sequence[Block]
    filling: int = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout_rate: float) -> Tensor:
        """Attends within each view.

        Args:
            query: (sub-tokens, heads, width); `key` and `value` likewise.
            key: See `query`.
            value: See `query`.
            scale: Factor by which the attention scores are multiplied.
            dropout_rate: Probability with which an attention weight is set to zero.

        Returns:
            (sub-tokens, heads, width)
        """
        sizes = [*(block.rows * block.length for block in self.blocks), self.filling]
        queries, keys, values = (tensor.split(sizes)[:-1] for tensor in (query, key, value))
        parts = zip(self.blocks, queries, keys, values, strict=True)
        # Autocast would convert the scores to float32 for the softmax, and back.
        with torch.autocast(query.device.type, enabled=False):
            attended = [_attend_block(*part, scale, dropout_rate) for part in parts]
            return torch.cat([*attended, attended[0].new_zeros(self.filling, *attended[0].shape[1:])])


def _attend_block(block: Block, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout_rate: float) -> Tensor:
    # (rows, heads, length, width) each
    query, key, value = (
        tensor.unflatten(0, (block.rows, block.length)).transpose(1, 2) for tensor in (query, key, value)
    )
    bias = block.bias.to(query.dtype)
    if dropout_rate == 0:
        attended = F.scaled_dot_product_attention(query, key, value, bias, scale=scale)
    else:
        attended = _attend_with_dropout(query, key, value, bias, scale, dropout_rate)
    return attended.transpose(1, 2).flatten(0, 1)


def _attend_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float, dropout_rate: float
) -> Tensor:
    # torch's fused kernel has no dropout on CPUs.
    rows, heads, length, _ = query.shape
    query, key, value = (tensor.flatten(0, 1) for tensor in (query, key, value))
    # (rows · heads, length, length)
    bias = bias.expand(-1, heads, length, -1).flatten(0, 1)
    scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)
    return (dropout(scores.softmax(-1), dropout_rate) @ value).unflatten(0, (rows, heads))


@dataclass(frozen=True)
class VariableLengthLayout:
    """Concatenated views without padding, for FlashAttention.

    Attributes:
        offsets: int32 (views + 1,), index of the first sub-token of each view, and the number of all sub-tokens.
        longest: Sub-tokens of the longest view; may be larger.
    """

    offsets: Tensor
    longest: int

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout_rate: float) -> Tensor:
        """Attends within each view; see `PaddedLayout.attend`."""
        # torch's public functions for views of different lengths either have no dropout (`varlen_attn`) or take three
        # times as long for small encoders (nested tensors); this operator is what they call.
        attended: Tensor = torch.ops.aten._flash_attention_forward(
            query, key, value, self.offsets, self.offsets, self.longest, self.longest, dropout_rate, False, False,
            scale=scale,
        )[0]  # fmt: skip
        return attended


def has_flash_attention(encoder: nn.Module, device: torch.device) -> bool:
    """Tells whether FlashAttention can read an encoder's views: in half precision, on a GPU from NVIDIA's Ampere on."""
    if device.type != "cuda" or not torch.backends.cuda.is_flash_attention_available():
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
    config: Any = encoder.config
    width = config.hidden_size // config.num_attention_heads
    return (
        dtype in (torch.bfloat16, torch.float16)
        and width % 8 == 0
        and width <= 256
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


class Packed(NamedTuple):
    """Views as one row: the arguments that an encoder with packed attention is called with.

    Attributes:
        input_ids: int64 (1, sub-tokens).
        position_ids: int64 (1, sub-tokens), position of each sub-token in its view, as the encoder counts positions.
        token_type_ids: int64 (1, sub-tokens), its type; ``None`` where views have no types.
        layout: Which sub-tokens belong to which view.
        first_subtokens: int64 (views · batch · words,), index of each word's first sub-token in the row; filled up
            with 0.
    """

    input_ids: Tensor
    position_ids: Tensor
    token_type_ids: Tensor | None
    layout: PaddedLayout | VariableLengthLayout
    first_subtokens: Tensor


def pack(views: Sequence[ViewBatch], offset: int, padding: bool, fill: bool = False) -> Packed:
    """Concatenates views into one row.

    Args:
        views: The views of one batch, one element per kind of view.
        offset: Position id of a view's first sub-token; see `position_offset`.
        padding: Whether the padding of each kind of view is kept (`PaddedLayout`) or removed (`VariableLengthLayout`).
        fill: Whether the numbers of sub-tokens and of words are rounded up, where padding is kept; see `DIGITS`.
    """
    ids, positions, types, first, blocks, lengths = [], [], [], [], [], []
    start = 0
    for view in views:
        rows, length = view.input_ids.shape
        place = torch.arange(offset, offset + length, device=view.input_ids.device).expand(rows, -1)
        if padding:
            ids.append(view.input_ids.flatten())
            positions.append(place.flatten())
            types += [] if view.token_types is None else [view.token_types.flatten()]
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
            types += [] if view.token_types is None else [view.token_types.flatten()[view.subtokens]]
            lengths.append(view.attention_mask.sum(1))
            starts = start + lengths[-1].cumsum(0) - lengths[-1]
        first.append(view.first_subtokens + starts[:, None])
        start += len(ids[-1])
    words = torch.cat(first).flatten()
    if padding:
        filling = _missing(start) if fill else 0
        ids.append(ids[0].new_zeros(filling))
        positions.append(positions[0].new_full((filling,), offset))
        types += [ids[-1]] if types else []
        words = F.pad(words, (0, _missing(len(words)) if fill else 0))
        layout: PaddedLayout | VariableLengthLayout = PaddedLayout(blocks, filling)
    else:
        longest = max(view.input_ids.shape[1] for view in views)
        ends = torch.cat(lengths).cumsum(0, dtype=torch.int32)
        layout = VariableLengthLayout(F.pad(ends, (1, 0)), longest)
    token_types = torch.cat(types)[None] if types else None
    return Packed(torch.cat(ids)[None], torch.cat(positions)[None], token_types, layout, words)


def _missing(count: int) -> int:
    return -count % (1 << max(count.bit_length() - DIGITS, 0))


def position_offset(encoder: nn.Module) -> int:
    """Returns the position id of a view's first sub-token, as an encoder of a family in `PACKABLE` counts them.

    XLM-R and RoBERTa count from padding_idx + 1, so that two of their 514 positions are never used.
    """
    padding_idx = encoder.get_submodule("embeddings.position_embeddings").padding_idx
    return 0 if padding_idx is None else int(padding_idx) + 1  # type: ignore[arg-type]


def word_states(encoder: nn.Module, views: Sequence[ViewBatch]) -> Tensor:
    """Encodes the views of a batch and returns the last hidden state at the first sub-token of each word.

    An encoder on which `use_packed_attention` had an effect encodes all views in one pass, others one view per pass.

    Args:
        encoder: A Hugging Face encoder.
        views: One element per kind of view, all of the same tweets in the same order.

    Returns:
        (views · batch, words, hidden); the values at padded words are arbitrary.
    """
    if getattr(encoder.config, "_attn_implementation", None) != PACKED_ATTENTION:
        states = []
        for view in views:
            # (batch, subtokens, hidden)
            types = {} if view.token_types is None else {"token_type_ids": view.token_types}
            hidden = encoder(input_ids=view.input_ids, attention_mask=view.attention_mask, **types).last_hidden_state
            states.append(hidden.gather(1, view.first_subtokens[..., None].expand(-1, -1, hidden.shape[-1])))
        return torch.cat(states)
    device = views[0].input_ids.device
    padding = not has_flash_attention(encoder, device)
    if device.type == "cpu" and not torch.is_grad_enabled():
        views = [run for view in views for run in _runs(view)]
    fill = device.type == "cpu" and torch.is_autocast_enabled("cpu")
    packed = pack(views, position_offset(encoder), padding, fill)
    rows, words = sum(len(view.first_subtokens) for view in views), views[0].first_subtokens.shape[1]
    # (views · batch · words, hidden), and what fills it up
    hidden = encoder(attention_mask=None, **packed._asdict()).last_hidden_state[0]
    return hidden[: rows * words].unflatten(0, (rows, words))


def _runs(view: ViewBatch) -> list[ViewBatch]:
    """Cuts a view of tweets that are in the order of their lengths into runs, each padded to its own longest.

    A run is halved as long as it has at least `SMALLEST_RUN` rows and more padding than `MOST_PADDING`: each run costs
    some operations in each layer.
    """
    runs, waiting = [], [(view, view.attention_mask.sum(1))]
    while waiting:
        run, lengths = waiting.pop()
        rows, longest = len(lengths), int(lengths.max())
        if rows < SMALLEST_RUN or int(lengths.sum()) >= (1 - MOST_PADDING) * rows * longest:
            runs.append(_cut(run, slice(None), longest))
            continue
        for part in (slice(rows // 2, None), slice(None, rows // 2)):  # the first is taken first
            waiting.append((_cut(run, part), lengths[part]))
    return runs


def _cut(view: ViewBatch, rows: slice, length: int | None = None) -> ViewBatch:
    """Returns some rows of a view, and so many of their sub-tokens."""
    types = None if view.token_types is None else view.token_types[rows, :length]
    ids, mask = view.input_ids[rows, :length], view.attention_mask[rows, :length]
    return ViewBatch(ids, mask, view.first_subtokens[rows], view.subtokens, types)


def use_packed_attention(encoder: nn.Module) -> None:
    """Makes `word_states` encode all views in one pass, if the encoder is of a family in `PACKABLE`."""
    if getattr(encoder.config, "model_type", None) in PACKABLE:
        encoder.set_attn_implementation(PACKED_ATTENTION)  # type: ignore[operator]
        last: Any = encoder.get_submodule("encoder.layer")[-1].attention  # type: ignore[index]
        last.output.register_forward_pre_hook(partial(_keep_words, last.self))


def _keep_words(attention: nn.Module, _: nn.Module, args: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Keeps only the first sub-token of each word in the output of the last attention, and in its residual input."""
    first_subtokens: Any = (attention if torch.compiler.is_compiling() else _OF_THREAD).first_subtokens
    return tuple(states.index_select(1, first_subtokens) for states in args)


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
    # Read by `_keep_words`, also when gradient checkpointing computes the activations again in the backward pass.
    (module if torch.compiler.is_compiling() else _OF_THREAD).first_subtokens = first_subtokens
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return layout.attend(query, key, value, scale, dropout)[None], None


AttentionInterface.register(PACKED_ATTENTION, _packed_attention)
