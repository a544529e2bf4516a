"""Sequences of sub-tokens and picture regions that one encoder reads, as if regions were sub-tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ita.errors import UserError
from lightning_ita.models.packing import PACKABLE, Block, PaddedLayout, position_offset


@dataclass(frozen=True, slots=True)
class Sequences:
    """Sequences of one kind, padded to one length.

    Attributes:
        embeddings: (batch, length, embedding width), before positions and token types are added.
        positions: int64 (batch, length), counted from 0.
        types: int64 (batch, length), token types.
        bias: float32 (batch, length), added to the scores of attention to each element: 0 at elements, -inf where there
            is none; log g makes an element count g times.
        wanted: int64 (batch, n), the elements whose last states are wanted.
    """

    embeddings: Tensor
    positions: Tensor
    types: Tensor
    bias: Tensor
    wanted: Tensor


def check_packable(encoder: nn.Module, system: str) -> None:
    """Checks that an encoder takes sequences as `encode` gives them.

    Raises:
        UserError: It does not.
    """
    family = getattr(encoder.config, "model_type", "")
    if family not in PACKABLE:
        raise UserError(
            f"{system} gives the encoder embeddings of regions and weighs them in attention, which works with "
            f"{', '.join(sorted(PACKABLE))}, not with {family or 'this encoder'}: give another --encoder"
        )


def encode(encoder: Any, kinds: Sequence[Sequences]) -> list[Tensor]:
    """Encodes sequences of several kinds in one pass.

    Positions are those given, whatever padding there is, and nobody attends to padding: so the states of a tweet do not
    depend on its batch.

    Args:
        encoder: A Hugging Face encoder with packed attention; see `check_packable`.
        kinds: For example the tweets alone, and the tweets with their pictures.

    Returns:
        The states wanted, (batch, n, width), by kind.
    """
    first = position_offset(encoder)
    blocks, wanted, start = [], [], 0
    for kind in kinds:
        rows, length = kind.positions.shape
        blocks.append(Block(rows, length, kind.bias[:, None, None]))
        starts = torch.arange(start, start + rows * length, length, device=kind.wanted.device)
        wanted.append((kind.wanted + starts[:, None]).flatten())
        start += rows * length
    last_type = encoder.config.type_vocab_size - 1  # XLM-R has one token type

    def row(parts: list[Tensor]) -> Tensor:
        return torch.cat([part.flatten(0, 1) for part in parts])[None]

    hidden = encoder(
        attention_mask=None,
        inputs_embeds=row([kind.embeddings for kind in kinds]),
        position_ids=row([kind.positions for kind in kinds]) + first,
        token_type_ids=row([kind.types for kind in kinds]).clamp_max(last_type),
        layout=PaddedLayout(blocks),
        first_subtokens=torch.cat(wanted),
    ).last_hidden_state[0]
    sizes = [kind.wanted.numel() for kind in kinds]
    return [part.view(*kind.wanted.shape, -1) for part, kind in zip(hidden.split(sizes), kinds, strict=True)]
