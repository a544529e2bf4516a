"""The pictures of a batch as a model reads them: features of whole pictures and crops, or pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(slots=True)
class _Pictures:
    """What features and pixels share: which tweets have a picture, and which crops there are.

    Attributes:
        crop_mask: bool (batch, k), True where there is a crop.
        present: bool (batch,), True where there is a readable picture.
    """

    crop_mask: Tensor
    present: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Returns the same on another device."""
        names = [field.name for field in dataclasses.fields(self)]
        return type(self)(**{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names})

    def absent(self) -> Self:
        """Returns the same with no picture in it: masks are False, all else is zero. This is the text view T."""
        names = [field.name for field in dataclasses.fields(self)]
        return type(self)(**{name: torch.zeros_like(getattr(self, name)) for name in names})

    def without(self, hidden: Tensor) -> Self:
        """Returns the same without some of the pictures, which are then as absent as missing ones.

        Args:
            hidden: bool (batch,), True where the picture is taken away.
        """

        def shown(value: Tensor) -> Tensor:
            return value.masked_fill(hidden.view(-1, *[1] * (value.dim() - 1)), 0)

        names = [field.name for field in dataclasses.fields(self)]
        return type(self)(**{name: shown(getattr(self, name)) for name in names})


@dataclass(slots=True)
class Visual(_Pictures):
    """Features of a batch's pictures. A missing or unreadable picture has none: its rows are zero, its masks False.

    Attributes:
        regions: float32 (batch, r, channels), a grid of the whole picture, row by row.
        crops: float32 (batch, k, channels), pooled features of k crops.
    """

    regions: Tensor
    crops: Tensor

    @property
    def region_mask(self) -> Tensor:
        """Where there is a region to attend to: bool (batch, r)."""
        return self.present[:, None].expand(self.regions.shape[:2])

    @property
    def pooled(self) -> Tensor:
        """The mean over the regions of the whole picture: float32 (batch, channels)."""
        return self.regions.mean(1)


@dataclass(slots=True)
class Pixels(_Pictures):
    """Pixels of a batch's pictures, for a vision model that is trained; see `lightning_ita.images.tower.VisionTower`.

    Attributes:
        whole: uint8 (batch, 3, size, size), the whole picture, resized to a square.
        cut: uint8 (batch, k, 3, size, size), its crops.
    """

    whole: Tensor
    cut: Tensor
