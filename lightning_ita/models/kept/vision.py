"""The vision model of a kept system: named where others can find it by its name, else a copy beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from lightning_ita.errors import DataError, UserError
from lightning_ita.images.locating import copy_model, model_digest
from lightning_ita.images.vision import PREPROCESSING, Vision
from lightning_ita.text import quoted

# The folder of a vision model that was itself in a folder; others are found again by their name.
VISION = "vision"
Name = Annotated[str, Field(min_length=1, max_length=300)]


class KeptVision(TypedDict):
    """``vision`` in ``config.json``: what pictures are looked at with.

    Attributes:
        model: The vision model's name, as in ``options``.
        sha256: Digest of its weights, where they are known before they are loaded.
        preprocessing: Version of how pictures are prepared.
    """

    model: Name
    sha256: Name | None
    preprocessing: int


def save_vision(vision: Vision, folder: Path) -> KeptVision:
    """Copies a vision model that is a folder or a file, and returns what tells which it is."""
    place, model = vision.folder, vision.model
    digest = model_digest(vision)
    if place is not None:
        copy_model(place, folder)
        model = f"{vision.library}:{VISION}"
        digest = model_digest(Vision(f"{vision.library}:{folder}"))
    return {"model": model, "sha256": digest, "preprocessing": PREPROCESSING}


def find_vision(given: Any, kept: KeptVision, folder: Path) -> dict[str, Any]:
    """Returns the options of a kept model's vision, whose model is the one that it was trained with.

    Raises:
        UserError: That model is not there, or is another by now.
    """
    values = dict(given) if isinstance(given, Mapping) else {}
    library, _, which = kept["model"].partition(":")
    if which == VISION:
        values["model"] = f"{library}:{folder / VISION}"
    if kept["preprocessing"] != PREPROCESSING:
        raise DataError(
            f"its pictures were prepared otherwise (version {kept['preprocessing']})", folder / "config.json"
        )
    vision = Vision(**values)
    if not vision.finetune and kept["sha256"] != (digest := model_digest(vision)):
        raise UserError(
            f"{folder} looks at pictures with the vision model {quoted(kept['model'])} of SHA-256 "
            f"{kept['sha256']}; the one here has {digest}"
        )
    return values
