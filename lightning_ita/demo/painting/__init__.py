"""Draws scenes with shapes: no picture files, no model, the same pixels every time.

One module per subject (people, places, organisations, works, everyday life, shared settings), with one function per
kind of scene, named like it. What a context may mention comes from the scene's attributes, the rest from its seed.
"""

from __future__ import annotations

from PIL import Image

from lightning_ita.demo.painting import everyday, organisations, people, places, works  # noqa: F401  They register.
from lightning_ita.demo.painting.settings import paint
from lightning_ita.demo.scenes import Scene

Lettering = list[tuple[str, tuple[float, float, float, float]]]


def render(scene: Scene) -> Image.Image:
    """Draws a scene.

    Args:
        scene: What to draw.

    Returns:
        An RGB image of 320 × 240 pixels. Equal scenes give equal pixels with one version of Pillow.
    """
    return paint(scene).finished()


def lettering(scene: Scene) -> Lettering:
    """Where the words stand in the picture of a scene.

    Args:
        scene: What would be drawn.

    Returns:
        Each line of text with its box (left, top, right, bottom), in pixels of the finished picture.
    """
    return paint(scene).lettering
