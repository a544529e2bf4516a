"""``config.json`` of a kept model: what is in it, and reading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from lightning_ita.data.corpus import Corpus
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import parse_json, read_bytes
from lightning_ita.models.kept.vision import KeptVision, Name

# Of `config.json`; raised when its fields change their meaning.
VERSION = 1
CONFIG, WEIGHTS, ENCODER, CARD = "config.json", "model.safetensors", "encoder", "README.md"
# Files that other programs keep pickled weights in.
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MOST_CONFIG = 2**22
# How a corpus writes @names and #tags, which raw text is cut into words by: as one word, or the sign as a word.
Handles = Literal["whole", "split"]


def handles_of(corpus: Corpus) -> Handles:
    """Tells how a corpus writes @names: as one word, as Twitter-15, or as two, as Twitter-17."""
    words = [word for tweet in corpus.splits["train"] for word in tweet.words if word.startswith("@")]
    return "split" if sum(word == "@" for word in words) > len(words) / 2 else "whole"


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


def saw_boxes(kept: Kept | None) -> bool | None:
    """Tells whether a model was trained on crops at places of objects; ``None`` where its training is not known."""
    config = (kept.config.get("training") or {}).get("config") if kept else None
    data = config.get("data") if isinstance(config, dict) else None
    return "boxes" in data if isinstance(data, dict) else None


def read_kept_config(folder: Path) -> KeptConfig:
    """Reads and checks ``config.json`` of a kept model.

    Raises:
        UserError: It is missing, damaged, of a newer version, or asks for code to be run.
    """
    path = folder / CONFIG
    if not path.is_file():
        check_weights_are_there(folder)
        raise UserError(f"{folder} holds no kept model: {CONFIG} is missing. `train --keep-models best` makes one")
    values = read_json(path)
    if isinstance(values, dict):
        refuse_code(values, path)
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


def read_json(path: Path) -> Any:
    """Reads a JSON file of a kept model.

    Raises:
        DataError: It cannot be read, or is damaged.
    """
    try:
        return parse_json(read_bytes(path, MOST_CONFIG).decode())
    except ValueError as error:
        raise DataError(f"damaged: {error}", path) from None


def refuse_code(values: Mapping[str, Any], path: Path) -> None:
    """Raises DataError if a configuration asks for code that comes with the model to be run."""
    if "auto_map" in values:
        raise DataError("auto_map asks for code that comes with the model to be run; that is never done", path)


def check_weights_are_there(folder: Path) -> None:
    """Raises UserError if a folder has no weights that are read."""
    if not (folder / WEIGHTS).is_file():
        pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
        hint = f"; {pickled[0]} is pickled, which is never read, since it can run code" if pickled else ""
        raise UserError(f"{folder} is not a whole kept model: {WEIGHTS} is missing{hint}")
