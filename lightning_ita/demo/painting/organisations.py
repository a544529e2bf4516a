"""Scenes that suggest the type ORG: shops, offices, teams, share prices."""

from __future__ import annotations

from lightning_ita.demo.painting.canvas import (
    ASPHALT,
    GRASS,
    INK,
    SHADOW,
    STEEL,
    WHITE,
    WOOD,
    Canvas,
    Colour,
    darker,
    ink_on,
    lighter,
    mix,
    painter,
)
from lightning_ita.demo.painting.figures import crowd, person

GLASS = (150, 196, 214)


def emblem(canvas: Canvas, x: float, y: float, size: float, first: Colour, second: Colour) -> None:
    """Draws a logo without letters."""
    canvas.ellipse(x, y, size, size, first)
    canvas.polygon([(x - size * 0.6, y + size * 0.4), (x, y - size * 0.7), (x + size * 0.6, y + size * 0.4)], second)
    canvas.ellipse(x, y + size * 0.2, size * 0.22, size * 0.22, first)


@painter
def storefront(canvas: Canvas) -> None:
    """Draws a shop with an awning and a sign."""
    canvas.rectangle(0, 0, 320, 240, (196, 138, 110))
    for y in range(0, 200, 12):
        for x in range(-12, 320, 28):
            canvas.rectangle(x + (y // 12 % 2) * 14, y, x + 26 + (y // 12 % 2) * 14, y + 10, (184, 122, 96))
    lines = len(canvas.scene.words)
    top = 30 + 30 * lines if lines else 58
    canvas.rectangle(20, 8, 300, top, darker(canvas.colour, 0.35), 5)
    if lines:
        canvas.write((26, 10, 294, top - 2), WHITE, largest=36)
    else:
        for x in (100, 160, 220):
            emblem(canvas, x, 33, 17, canvas.accent, WHITE)
    canvas.rectangle(30, top + 24, 290, 206, (70, 60, 60))
    for x, right in ((38, 132), (188, 282)):
        canvas.rectangle(x, top + 30, right, 190, GLASS)
        canvas.polygon([(x + 8, 190), (x + 48, top + 30), (x + 66, top + 30), (x + 26, 190)], (255, 255, 255, 80))
        for i in range(3):
            height = canvas.rng.uniform(20, 36)
            canvas.rectangle(
                x + 8 + i * 29, 190 - height, x + 28 + i * 29, 190, canvas.rng.choice((canvas.accent, WOOD, WHITE)), 3
            )
    canvas.rectangle(140, top + 30, 180, 206, GLASS)
    canvas.line([(160, top + 30), (160, 206)], (70, 60, 60), 3)
    for x in (155, 165):
        canvas.line([(x, 150), (x, 166)], STEEL, 2.6)
    for i in range(14):
        stripe = canvas.colour if i % 2 == 0 else WHITE
        canvas.polygon(
            [(28 + i * 19, top), (47 + i * 19, top), (44 + i * 19.5, top + 32), (24 + i * 19.5, top + 32)], stripe
        )
        canvas.segment(34 + i * 19.5, top + 32, 9.8, 8, 0, 180, stripe)
    canvas.rectangle(0, 206, 320, 240, (178, 174, 168))
    canvas.line([(0, 222), (320, 222)], (156, 152, 148), 1.6)


@painter
def office(canvas: Canvas) -> None:
    """Draws a company's building with its logo and flags."""
    canvas.sky(214)
    canvas.rectangle(0, 206, 320, 240, (170, 172, 168))
    canvas.rectangle(0, 200, 320, 210, (104, 160, 88))
    canvas.polygon([(262, 52), (304, 76), (304, 208), (262, 208)], (70, 98, 122))
    canvas.rectangle(42, 22, 264, 208, (58, 92, 124))
    for row in range(8):
        for column in range(11):
            glow = canvas.rng.random()
            pane = mix((128, 178, 206), (255, 232, 160) if canvas.is_dark else WHITE, glow * 0.5)
            canvas.rectangle(48 + column * 19.4, 28 + row * 19, 64 + column * 19.4, 43 + row * 19, pane)
    words = canvas.scene.words
    low = 60 + 26 * len(words) if words else 84
    canvas.rectangle(36, 40, 286, low, WHITE, 4)
    if words:
        emblem(canvas, 60, (40 + low) / 2, 16, canvas.colour, WHITE)
        canvas.write((80, 42, 282, low - 2), darker(canvas.colour, 0.5), largest=32)
    else:
        for i, x in enumerate((100, 153, 206)):
            emblem(canvas, x, 62, 17, canvas.colour if i != 1 else canvas.accent, WHITE)
    canvas.rectangle(130, 172, 178, 208, (30, 46, 62))
    canvas.rectangle(122, 166, 186, 173, STEEL)
    for x in (14, 292):
        canvas.line([(x, 208), (x, 88)], STEEL, 3)
        canvas.polygon([(x, 90), (x + 27, 95), (x + 25, 114), (x, 110)], canvas.colour)


@painter
def stadium(canvas: Canvas) -> None:
    """Draws fans with a banner."""
    canvas.gradient(0, 70, (24, 34, 70), (70, 90, 140))
    for x in (44, 276):
        canvas.line([(x, 70), (x, 18)], STEEL, 5)
        canvas.rectangle(x - 26, 6, x + 26, 26, STEEL, 2)
        for i in range(4):
            canvas.ellipse(x - 18 + i * 12, 16, 5, 5, (255, 255, 230))
            canvas.ellipse(x - 18 + i * 12, 16, 11, 11, (255, 255, 230, 50))
    canvas.rectangle(0, 52, 320, 240, (88, 92, 104))
    crowd(canvas, 62, 240, 10, cheering=True)
    canvas.polygon([(14, 102), (306, 94), (308, 186), (16, 192)], SHADOW)
    canvas.polygon([(16, 100), (304, 92), (304, 180), (16, 186)], canvas.colour)
    canvas.polygon([(16, 100), (304, 92), (304, 100), (16, 108)], canvas.accent)
    canvas.polygon([(16, 178), (304, 172), (304, 180), (16, 186)], canvas.accent)
    if canvas.scene.words:
        canvas.write((26, 106, 294, 170), ink_on(canvas.colour))
    else:
        for x in (80, 160, 240):
            emblem(canvas, x, 140, 24, canvas.accent, WHITE)
    for x in (16, 304):
        canvas.line([(x, 240), (x, 92)], WOOD, 5)


@painter
def team(canvas: Canvas) -> None:
    """Draws a team in two rows."""
    crowd(canvas, 10, 70, 6, dim=0.4)
    canvas.rectangle(0, 82, 320, 96, canvas.accent)
    for i in range(8):
        canvas.rectangle(i * 40, 96, i * 40 + 40, 240, GRASS if i % 2 else darker(GRASS, 0.08))
    for i in range(6):
        person(canvas, 40 + i * 48, 192, 132, canvas.colour, WHITE, hair=_any_hair(canvas), woman=canvas.is_woman)
    for i in range(5):
        person(canvas, 64 + i * 48, 228, 112, canvas.colour, WHITE, hands=((-0.1, 0.4), (0.1, 0.4)),
               feet=((-0.15, 0.02), (0.15, 0.02)), hair=_any_hair(canvas), woman=canvas.is_woman)  # fmt: skip
    canvas.ellipse(160, 228, 10, 10, INK)
    canvas.ellipse(160, 228, 9, 9, WHITE)


def _any_hair(canvas: Canvas) -> tuple[int, int, int]:
    return canvas.rng.choice(((92, 58, 34), (30, 26, 26), (222, 184, 96), (168, 70, 34)))


@painter
def truck(canvas: Canvas) -> None:
    """Draws a delivery truck."""
    canvas.sky(150)
    for x in range(-20, 330, 60):
        canvas.tree(x + canvas.rng.uniform(0, 30), 168, 62)
    canvas.rectangle(0, 164, 320, 182, (176, 172, 164))
    canvas.rectangle(0, 180, 320, 240, ASPHALT)
    for x in range(10, 320, 60):
        canvas.rectangle(x, 222, x + 32, 227, WHITE)
    canvas.rectangle(16, 62, 226, 178, WHITE, 4)
    canvas.rectangle(16, 62, 226, 74, canvas.colour, 4)
    canvas.rectangle(16, 166, 226, 178, canvas.colour)
    canvas.polygon([(230, 88), (276, 88), (302, 130), (304, 190), (230, 190)], canvas.colour)
    canvas.polygon([(240, 96), (271, 96), (290, 130), (240, 130)], GLASS)
    canvas.line([(246, 142), (256, 142)], darker(canvas.colour, 0.4), 3)
    canvas.rectangle(12, 178, 306, 194, (60, 62, 68), 3)
    canvas.ellipse(300, 168, 5, 7, (255, 240, 170))
    for x in (58, 104, 264):
        canvas.ellipse(x, 196, 21, 21, INK)
        canvas.ellipse(x, 196, 10, 10, STEEL)
    if canvas.scene.words:
        canvas.write((22, 78, 220, 162), darker(canvas.colour, 0.55), largest=38)
    else:
        emblem(canvas, 120, 120, 36, canvas.colour, canvas.accent)


@painter
def press(canvas: Canvas) -> None:
    """Draws a press conference about to begin: a table, microphones, logos all over the wall."""
    canvas.rectangle(0, 0, 320, 240, lighter(canvas.colour, 0.1))
    ink = ink_on(lighter(canvas.colour, 0.1))
    for row in range(4):
        for column in range(7):
            if not canvas.scene.words or row in (0, 3) or column in (0, 6):
                first, second = (WHITE, canvas.accent) if (row + column) % 2 else (canvas.accent, WHITE)
                emblem(canvas, 22 + column * 46, 20 + row * 44, 12, first, second)
    if canvas.scene.words:
        canvas.write((46, 44, 274, 130), ink, largest=34)
    for x in (66, 160, 254):
        canvas.rectangle(x - 24, 130, x + 24, 190, (54, 54, 66), 9)
    canvas.rectangle(8, 172, 312, 184, lighter(WOOD, 0.2), 3)
    canvas.rectangle(14, 184, 306, 240, (44, 52, 76))
    for x in (52, 80, 146, 174, 240, 268):
        canvas.line([(x, 172), (x + 5, 148)], INK, 2.6)
        canvas.ellipse(x + 5, 145, 5, 6, (70, 72, 80))
    for x in (110, 210, 292):
        canvas.rectangle(x - 4, 152, x + 4, 173, (150, 206, 236), 2)
        canvas.rectangle(x - 2, 147, x + 2, 153, (40, 90, 160))


@painter
def chart(canvas: Canvas) -> None:
    """Draws share prices on a screen."""
    canvas.rectangle(0, 0, 320, 240, (52, 56, 66))
    canvas.rectangle(10, 8, 310, 218, (12, 14, 20), 8)
    canvas.rectangle(16, 14, 304, 210, (16, 28, 46), 4)
    canvas.rectangle(136, 218, 184, 230, (24, 26, 32))
    canvas.rectangle(104, 230, 216, 238, (24, 26, 32), 3)
    top = 92 if canvas.scene.words else 34
    for i in range(5):
        y = top + (190 - top) * i / 4
        canvas.line([(30, y), (290, y)], (54, 72, 100), 1)
    rising = canvas.rng.random() < 0.5
    points, height = [], 0.5
    for i in range(14):
        height = min(1, max(0, height + canvas.rng.uniform(-0.14, 0.14) + (0.04 if rising else -0.04)))
        points.append((34 + i * 19.4, 188 - (188 - top) * height))
        bar = canvas.rng.uniform(6, 30)
        canvas.rectangle(28 + i * 19.4, 200 - bar, 40 + i * 19.4, 200, (70, 96, 136))
    canvas.polygon([(34, 200), *points, (points[-1][0], 200)], (*canvas.colour[:3], 60))
    canvas.line(points, canvas.colour, 4)
    if canvas.scene.words:
        canvas.write((22, 20, 298, 86), WHITE, largest=34)


@painter
def factory(canvas: Canvas) -> None:
    """Draws a factory, its chimneys smoking, behind a fence."""
    canvas.sky(180)
    for x, top in ((196, 42), (236, 30), (276, 50)):
        for i in range(6):
            canvas.ellipse(x + 8 - i * 13, top - 4 - i * 6, 8 + i * 3, 6 + i * 2, (196, 194, 196, 190 - i * 20))
        canvas.polygon([(x - 3, 150), (x + 2, top), (x + 16, top), (x + 21, 150)], (170, 92, 72))
        canvas.rectangle(x + 1, top + 8, x + 17, top + 16, WHITE)
    for i in range(3):
        canvas.polygon([(10 + i * 60, 110), (70 + i * 60, 78), (70 + i * 60, 110)], (120, 132, 146))
    canvas.rectangle(10, 108, 310, 206, (186, 178, 168))
    if canvas.scene.words:
        canvas.rectangle(28, 112, 292, 178, lighter(canvas.colour, 0.82))
        canvas.write((34, 114, 286, 176), darker(canvas.colour, 0.6), largest=36)
    else:
        for i in range(6):
            canvas.rectangle(28 + i * 46, 124, 60 + i * 46, 146, (98, 132, 156))
        emblem(canvas, 160, 172, 18, canvas.colour, WHITE)
    canvas.rectangle(0, 204, 320, 240, (140, 150, 112))
    for x in range(4, 320, 22):
        canvas.line([(x, 236), (x, 186)], (92, 98, 104), 2.4)
    for y in (192, 212, 230):
        canvas.line([(0, y), (320, y)], (92, 98, 104), 1.4)
