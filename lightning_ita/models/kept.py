"""A trained model as a folder that one keeps, shares and loads again, without the network and without its encoder.

The folder holds ``config.json`` (`KeptConfig`), ``model.safetensors`` (all weights), ``encoder/`` (the encoder's own
configuration and its tokenizer, where the system has an encoder) and ``README.md``, the model card. Nothing in it is
ever unpickled or run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from typing_extensions import TypedDict

import lightning_ita
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import parse_json, read_bytes, user_path, write_text
from lightning_ita.models.encoders.loading import load_tokenizer
from lightning_ita.models.encoders.locating import MINILM, MINILM_HUB_ID, read_config
from lightning_ita.models.kept_vision import VISION, KeptVision, find_vision, save_vision
from lightning_ita.models.options import from_values, to_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.text import quoted

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

# Of `config.json`; raised when its fields change their meaning.
VERSION = 1
CONFIG, WEIGHTS, ENCODER, CARD = "config.json", "model.safetensors", "encoder", "README.md"
TOKENIZER_CONFIG = "tokenizer_config.json"
# Files that other programs keep pickled weights in.
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# What is fetched from the Hub, and no other file.
FETCHED = (
    *(CONFIG, WEIGHTS, CARD, f"{ENCODER}/*.json", f"{ENCODER}/*.txt", f"{ENCODER}/*.model"),
    *(f"{VISION}/*.json", f"{VISION}/*.safetensors"),
)
MOST_CONFIG = 2**22
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
# How a corpus writes @names and #tags, which raw text is cut into words by: as one word, or the sign as a word.
Handles = Literal["whole", "split"]

Name = Annotated[str, Field(min_length=1, max_length=300)]


class KeptConfig(TypedDict):
    """``config.json`` of a kept model.

    Attributes:
        version: Of this file.
        lightning_ita: Version of this package that wrote it.
        system: Name of the system.
        options: Options of the system.
        types: Entity types, in the order of the model's tags.
        tag_scheme: Tags inside the model.
        labels: How stray ``I-`` tags were read.
        views: The views it was tested in.
        recipe: Hyper-parameters.
        encoder: The encoder that it was trained from, by name; its configuration is in the folder ``encoder``.
        handles: How its corpus writes @names and #tags.
        packages: Versions of packages that wrote it.
        vision: The vision model, for systems that look at pictures.
        training: The cell that it was trained as: ``name``, ``identity``, ``config``.
    """

    version: Annotated[int, Field(ge=1)]
    lightning_ita: Name
    system: Name
    options: dict[Name, Any]
    types: Annotated[list[Name], Field(min_length=1)]
    tag_scheme: Literal["BIO", "BIOES"]
    labels: Literal["repair", "strict"]
    views: list[Name]
    recipe: dict[Name, Any]
    encoder: str | None
    handles: Handles
    packages: dict[Name, Name]
    vision: NotRequired[KeptVision]
    training: NotRequired[dict[Name, Any]]


@dataclass(frozen=True)
class Kept:
    """What a loaded model knows of its folder.

    Attributes:
        config: Its ``config.json``.
        card: Its model card.
    """

    config: KeptConfig
    card: str


def save(
    tagger: Tagger,
    folder: Path,
    card: str | None = None,
    training: Mapping[str, Any] | None = None,
    handles: Handles | None = None,
) -> None:
    """Writes a model's folder; it appears whole or not at all, in the place of an older model.

    Args:
        tagger: The model.
        folder: Where to.
        card: Its model card; that which it was loaded with, or a short one, if not given.
        training: What is known of its training, as plain values.
        handles: How its corpus writes @names.

    Raises:
        UserError: Something else is in the folder, or the encoder is a module that has no name.
        OSError: The folder cannot be written.
    """
    if folder.exists() and not _replaceable(folder):
        raise UserError(f"{folder} holds something else than a kept model; name another folder")
    before = tagger.kept
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        encoder = _save_encoder(tagger, part / ENCODER) if tagger.options.has_encoder else None
        config = _config(tagger, encoder if before is None else before.config["encoder"])
        config["handles"] = handles or (before.config["handles"] if before else "whole")
        if (vision := getattr(tagger.options, "vision", None)) is not None:
            config["vision"] = save_vision(vision, part / VISION)
            config["options"]["vision"]["model"] = config["vision"]["model"]
        if training is not None:
            config["training"] = dict(training)
        elif before is not None and "training" in before.config:
            config["training"] = before.config["training"]
        write_text(part / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        save_model(tagger, str(part / WEIGHTS), metadata={"format": "pt"})
        os.chmod(part / WEIGHTS, 0o644)
        write_text(part / CARD, card or (before.card if before else short_card(config)))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and (
        not any(folder.iterdir()) or ((folder / CONFIG).is_file() and (folder / WEIGHTS).exists())
    )


def _config(tagger: Tagger, encoder: str | None) -> KeptConfig:
    options = to_values(tagger.options)
    return {
        "version": VERSION,
        "lightning_ita": lightning_ita.__version__,
        "system": options.pop("system"),
        "options": options,
        "types": list(tagger.tag_set.types),
        "tag_scheme": tagger.tag_set.scheme,
        "labels": tagger.recipe.labels,
        "views": list(tagger.tested_views),
        "recipe": asdict(tagger.recipe),
        "encoder": encoder,
        "handles": "whole",
        "packages": {package: version(package) for package in PACKAGES},
    }


def _save_encoder(tagger: Tagger, folder: Path) -> str:
    """Writes the configuration and the tokenizer of a model's encoder, and returns its public name."""
    name = tagger.encoder_name
    if name == "module":
        raise UserError("a model made of an encoder object cannot be kept: make it with the encoder's name or folder")
    config = {key: value for key, value in read_config(name).items() if key != "auto_map"}
    folder.mkdir()
    load_tokenizer(name).save_pretrained(folder)
    write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return public_name(name)


