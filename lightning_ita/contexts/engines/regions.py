"""Regions of an image: objects that are too small in the whole image are found in its parts."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from lightning_ita.errors import UserError

Box = tuple[float, float, float, float]

# Neighbouring tiles overlap by this share of their sides, so that an object on a border is complete in one of them.
OVERLAP = 0.25
# Of images that are longer than this many times their other side, only the middle is read: a line of pixels shows no
# objects, and resizing its shorter side to a model's input would take gigabytes.
LONGEST = 16


def grid_boxes(width: int, height: int, grids: Sequence[int]) -> list[Box]:
    """Divides an image into regions.

    Args:
        width: The image's width in pixels.
        height: The image's height in pixels.
        grids: For each number n, n × n equal tiles, row by row, which overlap by a quarter of their sides; 1 is the
            whole image.

    Returns:
        Left, top, right, bottom of each region, in whole pixels, none of them empty.
    """
    boxes = []
    for n in grids:
        spans = []
        for length in (width, height):
            tile = length / (n - (n - 1) * OVERLAP)
            starts = [i * tile * (1 - OVERLAP) for i in range(n)]
            edges = [(int(start), min(length, round(start + tile))) for start in starts]
            spans.append([(min(a, length - 1), max(b, min(a, length - 1) + 1)) for a, b in edges])
        boxes += [(left, top, right, bottom) for top, bottom in spans[1] for left, right in spans[0]]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in boxes]


def check_grids(grids: Sequence[int]) -> tuple[int, ...]:
    """Checks the grids that images are divided into, and returns them.

    Raises:
        UserError: There are none, or one is not between 1 and 8.
    """
    if not grids or not all(isinstance(n, int) and 1 <= n <= 8 for n in grids):
        raise UserError(f"grids must be whole numbers from 1 (the whole image) to 8, not {list(grids)}")
    return tuple(dict.fromkeys(grids))


def crop(image: Image.Image, box: Box, margin: float = 0.0) -> Image.Image:
    """Returns a region of an image with a margin of this share of its sides; it has at least one pixel."""
    left, top, right, bottom = box
    dx, dy = margin * (right - left), margin * (bottom - top)
    x = min(max(int(left - dx), 0), image.width - 1)
    y = min(max(int(top - dy), 0), image.height - 1)
    return image.crop(
        (x, y, max(x + 1, min(image.width, round(right + dx))), max(y + 1, min(image.height, round(bottom + dy))))
    )


def not_too_long(image: Image.Image) -> Image.Image:
    """Returns an image, or its middle where it is more than `LONGEST` times as long as wide."""
    side = min(image.size) * LONGEST
    if max(image.size) <= side:
        return image
    x, y = max(0, image.width - side) // 2, max(0, image.height - side) // 2
    return image.crop((x, y, min(image.width, x + side), min(image.height, y + side)))
