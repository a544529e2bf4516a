"""The pictures show what the scene says, in words that can be read."""

import itertools
import random
from functools import cache

import pytest
from PIL import ImageStat

from lightning_ita.demo import DemoConfig, generate
from lightning_ita.demo.names import AMBIGUOUS, clear_name
from lightning_ita.demo.painting import lettering as drawn_lettering
from lightning_ita.demo.painting import paint, render
from lightning_ita.demo.painting.canvas import HEIGHT, PAINTERS, WIDTH, font
from lightning_ita.demo.scene_kinds import SCENE_KINDS
from lightning_ita.demo.scenes import COLOURS, HAIR, SKIES, Scene, lettering

LOOKS = {"who": "woman", "hair": "brown", "colour": "red", "accent": "blue", "sky": "blue"}
SMALLEST_CAPITALS = 13.5


def scene_of(kind, words=(), **attributes):
    parts = tuple(Scene("portrait", LOOKS, (), str(i)) for i in range(kind.parts))
    return Scene(kind.name, LOOKS | attributes, tuple(words), "seed", parts)


@cache
def widest_names():
    """Of each length, the name that takes the most room."""
    rng = random.Random(0)
    names = {*AMBIGUOUS, *(clear_name(rng, t) for t in ("PER", "LOC", "ORG", "MISC") for _ in range(2000))}
    widths = {}
    for name in names:
        text = " ".join(name).upper()
        widths.setdefault(len(text), []).append((font(40).getlength(text), name))
    return [name for group in widths.values() for _, name in sorted(group)[-1:]]


def test_every_kind_of_scene_has_a_painter_and_every_painter_a_scene():
    assert {name.split("-")[0] for name in SCENE_KINDS} == set(PAINTERS)


@pytest.mark.parametrize("kind", SCENE_KINDS.values(), ids=lambda kind: kind.name)
def test_scene_is_drawn(kind):
    words = lettering(kind.words[0], ("Jordan",), 23) if kind.words else ()
    image = render(scene_of(kind, words))
    assert (image.size, image.mode) == ((WIDTH, HEIGHT), "RGB")
    assert max(ImageStat.Stat(image).stddev) > 20, "nearly blank"
    assert image.tobytes() == render(scene_of(kind, words)).tobytes()


@pytest.mark.parametrize("kind", [k for k in SCENE_KINDS.values() if k.words], ids=lambda kind: kind.name)
def test_words_are_all_drawn_large_enough_and_inside_the_picture(kind):
    """Exactly the recorded words are drawn, for every template, with the widest names that may be chosen."""
    names = [name for name in widest_names() if len(" ".join(name)) <= kind.longest]
    names = sorted(names, key=lambda name: len(" ".join(name)))[-3:]
    assert names
    for template in kind.words:
        for name in names if "{NAME}" in template else names[:1]:
            words = lettering(template, name, 28)
            drawn = drawn_lettering(scene_of(kind, words))
            assert tuple(line for line, _ in drawn) == words
            for line, (left, top, right, bottom) in drawn:
                assert left >= 0, line
                assert top >= 0, line
                assert right <= WIDTH, line
                assert bottom <= HEIGHT, line
                assert bottom - top >= SMALLEST_CAPITALS, line
            boxes = [box for _, box in drawn]
            assert all(upper[3] <= lower[1] for upper, lower in itertools.pairwise(boxes))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    "kind", [k for k in SCENE_KINDS.values() if k.words and "-" not in k.name], ids=lambda kind: kind.name
)
def test_words_contrast_with_what_is_behind_them(kind, colour):
    accent = "blue" if colour != "blue" else "red"
    scene = scene_of(kind, lettering(kind.words[0], ("Jordan",), 23), colour=colour, accent=accent)
    canvas = paint(scene)
    image = canvas.finished().convert("L")
    for line, box in canvas.lettering:
        inside = image.crop(tuple(round(v) for v in box))
        low, high = inside.getextrema()
        assert high - low >= 75, f"{line}: grey levels {low} to {high}"


def test_no_words_are_drawn_where_none_are_recorded():
    for kind in SCENE_KINDS.values():
        if kind.told_by != "words":
            assert drawn_lettering(scene_of(kind)) == []


def test_text_too_long_for_its_place_is_an_error_not_a_smear():
    scene = scene_of(SCENE_KINDS["jersey"], ("HUNDERTWASSERHAUS", "7"))
    with pytest.raises(ValueError, match="jersey: no room for"):
        render(scene)


@pytest.mark.parametrize("sky", SKIES)
def test_sky_is_as_described(sky):
    top = render(scene_of(SCENE_KINDS["wing"], sky=sky)).getpixel((160, 30))
    red, _, blue = top
    assert {"blue": blue > red + 40, "cloudy": abs(blue - red) < 45, "orange": red > blue + 60, "dark": sum(top) < 240}[
        sky
    ]


@pytest.mark.parametrize("colour", COLOURS)
def test_colour_is_as_described(colour):
    pixels = render(scene_of(SCENE_KINDS["portrait"], colour=colour)).crop((140, 215, 180, 240))
    mean = ImageStat.Stat(pixels).mean
    assert all(abs(a - b) < 12 for a, b in zip(mean, COLOURS[colour], strict=True))


@pytest.mark.parametrize("hair", HAIR)
def test_hair_is_as_described(hair):
    image = render(scene_of(SCENE_KINDS["portrait"], hair=hair))
    assert any(
        all(abs(a - b) < 4 for a, b in zip(image.getpixel((160, y)), HAIR[hair], strict=True)) for y in range(30, 80)
    )


def test_pictures_of_a_corpus_differ():
    scenes = [tweet.scene for tweet in generate(DemoConfig(train=60, valid=1, test=1)).splits["train"]]
    alike = {}
    for scene in scenes:
        alike.setdefault(render(scene).tobytes(), []).append(scene)
    assert len(alike) >= 0.95 * len(scenes)
    # What is alike are product photos, such as two records of one colour: nothing in them is left to the seed.
    for group in alike.values():
        assert len({(scene.kind, scene.attributes["colour"], scene.words) for scene in group}) == 1
        assert len(group) == 1 or group[0].kind in ("record", "sneakers", "car")