def public_name(encoder: str) -> str:
    """Returns an encoder's name as others may read it: of a folder, its own name without the folders above it."""
    if encoder == MINILM:
        return MINILM_HUB_ID
    path = Path(encoder).expanduser()
    return path.resolve().name if path.is_dir() else encoder


def load(name: str | os.PathLike[str], revision: str | None = None, token: str | bool | None = None) -> Tagger:
    """Loads a kept model, on the CPU and ready to predict.

    Args:
        name: Its folder, or its id on the Hugging Face Hub.
        revision: Branch, tag or commit on the Hub.
        token: For models on the Hub that are not public.

    Raises:
        UserError: There is no such model, a file is missing or damaged, it is of a newer version, holds pickled
            weights alone, or asks for code of its own to be run.
    """
    folder = _locate(name, revision, token)
    config = read_kept_config(folder)
    values = dict(config["options"])
    if "vision" in config:
        values["vision"] = find_vision(values.get("vision"), config["vision"], folder)
    options = from_values({"system": config["system"], **values})
    try:
        # Kernels are compiled, and activations computed again, for training alone.
        recipe = replace(Recipe(**config["recipe"]), compile=False, gradient_checkpointing=False)
    except TypeError as error:
        raise DataError(f"recipe: not one of this version: {error}", folder / CONFIG) from None
    others: dict[str, Any] = {}
    encoder = config["encoder"] or "none"
    if options.has_encoder:
        encoder, others = str(folder / ENCODER), {"pretrained": False}
        if not (folder / ENCODER / CONFIG).is_file():
            raise UserError(
                f"{folder} is not whole: {ENCODER}/{CONFIG} is missing; get the folder again, with all files"
            )
        _refuse_code(read_config(encoder), folder / ENCODER / CONFIG)
        _refuse_code(_tokenizer_config(folder), folder / ENCODER / TOKENIZER_CONFIG)
    _check_weights_are_there(folder)
    with torch.random.fork_rng(devices=[]):  # random weights, replaced below, must not change the caller's numbers
        tagger = options.make_tagger(config["types"], recipe, encoder, **others)
    if tagger.tag_set.scheme != config["tag_scheme"] or list(tagger.tested_views) != config["views"]:
        raise DataError("tag_scheme or views are not those of its recipe and options; it was changed", folder / CONFIG)
    _load_weights(tagger, folder / WEIGHTS)
    if options.has_encoder:
        load_tokenizer(encoder)  # what is wrong with it is said now, not at the first post
    card = folder / CARD
    tagger.kept = Kept(config, read_bytes(card, MOST_CONFIG).decode(errors="replace") if card.is_file() else "")
    return tagger.eval()


