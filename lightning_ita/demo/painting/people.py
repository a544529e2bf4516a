"""Scenes that suggest the type PER: portraits, stages, pitches, a birthday cake."""

from __future__ import annotations

from itertools import pairwise

from lightning_ita.demo.painting.canvas import (
    DARK_WOOD,
    GRASS,
    INK,
    SKINS,
    STEEL,
    WHITE,
    WOOD,
    Canvas,
    darker,
    ink_on,
    lighter,
    mix,
    painter,
)
from lightning_ita.demo.painting.figures import crowd, head, person


@painter
def portrait(canvas: Canvas) -> None:
    """Draws head and shoulders."""
    canvas.gradient(0, 240, lighter(canvas.accent, 0.55), lighter(canvas.accent, 0.15))
    x, skin = canvas.rng.uniform(140, 180), canvas.rng.choice(SKINS)
    canvas.ellipse(x, 262, 104, 78, canvas.colour)
    canvas.line([(x, 160), (x, 186)], darker(skin, 0.12), 40)
    canvas.segment(x, 186, 34, 22, 0, 180, darker(skin, 0.12))
    head(canvas, x, 102, 56, skin, canvas.hair, canvas.is_woman)


def _stage(canvas: Canvas) -> None:
    canvas.gradient(0, 190, (24, 12, 44), mix((24, 12, 44), canvas.accent, 0.5))
    canvas.rectangle(0, 188, 320, 240, (40, 30, 46))
    for x, to in ((40, 120), (160, 160), (280, 200)):
        canvas.polygon([(x - 5, 0), (x + 5, 0), (to + 48, 200), (to - 48, 200)], (255, 250, 210, 46))
        canvas.rectangle(x - 9, 0, x + 9, 9, STEEL, 3)
    canvas.ellipse(160, 200, 74, 12, (255, 250, 210, 70))


def _microphone(canvas: Canvas, x: float, y: float, foot: float | None = None) -> None:
    if foot is not None:
        canvas.line([(x, y), (x, foot)], STEEL, 2.4)
        canvas.line([(x - 12, foot), (x + 12, foot)], STEEL, 3)
    canvas.line([(x, y), (x - 3, y + 13)], (60, 60, 66), 5)
    canvas.ellipse(x, y, 6, 6.5, (120, 124, 132))
    canvas.ellipse(x - 1.5, y - 2, 2.4, 2.4, (190, 194, 200))


@painter
def singer(canvas: Canvas) -> None:
    """Draws a singer on a stage, perhaps before a screen with a name."""
    _stage(canvas)
    x = 160.0
    if canvas.scene.words:
        canvas.rectangle(14, 14, 224, 92, (10, 10, 16), 4)
        canvas.write((22, 18, 216, 88), (255, 240, 150))
        x = 262
    person(canvas, x, 208, 164, canvas.colour, INK, hands=((-0.08, 0.83), (0.25, 0.95)), feet=((-0.13, 0), (0.15, 0)))
    _microphone(canvas, x - 12, 208 - 0.85 * 164)
    crowd(canvas, 222, 240, 9, dim=0.72)


@painter
def podium(canvas: Canvas) -> None:
    """Draws a speaker at a podium before a curtain."""
    curtain = (44, 66, 128)
    canvas.rectangle(0, 0, 320, 240, curtain)
    for x in range(0, 320, 20):
        canvas.rectangle(x, 0, x + 8, 240, darker(curtain, 0.18))
    for x in (38, 282):
        canvas.line([(x, 40), (x, 220)], (200, 180, 90), 4)
        canvas.polygon([(x, 44), (x + 34, 52), (x + 28, 108), (x, 100)], canvas.colour)
        canvas.polygon([(x, 66), (x + 31, 74), (x + 29, 88), (x, 80)], WHITE)
    canvas.rectangle(0, 214, 320, 240, (120, 44, 44))
    person(canvas, 160, 236, 214, (40, 42, 56), hands=((-0.34, 0.66), (0.3, 0.62)), sleeves=True)
    canvas.polygon([(150, 64), (170, 64), (160, 100)], WHITE)
    canvas.polygon([(157, 68), (163, 68), (165, 96), (160, 102), (155, 96)], canvas.accent)
    canvas.polygon([(84, 130), (236, 130), (226, 240), (94, 240)], WOOD)
    canvas.rectangle(78, 122, 242, 136, DARK_WOOD, 3)
    for x in (136, 186):
        canvas.line([(x, 124), (x + (160 - x) * 0.3, 92)], INK, 2.4)
        canvas.ellipse(x + (160 - x) * 0.3, 90, 5, 6, (60, 60, 66))
    if canvas.scene.words:
        canvas.rectangle(92, 148, 228, 222, WHITE, 4)
        canvas.write((94, 150, 226, 220), (28, 48, 110), largest=38)
    else:
        canvas.ellipse(160, 184, 26, 26, (224, 190, 90))
        canvas.ellipse(160, 184, 19, 19, WOOD)


