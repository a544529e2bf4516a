"""The contexts of a scene, as engines would give them: object tags, a caption, OCR text, each with its noise."""

# ruff: noqa: SIM905  Lists of words read better as text.
from __future__ import annotations

import random

from lightning_ita.demo.config import DemoConfig
from lightning_ita.demo.scene_kinds import SCENE_KINDS
from lightning_ita.demo.scenes import Scene

VAGUE_CAPTIONS = (
    "a picture of something on a wall",
    "a blurry photo of a room",
    "a close up of a picture",
    "image may contain one or more things",
    "a photo taken on a sunny day",
)
"""What captioners say where they see nothing they know."""

STRAY_OBJECTS = (
    "person, man, woman, tree, window, wall, table, chair, sign, bottle, bag, shoe, car, light, pole, box, screen, "
    "flag, hat, picture, shadow, door"
).split(", ")
"""What detectors see where it is not."""

LOOKALIKES = dict(zip("OIBSEFTCGAZNMUV0158", "0185FPIGCR2HNVYOISB", strict=True))
"""The character that OCR takes another for."""


def _objects(scene: Scene) -> list[str]:
    """The objects in the picture, and in the pictures within it."""
    objects = [tag.format_map(scene.attributes) for tag in SCENE_KINDS[scene.kind].tags]
    # The smaller the parts, the fewer of their objects a detector finds.
    found = 3 if len(scene.parts) == 1 else 1
    return objects + [tag for part in scene.parts for tag in _objects(part)[:found]]


def tags(scene: Scene, config: DemoConfig, rng: random.Random) -> list[str]:
    """Object tags, the surest first; each may be missed, and one that is not there may be added."""
    found = [tag for tag in _objects(scene) if rng.random() >= config.tag_dropped]
    if rng.random() < config.tag_spurious:
        found.insert(rng.randint(0, len(found)), rng.choice(STRAY_OBJECTS))
    return list(dict.fromkeys(found))


def captions(scene: Scene, config: DemoConfig, rng: random.Random) -> list[str]:
    """One caption, in one of two styles; perhaps a vague one, perhaps that of another scene."""
    dice = rng.random()
    if dice < config.caption_vague:
        return [rng.choice(VAGUE_CAPTIONS)]
    kind = SCENE_KINDS[scene.kind]
    if dice < config.caption_vague + config.caption_wrong:
        kind = rng.choice([other for other in SCENE_KINDS.values() if other is not kind])
    sentence = rng.choice(kind.captions).format_map(scene.attributes)
    return [sentence.replace("a orange", "an orange")]


def ocr(scene: Scene, config: DemoConfig, rng: random.Random) -> list[str]:
    """The lines of text in the picture, with lines overlooked and characters mistaken."""

    def misread(character: str) -> str:
        return LOOKALIKES.get(character, character) if rng.random() < config.ocr_character else character

    return ["".join(map(misread, line)) for line in scene.words if rng.random() >= config.ocr_line_dropped]
