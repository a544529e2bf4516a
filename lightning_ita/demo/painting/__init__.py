"""Draws scenes as images, from simple shapes: no image files, no model, the same pixels every time.

One module per subject (people, places, organisations, works, everyday life, shared settings), with one function per
kind of scene, which has its name. What a context may mention depends on the scene's attributes, the rest on its seed.
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
    """Returns where each line of text is in the image of a scene.

    Args:
        scene: What would be drawn.

    Returns:
        Each line of text with its box (left, top, right, bottom), in pixels of the finished image.
    """
    return paint(scene).lettering
