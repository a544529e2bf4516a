"""A canvas with the shapes that images are drawn from: anti-aliased, in the coordinates of the finished image."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from lightning_ita.demo.scenes import COLOURS, HAIR, Scene

WIDTH, HEIGHT = 320, 240
SCALE = 2
"""Images are drawn this many times larger and then reduced, which smooths their edges."""

SMALLEST_LETTERING = 20
"""Font size, in pixels of the finished image: capitals are then 14 pixels tall, which OCR can read."""

Colour = tuple[int, int, int] | tuple[int, int, int, int]
Point = tuple[float, float]

WHITE, INK, SHADOW = (250, 250, 246), (30, 32, 40), (0, 0, 0, 60)
WOOD, DARK_WOOD, STEEL, GRASS, ASPHALT = (176, 122, 72), (110, 70, 42), (150, 158, 168), (96, 160, 72), (86, 88, 94)
GOLD = (232, 184, 52)
SKINS = ((250, 214, 184), (232, 184, 146), (196, 140, 98), (142, 94, 62), (98, 64, 44))
SKY_COLOURS: dict[str, tuple[Colour, Colour]] = {
    "blue": ((92, 166, 230), (206, 232, 248)),
    "cloudy": ((150, 164, 178), (216, 222, 226)),
    "orange": ((244, 134, 70), (254, 218, 150)),
    "dark": ((14, 20, 50), (52, 62, 110)),
}
"""Each sky of `scenes.SKIES` at the top and at the horizon."""


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Returns the first colour with a share of the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first[:3], second[:3], strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.25) -> Colour:
    """Returns the colour in shade."""
    return mix(colour, (0, 0, 0), share)


def lighter(colour: Colour, share: float = 0.35) -> Colour:
    """Returns the colour in light."""
    return mix(colour, (255, 255, 255), share)


def ink_on(colour: Colour) -> Colour:
    """Returns black or white, whichever reads better on the colour."""
    return INK if 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 118 else WHITE


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Returns Pillow's own scalable font.

    Args:
        size: In pixels.

    Returns:
        The font.

    Raises:
        RuntimeError: Pillow was built without FreeType.
    """
    bundled = ImageFont.load_default(size)
    if not isinstance(bundled, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which the demo pictures need for lettering")
    return bundled


class Canvas:
    """An image that is being drawn.

    Attributes:
        scene: What is drawn.
        rng: Random numbers for everything that no context mentions.
        lettering: Each line of text drawn so far, with its box in the finished image.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.rng = random.Random(scene.seed)
        self.image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), WHITE)
        self._pen = ImageDraw.Draw(self.image, "RGBA")
        self.lettering: list[tuple[str, tuple[float, float, float, float]]] = []

    @property
    def colour(self) -> Colour:
        """The colour that tags and captions may mention."""
        return COLOURS[self.scene.attributes["colour"]]

    @property
    def accent(self) -> Colour:
        """Another colour."""
        return COLOURS[self.scene.attributes["accent"]]

    @property
    def hair(self) -> Colour:
        """The colour of the person's hair."""
        return HAIR[self.scene.attributes["hair"]]

    @property
    def is_woman(self) -> bool:
        """Whether the person in the image is a woman."""
        return self.scene.attributes["who"] == "woman"

    @property
    def is_dark(self) -> bool:
        """Whether it is night."""
        return self.scene.attributes["sky"] == "dark"

    def finished(self) -> Image.Image:
        """Returns the image at its final size."""
        return self.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)

    def rectangle(self, x: float, y: float, right: float, bottom: float, fill: Colour, radius: float = 0) -> None:
        """Draws a rectangle, with round corners if there is a radius."""
        box = (x * SCALE, y * SCALE, right * SCALE - 1, bottom * SCALE - 1)
        if radius:
            self._pen.rounded_rectangle(box, radius * SCALE, fill=fill)
        else:
            self._pen.rectangle(box, fill=fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """Draws an ellipse around a centre."""
        self._pen.ellipse(tuple(SCALE * v for v in (x - rx, y - ry, x + rx, y + ry)), fill=fill)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, ink: Colour, width: float
    ) -> None:
        """Draws a part of an ellipse's edge, in degrees clockwise from the right."""
        box = tuple(SCALE * v for v in (x - rx, y - ry, x + rx, y + ry))
        self._pen.arc(box, start, end, fill=ink, width=round(width * SCALE))

    def segment(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Colour) -> None:
        """Draws a segment of an ellipse, cut off by a chord."""
        self._pen.chord(tuple(SCALE * v for v in (x - rx, y - ry, x + rx, y + ry)), start, end, fill=fill)

    def frame(self, x: float, y: float, right: float, bottom: float, radius: float, fill: Colour) -> None:
        """Covers everything outside a rectangle with round corners."""
        hole = Image.new("L", self.image.size, 255)
        box = (x * SCALE, y * SCALE, right * SCALE, bottom * SCALE)
        ImageDraw.Draw(hole).rounded_rectangle(box, radius * SCALE, fill=0)
        self.image.paste(fill, (0, 0), hole)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Draws a filled polygon."""
        self._pen.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=fill)

    def line(self, points: Sequence[Point], ink: Colour, width: float) -> None:
        """Draws a line with round ends and joints."""
        for start, end in pairwise(points):
            self._pen.line([(x * SCALE, y * SCALE) for x, y in (start, end)], fill=ink, width=round(width * SCALE))
        if width > 2 and len(ink) == 3:
            for x, y in points:
                self.ellipse(x, y, width / 2, width / 2, ink)

    def gradient(self, y: float, bottom: float, top: Colour, low: Colour) -> None:
        """Draws a band across the image that changes from one colour to another."""
        first, last = round(y * SCALE), round(bottom * SCALE)
        for row in range(first, last):
            self._pen.line([(0, row), (WIDTH * SCALE, row)], fill=mix(top, low, (row - first) / (last - first)))

    def sky(self, horizon: float) -> None:
        """Draws the sky of the scene down to the horizon, with clouds, a sun or stars."""
        name = self.scene.attributes["sky"]
        self.gradient(0, horizon, *SKY_COLOURS[name])
        x, y = self.rng.uniform(40, 280), self.rng.uniform(22, 50)
        if name == "dark":
            for _ in range(30):
                self.ellipse(
                    self.rng.uniform(0, WIDTH), self.rng.uniform(0, horizon * 0.8), 0.9, 0.9, (255, 255, 255, 200)
                )
            self.ellipse(x, y, 13, 13, (244, 240, 214))
            self.ellipse(x + 6, y - 4, 11, 11, mix(*SKY_COLOURS[name], y / horizon))
        elif name == "orange":
            self.ellipse(x, horizon - 22, 24, 24, (255, 240, 190))
        else:
            if name == "blue":
                self.ellipse(x, y, 15, 15, (255, 238, 150))
            for _ in range(2 if name == "blue" else 5):
                self.cloud(
                    self.rng.uniform(10, 310), self.rng.uniform(18, max(30, horizon * 0.5)), self.rng.uniform(9, 15)
                )

    def cloud(self, x: float, y: float, size: float, fill: Colour = (255, 255, 255, 235)) -> None:
        """Draws a cloud."""
        for dx, dy, scale in ((-1.3, 0.25, 0.75), (0, -0.2, 1.0), (1.3, 0.2, 0.8), (0.5, 0.4, 0.8), (-0.6, 0.4, 0.8)):
            self.ellipse(x + dx * size, y + dy * size, size * scale * 1.2, size * scale * 0.75, fill)

    def tree(self, x: float, foot: float, height: float, fill: Colour = (58, 124, 62)) -> None:
        """Draws a broad-leaved tree."""
        self.line([(x, foot), (x, foot - height * 0.5)], DARK_WOOD, height * 0.09)
        for dx, dy, scale in ((-0.18, 0.58, 0.24), (0.18, 0.58, 0.24), (0, 0.78, 0.27)):
            self.ellipse(x + dx * height, foot - dy * height, scale * height, scale * height * 0.9, fill)
            left, up, size = x + (dx - 0.05) * height, foot - (dy + 0.06) * height, scale * height
            self.ellipse(left, up, size * 0.6, size * 0.5, lighter(fill, 0.14))

    def write(
        self, box: tuple[float, float, float, float], ink: Colour, lines: Sequence[str] | None = None, largest: int = 44
    ) -> None:
        """Writes lines of text, as large as the box allows, centred in it.

        Args:
            box: Left, top, right and bottom.
            ink: The colour; see `ink_on`.
            lines: The lines; by default the text of the scene.
            largest: The largest font size.

        Raises:
            ValueError: The text would be too small to be read.
        """
        lines = self.scene.words if lines is None else lines
        left, top, right, bottom = box
        size = largest
        while size > SMALLEST_LETTERING and not self._fits(lines, size, right - left, bottom - top):
            size -= 1
        if not self._fits(lines, size, right - left, bottom - top):
            raise ValueError(f"{self.scene.kind}: no room for {lines}")
        y = (top + bottom) / 2 - self._leading(size) * (len(lines) - 1) / 2
        for line in lines:
            middle = ((left + right) / 2 * SCALE, y * SCALE)
            # A stroke as wide as the thinnest visible line makes the bundled regular weight bold.
            self._pen.text(middle, line, ink, font(size * SCALE), "mm", stroke_width=size / 24, stroke_fill=ink)
            drawn = self._pen.textbbox(middle, line, font(size * SCALE), "mm")
            self.lettering.append((line, (drawn[0] / SCALE, drawn[1] / SCALE, drawn[2] / SCALE, drawn[3] / SCALE)))
            y += self._leading(size)

    @staticmethod
    def _leading(size: int) -> float:
        return size * 1.06

    def _fits(self, lines: Sequence[str], size: int, width: float, height: float) -> bool:
        widest = max((font(size * SCALE).getlength(line) for line in lines), default=0) / SCALE
        return widest + size / 12 <= width and self._leading(size) * len(lines) - size * 0.3 <= height


Painter = Callable[[Canvas], None]
PAINTERS: dict[str, Painter] = {}
"""The function that draws each kind of scene, by the kind's name up to a hyphen."""


def painter(function: Painter) -> Painter:
    """Registers a painter under its own name."""
    PAINTERS[function.__name__] = function
    return function
