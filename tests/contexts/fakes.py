"""Engines that need no model, and images that need no files from elsewhere."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageDraw

from lightning_ita.contexts.engine import Engine, Reading

# An image of this width ends the process that prepares it, one of the next makes the engine fail.
DEADLY, HATED = 13, 17


def look(image: Image.Image) -> tuple[tuple[int, int], numpy.ndarray]:
    if image.width == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return image.size, numpy.asarray(image)


class SizeAndColour:
    """Says an image's size and mean colour, and remembers how many it was shown."""

    kind, name, model, version = "tag", "size", "mean", "1"

    def __init__(self, batch_size: int = 4, seconds: float = 0.0, kind: str = "tag", **parameters: Any):
        self.kind = kind
        self.batch_size = batch_size
        self.seconds = seconds
        self.parameters: Mapping[str, Any] = parameters
        self.prepare = look
        self.batches: list[int] = []

    def read(self, prepared: Sequence[Any]) -> list[Reading]:
        time.sleep(self.seconds * len(prepared))
        if any(size[0] == HATED for size, _ in prepared):
            raise RuntimeError("I will not look at this")
        self.batches.append(len(prepared))
        return [
            Reading((f"{size[0]}x{size[1]}", "rgb" + str(pixels.mean((0, 1)).round().astype(int).tolist())), (0.9, 0.5))
            for size, pixels in prepared
        ]


engine: Engine = SizeAndColour()  # it is one, says the type checker


def draw(path: Path, size: tuple[int, int] = (40, 30), colour: Any = "navy", **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, colour)
    ImageDraw.Draw(image).ellipse((0, 0, size[0] // 2, size[1] // 2), fill="orange")
    image.save(path, **save)
    return path


def draw_many(folder: Path, count: int) -> Path:
    for number in range(count):
        draw(folder / f"{number:04}.jpg", (20 + number % 50, 30), (number % 256, number * 7 % 256, 90))
    return folder
