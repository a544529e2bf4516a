"""Scenes of any entity type: people at a table, a crowd in a park, images within an image, a text."""

from __future__ import annotations

from PIL import Image

from lightning_ita.demo.painting.canvas import (
    DARK_WOOD,
    GOLD,
    GRASS,
    INK,
    PAINTERS,
    SCALE,
    SHADOW,
    SKINS,
    STEEL,
    WHITE,
    WOOD,
    Canvas,
    darker,
    lighter,
    painter,
)
from lightning_ita.demo.painting.everyday import tabletop
from lightning_ita.demo.painting.figures import crowd as heads
from lightning_ita.demo.painting.figures import person
from lightning_ita.demo.scenes import COLOURS, HAIR, Scene


def paint(scene: Scene) -> Canvas:
    """Draws a scene on a new canvas."""
    canvas = Canvas(scene)
    PAINTERS[scene.kind.split("-")[0]](canvas)
    return canvas


@painter
def table(canvas: Canvas) -> None:
    """Draws people at a table; what is behind and on it tells why they are there."""
    shows = canvas.scene.shows
    if shows == "LOC":  # A terrace with a view of an old town.
        canvas.sky(150)
        for x in range(0, 320, 54):
            top = canvas.rng.uniform(46, 76)
            fill = lighter(canvas.rng.choice(((206, 150, 110), (226, 196, 140), (190, 128, 110))), 0.25)
            canvas.rectangle(x, top, x + 54, 160, fill)
            canvas.polygon([(x - 2, top), (x + 27, top - 22), (x + 56, top)], (162, 80, 58))
            for y in range(int(top) + 10, 140, 24):
                for dx in (10.0, 32.0):
                    canvas.rectangle(x + dx, y, x + dx + 11, y + 15, (110, 130, 150))
        canvas.rectangle(146, 8, 174, 150, (214, 190, 160))
        canvas.polygon([(142, 10), (160, -24), (178, 10)], (120, 70, 60))
        canvas.ellipse(160, 32, 10, 10, WHITE)
        canvas.rectangle(0, 150, 320, 240, (196, 186, 172))
    else:
        wall = {"PER": (70, 74, 104), "ORG": (222, 228, 234), "MISC": (240, 214, 170)}[shows]
        canvas.rectangle(0, 0, 320, 240, wall)
        canvas.rectangle(0, 186, 320, 240, darker(wall, 0.3))
    if shows == "ORG":  # A meeting: a chart on the wall.
        canvas.rectangle(96, 10, 224, 84, INK, 3)
        canvas.rectangle(100, 14, 220, 80, WHITE)
        for i in range(6):
            canvas.rectangle(110 + i * 18, 72 - i * 8, 122 + i * 18, 74, canvas.colour)
        canvas.line([(108, 58), (144, 46), (180, 34), (212, 20)], canvas.accent, 3)
        for x in (14, 258):
            canvas.rectangle(x, 20, x + 48, 96, (160, 204, 230))
            canvas.line([(x + 24, 20), (x + 24, 96)], WHITE, 3)
    if shows == "PER":  # An interview: lamps and a camera.
        for x in (36, 284):
            canvas.line([(x, 46), (x, 210)], STEEL, 4)
            canvas.polygon([(x - 22, 28), (x + 22, 28), (x + 14, 54), (x - 14, 54)], (255, 246, 200))
            canvas.ellipse(x, 40, 44, 40, (255, 246, 200, 40))
    if shows == "MISC":
        canvas.line([(160, 0), (160, 30)], INK, 3)
        canvas.polygon([(132, 50), (146, 28), (174, 28), (188, 50)], canvas.accent)
        canvas.ellipse(160, 64, 70, 30, (255, 250, 200, 80))

    seats = (84, 236) if shows in ("PER", "LOC") else (62, 160, 258)
    for i, x in enumerate(seats):
        canvas.rectangle(x - 24, 120, x + 24, 200, DARK_WOOD, 6)
        # The main person has the attributes of the scene; the others have random ones.
        own = i == 0
        hair = canvas.hair if own else canvas.rng.choice(list(HAIR.values()))
        shirt = (46, 50, 66) if shows == "ORG" else canvas.colour if own else canvas.accent
        hands = ((-0.16, 0.47), (0.2, 0.47))
        if shows == "PER" and not own:
            hands = ((-0.42, 0.74), (0.16, 0.47))  # Holds out the microphone.
        woman = canvas.is_woman if own else canvas.rng.random() < 0.5
        person(canvas, x, 268, 196, shirt, hands=hands, hair=hair, woman=woman, sleeves=shows == "ORG")
    if shows == "PER":
        canvas.line([(152, 126), (132, 116)], INK, 6)
        canvas.ellipse(130, 114, 8, 8, (90, 94, 104))
    canvas.rectangle(14, 178, 306, 192, lighter(WOOD, 0.1), 5)
    for x in (36, 278):
        canvas.rectangle(x, 192, x + 10, 240, DARK_WOOD)
    canvas.rectangle(46, 192, 274, 240, (0, 0, 0, 70))
    if shows == "MISC":  # A board game.
        canvas.polygon([(86, 180), (108, 160), (212, 160), (234, 180)], WHITE)
        for i in range(6):
            canvas.polygon([(92 + i * 23, 178), (96 + i * 22, 170), (106 + i * 22, 170), (104 + i * 23, 178)],
                           list(COLOURS.values())[i])  # fmt: skip
        for x in (122, 150, 192):
            canvas.polygon([(x - 5, 170), (x, 154), (x + 5, 170)], list(COLOURS.values())[x % 7])
            canvas.ellipse(x, 153, 4, 4, list(COLOURS.values())[x % 7])
        canvas.rectangle(246, 164, 262, 179, WHITE, 3)
        for dx, dy in ((4.0, 4.0), (11.0, 11.0), (7.5, 7.5)):
            canvas.ellipse(246 + dx, 164 + dy, 1.6, 1.6, INK)
    for x in (30, 286):
        canvas.rectangle(x - 8, 162, x + 8, 179, WHITE, 3)
        canvas.arc(x + 9, 170, 5, 5, 270, 90, WHITE, 2.4)


