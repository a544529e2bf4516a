"""Tokenizers and encoders as objects: what training and prediction need, torch included."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from lightning_ita.errors import UserError
from lightning_ita.models.dropout import use_fast_dropout
from lightning_ita.models.encoders.checking import check_family, check_reading, check_weights
from lightning_ita.models.encoders.locating import (
    OFFSET_FAMILIES,
    EncoderShape,
    encoder_errors,
    encoder_shape,
    folder_digest,
    locate_encoder,
    read_config,
)
from lightning_ita.text import quoted

# Encoders that were tried in this process, with their digests and the longest views: a study loads one per cell.
_TRIED: set[tuple[str, str | None, int]] = set()

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
    """Loads an encoder's tokenizer, which reads special tokens that are spelled in a text as text.

    Raises:
        UserError: There is no such encoder, its tokenizer cannot be read, lacks special tokens or words, or knows more
            sub-tokens than the encoder.
    """
    vocabulary = encoder_shape(name).vocabulary
    with encoder_errors(name, "tokenizer", "It needs the files that its tokenizer's save_pretrained writes."):
        # add_prefix_space: words are given one by one; byte-level tokenizers read them as the start of a word.
        tokenizer = AutoTokenizer.from_pretrained(
            locate_encoder(name), add_prefix_space=True, split_special_tokens=True, trust_remote_code=False
        )
        _check_tokenizer(name, tokenizer, vocabulary)
    return tokenizer


def _check_tokenizer(name: str, tokenizer: Any, vocabulary: int) -> None:
    """Checks that a tokenizer can write views, and that it is the encoder's.

    Raises:
        UserError: It is not.
    """
    for token in ("cls_token", "sep_token", "unk_token", "pad_token"):
        if getattr(tokenizer, token) is None:
            raise UserError(
                f"the tokenizer of encoder {quoted(name)} has no {token}. Views are written with all four of cls, sep, "
                f"unk and pad, as BERT and XLM-R read them; encoders of other kinds cannot be used"
            )
    ids = tokenizer.get_vocab().values()
    if set(ids) <= set(tokenizer.all_special_ids):
        raise UserError(f"the tokenizer of encoder {quoted(name)} knows no words; its vocabulary's file is missing")
    if max(ids) >= vocabulary:
        raise UserError(
            f"the tokenizer of encoder {quoted(name)} has sub-tokens up to id {max(ids)}, but the encoder only "
            f"{vocabulary} (vocab_size in config.json); they do not belong together"
        )
    config = read_config(name)
    padding = config.get("pad_token_id")
    if config.get("model_type") in OFFSET_FAMILIES and padding not in (None, tokenizer.pad_token_id):
        raise UserError(
            f"the tokenizer of encoder {quoted(name)} pads with id {tokenizer.pad_token_id}, but pad_token_id in "
            f"config.json is {quoted(padding)}, by which the encoder counts positions; they do not belong together"
        )
    # Fails where its settings are damaged, or the unknown token is not in its vocabulary.
    tokenizer([["a"], ["𪚥"]], is_split_into_words=True, add_special_tokens=False)


def same_tokenizer(one: str, other: str) -> bool:
    """Tells whether two encoders are given the same sub-tokens for the same words."""
    if one == other:
        return True
    if "module" in (one, other):  # encoder objects, whose tokenizers are not known
        return False
    first, second = (load_tokenizer(name).backend_tokenizer.to_str() for name in (one, other))
    return bool(first == second)


def load_encoder(name: str, pretrained: bool = True, max_length: int | None = None) -> nn.Module:
    """Loads an encoder in float32, its weights from safetensors only, and tries it (`check_reading`).

    Args:
        name: ``minilm``, a folder, or a Hub id.
        pretrained: Whether its weights are read; if not, it is built from its configuration alone, with random weights,
            for a state dict that follows.
        max_length: Longest view that it will be given, in sub-tokens; the limit that its configuration names if not
            given.

    Raises:
        UserError: There is no such encoder, it cannot be read, its weights are not those its configuration describes,
            or it does not read views as it should.
    """
    shape = encoder_shape(name)
    place = locate_encoder(name)
    with encoder_errors(name, "configuration", "It needs a config.json of a family that transformers knows."):
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        check_family(name, config)
    # In float32 whatever the file holds: mixed precision is autocast's, and small steps are lost in bfloat16 weights.
    options = {"config": config, "dtype": torch.float32, "trust_remote_code": False}
    with (
        _without_report(),
        encoder_errors(name, "weights", "They are read from safetensors; pickled weights are not read."),
    ):
        if pretrained:
            # Tensors of another shape are an error of ours, which names them.
            encoder, info = AutoModel.from_pretrained(
                place, **options, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True
            )
            check_weights(name, encoder, info)
        else:
            encoder = AutoModel.from_config(**options)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = nn.Identity()  # sentence vectors play no part in tagging; SqueezeBERT and LayoutLM call it
    use_fast_dropout(encoder)
    tried = (place, folder_digest(name), min(max_length or shape.max_length, shape.max_length))
    if pretrained and tried not in _TRIED:
        check_reading(name, encoder, shape, tried[-1])
        _TRIED.add(tried)
    trained: nn.Module = encoder.train()  # from_pretrained leaves dropout off, and Lightning keeps what it finds
    return trained


@contextmanager
def _without_report() -> Iterator[None]:
    """Silences transformers' table of tensors that are missing or left over: `check_weights` decides on them."""
    logger = logging.getLogger("transformers.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def checkpoint_activations(encoder: nn.Module) -> None:
    """Keeps only each layer's input for the backward pass and computes the rest again: slower, with less memory."""
    # transformers renamed it within version 5.
    enable = getattr(encoder, "activation_checkpointing_enable", None) or encoder.gradient_checkpointing_enable
    enable()  # type: ignore[operator]
