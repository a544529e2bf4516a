"""Writes a model's folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_model

import lightning_ita
from lightning_ita.errors import UserError
from lightning_ita.files import disk_errors, write_text
from lightning_ita.models.encoders.loading import load_tokenizer
from lightning_ita.models.encoders.locating import MINILM, MINILM_HUB_ID, read_config
from lightning_ita.models.kept.card import short_card
from lightning_ita.models.kept.config import CARD, CONFIG, ENCODER, VERSION, WEIGHTS, Handles, KeptConfig
from lightning_ita.models.kept.vision import VISION, save_vision
from lightning_ita.models.options import to_values

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

# Whose versions are written.
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")


@disk_errors()
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
        handles: How its corpus writes @names; as the corpus that it was fitted to, if not given.

    Raises:
        UserError: Something else is in the folder, or the encoder is a module that has no name.
        OSError: The folder cannot be written.
    """
    folder = Path(os.path.abspath(folder))  # "." and ".." have no name beside which the new folder could be written
    if folder == Path.cwd():
        raise UserError(f"{folder} is the current folder, which cannot be replaced; name another one")
    if folder.exists() and not _replaceable(folder):
        raise UserError(f"{folder} holds something else than a kept model; name another folder")
    before = tagger.kept
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        encoder = _save_encoder(tagger, part / ENCODER) if tagger.options.has_encoder else None
        config = _config(tagger, encoder if before is None else before.config["encoder"])
        config["handles"] = handles or tagger.handles or "whole"
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
    options = to_values(tagger.options.without_folders())
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
