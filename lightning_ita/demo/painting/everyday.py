"""Scenes that suggest no entity type: food, a cat, a meme."""

from __future__ import annotations

from lightning_ita.demo.painting.canvas import (
    INK,
    SHADOW,
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


def tabletop(canvas: Canvas) -> None:
    """Draws a wooden table seen from above."""
    canvas.rectangle(0, 0, 320, 240, WOOD)
    for y in range(0, 240, 30):
        canvas.line([(0, y + canvas.rng.uniform(-3, 3)), (320, y + canvas.rng.uniform(-3, 3))], darker(WOOD, 0.12), 1.6)


@painter
def pizza(canvas: Canvas) -> None:
    """Draws a pizza on a plate."""
    tabletop(canvas)
    canvas.ellipse(154, 126, 112, 106, SHADOW)
    canvas.ellipse(150, 120, 110, 104, WHITE)
    canvas.ellipse(150, 120, 94, 90, (206, 146, 76))
    canvas.ellipse(150, 120, 84, 80, (250, 208, 92))
    for dx, dy in ((-44, -34), (12, -52), (54, -18), (-6, -6), (-56, 20), (-14, 44), (40, 38)):
        x, y = 150 + dx + canvas.rng.uniform(-5, 5), 120 + dy + canvas.rng.uniform(-5, 5)
        canvas.ellipse(x, y, 14, 13, (196, 52, 40))
        canvas.ellipse(x - 3, y - 3, 5, 4, (224, 96, 76))
    for _ in range(12):
        x, y = 150 + canvas.rng.uniform(-60, 60), 120 + canvas.rng.uniform(-56, 56)
        canvas.ellipse(x, y, 6, 3, (62, 130, 60))
    for angle in ((150, 40, 150, 200), (82, 74, 218, 166), (218, 74, 82, 166)):
        canvas.line([angle[:2], angle[2:]], (214, 160, 70), 2)
    canvas.line([(288, 220), (288, 110)], STEEL, 7)
    canvas.line([(288, 112), (288, 90)], STEEL, 11)
    for x in (280, 288, 296):
        canvas.line([(x, 92), (x, 56)], STEEL, 3.4)


@painter
def cat(canvas: Canvas) -> None:
    """Draws a cat on a couch."""
    canvas.gradient(0, 240, (238, 226, 206), (216, 198, 174))
    couch = mix(canvas.accent, (120, 110, 104), 0.55)
    canvas.rectangle(10, 60, 310, 200, couch, 22)
    canvas.rectangle(0, 110, 44, 224, darker(couch, 0.12), 16)
    canvas.rectangle(276, 110, 320, 224, darker(couch, 0.12), 16)
    canvas.rectangle(36, 158, 284, 226, lighter(couch, 0.14), 12)
    canvas.rectangle(222, 92, 280, 150, lighter(canvas.accent, 0.3), 12)
    canvas.polygon([(52, 176), (262, 168), (276, 216), (44, 220)], canvas.colour)
    for x in range(60, 270, 24):
        canvas.line([(x, 177), (x - 4, 217)], lighter(canvas.colour, 0.3), 4)
    fur = canvas.rng.choice(((222, 144, 66), (110, 110, 116), (54, 52, 56), (236, 224, 206)))
    canvas.line([(228, 176), (258, 190), (232, 204)], fur, 14)
    canvas.ellipse(168, 168, 74, 38, fur)
    for x in (130, 150, 196):
        canvas.ellipse(x, 200, 18, 8, lighter(fur, 0.2))
    for i in range(4):
        canvas.line([(166 + i * 17, 132 + i * 3), (170 + i * 17, 152 + i * 3)], darker(fur, 0.25), 5)
    for side in (-1, 1):
        canvas.polygon([(108 + side * 34, 118), (108 + side * 30, 72), (108 + side * 4, 98)], fur)
        canvas.polygon([(108 + side * 30, 108), (108 + side * 27, 83), (108 + side * 10, 100)], (240, 170, 170))
    canvas.ellipse(108, 128, 40, 34, fur)
    for side in (-1, 1):
        canvas.arc(108 + side * 16, 120, 8, 7, 20, 160, INK, 2.6)
        for dy in (-4, 4):
            canvas.line([(108 + side * 18, 140 + dy / 2), (108 + side * 50, 138 + dy * 1.6)], WHITE, 1.2)
        canvas.arc(108 + side * 5, 140, 5, 5, 0, 180, INK, 1.8)
    canvas.polygon([(103, 131), (113, 131), (108, 138)], (226, 120, 130))


@painter
def coffee(canvas: Canvas) -> None:
    """Draws a cup of coffee from above."""
    tabletop(canvas)
    words = canvas.scene.words
    x = 226 if words else 150
    canvas.ellipse(x + 4, 126, 88, 88, SHADOW)
    canvas.ellipse(x, 120, 86, 86, lighter(canvas.colour, 0.7))
    canvas.ellipse(x, 120, 80, 80, WHITE)
    canvas.rectangle(x + 40, 108, x + 78, 132, canvas.colour, 9)
    canvas.ellipse(x, 120, 56, 56, canvas.colour)
    canvas.ellipse(x, 120, 48, 48, (94, 56, 32))
    canvas.ellipse(x, 120, 40, 40, (150, 98, 58))
    for side in (-1, 1):
        canvas.ellipse(x + side * 10, 112, 13, 13, (244, 226, 200))
    canvas.polygon([(x - 22, 116), (x + 22, 116), (x, 146)], (244, 226, 200))
    if words:
        canvas.rectangle(10, 62, 138, 178, WHITE, 4)
        canvas.write((14, 66, 134, 174), (70, 42, 26))
    else:
        canvas.line([(270, 190), (262, 70)], STEEL, 6)
        canvas.ellipse(261, 60, 13, 19, STEEL)


@painter
def flowers(canvas: Canvas) -> None:
    """Draws a vase of flowers."""
    canvas.gradient(0, 186, lighter(canvas.accent, 0.72), lighter(canvas.accent, 0.5))
    canvas.rectangle(0, 186, 320, 240, (220, 206, 188))
    canvas.ellipse(160, 222, 60, 8, SHADOW)
    for dx, dy in ((-84, -88), (-44, -124), (0, -100), (46, -128), (88, -84), (-20, -56), (34, -62)):
        x, y = 160 + dx * 0.9, 162 + dy * 0.95 + canvas.rng.uniform(-6, 6)
        canvas.line([(160 + dx * 0.12, 160), (160 + dx * 0.5, 150 + dy * 0.4), (x, y)], (70, 140, 70), 4)
        canvas.ellipse(160 + dx * 0.6, 152 + dy * 0.36, 14, 6, (86, 158, 80))
        for px, py in ((0, -1), (0.87, -0.5), (0.87, 0.5), (0, 1), (-0.87, 0.5), (-0.87, -0.5)):
            canvas.ellipse(x + px * 14, y + py * 14, 11, 11, mix(canvas.colour, WHITE, 0.1 + 0.1 * (px > 0)))
        canvas.ellipse(x, y, 9, 9, (250, 214, 80))
    canvas.polygon(
        [(124, 146), (196, 146), (184, 172), (198, 206), (188, 224), (132, 224), (122, 206), (136, 172)], canvas.accent
    )
    canvas.polygon(
        [(134, 150), (146, 150), (150, 172), (140, 206), (132, 206), (142, 172)], lighter(canvas.accent, 0.4)
    )


@painter
def meme(canvas: Canvas) -> None:
    """Draws a cartoon frog and a joke in capitals."""
    background = lighter(canvas.colour, 0.3)
    for i in range(12):
        corner = [
            (0, 0),
            (160, 0),
            (320, 0),
            (320, 80),
            (320, 160),
            (320, 240),
            (160, 240),
            (0, 240),
            (0, 160),
            (0, 80),
        ]
        first, second = corner[i % 10], corner[(i + 1) % 10]
        canvas.polygon([(160, 130), first, second], background if i % 2 else darker(background, 0.14))
    green = (88, 164, 76)
    for side in (-1, 1):
        canvas.ellipse(160 + side * 70, 204, 34, 26, darker(green, 0.1))
        canvas.ellipse(160 + side * 40, 82, 31, 31, green)
        canvas.ellipse(160 + side * 40, 80, 22, 22, WHITE)
        canvas.ellipse(160 + side * 40 + canvas.rng.choice((-6, 6)), 82, 9, 11, INK)
    canvas.ellipse(160, 214, 84, 54, green)
    canvas.ellipse(160, 132, 92, 58, green)
    canvas.ellipse(160, 218, 50, 36, lighter(green, 0.45))
    canvas.arc(160, 122, 62, 40, 20, 160, darker(green, 0.6), 5)
    for side in (-1, 1):
        canvas.ellipse(160 + side * 11, 122, 3, 4, darker(green, 0.55))
        canvas.ellipse(160 + side * 66, 142, 11, 7, (226, 150, 130))
    words = canvas.scene.words
    if words:
        for line, top in zip(words, (4, 192), strict=True):
            canvas.rectangle(0, top, 320, top + 44, INK)
            canvas.write((10, top + 2, 310, top + 42), WHITE, [line], largest=38)


@painter
def dumbbells(canvas: Canvas) -> None:
    """Draws dumbbells on a mat."""
    canvas.gradient(0, 130, (96, 104, 116), (140, 148, 158))
    canvas.rectangle(20, 12, 300, 108, (176, 204, 222))
    for x in (90, 160, 230):
        canvas.line([(x, 12), (x, 108)], (96, 104, 116), 4)
    canvas.polygon([(30, 108), (90, 12), (120, 12), (60, 108)], (255, 255, 255, 80))
    canvas.rectangle(0, 128, 320, 240, (74, 76, 84))
    canvas.polygon([(50, 150), (270, 150), (312, 232), (8, 232)], canvas.colour)
    for x, y in ((64, 170), (146, 204)):
        canvas.line([(x, y), (x + 108, y)], STEEL, 9)
        for dx, half in ((0, 19), (14, 25), (94, 25), (108, 19)):
            canvas.rectangle(x + dx - 6, y - half, x + dx + 6, y + half, INK, 4)
            canvas.rectangle(x + dx - 4, y - half + 3, x + dx - 1, y + half - 3, (96, 98, 106), 2)
    canvas.rectangle(268, 140, 290, 196, canvas.accent, 6)
    canvas.rectangle(273, 130, 285, 142, ink_on(canvas.accent), 2)