@painter
def basketball(canvas: Canvas) -> None:
    """Draws a player on the way to the hoop."""
    canvas.gradient(0, 160, (58, 62, 84), (92, 96, 120))
    crowd(canvas, 74, 132, 7, dim=0.45)
    canvas.rectangle(0, 158, 320, 240, (214, 156, 92))
    for y in range(166, 240, 14):
        canvas.line([(0, y), (320, y)], (196, 136, 74), 1)
    canvas.arc(250, 236, 120, 48, 180, 360, WHITE, 3)
    canvas.line([(300, 232), (300, 40)], STEEL, 8)
    canvas.rectangle(262, 12, 308, 66, WHITE, 2)
    canvas.rectangle(272, 34, 296, 56, (210, 50, 40))
    canvas.rectangle(275, 37, 293, 53, WHITE)
    canvas.arc(244, 66, 22, 6, 0, 360, (232, 84, 30), 3.4)
    for i in range(5):
        canvas.line([(224 + i * 10, 68), (231 + i * 6.5, 94)], (255, 255, 255, 200), 1.4)
    x = canvas.rng.uniform(132, 160)
    person(canvas, x, 214, 158, canvas.colour, canvas.colour, hands=((-0.27, 0.6), (0.3, 1.0)),
           feet=((-0.2, 0.14), (0.14, 0.05)))  # fmt: skip
    ball_x, ball_y = x + 0.34 * 158, 214 - 1.06 * 158
    canvas.ellipse(ball_x, ball_y, 14, 14, (232, 120, 36))
    canvas.line([(ball_x - 13, ball_y), (ball_x + 13, ball_y)], INK, 1.2)
    canvas.line([(ball_x, ball_y - 13), (ball_x, ball_y + 13)], INK, 1.2)


def _pitch(canvas: Canvas, horizon: float) -> None:
    crowd(canvas, 8, horizon - 22, 6, dim=0.35)
    canvas.rectangle(0, horizon - 12, 320, horizon, canvas.accent)
    for i in range(8):
        canvas.rectangle(i * 40, horizon, i * 40 + 40, 240, GRASS if i % 2 else darker(GRASS, 0.08))


@painter
def footballer(canvas: Canvas) -> None:
    """Draws a player kicking the ball towards a goal."""
    _pitch(canvas, 96)
    canvas.line([(218, 150), (218, 70), (316, 70), (316, 150)], WHITE, 5)
    for i in range(1, 10):
        canvas.line([(218 + i * 10, 72), (218 + i * 10, 148)], (255, 255, 255, 120), 1)
        canvas.line([(220, 70 + i * 8), (314, 70 + i * 8)], (255, 255, 255, 120), 1)
    canvas.line([(0, 151), (320, 151)], WHITE, 2.4)
    x = canvas.rng.uniform(92, 124)
    canvas.ellipse(x, 226, 40, 6, SHADE)
    person(
        canvas, x, 226, 172, canvas.colour, WHITE, hands=((-0.29, 0.66), (0.26, 0.7)), feet=((-0.06, 0), (0.24, 0.12))
    )
    football(canvas, x + 68, 208, 13)


def football(canvas: Canvas, x: float, y: float, radius: float) -> None:
    """Draws a black and white ball."""
    canvas.ellipse(x, y, radius, radius, INK)
    canvas.ellipse(x, y, radius - 1, radius - 1, WHITE)
    for dx, dy in ((0, 0), (-0.75, -0.4), (0.75, -0.4), (-0.5, 0.75), (0.5, 0.75)):
        canvas.ellipse(x + dx * radius, y + dy * radius, radius * 0.27, radius * 0.25, INK)


SHADE = (20, 60, 20, 90)


@painter
def jersey(canvas: Canvas) -> None:
    """Draws a player from behind, with a name and a number on the back."""
    _pitch(canvas, 110)
    skin = canvas.rng.choice(SKINS)
    canvas.line([(160, 66), (160, 84)], darker(skin, 0.1), 30)
    canvas.ellipse(160, 42, 30, 36, canvas.hair)
    canvas.segment(160, 48, 24, 32, 30, 150, skin)
    for side in (-1, 1):
        canvas.line([(160 + side * 84, 112), (160 + side * 98, 176), (160 + side * 92, 236)], skin, 26)
        canvas.line([(160 + side * 74, 100), (160 + side * 92, 150)], darker(canvas.colour, 0.12), 38)
    canvas.polygon([(84, 92), (140, 78), (180, 78), (236, 92), (230, 240), (90, 240)], canvas.colour)
    ink = ink_on(canvas.colour)
    if canvas.scene.words:
        canvas.write((92, 92, 228, 128), ink, canvas.scene.words[:1], largest=34)
        canvas.write((110, 134, 210, 230), ink, canvas.scene.words[1:], largest=100)
    else:
        canvas.rectangle(98, 100, 222, 112, lighter(canvas.colour, 0.2), 4)
        canvas.line([(132, 140), (188, 140), (156, 222)], ink, 15)  # A seven, drawn: no text for OCR to find.


