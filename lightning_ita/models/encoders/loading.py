"""Tokenizers and encoders as objects: what training and prediction need, torch included."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from lightning_ita.errors import UserError
from lightning_ita.models.dropout import use_fast_dropout
from lightning_ita.models.encoders.locating import EncoderShape, encoder_errors, locate_encoder

# Sub-tokens evaluated at once: on CPUs, and where more would not be faster on any accelerator.
CPU_EVALUATION_BUDGET, LARGEST_EVALUATION_BUDGET = 2048, 131072


def evaluation_budget(shape: EncoderShape) -> int:
    """Returns how many sub-tokens to evaluate at once: what an accelerator's free memory holds, less on a CPU.

    A CPU gains nothing from batches that fall out of its caches.
    """
    if not torch.cuda.is_available():
        return CPU_EVALUATION_BUDGET
    # Without gradients a layer's activations are all that is kept: float32 states and feed-forward at the worst.
    bytes_per_subtoken = 4 * (8 * shape.hidden + 2 * shape.feed_forward)
    free, _ = torch.cuda.mem_get_info()
    return min(max(free // 2 // bytes_per_subtoken, CPU_EVALUATION_BUDGET), LARGEST_EVALUATION_BUDGET)


def load_tokenizer(name: str) -> Any:
    """Loads an encoder's tokenizer.

    Raises:
        UserError: There is no such encoder, it cannot be read, or its tokenizer lacks the special tokens needed.
    """
    with encoder_errors(name):
        # add_prefix_space: words are given one by one; byte-level tokenizers read them as the start of a word.
        tokenizer = AutoTokenizer.from_pretrained(locate_encoder(name), add_prefix_space=True)
    for token in ("cls_token_id", "sep_token_id", "unk_token_id", "pad_token_id"):
        if getattr(tokenizer, token) is None:
            raise UserError(
                f"the tokenizer of encoder {name!r} has no {token.removesuffix('_id')}; use an encoder model"
            )
    return tokenizer


def load_encoder(name: str, pretrained: bool = True) -> nn.Module:
    """Loads an encoder, its weights from safetensors only.

    Args:
        name: ``minilm``, a folder, or a Hub id.
        pretrained: Whether its weights are read; if not, it is built from its configuration alone, with random weights,
            for a state dict that follows.

    Raises:
        UserError: There is no such encoder, or it cannot be read.
    """
    place = locate_encoder(name)
    with encoder_errors(name):
        encoder: nn.Module = (
            AutoModel.from_pretrained(place, use_safetensors=True)
            if pretrained
            else AutoModel.from_config(AutoConfig.from_pretrained(place))
        )
    if getattr(encoder, "pooler", None) is not None:
        encoder.register_module("pooler", None)  # sentence vectors play no part in tagging
    use_fast_dropout(encoder)
    return encoder.train()  # from_pretrained leaves dropout off, and Lightning keeps what it finds


def checkpoint_activations(encoder: nn.Module) -> None:
    """Keeps only each layer's input for the backward pass and computes the rest again: slower, with less memory."""
    # transformers renamed it within version 5.
    enable = getattr(encoder, "activation_checkpointing_enable", None) or encoder.gradient_checkpointing_enable
    enable()  # type: ignore[operator]
