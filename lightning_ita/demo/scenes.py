"""Samples scenes: what an image shows, from which the image, its tags, its caption and its OCR text are made.

A scene suggests an entity type. Which contexts tell that type depends on the scene, as with real images:

* *plain*: both the tags and the caption tell it (a player on a court, a skyline).
* *caption*: only the caption tells it; the objects are the same for all types (people, a table).
* *tags*: only the tags tell it; the caption says "a collage of four pictures", and not what they show.
* *words*: only the text in the image tells it (a billboard, a headline).

Many plain scenes can contain text too (on a jersey, on a shop sign). Colours, the sex of people and the sky are
attributes of the scene, so that the drawing, the tags and the caption agree.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_ita.demo.scene_kinds import SCENE_KINDS, SceneKind

COLOURS = {
    "red": (204, 46, 46),
    "blue": (38, 92, 190),
    "green": (42, 140, 78),
    "yellow": (240, 196, 40),
    "purple": (122, 62, 160),
    "orange": (236, 124, 30),
    "pink": (230, 120, 160),
}
"""The names of colours in tags and captions, with their RGB values."""

HAIR = {
    "brown": (92, 58, 34),
    "black": (30, 26, 26),
    "blond": (222, 184, 96),
    "red": (168, 70, 34),
    "gray": (150, 150, 150),
}

SKIES = ("blue", "cloudy", "orange", "dark")
"""The sky at noon, under clouds, at sunset, at night."""

WITH_WORDS = {"plain": 0.8, "words": 0.2}
WITHOUT_WORDS = {"plain": 0.55, "caption": 0.2, "tags": 0.25}
"""Shares of scenes by the contexts that tell the type, among images with and without text in them.

With the default `rate_text_in_image` of 0.25, before noise is added, tags tell the type for 80 % of the images,
captions for 76 %, at least one of the two for 95 %, and the three contexts together for all.
"""


@dataclass(frozen=True)
class Scene:
    """What one image shows: a kind of scene, its attributes, the text in it, and a seed for everything else.

    Attributes:
        kind: Name of the `SceneKind`.
        attributes: ``who`` (man, woman), ``hair``, ``colour`` and ``accent`` (colour names), ``sky``.
        words: The lines of text in the image.
        seed: Seed of everything that no context mentions: positions, sizes, skin.
        parts: The scenes that it contains: those of a collage, or the one on the screen of a phone.
    """

    kind: str
    attributes: dict[str, str]
    words: tuple[str, ...]
    seed: str
    parts: tuple[Scene, ...] = ()

    @property
    def shows(self) -> str:
        """The entity type that the scene suggests, or ``NONE``."""
        return SCENE_KINDS[self.kind].shows


def _attributes(rng: random.Random) -> dict[str, str]:
    colour, accent = rng.sample(sorted(COLOURS), 2)
    return {
        "who": rng.choice(("man", "woman")),
        "hair": rng.choice(sorted(HAIR)),
        "colour": colour,
        "accent": accent,
        "sky": rng.choice(SKIES),
    }


def lettering(template: str, name: Sequence[str], number: int) -> tuple[str, ...]:
    """Returns the lines of a text such as ``WELCOME TO|{NAME}`` with a name filled in; long lines are broken in two."""
    lines = template.format(NAME=" ".join(name).upper(), n=number).split("|")
    broken: list[str] = []
    for line in lines:
        gaps = [i for i, character in enumerate(line) if character == " "]
        if len(line) > 16 and gaps:
            middle = min(gaps, key=lambda i: abs(i - len(line) // 2))
            broken += [line[:middle], line[middle + 1 :]]
        else:
            broken.append(line)
    return tuple(broken)


def _pick(rng: random.Random, shows: str, shares: dict[str, float], fits: int | None) -> SceneKind:
    """Samples which contexts tell the type, then a kind of scene; with `fits`, one with room for so long a name."""
    groups: dict[str, list[SceneKind]] = {group: [] for group in shares}
    for kind in SCENE_KINDS.values():
        has_room = fits is None or (bool(kind.words) and kind.longest >= fits)
        if kind.shows == shows and kind.told_by in groups and has_room:
            groups[kind.told_by].append(kind)
    filled = {group: kinds for group, kinds in groups.items() if kinds}
    group = rng.choices(list(filled), weights=[shares[group] for group in filled])[0]
    return rng.choice(filled[group])


def draw_scene(rng: random.Random, shows: str, name: Sequence[str], with_words: bool) -> Scene:
    """Samples a scene that suggests an entity type.

    Args:
        rng: Source of randomness.
        shows: An entity type or ``NONE``.
        name: The words of the entity that the image is about; a text in the image names it.
        with_words: Whether there is text in the image.

    Returns:
        The scene, with its text.
    """
    kind = _pick(rng, shows, WITH_WORDS if with_words else WITHOUT_WORDS, len(" ".join(name)) if with_words else None)
    attributes = _attributes(rng)
    words = lettering(rng.choice(kind.words), name, rng.randint(2, 30)) if with_words else ()
    inner = [other for other in SCENE_KINDS.values() if other.shows == shows and other.told_by == "plain"]
    parts = tuple(Scene(part.name, _attributes(rng), (), f"{rng.random()}") for part in rng.sample(inner, kind.parts))
    return Scene(kind.name, attributes, words, f"{rng.random()}", parts)
