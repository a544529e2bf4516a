"""Loads a model from its folder, or from the Hugging Face Hub, without reading pickles or running code."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model

from lightning_ita.errors import DataError, UserError
from lightning_ita.files import read_bytes
from lightning_ita.models.encoders.loading import load_tokenizer
from lightning_ita.models.encoders.locating import read_config
from lightning_ita.models.kept.config import (
    CARD,
    CONFIG,
    ENCODER,
    MOST_CONFIG,
    WEIGHTS,
    Kept,
    check_weights_are_there,
    read_json,
    read_kept_config,
    refuse_code,
)
from lightning_ita.models.kept.hub import locate
from lightning_ita.models.kept.vision import find_vision
from lightning_ita.models.options import from_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.text import quoted

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

TOKENIZER_CONFIG = "tokenizer_config.json"


def load(
    name: str | os.PathLike[str],
    revision: str | None = None,
    token: str | bool | None = None,
    relations: str | os.PathLike[str] | None = None,
) -> Tagger:
    """Loads a kept model, on the CPU and ready to predict.

    Args:
        name: Its folder, or its id on the Hugging Face Hub.
        revision: Branch, tag or commit on the Hub.
        token: For models on the Hub that are not public.
        relations: The file that a relation gate learns from, to train the model further; what is kept is its name.

    Raises:
        UserError: There is no such model, a file is missing or damaged, it is of a newer version, holds pickled
            weights alone, asks for code of its own to be run, or has no relation gate to learn from `relations`.
    """
    folder = locate(name, revision, token)
    config = read_kept_config(folder)
    values = dict(config["options"])
    if "vision" in config:
        values["vision"] = find_vision(values.get("vision"), config["vision"], folder)
    if relations is not None:
        if "relations" not in values:
            raise UserError(f"{folder} is {quoted(config['system'])}, which learns from no relations: leave them out")
        values["relations"] = os.fspath(relations)
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
        refuse_code(read_config(encoder), folder / ENCODER / CONFIG)
        refuse_code(_tokenizer_config(folder), folder / ENCODER / TOKENIZER_CONFIG)
    check_weights_are_there(folder)
    with torch.random.fork_rng(devices=[]):  # random weights, replaced below, must not change the caller's numbers
        tagger = options.make_tagger(config["types"], recipe, encoder, **others)
    if tagger.tag_set.scheme != config["tag_scheme"] or list(tagger.tested_views) != config["views"]:
        raise DataError("tag_scheme or views are not those of its recipe and options; it was changed", folder / CONFIG)
    _load_weights(tagger, folder / WEIGHTS)
    if options.has_encoder:
        # What is wrong with it is said now, not at the first post, which finds it loaded.
        _ = getattr(tagger.inputs, "tokenizer", None) or load_tokenizer(encoder)
    card = folder / CARD
    tagger.kept = Kept(config, read_bytes(card, MOST_CONFIG).decode(errors="replace") if card.is_file() else "")
    tagger.handles = config["handles"]
    return tagger.eval()


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / ENCODER / TOKENIZER_CONFIG
    if not path.is_file():
        return {}
    values = read_json(path)
    return values if isinstance(values, dict) else {}


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
