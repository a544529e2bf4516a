"""Options that all systems have that look at pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from lightning_ita.images.vision import Vision
from lightning_ita.models.options import OF_PICTURES, Options, TwoViewOptions


@dataclass(frozen=True)
class PictureOptions(Options):
    """Options of a system that looks at pictures, in training at least.

    Attributes:
        vision: How pictures are seen.
    """

    vision: Vision = Vision()  # noqa: RUF009, it is immutable

    inputs: ClassVar[str] = "lightning_ita.models.visual_inputs:VisualInputs"
    needs: ClassVar[frozenset[str]] = frozenset({"images"})

    @property
    def of_pictures(self) -> tuple[str, ...]:
        """``images``, and ``boxes`` where there are crops."""
        return OF_PICTURES if self.vision.crops else OF_PICTURES[:1]

    def deciding(self) -> dict[str, Any]:
        """Returns what the result depends on; a vision model in a folder by its digest, not by its path."""
        values = super().deciding()
        values["options"]["vision"] = self.vision.deciding()
        return values

    def digests(self) -> Mapping[str, str]:
        """Returns the digest of the vision model, where one is known before it is loaded."""
        from lightning_ita.images.locating import model_digest

        digest = model_digest(self.vision)
        return {} if digest is None else {"vision": digest}

    def without_folders(self) -> Self:
        """Returns the options with a vision model that is a folder or a file by its name alone."""
        options, place = super().without_folders(), self.vision.folder
        if place is None:
            return options
        return replace(options, vision=replace(self.vision, model=f"{self.vision.library}:{place.name}"))


@dataclass(frozen=True)
class VisualOptions(PictureOptions, TwoViewOptions):
    """Options of a system that looks at the tweet's picture: T is the tweet alone, I+T the tweet and its picture."""
