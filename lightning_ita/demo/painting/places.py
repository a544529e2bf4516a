"""Scenes that suggest the type LOC: skylines, coasts, roads, a map."""

from __future__ import annotations

from lightning_ita.demo.painting.canvas import (
    ASPHALT,
    DARK_WOOD,
    INK,
    STEEL,
    WHITE,
    Canvas,
    Colour,
    darker,
    lighter,
    mix,
    painter,
)
from lightning_ita.demo.scenes import COLOURS

WATER, SAND, PINE = (58, 132, 190), (240, 218, 160), (34, 92, 62)


def _tower(canvas: Canvas, x: float, width: float, top: float, foot: float, fill: Colour) -> None:
    """Draws a tall building with windows, lit at night."""
    canvas.rectangle(x, top, x + width, foot, fill)
    canvas.rectangle(x + width * 0.8, top, x + width, foot, darker(fill, 0.14))
    y = top + 7
    while y < foot - 6:
        for i in range(int((width - 6) // 8)):
            lit = canvas.rng.random() < 0.6
            pane = (
                ((255, 226, 130) if lit else darker(fill, 0.3))
                if canvas.is_dark
                else lighter(fill, 0.5 if lit else 0.3)
            )
            canvas.rectangle(x + 4 + i * 8, y, x + 8.5 + i * 8, y + 5, pane)
        y += 10


@painter
def skyline(canvas: Canvas) -> None:
    """Draws a city seen across the water."""
    canvas.sky(184)
    night = 0.45 if canvas.is_dark else 0.0
    for left in range(-6, 320, 26):
        fill = mix((148, 160, 182), (20, 24, 50), night)
        canvas.rectangle(left, 184 - canvas.rng.uniform(30, 84), left + 25, 184, fill)
    x = -4.0
    while x < 316:
        width = canvas.rng.choice((26, 34, 42))
        fill = mix(
            canvas.rng.choice(((92, 112, 144), (140, 110, 100), (84, 132, 140), (120, 122, 132))), (16, 20, 44), night
        )
        top = 184 - canvas.rng.uniform(50, 150) * (1 - abs(x - 150) / 420)
        _tower(canvas, x, width, top, 186, fill)
        if canvas.rng.random() < 0.3:
            canvas.line([(x + width / 2, top), (x + width / 2, top - 20)], darker(fill), 2.4)
        x += width + canvas.rng.choice((-2, 2, 6))
    canvas.gradient(184, 240, mix(WATER, (10, 16, 40), night * 1.4), mix(darker(WATER, 0.3), (10, 16, 40), night))
    for _ in range(40):
        x, y = canvas.rng.uniform(0, 320), canvas.rng.uniform(190, 238)
        canvas.line([(x, y), (x + canvas.rng.uniform(8, 26), y)], (255, 255, 255, 60), 1.4)


@painter
def beach(canvas: Canvas) -> None:
    """Draws sea, sand, a palm tree and an umbrella."""
    canvas.sky(112)
    canvas.gradient(112, 172, darker(WATER, 0.15), (120, 206, 214))
    for y in (124, 138, 152):
        canvas.line([(canvas.rng.uniform(0, 60), y), (canvas.rng.uniform(90, 200), y)], (255, 255, 255, 150), 2)
    canvas.polygon([(0, 168), (110, 162), (220, 172), (320, 164), (320, 240), (0, 240)], WHITE)
    canvas.polygon([(0, 173), (110, 167), (220, 177), (320, 169), (320, 240), (0, 240)], SAND)
    x = canvas.rng.uniform(52, 90)
    canvas.line([(x, 222), (x + 8, 150), (x + 26, 84)], (150, 106, 64), 9)
    for dx, dy in ((-58, 6), (-46, -26), (-10, -44), (34, -36), (58, -4), (46, 26), (-36, 32)):
        canvas.line([(x + 26, 82), (x + 26 + dx * 0.55, 78 + dy * 0.8), (x + 26 + dx, 88 + dy)], (40, 130, 66), 6)
    canvas.line([(214, 218), (226, 118)], WHITE, 4)
    canvas.segment(227, 130, 62, 46, 186, 366, canvas.colour)
    for start in (204, 252, 300):
        canvas.polygon([(227, 86), (227 + 62 * (start - 276) / 90, 130), (227 + 62 * (start - 252) / 90, 130)], WHITE)
    canvas.rectangle(236, 208, 300, 222, canvas.accent, 4)
    canvas.line([(238, 208), (224, 188)], canvas.accent, 7)


@painter
def mountains(canvas: Canvas) -> None:
    """Draws snowy mountains behind a lake."""
    canvas.sky(170)
    for x, top, half, fill in (
        (70.0, 74, 100.0, (128, 142, 170)),
        (250, 62, 112, (116, 130, 160)),
        (160, 32, 108, (94, 108, 140)),
    ):
        canvas.polygon([(x - half, 172), (x, top), (x + half, 172)], fill)
        canvas.polygon([(x, top), (x + half, 172), (x + half * 0.2, 172)], darker(fill, 0.15))
        h = (172 - top) * 0.36
        w = half * 0.36
        canvas.polygon([(x, top), (x + w, top + h), (x + w * 0.45, top + h * 0.8), (x, top + h * 1.1),
                        (x - w * 0.5, top + h * 0.8), (x - w, top + h)], WHITE)  # fmt: skip
    canvas.rectangle(0, 168, 320, 178, (70, 120, 80))
    canvas.gradient(176, 240, (92, 160, 196), (48, 104, 156))
    canvas.polygon([(100, 178), (220, 178), (160, 226)], (255, 255, 255, 40))
    for _ in range(11):
        x = canvas.rng.choice((canvas.rng.uniform(0, 90), canvas.rng.uniform(236, 320)))
        foot, size = canvas.rng.uniform(196, 232), canvas.rng.uniform(44, 66)
        for i in range(3):
            half = size * (0.18 + 0.08 * i)
            canvas.polygon([(x - half, foot - size * (0.55 - 0.24 * i)), (x, foot - size * (1 - 0.24 * i)),
                            (x + half, foot - size * (0.55 - 0.24 * i))], PINE)  # fmt: skip
        canvas.rectangle(x - 3, foot - size * 0.08, x + 3, foot, DARK_WOOD)


@painter
def desert(canvas: Canvas) -> None:
    """Draws dunes, a cactus, the sun."""
    canvas.gradient(0, 150, (250, 176, 92), (254, 230, 176))
    canvas.ellipse(canvas.rng.uniform(60, 250), 56, 26, 26, (255, 248, 210))
    canvas.polygon([(0, 150), (70, 112), (160, 146), (244, 104), (320, 142), (320, 240), (0, 240)], (226, 168, 98))
    canvas.polygon([(70, 112), (160, 146), (120, 170), (84, 150)], (202, 142, 78))
    canvas.polygon([(244, 104), (320, 142), (320, 180), (262, 150)], (202, 142, 78))
    canvas.polygon([(0, 190), (120, 156), (230, 186), (320, 164), (320, 240), (0, 240)], (240, 192, 120))
    canvas.polygon([(120, 156), (230, 186), (190, 214), (134, 188)], (214, 158, 90))
    for x, foot, size in ((canvas.rng.uniform(60, 100), 216, 104), (canvas.rng.uniform(230, 270), 204, 60)):
        fill = (62, 130, 74)
        canvas.line([(x, foot), (x, foot - size)], fill, size * 0.17)
        canvas.line(
            [(x, foot - size * 0.4), (x - size * 0.3, foot - size * 0.4), (x - size * 0.3, foot - size * 0.75)],
            fill,
            size * 0.12,
        )
        canvas.line(
            [(x, foot - size * 0.3), (x + size * 0.3, foot - size * 0.3), (x + size * 0.3, foot - size * 0.6)],
            fill,
            size * 0.12,
        )
        canvas.line([(x - 2, foot - 4), (x - 2, foot - size)], lighter(fill, 0.2), 1.6)
    for x in (150, 168, 300):
        canvas.segment(x, 228, 16, 13, 180, 360, (150, 110, 76))


@painter
def street(canvas: Canvas) -> None:
    """Draws a row of old houses."""
    canvas.sky(150)
    fills = [mix(c, (240, 226, 200), 0.5) for c in COLOURS.values()]
    canvas.rng.shuffle(fills)
    for i in range(5):
        x, top, fill = i * 64, canvas.rng.uniform(58, 84), fills[i]
        canvas.rectangle(x, top, x + 64, 200, fill)
        canvas.polygon([(x - 2, top), (x + 32, top - 34), (x + 66, top)], (150, 74, 56))
        for row in range(2):
            for column in range(2):
                left, upper = x + 10 + column * 27, top + 14 + row * 38
                canvas.rectangle(left - 2, upper - 2, left + 19, upper + 25, WHITE)
                canvas.rectangle(
                    left, upper, left + 17, upper + 23, (255, 222, 130) if canvas.is_dark else (112, 150, 180)
                )
                canvas.line([(left + 8.5, upper), (left + 8.5, upper + 23)], WHITE, 1.6)
        canvas.rectangle(x + 22, 158, x + 43, 200, canvas.colour if i % 2 == 0 else darker(fill, 0.5), 3)
        canvas.ellipse(x + 39, 180, 1.6, 1.6, WHITE)
    canvas.rectangle(0, 200, 320, 212, (176, 170, 164))
    canvas.rectangle(0, 212, 320, 240, (120, 114, 112))
    for x in range(0, 320, 18):
        canvas.line([(x, 213), (x - 10, 240)], (104, 98, 98), 1.4)
    for x in (64, 256):
        canvas.line([(x, 214), (x, 120)], INK, 4)
        canvas.ellipse(x, 112, 18, 18, (255, 236, 150, 90))
        canvas.polygon([(x - 7, 102), (x + 7, 102), (x + 5, 120), (x - 5, 120)], (255, 240, 170))
        canvas.polygon([(x - 9, 103), (x, 94), (x + 9, 103)], INK)


@painter
def bridge(canvas: Canvas) -> None:
    """Draws a suspension bridge over a river, a boat beneath."""
    canvas.sky(150)
    canvas.polygon([(0, 150), (60, 118), (140, 150)], (96, 136, 104))
    canvas.polygon([(190, 150), (270, 112), (320, 136), (320, 150)], (86, 126, 98))
    canvas.gradient(150, 240, (92, 156, 196), (40, 96, 148))
    steel = (196, 62, 44)
    for x in (84.0, 236.0):
        canvas.rectangle(x - 7, 36, x + 7, 186, steel)
        canvas.rectangle(x - 12, 182, x + 12, 192, STEEL)
    for x0, x1, y0, y1, low in ((84, 236, 40, 40, 114), (-70, 84, 120, 40, 104), (236, 390, 40, 120, 104)):
        points = []
        for i in range(25):
            t = i / 24
            x = x0 + (x1 - x0) * t
            y = y0 * (1 - t) ** 2 + 2 * (low * 2 - (y0 + y1) / 2 - low * 0.34) * t * (1 - t) + y1 * t**2
            points.append((x, min(y, 126)))
            canvas.line([(x, min(y, 126)), (x, 130)], (196, 62, 44, 170), 1.4)
        canvas.line(points, steel, 3)
    canvas.rectangle(0, 126, 320, 138, darker(steel, 0.1))
    x = canvas.rng.uniform(120, 180)
    canvas.polygon([(x - 30, 206), (x + 36, 206), (x + 24, 222), (x - 20, 222)], canvas.colour)
    canvas.polygon([(x, 202), (x, 152), (x + 30, 200)], WHITE)
    canvas.line([(x - 1, 206), (x - 1, 152)], DARK_WOOD, 2.4)


@painter
def roadsign(canvas: Canvas) -> None:
    """Draws a green road sign beside a highway."""
    canvas.sky(168)
    canvas.polygon([(0, 168), (80, 128), (190, 160), (280, 120), (320, 140), (320, 176), (0, 176)], (110, 150, 96))
    canvas.rectangle(0, 168, 320, 240, (126, 164, 92))
    canvas.polygon([(150, 168), (166, 168), (300, 240), (20, 240)], ASPHALT)
    for y, size in ((176, 3), (190, 6), (212, 10)):
        canvas.line([(158 + (y - 168) * 0.03, y), (158 + (y - 168) * 0.04, y + size)], WHITE, size * 0.5)
    for x in (86, 234):
        canvas.line([(x, 216), (x, 90)], STEEL, 7)
    canvas.rectangle(28, 30, 292, 132, WHITE, 9)
    canvas.rectangle(32, 34, 288, 128, (20, 112, 70), 7)
    if canvas.scene.words:
        canvas.write((40, 40, 280, 122), WHITE)
    else:
        canvas.line([(160, 116), (160, 56)], WHITE, 12)
        canvas.polygon([(130, 74), (160, 42), (190, 74)], WHITE)


@painter
def citymap(canvas: Canvas) -> None:
    """Draws a town map with a pin."""
    canvas.rectangle(0, 0, 320, 240, (242, 236, 222))
    for _ in range(5):
        x, y = canvas.rng.uniform(0, 280), canvas.rng.uniform(0, 200)
        canvas.rectangle(x, y, x + canvas.rng.uniform(40, 80), y + canvas.rng.uniform(30, 50), (190, 222, 168), 7)
    canvas.line([(-10, 190), (60, 168), (120, 196), (200, 158), (270, 178), (340, 128)], (142, 196, 232), 22)
    for _ in range(8):
        x, y = canvas.rng.uniform(0, 320), canvas.rng.uniform(0, 240)
        canvas.line([(x, -5), (x + canvas.rng.uniform(-70, 70), 245)], WHITE, 5)
        canvas.line([(-5, y), (325, y + canvas.rng.uniform(-50, 50))], WHITE, 5)
    canvas.line([(-5, 60), (140, 96), (325, 70)], (250, 206, 96), 9)
    x, y = 92.0, 118.0
    canvas.ellipse(x, y + 2, 12, 4, (0, 0, 0, 80))
    canvas.polygon([(x - 19, y - 40), (x + 19, y - 40), (x, y)], (222, 44, 44))
    canvas.ellipse(x, y - 48, 22, 22, (222, 44, 44))
    canvas.ellipse(x, y - 48, 9, 9, WHITE)
    if canvas.scene.words:
        canvas.rectangle(122, 54, 312, 54 + 34 * len(canvas.scene.words), WHITE, 5)
        canvas.write((126, 56, 308, 52 + 34 * len(canvas.scene.words)), INK, largest=28)


@painter
def wing(canvas: Canvas) -> None:
    """Draws the view from an airplane's window."""
    canvas.sky(240)
    for _ in range(9):
        canvas.cloud(canvas.rng.uniform(20, 300), canvas.rng.uniform(150, 226), canvas.rng.uniform(14, 26))
    canvas.polygon([(60, 240), (150, 164), (262, 112), (274, 116), (212, 180), (190, 240)], (206, 212, 220))
    canvas.polygon([(190, 240), (212, 180), (274, 116), (262, 140), (222, 196), (208, 240)], (160, 168, 180))
    canvas.polygon([(254, 116), (276, 76), (284, 78), (274, 116)], canvas.colour)
    canvas.line([(112, 226), (242, 134)], (170, 176, 186), 1.6)
    frame, lining = (226, 222, 214), (204, 198, 190)
    canvas.frame(36, 16, 284, 224, 66, lining)
    canvas.frame(26, 6, 294, 234, 74, frame)
