"""Options of the vision model: which one, how many crops, frozen or trained. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le

from lightning_ita.checks import check_fields
from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.registry import Registry

# Raised when the same picture and the same model give other features than before: part of every identity.
PREPROCESSING = 1
DEFAULT = "efficientnet-lite0"
# What makes a vision model of the name behind the colon, a `lightning_ita.images.nets.VisionNet`, by library.
VISION_MODELS = Registry(
    "vision model",
    {
        DEFAULT: "lightning_ita.images.nets:efficientnet_lite0",
        "timm": "lightning_ita.images.nets:timm_net",
        "torchvision": "lightning_ita.images.nets:torchvision_net",
        "open_clip": "lightning_ita.images.nets:open_clip_net",
        "transformers": "lightning_ita.images.nets:transformers_net",
    },
    group="lightning_ita.vision_models",
)
# What brings a library's models: its next version may have other weights, or another size of pictures, by one name.
# And the extra of this project that brings it.
BROUGHT_BY = {
    DEFAULT: ("timm", "vision"),
    "timm": ("timm", "vision"),
    "torchvision": ("torchvision", "vision"),
    "open_clip": ("open_clip_torch", "align"),
    "transformers": ("transformers", "vision"),
}
# Most crops of a picture: as many as the grid of `lightning_ita.images.crops` has.
MOST_CROPS = 13


@dataclass(frozen=True)
class Vision:
    """How the pictures of tweets are seen.

    Attributes:
        model: Vision model: efficientnet-lite0 (bundled), timm:NAME, torchvision:resnet152, open_clip:NAME or
            transformers:NAME; in the place of the name a folder, or an id on the Hugging Face Hub.
        crops: Crops per picture, at most: objects that a detector found (--context-store), else parts of a grid.
        finetune: Whether the vision model is trained with the rest; else its features are made once and kept.

    Raises:
        UserError: A value has a wrong type or is out of its range.
    """

    model: str = DEFAULT
    crops: Annotated[int, Ge(0), Le(MOST_CROPS)] = 0
    finetune: bool = False

    def __post_init__(self) -> None:
        """Checks types and ranges, and suggests the nearest library."""
        check_fields(self)
        VISION_MODELS.check(self.library)
        if (self.library == DEFAULT) != (not self.which):
            raise UserError(f"vision.model {self.model!r}: expected {DEFAULT}, or LIBRARY:NAME as in timm:resnet18")

    @property
    def library(self) -> str:
        """What the model is read with: ``timm``, ``torchvision`` ...; its whole name where it has one."""
        return self.model.partition(":")[0]

    @property
    def package(self) -> str | None:
        """The package that brings its library's models; ``None`` for those of another project."""
        return BROUGHT_BY.get(self.library, (None, ""))[0]

    @property
    def extra(self) -> str:
        """The extra of this project that brings the package; empty for models of another project."""
        return BROUGHT_BY.get(self.library, (None, ""))[1]

    @property
    def which(self) -> str:
        """The model's name within its library, its folder, or its id on the Hub; empty for bundled ones."""
        return self.model.partition(":")[2]

    @property
    def folder(self) -> Path | None:
        """The model's folder or file, where it is one on this machine.

        Raises:
            UserError: A path was given, and nothing is there.
        """
        if not self.which:
            return None
        path = user_path(self.which)
        if path.exists():
            return path
        if path.is_absolute() or self.which.startswith((".", "~")):
            raise UserError(f"vision model {self.model!r}: no such file or folder")
        return None

    def deciding(self) -> dict[str, Any]:
        """Returns what features depend on, as JSON values; of a folder its digest decides, not its path."""
        model = f"{self.library}:folder" if self.folder else self.model
        return {**asdict(self), "model": model, "preprocessing": PREPROCESSING}