@painter
def crowd(canvas: Canvas) -> None:
    """Draws many people in a park; what they look at tells why."""
    shows = canvas.scene.shows
    canvas.sky(150)
    canvas.rectangle(0, 146, 320, 240, darker(GRASS, 0.3 if canvas.is_dark else 0))
    for x in (16, 54, 274, 306):
        canvas.tree(x, 164, canvas.rng.uniform(84, 112))
    if shows == "LOC":  # A famous tower.
        canvas.polygon(
            [(118, 160), (150, 60), (158, 8), (162, 8), (170, 60), (202, 160), (184, 160), (160, 118), (136, 160)],
            (140, 104, 80),
        )
        for y, half in ((60, 15.0), (104, 27.0)):
            canvas.rectangle(160 - half, y, 160 + half, y + 6, (110, 80, 60))
        for y in range(70, 150, 14):
            half = 8 + (y - 60) * 0.26
            canvas.line([(160 - half, y), (160 + half, y + 12)], (110, 80, 60), 1.6)
            canvas.line([(160 + half, y), (160 - half, y + 12)], (110, 80, 60), 1.6)
        heads(canvas, 178, 240, 11)
    elif shows == "MISC":  # A film on a screen.
        canvas.rectangle(62, 16, 258, 134, INK, 3)
        canvas.rectangle(68, 22, 252, 128, (40, 70, 120))
        canvas.ellipse(130, 76, 30, 30, (250, 220, 150))
        canvas.polygon([(164, 128), (186, 66), (196, 60), (208, 70), (224, 128)], (20, 26, 46))
        canvas.ellipse(196, 54, 11, 13, (20, 26, 46))
        canvas.polygon([(68, 110), (110, 96), (160, 116), (252, 100), (252, 128), (68, 128)], (14, 20, 36))
        for x in (90, 230):
            canvas.line([(x, 134), (x, 166)], INK, 5)
        heads(canvas, 178, 240, 11, dim=0.25)
    elif shows == "ORG":  # A strike: placards with a raised fist, without words.
        heads(canvas, 150, 190, 9)
        for x, y in ((50, 66), (112, 46), (176, 70), (240, 48), (286, 82)):
            canvas.line([(x, y + 20), (x, 200)], DARK_WOOD, 4)
            canvas.rectangle(x - 26, y - 20, x + 26, y + 26, WHITE, 2)
            for dx in (-9, -3, 3, 9):
                canvas.rectangle(x + dx - 2.6, y - 14, x + dx + 2.6, y + 2, (200, 40, 40), 2)
            canvas.rectangle(x - 12, y - 5, x + 10, y + 9, (200, 40, 40), 4)
            canvas.rectangle(x - 7, y + 8, x + 6, y + 22, (200, 40, 40))
        heads(canvas, 186, 240, 12, cheering=True)
    else:  # A star among fans with cameras.
        heads(canvas, 146, 176, 9)
        canvas.ellipse(160, 124, 64, 96, (255, 250, 200, 80))
        person(canvas, 160, 226, 176, canvas.colour, hands=((-0.14, 0.5), (0.26, 0.98)))
        for side in (-1, 1):
            for x, y, size in ((66, 196, 15), (104, 216, 17), (136, 230, 17), (34, 222, 17)):
                x = 160 + side * x
                shirt = canvas.rng.choice(list(COLOURS.values()))
                canvas.ellipse(x, y + size * 1.9, size, size * 1.3, shirt)
                canvas.ellipse(x, y, size * 0.7, size * 0.8, canvas.rng.choice(list(HAIR.values())))
                canvas.line(
                    [(x - side * size, y + size), (x - side * size * 0.9, y - size * 1.2)], SKINS[1], size * 0.3
                )
                canvas.rectangle(
                    x - side * size * 0.9 - 6, y - size * 1.9, x - side * size * 0.9 + 6, y - size * 1.2, INK, 2
                )
                canvas.ellipse(x - side * size * 0.9, y - size * 1.55, 3, 3, (150, 190, 220))


