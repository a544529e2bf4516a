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
"""Captions that contain nothing useful."""

STRAY_OBJECTS = (
    "person, man, woman, tree, window, wall, table, chair, sign, bottle, bag, shoe, car, light, pole, box, screen, "
    "flag, hat, picture, shadow, door"
).split(", ")
"""Objects that a detector finds although they are not in the image."""

LOOKALIKES = dict(zip("OIBSEFTCGAZNMUV0158", "0185FPIGCR2HNVYOISB", strict=True))
"""For each character, the one that OCR mistakes it for."""


def _objects(scene: Scene) -> list[str]:
    """Returns the objects in the image, and in the images within it."""
    objects = [tag.format_map(scene.attributes) for tag in SCENE_KINDS[scene.kind].tags]
    # Of an image within the image, a detector finds only the first objects: of smaller ones fewer.
    found = 3 if len(scene.parts) == 1 else 1
    return objects + [tag for part in scene.parts for tag in _objects(part)[:found]]


def tags(scene: Scene, config: DemoConfig, rng: random.Random) -> list[str]:
    """Returns object tags, the most certain first; some may be missing, and one may be wrong."""
    found = [tag for tag in _objects(scene) if rng.random() >= config.tag_dropped]
    if rng.random() < config.tag_spurious:
        found.insert(rng.randint(0, len(found)), rng.choice(STRAY_OBJECTS))
    return list(dict.fromkeys(found))


def captions(scene: Scene, config: DemoConfig, rng: random.Random) -> list[str]:
    """Returns one caption, in one of two styles; it may be vague, or describe another scene."""
    dice = rng.random()
    if dice < config.caption_vague:
        return [rng.choice(VAGUE_CAPTIONS)]
    kind = SCENE_KINDS[scene.kind]
    if dice < config.caption_vague + config.caption_wrong:
        kind = rng.choice([other for other in SCENE_KINDS.values() if other is not kind])
    sentence = rng.choice(kind.captions).format_map(scene.attributes)
    return [sentence.replace("a orange", "an orange")]


def ocr(scene: Scene, config: DemoConfig, rng: random.Random) -> list[str]:
    """Returns the lines of text in the image; lines may be missing, and characters wrong."""

    def misread(character: str) -> str:
        return LOOKALIKES.get(character, character) if rng.random() < config.ocr_character else character

    return ["".join(map(misread, line)) for line in scene.words if rng.random() >= config.ocr_line_dropped]
