"""Crops of a picture: places of objects, or parts of a grid where no detector has looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

Box = tuple[float, float, float, float]


class Part(NamedTuple):
    """A part of a picture: left, top, right, bottom, in pixels or in shares of its width and height."""

    left: float
    top: float
    right: float
    bottom: float
    pixels: bool = False


WHOLE = Part(0, 0, 1, 1)
_CENTRE = Part(0.25, 0.25, 0.75, 0.75)
# Quarters and ninths overlap, so that what is cut by the border of one is whole in another.
_QUARTERS = [Part(x, y, x + 0.625, y + 0.625) for y in (0, 0.375) for x in (0, 0.375)]
_NINTHS = [Part(x, y, x + 0.5, y + 0.5) for y in (0, 0.25, 0.5) for x in (0, 0.25, 0.5)]
GRID = (*_QUARTERS, _CENTRE, *(part for part in _NINTHS if part != _CENTRE))


def parts_of(crops: int, boxes: Sequence[Box] | None) -> list[Part]:
    """Returns the crops of a picture.

    Args:
        crops: How many, at most.
        boxes: Places of objects in pixels, the most certain first; ``None`` where no detector has looked. Then the
            crops are parts of a grid: the centre alone; up to four overlapping quarters (5/8 of each side), row by row;
            with five the centre (half of each side) as well; with more the eight parts of this size around it.
    """
    if boxes is not None:
        return [Part(*box, pixels=True) for box in boxes[:crops]]
    return [_CENTRE] if crops == 1 else list(GRID[:crops])


def cut(image: Image.Image, part: Part, size: int) -> Image.Image:
    """Returns a part of an image, resized to a square.

    The whole part is in the square, and its proportions are not kept, as UMT and RpBERT resize pictures: cropping would
    lose what is at the border. A part that lies outside the image becomes the nearest pixels.
    """
    across, down = (1, 1) if part.pixels else image.size
    left = min(max(part.left * across, 0.0), image.width - 1.0)
    top = min(max(part.top * down, 0.0), image.height - 1.0)
    right = min(max(part.right * across, left + 1.0), float(image.width))
    bottom = min(max(part.bottom * down, top + 1.0), float(image.height))
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, right, bottom))
