"""What a picture shows: the scene from which the picture, its tags, caption and OCR text are made.

Which context tells a scene's type is a property of the scene, as with real pictures:

* *plain*: objects and caption both tell it (a player on a court, a skyline).
* *caption*: the objects are the same for all types (people, a table), what goes on is not.
* *tags*: a caption says "a collage of four pictures", the detector lists what is in them.
* *words*: only the text in the picture tells it (a billboard, a headline).

Many plain scenes can also carry words (a jersey, a shop sign). Colours, the sex of people and the sky are
attributes of the scene, so that drawing, tags and caption agree on them.
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
"""Colour names as detectors use them, with what they look like (RGB)."""

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
"""Shares of what tells the type, among pictures with and without words in them.

With the default `rate_text_in_image` of 0.25, before noise, tags thus tell the type of 80 % of the pictures, captions
of 76 %, one or the other of 95 %, and the three contexts together of every one.
"""


@dataclass(frozen=True)
class Scene:
    """What one picture shows: a kind, its attributes, the words in it, and a seed for what no context mentions.

    Attributes:
        kind: Name of the `SceneKind`.
        attributes: ``who`` (man, woman), ``hair``, ``colour`` and ``accent`` (colour names), ``sky``.
        words: The lines of text drawn in the picture, upright, as they read.
        seed: Seeds whatever no context mentions: positions, sizes, skin.
        parts: The scenes within the scene (of a collage, of a phone's screen).
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
    """The lines of a text to be drawn, e.g. ``WELCOME TO|{NAME}``; long names are broken in two."""
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
    """Samples what tells the type, then a kind of scene; with `fits`, one with room for a name so long."""
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
        name: The entity the picture is about, as words; what is written in the picture names it.
        with_words: Whether there is text in the picture.

    Returns:
        The scene, with the lettering chosen.
    """
    kind = _pick(rng, shows, WITH_WORDS if with_words else WITHOUT_WORDS, len(" ".join(name)) if with_words else None)
    attributes = _attributes(rng)
    words = lettering(rng.choice(kind.words), name, rng.randint(2, 30)) if with_words else ()
    inner = [other for other in SCENE_KINDS.values() if other.shows == shows and other.told_by == "plain"]
    parts = tuple(Scene(part.name, _attributes(rng), (), f"{rng.random()}") for part in rng.sample(inner, kind.parts))
    return Scene(kind.name, attributes, words, f"{rng.random()}", parts)