def _inset(canvas: Canvas, scene: Scene, box: tuple[int, int, int, int]) -> None:
    """Draws a scene into a box, cut to its shape."""
    left, top, right, bottom = (v * SCALE for v in box)
    image = paint(scene).image
    scale = max((right - left) / image.width, (bottom - top) / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    x, y = (image.width - (right - left)) // 2, (image.height - (bottom - top)) // 2
    canvas.image.paste(image.crop((x, y, x + right - left, y + bottom - top)), (left, top))


@painter
def collage(canvas: Canvas) -> None:
    """Draws four images in a white frame."""
    canvas.rectangle(0, 0, 320, 240, WHITE)
    for i, part in enumerate(canvas.scene.parts):
        x, y = 6 + (i % 2) * 157, 6 + (i // 2) * 117
        _inset(canvas, part, (x, y, x + 151, y + 111))


@painter
def phone(canvas: Canvas) -> None:
    """Draws an image on the screen of a phone in a hand."""
    canvas.gradient(0, 240, lighter(canvas.accent, 0.5), lighter(canvas.accent, 0.2))
    for _ in range(9):
        canvas.ellipse(canvas.rng.uniform(0, 320), canvas.rng.uniform(0, 240), 24, 24, (255, 255, 255, 46))
    skin = canvas.rng.choice(SKINS)
    canvas.polygon([(108, 240), (96, 176), (128, 130), (224, 150), (240, 240)], skin)
    canvas.rectangle(22, 18, 298, 198, INK, 18)
    _inset(canvas, canvas.scene.parts[0], (42, 27, 278, 189))
    canvas.ellipse(288, 108, 5, 5, (70, 72, 80))
    canvas.line([(84, 240), (70, 206), (86, 172)], skin, 30)
    canvas.ellipse(87, 168, 9, 11, lighter(skin, 0.4))
    for x in (150, 186, 222):
        canvas.line([(x, 240), (x, 204)], darker(skin, 0.08), 26)


@painter
def billboard(canvas: Canvas) -> None:
    """Draws a billboard beside a road."""
    canvas.sky(196)
    canvas.polygon([(0, 190), (90, 172), (210, 186), (320, 168), (320, 240), (0, 240)], GRASS)
    canvas.polygon([(0, 222), (320, 206), (320, 232), (0, 240)], (92, 92, 98))
    for x in (84, 236):
        canvas.rectangle(x - 6, 160, x + 6, 218, STEEL)
    canvas.rectangle(12, 18, 308, 166, (60, 62, 70), 4)
    canvas.rectangle(18, 24, 302, 160, WHITE)
    canvas.rectangle(18, 24, 302, 34, canvas.colour)
    canvas.rectangle(18, 150, 302, 160, canvas.colour)
    for x in (70, 160, 250):
        canvas.line([(x, 18), (x, 8)], STEEL, 3)
        canvas.rectangle(x - 9, 4, x + 9, 10, STEEL, 2)
    canvas.write((26, 38, 294, 146), darker(canvas.colour, 0.6), largest=42)


@painter
def newspaper(canvas: Canvas) -> None:
    """Draws a front page with a headline, on a table."""
    tabletop(canvas)
    canvas.rectangle(26, 16, 266, 238, SHADOW)
    canvas.rectangle(20, 8, 260, 234, (246, 242, 230))
    canvas.rectangle(30, 16, 250, 22, INK)
    canvas.write((26, 26, 254, 138), INK, largest=36)
    canvas.rectangle(30, 142, 250, 144, INK)
    canvas.rectangle(30, 150, 136, 226, (196, 196, 190))
    canvas.polygon([(30, 226), (66, 180), (96, 212), (112, 194), (136, 226)], (150, 152, 150))
    canvas.ellipse(110, 170, 9, 9, (226, 226, 220))
    for x in (144, 200):
        for y in range(152, 226, 7):
            canvas.line([(x, y), (x + (48 if y % 3 else 36), y)], (150, 150, 146), 2)
    canvas.ellipse(298, 60, 36, 36, WHITE)
    canvas.ellipse(298, 60, 28, 28, (94, 56, 32))
    canvas.line([(284, 216), (304, 130)], canvas.colour, 7)
    canvas.line([(284, 216), (282, 226)], GOLD, 4)


@painter
def chalkboard(canvas: Canvas) -> None:
    """Draws a blackboard with something written on it."""
    canvas.gradient(0, 240, lighter(canvas.accent, 0.62), lighter(canvas.accent, 0.45))
    canvas.rectangle(12, 14, 308, 204, DARK_WOOD, 4)
    canvas.rectangle(22, 24, 298, 194, (38, 66, 56))
    for _ in range(7):
        x, y = canvas.rng.uniform(30, 220), canvas.rng.uniform(40, 180)
        canvas.line([(x, y), (x + 60, y - 14)], (255, 255, 255, 10), 12)
    canvas.write((30, 32, 290, 176), WHITE, largest=42)
    canvas.rectangle(12, 196, 308, 208, WOOD, 2)
    for x, fill in ((60, WHITE), (88, (250, 220, 120)), (112, (240, 150, 160))):
        canvas.rectangle(x, 190, x + 20, 196, fill, 2)
    canvas.rectangle(230, 184, 274, 197, (90, 94, 110), 3)