@painter
def guitarist(canvas: Canvas) -> None:
    """Draws someone on a stool with a guitar."""
    canvas.gradient(0, 200, lighter(canvas.accent, 0.25), lighter(canvas.accent, 0.5))
    for x in range(0, 320, 32):
        for y in range(0, 190, 16):
            canvas.rectangle(
                x + (y // 16 % 2) * 16, y, x + 30 + (y // 16 % 2) * 16, y + 14, mix((178, 96, 74), canvas.accent, 0.15)
            )
    canvas.rectangle(0, 190, 320, 240, (134, 96, 66))
    canvas.line([(136, 150), (124, 232)], DARK_WOOD, 6)
    canvas.line([(184, 150), (196, 232)], DARK_WOOD, 6)
    canvas.ellipse(160, 148, 36, 9, WOOD)
    person(
        canvas,
        160,
        226,
        196,
        canvas.colour,
        (48, 58, 92),
        hands=((0.02, 0.52), (0.3, 0.66)),
        feet=((-0.2, 0.02), (0.2, 0.1)),
    )
    canvas.line([(168, 130), (230, 92)], DARK_WOOD, 8)
    canvas.line([(228, 93), (240, 86)], INK, 11)
    canvas.ellipse(134, 146, 30, 27, (204, 132, 60))
    canvas.ellipse(162, 132, 22, 20, (204, 132, 60))
    canvas.ellipse(148, 140, 9, 9, (70, 40, 24))
    canvas.line([(126, 152), (228, 94)], (240, 230, 210), 1)
    canvas.ellipse(166, 122, 8, 7, SKINS[1])


@painter
def celebrity(canvas: Canvas) -> None:
    """Draws someone dressed up on the red carpet, photographers behind the rope."""
    canvas.rectangle(0, 0, 320, 150, (34, 34, 52))
    crowd(canvas, 78, 130, 11, dim=0.5)
    for _ in range(7):
        x, y = canvas.rng.uniform(10, 310), canvas.rng.uniform(56, 120)
        canvas.ellipse(x, y, 14, 14, (255, 255, 255, 60))
        canvas.ellipse(x, y, 5, 5, (255, 255, 240))
    canvas.rectangle(0, 150, 320, 240, (66, 60, 72))
    canvas.polygon([(110, 150), (210, 150), (286, 240), (34, 240)], (186, 26, 40))
    for side in (-1, 1):
        xs = [160 + side * d for d in (62, 96, 132)]
        for x, foot in zip(xs, (176, 204, 236), strict=True):
            canvas.line([(x, foot), (x, foot - 48)], (222, 184, 80), 5)
        for (x, foot), (to, to_foot) in pairwise(zip(xs, (128, 156, 188), strict=True)):
            canvas.line([(x, foot), ((x + to) / 2, (foot + to_foot) / 2 + 10), (to, to_foot)], (140, 20, 40), 4)
    person(canvas, 160, 226, 190, canvas.colour, canvas.colour, hands=((-0.12, 0.5), (0.22, 0.74)),
           skirt=canvas.is_woman, sleeves=not canvas.is_woman)  # fmt: skip


@painter
def cake(canvas: Canvas) -> None:
    """Draws a birthday cake, perhaps with a name on it."""
    canvas.gradient(0, 186, lighter(canvas.accent, 0.6), lighter(canvas.accent, 0.4))
    for x in range(10, 320, 34):
        canvas.polygon([(x, 6), (x + 26, 6), (x + 13, 30)], canvas.colour if x % 3 else canvas.accent)
    canvas.rectangle(0, 186, 320, 240, WOOD)
    canvas.ellipse(160, 216, 136, 17, WHITE)
    canvas.ellipse(160, 214, 118, 13, (222, 222, 222))
    top = 96
    canvas.rectangle(58, top, 262, 212, (246, 232, 206), 12)
    canvas.rectangle(58, top - 6, 262, top + 18, canvas.colour, 12)
    for x in range(66, 262, 19):
        canvas.line([(x, top + 12), (x, top + 18 + canvas.rng.uniform(0, 8))], canvas.colour, 12)
    canvas.rectangle(58, 200, 262, 212, darker(canvas.colour, 0.1), 5)
    for i in range(7):
        x = 82 + i * 26
        canvas.rectangle(x - 3, top - 32, x + 3, top - 4, (canvas.accent, WHITE)[i % 2])
        canvas.ellipse(x, top - 39, 4, 7, (255, 176, 40))
        canvas.ellipse(x, top - 37, 2, 4, (255, 240, 160))
    if canvas.scene.words:
        canvas.write((64, top + 28, 256, 198), (110, 36, 60), largest=28)
    else:
        for i in range(6):
            canvas.ellipse(84 + i * 30, 164, 9, 9, (214, 40, 60))