def read_kept_config(folder: Path) -> KeptConfig:
    """Reads and checks ``config.json`` of a kept model.

    Raises:
        UserError: It is missing, damaged, of a newer version, or asks for code to be run.
    """
    path = folder / CONFIG
    if not path.is_file():
        _check_weights_are_there(folder)
        raise UserError(f"{folder} holds no kept model: {CONFIG} is missing. `train --keep-models best` makes one")
    try:
        values = parse_json(read_bytes(path, MOST_CONFIG).decode())
    except ValueError as error:
        raise DataError(f"damaged: {error}", path) from None
    if isinstance(values, dict):
        _refuse_code(values, path)
        if isinstance(values.get("version"), int) and values["version"] > VERSION:
            raise DataError(f"of version {values['version']}, this program reads up to {VERSION}: update it", path)
    try:
        config: KeptConfig = TypeAdapter(KeptConfig).validate_python(values, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        hint = "; a model of another program?" if where in ("version", "system") else ""
        raise DataError(f"{where or 'the whole'}: {first['msg']}{hint}", path) from None
    return config


def _refuse_code(values: Mapping[str, Any], path: Path) -> None:
    if "auto_map" in values:
        raise DataError("auto_map asks for code that comes with the model to be run; that is never done", path)


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / ENCODER / TOKENIZER_CONFIG
    if not path.is_file():
        return {}
    try:
        values = parse_json(read_bytes(path, MOST_CONFIG).decode())
    except ValueError as error:
        raise DataError(f"damaged: {error}", path) from None
    return values if isinstance(values, dict) else {}


def _check_weights_are_there(folder: Path) -> None:
    if not (folder / WEIGHTS).is_file():
        pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
        hint = f"; {pickled[0]} is pickled, which is never read, since it can run code" if pickled else ""
        raise UserError(f"{folder} is not a whole kept model: {WEIGHTS} is missing{hint}")


def _load_weights(tagger: Tagger, path: Path) -> None:
    expected = {name: list(tensor.shape) for name, tensor in tagger.state_dict().items()}
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118, no mapping
        wrong = [
            f"{name} is {shapes[name]}, not {shape}"
            for name, shape in expected.items()
            if shapes.get(name, shape) != shape
        ]
        if wrong:
            raise DataError(f"of another shape than {CONFIG} says: {', '.join(wrong[:3])}", path)
        load_model(tagger, path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"damaged: {error}", path) from None
    except RuntimeError as error:
        reason = " ".join(str(error).split()).partition(": ")[2]
        raise DataError(f"not the weights of the model that {CONFIG} describes: {reason}", path) from None


def _locate(name: str | os.PathLike[str], revision: str | None, token: str | bool | None) -> Path:
    path = user_path(name)
    if path.is_dir():
        return path
    text = str(name)
    if path.exists():
        raise UserError(f"{text} is a file; a kept model is a folder with {CONFIG} and {WEIGHTS}")
    if path.is_absolute() or text.startswith((".", "~")) or text.count("/") != 1:
        raise UserError(f"model {quoted(text)}: no such folder, and not an id on the Hub, as in name/model")
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(text, revision=revision, token=token, allow_patterns=list(FETCHED)))
    except errors.LocalEntryNotFoundError:
        raise UserError(
            f"model {quoted(text)} is neither a folder nor in the Hub's cache, and the Hub cannot be reached"
        ) from None
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        raise UserError(f"model {quoted(text)}: {str(error).strip().splitlines()[0]}") from None


def push(
    tagger: Tagger,
    repo_id: str,
    private: bool | None = None,
    token: str | bool | None = None,
    message: str = "Model, tokenizer and card",
) -> str:
    """Uploads a model to the Hugging Face Hub, in a repository that is made if it does not exist.

    Args:
        tagger: The model.
        repo_id: ``name/model``.
        private: Whether a new repository is private; what the account says if not given.
        token: Of the account; that of ``hf auth login`` if not given.
        message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        UserError: The Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi, errors

    api = HfApi(token=token)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save(tagger, folder)
        try:
            name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        except (errors.HfHubHTTPError, errors.HFValidationError, errors.OfflineModeIsEnabled, OSError) as error:
            raise UserError(f"cannot upload to {quoted(repo_id)}: {str(error).strip().splitlines()[0]}") from None
    return str(commit.commit_url)


def short_card(config: KeptConfig) -> str:
    """Returns the model card of a model of whose results nothing is known."""
    from huggingface_hub import ModelCardData

    metadata = ModelCardData(library_name="lightning_ita", pipeline_tag="token-classification", **base_model(config))
    return f"---\n{metadata}\n---\n\n# {config['system']}\n\n{usage('MODEL')}"


def base_model(config: KeptConfig) -> dict[str, Any]:
    """Returns the metadata that names the encoder, where it is one of the Hub."""
    encoder = config["encoder"]
    return {"base_model": encoder} if encoder and "/" in encoder else {}


def usage(name: str) -> str:
    """Returns the part of a model card that says how the model is used."""
    return f"""\
## How to use

```python
from lightning_ita import Tagger

tagger = Tagger.from_pretrained("{name}")
for post in tagger.predict(["Jordan dunks in Chicago", "See you in Jordan"]):
    for mention in post.mentions:
        print(mention.text, mention.type, mention.start, mention.end, mention.probability)
```

or `lightning-ita predict --model {name} --input posts.csv --output mentions.jsonl`.
"""
