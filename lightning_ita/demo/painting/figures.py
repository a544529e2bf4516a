"""Draws people, near and far."""

from __future__ import annotations

from lightning_ita.demo.painting.canvas import INK, SKINS, Canvas, Colour, Point, darker, mix
from lightning_ita.demo.scenes import COLOURS, HAIR

STANDING: tuple[Point, Point] = ((-0.1, 0.0), (0.1, 0.0))
HANGING: tuple[Point, Point] = ((-0.17, 0.52), (0.17, 0.52))
"""Feet and hands from the middle of the foot line, as shares of the height, x and height above ground."""


def head(canvas: Canvas, x: float, y: float, radius: float, skin: Colour, hair: Colour, woman: bool) -> None:
    """Draws a head from the front, with eyes and a smile, the chin at ``y + 1.2 radius``."""
    if woman:
        canvas.rectangle(x - radius * 1.15, y - radius * 0.7, x + radius * 1.15, y + radius * 1.5, hair, radius * 0.7)
        # Without a bare throat the hair below the chin would pass for a beard.
        canvas.rectangle(x - radius * 0.45, y + radius * 0.6, x + radius * 0.45, y + radius * 1.55, darker(skin, 0.12))
    canvas.ellipse(x, y - radius * 0.12, radius * 1.08, radius * 1.18, hair)
    for side in (-1, 1):
        canvas.ellipse(x + side * radius * 0.95, y + radius * 0.15, radius * 0.16, radius * 0.24, darker(skin, 0.08))
    canvas.ellipse(x, y + radius * 0.12, radius * 0.92, radius * 1.1, skin)
    canvas.segment(x, y - radius * 0.08, radius * 0.98, radius * 1.06, 196, 344, hair)
    if radius < 5:
        return
    for side in (-1, 1):
        if radius > 20:
            canvas.ellipse(x + side * radius * 0.36, y + radius * 0.05, radius * 0.15, radius * 0.1, (255, 255, 255))
            canvas.arc(
                x + side * radius * 0.36,
                y + radius * 0.02,
                radius * 0.22,
                radius * 0.2,
                215,
                325,
                darker(hair),
                radius * 0.07,
            )
        canvas.ellipse(x + side * radius * 0.36, y + radius * 0.05, radius * 0.085, radius * 0.1, INK)
    canvas.arc(x, y + radius * 0.42, radius * 0.42, radius * 0.3, 20, 160, (160, 52, 52), max(1.0, radius * 0.09))
    if radius > 20:
        canvas.arc(x, y + radius * 0.25, radius * 0.12, radius * 0.14, 20, 150, darker(skin, 0.2), radius * 0.06)


def person(
    canvas: Canvas,
    x: float,
    foot: float,
    height: float,
    shirt: Colour,
    trousers: Colour = (52, 60, 84),
    *,
    hands: tuple[Point, Point] = HANGING,
    feet: tuple[Point, Point] = STANDING,
    skin: Colour | None = None,
    hair: Colour | None = None,
    woman: bool | None = None,
    sleeves: bool = False,
    skirt: bool = False,
) -> None:
    """Draws a whole person.

    Args:
        canvas: Where to draw.
        x: Middle of the person.
        foot: The ground.
        height: From the ground to the crown.
        shirt: Colour of the upper body.
        trousers: Colour of the legs; with a skirt, of the skirt.
        hands: Where the hands are, as shares of the height: x from the middle, height above the ground.
        feet: Where the feet are, likewise.
        skin: A random one if ``None``.
        hair: The scene's if ``None``.
        woman: As the scene says if ``None``.
        sleeves: Whether the arms are covered.
        skirt: Whether there is a long dress instead of trousers.
    """
    skin = skin or canvas.rng.choice(SKINS)
    hair = hair or canvas.hair
    woman = canvas.is_woman if woman is None else woman

    def at(point: Point) -> Point:
        return x + point[0] * height, foot - point[1] * height

    limb = height * 0.062
    hips = ((-0.055, 0.46), (0.055, 0.46))
    if skirt:
        canvas.polygon([at(p) for p in ((-0.07, 0.6), (0.07, 0.6), (0.19, 0.02), (-0.19, 0.02))], trousers)
    for hip, foot_at in zip(hips, feet, strict=True):
        if not skirt:
            # A knee a little outside the straight line makes a leg look like one.
            knee = ((hip[0] + foot_at[0]) / 2 + (foot_at[0] - hip[0]) * 0.12, (hip[1] + foot_at[1]) / 2 + 0.01)
            canvas.line([at(hip), at(knee), at(foot_at)], trousers, limb * 1.35)
        canvas.ellipse(*at((foot_at[0] + 0.02, foot_at[1])), limb * 0.95, limb * 0.5, INK)
    for side, hand in zip((-1, 1), hands, strict=True):
        shoulder = (side * 0.125, 0.78)
        elbow = ((shoulder[0] + hand[0]) / 2 + side * 0.04, (shoulder[1] + hand[1]) / 2 - 0.02)
        canvas.line([at(shoulder), at(elbow), at(hand)], darker(shirt, 0.1) if sleeves else skin, limb)
        canvas.line([at(shoulder), at(mid(shoulder, elbow))], darker(shirt, 0.1), limb * 1.25)
        canvas.ellipse(*at(hand), limb * 0.6, limb * 0.6, skin)
    torso = ((-0.15, 0.81), (0.15, 0.81), (0.12, 0.6), (0.105, 0.45), (-0.105, 0.45), (-0.12, 0.6))
    canvas.line([at((0, 0.88)), at((0, 0.8))], darker(skin, 0.12), limb)
    canvas.polygon([at(p) for p in torso], shirt)
    canvas.line([at((-0.13, 0.8)), at((0.13, 0.8))], shirt, limb * 0.8)
    head(canvas, *at((0, 0.915)), height * 0.07, skin, hair, woman)


def mid(first: Point, second: Point) -> Point:
    """Returns the point half way."""
    return (first[0] + second[0]) / 2, (first[1] + second[1]) / 2


def crowd(canvas: Canvas, top: float, bottom: float, size: float, cheering: bool = False, dim: float = 0.0) -> None:
    """Draws rows of people seen from behind or afar, filling a band of the image."""
    y = top
    while y < bottom + size * 2:
        x = canvas.rng.uniform(-size, size)
        while x < 320 + size:
            shirt = mix(canvas.rng.choice(list(COLOURS.values())), (0, 0, 0), dim)
            skin = mix(canvas.rng.choice(SKINS), (0, 0, 0), dim)
            if cheering and canvas.rng.random() < 0.35:
                for side in (-1, 1):
                    canvas.line(
                        [(x + side * size * 0.7, y + size), (x + side * size, y - size * 1.3)], skin, size * 0.35
                    )
            canvas.ellipse(x, y + size * 1.9, size * 1.05, size * 1.3, shirt)
            canvas.ellipse(x, y, size * 0.62, size * 0.75, skin)
            hair = mix(canvas.rng.choice(list(HAIR.values())), (0, 0, 0), dim)
            canvas.segment(x, y - size * 0.05, size * 0.66, size * 0.78, 180, 360, hair)
            x += size * canvas.rng.uniform(2.0, 2.6)
        y += size * 1.6
