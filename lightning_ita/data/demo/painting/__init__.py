"""Draws scenes."""

from __future__ import annotations

from PIL import Image

from lightning_ita.data.demo.scenes import Scene


def render(scene: Scene) -> Image.Image:
    """Draws a scene."""
    raise NotImplementedError("drawing comes next")
