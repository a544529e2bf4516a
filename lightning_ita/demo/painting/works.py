"""Scenes that suggest the type MISC: a work, product, prize or event."""

from __future__ import annotations

from lightning_ita.demo.painting.canvas import (
    DARK_WOOD,
    GOLD,
    GRASS,
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
from lightning_ita.demo.painting.figures import crowd


@painter
def poster(canvas: Canvas) -> None:
    """Draws a film poster on a cinema's wall."""
    canvas.rectangle(0, 0, 320, 240, (92, 34, 44))
    for x in range(0, 320, 40):
        canvas.line([(x, 0), (x, 240)], (78, 26, 36), 3)
    canvas.rectangle(54, 4, 266, 236, GOLD, 3)
    canvas.rectangle(61, 11, 259, 229, INK)
    low = mix(canvas.colour, (0, 0, 0), 0.55)
    for i in range(40):
        y = 14 + i * 5.3
        canvas.rectangle(64, y, 256, y + 5.6, mix(lighter(canvas.colour, 0.2), low, i / 40))
    canvas.ellipse(160, 88, 50, 50, lighter(canvas.colour, 0.65))
    canvas.polygon([(132, 160), (140, 104), (160, 96), (180, 104), (188, 160)], INK)
    canvas.ellipse(160, 82, 14, 16, INK)
    canvas.polygon([(138, 76), (182, 76), (172, 70), (168, 58), (152, 58), (148, 70)], INK)
    canvas.line([(182, 112), (206, 84)], INK, 8)
    for x in range(66, 256, 19):
        height = canvas.rng.uniform(10, 34)
        canvas.rectangle(x, 164 - height, x + 17, 166, darker(low, 0.4))
    canvas.rectangle(64, 162, 256, 226, darker(low, 0.55))
    if canvas.scene.words:
        canvas.write((68, 160, 252, 226), WHITE, largest=34)
    else:
        for i in range(5):
            canvas.polygon(star(100 + i * 30, 194, 12), GOLD)


def star(x: float, y: float, size: float) -> list[tuple[float, float]]:
    """Returns the corners of a star with five points."""
    shape = ((0, -1), (0.24, -0.31), (0.95, -0.31), (0.38, 0.12), (0.59, 0.81), (0, 0.4), (-0.59, 0.81), (-0.38, 0.12),
             (-0.95, -0.31), (-0.24, -0.31))  # fmt: skip
    return [(x + dx * size, y + dy * size) for dx, dy in shape]


@painter
def game(canvas: Canvas) -> None:
    """Draws a video game on a television, a controller before it."""
    canvas.gradient(0, 190, (94, 86, 124), (130, 118, 150))
    canvas.rectangle(0, 186, 320, 240, (120, 84, 60))
    canvas.rectangle(30, 8, 290, 180, INK, 7)
    canvas.rectangle(38, 16, 282, 168, (104, 186, 240))
    for x in (80.0, 190.0, 246.0):
        canvas.cloud(x, canvas.rng.uniform(30, 46), 9)
    canvas.rectangle(38, 148, 282, 168, (150, 96, 52))
    canvas.rectangle(38, 144, 282, 150, (90, 180, 80))
    for x, y in ((70, 116), (86, 116), (210, 104), (226, 104), (242, 104)):
        canvas.rectangle(x, y, x + 15, y + 15, canvas.colour, 2)
        canvas.rectangle(x + 4, y + 4, x + 11, y + 11, lighter(canvas.colour, 0.4))
    for x in (130, 150, 170):
        canvas.ellipse(x, 124, 5, 6, GOLD)
    x = canvas.rng.uniform(100, 190)
    canvas.rectangle(x, 126, x + 14, 136, (222, 50, 50))
    canvas.rectangle(x + 2, 117, x + 15, 127, (250, 206, 160))
    canvas.rectangle(x, 114, x + 14, 119, (222, 50, 50))
    canvas.rectangle(x, 135, x + 5, 145, (50, 70, 160))
    canvas.rectangle(x + 9, 135, x + 14, 145, (50, 70, 160))
    if canvas.scene.words:
        canvas.rectangle(58, 26, 262, 26 + 34 * len(canvas.scene.words), (24, 28, 60), 4)
        canvas.write((62, 28, 258, 24 + 34 * len(canvas.scene.words)), WHITE, largest=30)
    body = (46, 48, 58)
    canvas.rectangle(110, 188, 210, 222, body, 16)
    for x in (116, 204):
        canvas.ellipse(x, 218, 17, 20, body)
    canvas.rectangle(124, 200, 144, 206, STEEL)
    canvas.rectangle(131, 193, 137, 213, STEEL)
    for dx, dy, fill in (
        (0, -8, (90, 200, 110)),
        (8, 0, (220, 70, 70)),
        (0, 8, (80, 130, 230)),
        (-8, 0, (236, 200, 70)),
    ):
        canvas.ellipse(188 + dx, 203 + dy, 3.8, 3.8, fill)


@painter
def record(canvas: Canvas) -> None:
    """Draws a vinyl record on a turntable beside its album cover."""
    canvas.rectangle(0, 0, 320, 240, lighter(WOOD, 0.25))
    for y in range(0, 240, 24):
        canvas.line([(0, y), (320, y)], WOOD, 1.6)
    canvas.rectangle(134, 22, 316, 222, (58, 60, 68), 9)
    canvas.ellipse(214, 122, 80, 80, (20, 20, 24))
    for radius in (70, 60, 50, 40):
        canvas.arc(214, 122, radius, radius, 0, 360, (50, 50, 56), 1.4)
    canvas.ellipse(214, 122, 27, 27, canvas.accent)
    canvas.ellipse(214, 122, 4, 4, WHITE)
    canvas.line([(300, 44), (292, 130), (252, 150)], STEEL, 5)
    canvas.ellipse(300, 44, 10, 10, STEEL)
    canvas.rectangle(8, 44, 160, 204, SHADOW)
    canvas.rectangle(4, 38, 156, 198, canvas.colour)
    if canvas.scene.words:
        canvas.write((10, 44, 150, 108), ink_on(canvas.colour), largest=30)
        canvas.ellipse(80, 152, 34, 34, canvas.accent)
        canvas.ellipse(96, 142, 28, 28, canvas.colour)
    else:
        canvas.ellipse(80, 118, 56, 56, canvas.accent)
        canvas.ellipse(106, 102, 48, 48, canvas.colour)
        canvas.polygon(star(110, 100, 18), WHITE)


@painter
def trophy(canvas: Canvas) -> None:
    """Draws a golden cup on a pedestal in a spotlight."""
    canvas.gradient(0, 240, (22, 22, 46), mix(canvas.accent, (0, 0, 0), 0.55))
    canvas.polygon([(150, 0), (170, 0), (270, 220), (50, 220)], (255, 250, 210, 56))
    canvas.ellipse(160, 226, 116, 14, (255, 250, 210, 60))
    for _ in range(24):
        x, y = canvas.rng.uniform(0, 320), canvas.rng.uniform(0, 150)
        canvas.rectangle(x, y, x + 5, y + 3, (canvas.colour, GOLD, WHITE)[canvas.rng.randrange(3)])
    for side in (-1, 1):
        canvas.arc(160 + side * 42, 58, 24, 26, 0, 360, darker(GOLD, 0.15), 8)
    canvas.polygon([(112, 20), (208, 20), (198, 84), (176, 112), (144, 112), (122, 84)], GOLD)
    canvas.polygon([(122, 26), (136, 26), (142, 92), (132, 84)], lighter(GOLD, 0.55))
    canvas.ellipse(160, 20, 48, 7, darker(GOLD, 0.3))
    canvas.polygon([(152, 110), (168, 110), (174, 138), (146, 138)], darker(GOLD, 0.12))
    canvas.rectangle(126, 136, 194, 148, GOLD, 3)
    canvas.polygon([(144, 90), (156, 92), (146, 136), (134, 130)], canvas.colour)
    canvas.polygon([(176, 90), (164, 92), (174, 136), (186, 130)], canvas.colour)
    canvas.polygon(star(160, 62, 19), lighter(GOLD, 0.6))
    canvas.polygon([(62, 148), (258, 148), (268, 228), (52, 228)], (64, 42, 34))
    canvas.rectangle(56, 146, 264, 154, (92, 62, 46))
    if canvas.scene.words:
        canvas.rectangle(72, 158, 248, 224, lighter(GOLD, 0.35), 3)
        canvas.write((76, 158, 244, 224), (48, 30, 10), largest=30)


@painter
def book(canvas: Canvas) -> None:
    """Draws a book on a table, glasses and a cup beside it."""
    canvas.rectangle(0, 0, 320, 240, WOOD)
    for y in range(0, 240, 30):
        canvas.line([(0, y + canvas.rng.uniform(-3, 3)), (320, y + canvas.rng.uniform(-3, 3))], darker(WOOD, 0.12), 1.6)
    canvas.rectangle(30, 16, 186, 228, SHADOW, 4)
    canvas.rectangle(24, 12, 178, 224, WHITE, 3)
    canvas.rectangle(22, 8, 172, 220, canvas.colour, 4)
    canvas.rectangle(22, 8, 34, 220, darker(canvas.colour, 0.25), 4)
    canvas.rectangle(42, 18, 164, 210, lighter(canvas.colour, 0.14), 3)
    canvas.ellipse(103, 164, 30, 30, canvas.accent)
    canvas.polygon([(64, 206), (92, 152), (112, 184), (128, 160), (148, 206)], darker(canvas.colour, 0.4))
    if canvas.scene.words:
        canvas.write((38, 20, 168, 118), ink_on(lighter(canvas.colour, 0.14)), largest=32)
    else:
        canvas.polygon(star(103, 72, 30), WHITE)
    canvas.ellipse(254, 72, 46, 46, WHITE)
    canvas.ellipse(254, 72, 38, 38, (92, 56, 34))
    canvas.arc(304, 72, 14, 14, 270, 90, WHITE, 7)
    for x in (218, 276):
        canvas.ellipse(x, 180, 23, 20, (220, 236, 244, 120))
        canvas.arc(x, 180, 24, 21, 0, 360, INK, 4)
    canvas.arc(247, 180, 8, 8, 180, 360, INK, 3)
    canvas.line([(300, 176), (314, 140)], INK, 3.4)
    canvas.line([(194, 176), (188, 140)], INK, 3.4)


@painter
def sneakers(canvas: Canvas) -> None:
    """Draws new shoes beside their box."""
    canvas.gradient(0, 240, (238, 234, 228), (206, 202, 198))
    box = darker(canvas.accent, 0.1)
    canvas.polygon([(34, 62), (50, 34), (270, 34), (286, 62)], WHITE)
    canvas.rectangle(34, 58, 286, 136, box)
    canvas.rectangle(26, 46, 294, 66, lighter(canvas.accent, 0.12), 3)
    if canvas.scene.words:
        canvas.write((38, 68, 282, 134), ink_on(box), largest=38)
    else:
        canvas.polygon([(110, 116), (150, 84), (214, 82), (156, 104)], ink_on(box))
    for x, y in ((18, 150), (142, 166)):
        fill = canvas.colour
        canvas.ellipse(x + 80, y + 61, 88, 8, SHADOW)
        canvas.rectangle(x, y + 46, x + 158, y + 62, WHITE, 7)
        canvas.polygon([(x + 3, y + 48), (x, y + 6), (x + 14, y - 4), (x + 56, y + 6), (x + 96, y + 28),
                        (x + 142, y + 34), (x + 156, y + 48)], fill)  # fmt: skip
        canvas.ellipse(x + 134, y + 41, 18, 7, lighter(fill, 0.3))
        canvas.rectangle(x + 3, y + 46, x + 156, y + 50, darker(fill, 0.3))
        canvas.ellipse(x + 32, y + 2, 24, 8, darker(fill, 0.4))
        for i in range(4):
            canvas.line([(x + 56 + i * 12, y + 12 + i * 5.5), (x + 66 + i * 12, y + 3 + i * 6)], WHITE, 3)
        canvas.polygon([(x + 22, y + 40), (x + 52, y + 22), (x + 98, y + 38), (x + 54, y + 34)], WHITE)


@painter
def car(canvas: Canvas) -> None:
    """Draws a sports car in a showroom."""
    canvas.gradient(0, 176, (226, 230, 236), (246, 248, 250))
    for x in (30, 120, 210, 300):
        canvas.rectangle(x - 3, 0, x + 3, 176, (204, 210, 218))
    canvas.gradient(176, 240, (170, 176, 186), (120, 126, 138))
    if canvas.scene.words:
        canvas.rectangle(34, 8, 286, 76, INK, 4)
        canvas.write((40, 10, 280, 74), WHITE, largest=36)
    else:
        for x in (70, 160, 250):
            canvas.ellipse(x, 18, 22, 5, (255, 250, 220))
            canvas.polygon([(x - 20, 20), (x + 20, 20), (x + 44, 120), (x - 44, 120)], (255, 250, 220, 60))
    fill = canvas.colour
    canvas.ellipse(160, 210, 146, 10, (0, 0, 0, 80))
    canvas.polygon([(14, 196), (12, 162), (40, 146), (92, 138), (126, 102), (204, 100), (248, 136), (300, 150),
                    (308, 176), (304, 198)], fill)  # fmt: skip
    canvas.polygon([(106, 138), (133, 109), (164, 108), (164, 138)], (66, 84, 104))
    canvas.polygon([(170, 138), (170, 108), (200, 107), (234, 137)], (66, 84, 104))
    canvas.polygon([(14, 170), (304, 166), (306, 182), (14, 184)], darker(fill, 0.18))
    canvas.line([(44, 148), (96, 141), (236, 140), (290, 150)], lighter(fill, 0.55), 3)
    canvas.line([(168, 142), (166, 190)], darker(fill, 0.3), 1.6)
    canvas.ellipse(289, 160, 13, 6, (255, 250, 214))
    canvas.rectangle(12, 160, 26, 168, (170, 20, 20), 2)
    for x in (72, 246):
        canvas.ellipse(x, 196, 29, 29, (24, 24, 28))
        canvas.ellipse(x, 196, 19, 19, STEEL)
        for dx, dy in ((0, -16), (15, -5), (10, 13), (-10, 13), (-15, -5)):
            canvas.line([(x, 196), (x + dx, 196 + dy)], (84, 88, 96), 4)


@painter
def festival(canvas: Canvas) -> None:
    """Draws fireworks over the tents and the stage of a festival."""
    canvas.gradient(0, 176, (16, 14, 48), (84, 50, 110))
    for x, y, size, fill in ((52, 40, 32, canvas.colour), (268, 36, 34, canvas.accent), (164, 26, 24, GOLD)):
        if canvas.scene.words and x == 164:
            continue
        for dx, dy in ((1, 0), (0.87, 0.5), (0.5, 0.87), (0, 1), (-0.5, 0.87), (-0.87, 0.5), (-1, 0), (-0.87, -0.5),
                       (-0.5, -0.87), (0, -1), (0.5, -0.87), (0.87, -0.5)):  # fmt: skip
            canvas.line(
                [(x + dx * size * 0.3, y + dy * size * 0.3), (x + dx * size, y + dy * size)], lighter(fill, 0.3), 2.4
            )
            canvas.ellipse(x + dx * size * 1.1, y + dy * size * 1.1, 2.4, 2.4, WHITE)
    canvas.rectangle(0, 172, 320, 240, darker(GRASS, 0.45))
    canvas.rectangle(88, 78, 232, 186, (30, 26, 40))
    canvas.polygon([(78, 84), (160, 56), (242, 84)], (60, 56, 74))
    if canvas.scene.words:
        canvas.rectangle(62, 82, 258, 150, WHITE, 3)
        canvas.write((66, 84, 254, 148), (90, 20, 80), largest=32)
    else:
        for x in (116, 160, 204):
            canvas.polygon([(x - 4, 86), (x + 4, 86), (x + 24, 170), (x - 24, 170)], (255, 240, 170, 80))
    canvas.rectangle(80, 164, 240, 190, DARK_WOOD)
    for x, fill in ((40, canvas.colour), (282, canvas.accent)):
        canvas.polygon([(x - 46, 204), (x, 126), (x + 46, 204)], fill)
        canvas.polygon([(x, 126), (x + 46, 204), (x + 16, 204)], darker(fill, 0.2))
        canvas.polygon([(x - 11, 204), (x, 164), (x + 11, 204)], INK)
        canvas.line([(x, 126), (x, 106)], WHITE, 2)
        canvas.polygon([(x, 106), (x + 20, 112), (x, 119)], canvas.colour)
    crowd(canvas, 208, 240, 9, cheering=True, dim=0.35)
