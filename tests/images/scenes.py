"""Small pictures for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lightning_ita.images.pictures import PictureFile, read_picture


def noise(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Returns an image of random blocks of colour."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def saved(folder: Path, seed: int, name: str | None = None) -> PictureFile:
    """Writes such an image to a file, and returns it as a picture."""
    path = folder / f"{name or seed}.png"
    noise(seed).save(path)
    return read_picture(path.stem, path)
