from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from benchmarks.tags import OBJECTS, accuracy, draw, train, write_vocabularies
from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.engines import make_engine
from lightning_ita.contexts.engines.clip import OpenClip
from lightning_ita.contexts.engines.detection import Detector
from lightning_ita.contexts.engines.regions import LONGEST, crop, grid_boxes, not_too_long
from lightning_ita.contexts.engines.zero_shot import OpenClipTagger
from lightning_ita.errors import UserError
from tests.contexts.tiny_models import LABELS, PICTURES, random_clip, random_detector


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("words")
    (folder / "nouns.txt").write_text("cat\ndog\ncar\ntree\nhouse # a comment\n", encoding="utf-8")
    (folder / "attributes.txt").write_text("red\nblue\n", encoding="utf-8")
    return {name: str(folder / f"{name}.txt") for name in ("nouns", "attributes")}


def tags_of(engine: Engine, together: bool) -> list[Reading]:
    prepared = [engine.prepare(picture) for picture in PICTURES]
    return engine.read(prepared) if together else [engine.read([each])[0] for each in prepared]


def same(one: Reading, other: Reading) -> bool:
    return one.texts == other.texts and np.allclose(one.scores, other.scores, rtol=1e-4) and one.boxes == other.boxes


def test_tags_of_a_batch_are_those_of_its_images(clip_folder: str, words: dict[str, str]) -> None:
    engine = make_engine(
        "tag", f"open_clip:{clip_folder}", **words, threshold=0.0, top_k=3, precision="float32", device="cpu"
    )
    together = tags_of(engine, True)
    assert all(map(same, together, tags_of(engine, False)))
    for picture, reading in zip(PICTURES, together, strict=True):
        assert len(reading.texts) == len(reading.scores) == len(reading.boxes) == 3
        assert list(reading.scores) == sorted(reading.scores, reverse=True)
        assert set(reading.boxes) <= set(grid_boxes(*picture.size, (1, 2)))
        for text in reading.texts:
            assert text.split()[-1] in {"cat", "dog", "car", "tree", "house"}
            assert text.split()[:-1] in ([], ["red"], ["blue"])


def test_threshold_top_k_and_the_whole_image_alone(clip_folder: str, words: dict[str, str]) -> None:
    def tag(**options: Any) -> Reading:
        engine = make_engine("tag", f"open_clip:{clip_folder}", nouns=words["nouns"], attributes=None, **options)
        return engine.read([engine.prepare(PICTURES[0])])[0]

    everything = tag(threshold=0.0, grids=[1])
    assert sum(everything.scores) == pytest.approx(1, abs=1e-5)
    assert everything.boxes == ()
    assert sorted(everything.texts) == ["car", "cat", "dog", "house", "tree"]
    middle = everything.scores[2]
    assert tag(threshold=middle - 1e-6, grids=[1]).texts == everything.texts[:3]
    assert tag(threshold=0.0, top_k=1, grids=[1]).texts == everything.texts[:1]
    # More regions never lower a score.
    more = dict(zip(*(lambda reading: (reading.texts, reading.scores))(tag(threshold=0.0, grids=[1, 2])), strict=True))
    assert all(more[text] >= score - 1e-6 for text, score in zip(everything.texts, everything.scores, strict=True))


def test_scores_are_those_of_open_clip_used_by_hand(clip_folder: str, words: dict[str, str]) -> None:
    engine = make_engine(
        "tag",
        f"open_clip:{clip_folder}",
        nouns=words["nouns"],
        attributes=None,
        grids=[1],
        threshold=0.0,
        precision="float32",
        device="cpu",
        templates=["a photo of a {}.", "{}"],
    )
    net, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip_folder}")
    names = ["cat", "dog", "car", "tree", "house"]
    with torch.no_grad():
        classes = open_clip.build_zero_shot_classifier(net.eval(), tokenizer, names, ["a photo of a {}.", "{}"])
        for picture in PICTURES[:3]:
            image = net.encode_image(preprocess(picture)[None], normalize=True)
            expected = (net.logit_scale.exp() * image @ classes).softmax(dim=-1)[0].tolist()
            (reading,) = engine.read([engine.prepare(picture)])
            assert dict(zip(reading.texts, reading.scores, strict=True)) == pytest.approx(
                dict(zip(names, expected, strict=True)), abs=1e-5
            )


def test_the_shortened_text_tower_is_exact_and_long_prompts_are_refused(clip_folder: str) -> None:
    clip = OpenClip("test", clip_folder, True, "cpu", "float32")
    whole = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}", return_transform=False).eval()
    prompts = ["a photo of a cat.", "a picture of the most extraordinarily long-haired wooden house"]
    with torch.no_grad():
        expected = whole.encode_text(clip.tokenizer(prompts), normalize=True)
    torch.testing.assert_close(clip.encode_prompts([[prompt] for prompt in prompts]), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="has more than 32 sub-tokens"):
        clip.encode_prompts([["cat " * 40]])


def test_a_file_of_weights_of_a_known_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = random_clip(tmp_path / "clip")
    known = open_clip.factory._MODEL_CONFIGS | {"small": open_clip.get_model_config(f"local-dir:{folder}")}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", known)
    engine = make_engine("tag", f"open_clip:small/{folder}/open_clip_model.safetensors", nouns="attributes")
    assert engine.read([engine.prepare(PICTURES[0])])[0].texts


@pytest.mark.parametrize("grids", [(1,), (2,), (1, 2), (3,)])
@pytest.mark.parametrize("size", [(100, 80), (7, 5), (1, 1), (1, 900)])
def test_regions_cover_the_image_and_are_never_empty(size: tuple[int, int], grids: tuple[int, ...]) -> None:
    boxes = grid_boxes(*size, grids)
    assert len(boxes) == sum(n * n for n in grids)
    seen = np.zeros((size[1], size[0]), dtype=bool)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        seen[int(top) : int(bottom), int(left) : int(right)] = True
    assert seen.all()
    if grids == (1,):
        assert boxes == [(0, 0, *size)]


def test_quarters_overlap_by_a_quarter() -> None:
    assert grid_boxes(70, 70, (2,)) == [(0, 0, 40, 40), (30, 0, 70, 40), (0, 30, 40, 70), (30, 30, 70, 70)]


def test_crops_and_long_images() -> None:
    picture = Image.new("RGB", (100, 50))
    assert crop(picture, (10, 10, 30, 20)).size == (20, 10)
    assert crop(picture, (10, 10, 30, 20), margin=0.1).size == (24, 12)
    assert crop(picture, (90, 40, 100, 50), margin=0.5).size == (15, 15)
    assert crop(picture, (100, 50, 100, 50)).size == (1, 1)
    assert not_too_long(picture) is picture
    long = Image.new("RGB", (3, 1000))
    long.putpixel((1, 500), (255, 0, 0))
    assert not_too_long(long).size == (3, 3 * LONGEST)
    assert np.asarray(not_too_long(long)).max() == 255


@pytest.mark.parametrize("kind", ["yolos", "detr"])
def test_detections_of_a_batch_are_those_of_its_images(
    kind: str, clip_folder: str, words: dict[str, str], tmp_path: Path
) -> None:
    engine = make_engine(
        "tag",
        f"detr:{random_detector(tmp_path / kind, kind)}",
        attribute_model=clip_folder,
        attributes=words["attributes"],
        threshold=0.1,
        precision="float32",
        device="cpu",
    )
    together = tags_of(engine, True)
    assert all(map(same, together, tags_of(engine, False)))
    assert any(reading.texts for reading in together)
    for picture, reading in zip(PICTURES, together, strict=True):
        for text, (left, top, right, bottom) in zip(reading.texts, reading.boxes, strict=True):
            assert text.split()[-1] in LABELS.values()
            assert 0 <= left <= right <= picture.width
            assert 0 <= top <= bottom <= picture.height


@pytest.fixture
def seeing(clip_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    """A detector that always finds a dog in the left half, less surely a car in the right one, and again the dog."""
    made = make_engine(
        "tag", f"detr:{random_detector(tmp_path / 'detr', 'detr')}", attribute_model=clip_folder, precision="float32"
    )
    assert isinstance(made, Detector)
    probabilities = torch.tensor([[0.0, 0.0, 0.6, 0.4], [0.0, 0.9, 0.0, 0.1], [0.0, 0.7, 0.0, 0.3], [1.0, 0, 0, 0]])
    probabilities[3] = torch.tensor([0.1, 0.1, 0.1, 0.7])
    boxes = torch.tensor([[0.75, 0.5, 0.5, 1.0], [0.25, 0.5, 0.5, 1.0], [0.25, 0.5, 0.4, 0.9], [0.5, 0.5, 1.0, 1.0]])

    class Found:
        logits = (probabilities + 1e-9).log()[None]
        pred_boxes = boxes[None]

    monkeypatch.setattr(made._hub, "net", lambda **_: Found())
    made._hub.net.config = type("Config", (), {"id2label": LABELS})
    return made


def test_boxes_become_crops_become_attributes(seeing: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (160, 120), (250, 0, 0))
    picture.paste((0, 0, 250), (80, 0, 160, 120))
    assert seeing._attributes is not None
    colours: dict[int, str] = {0: "red", 1: "green", 2: "blue"}

    def encode(images: np.ndarray) -> torch.Tensor:
        return torch.tensor(images.mean(axis=(2, 3)))

    monkeypatch.setattr(seeing._attributes.clip, "encode_images", encode)
    monkeypatch.setattr(
        seeing._attributes, "phrase", lambda noun, image: f"{colours[int(image.argmax())]} {noun}", raising=True
    )
    (reading,) = seeing.read([seeing.prepare(picture)])
    assert reading.texts == ("red dog", "blue car")
    assert reading.scores == pytest.approx((0.9, 0.6))
    assert reading.boxes == (pytest.approx((0, 0, 80, 120)), pytest.approx((80, 0, 160, 120)))


def test_detections_below_the_threshold_and_beyond_top_k_are_left_out(seeing: Detector) -> None:
    seeing._attributes = None
    scaled = seeing.prepare(PICTURES[0])
    assert seeing.read([scaled])[0].texts == ("dog", "car")
    seeing.threshold = 0.65
    assert seeing.read([scaled])[0].texts == ("dog",)
    seeing.threshold, seeing.top_k = 0.0, 1
    assert seeing.read([scaled])[0].texts == ("dog",)


def test_attributes_compete_with_none(clip_folder: str, words: dict[str, str]) -> None:
    engine = make_engine("tag", f"open_clip:{clip_folder}", **words, precision="float32", device="cpu")
    assert isinstance(engine, OpenClipTagger)
    assert engine._attributes is not None
    for prompt, expected in (("car", "car"), ("red car", "red car"), ("blue car", "blue car")):
        image = engine.clip.encode_prompts([[f"a photo of a {prompt}."]])[0]
        assert engine._attributes.phrase("car", image) == expected


def test_a_small_clip_trained_on_drawn_objects_tags_held_out_pictures(tmp_path: Path) -> None:
    """The reduced form of ``python -m benchmarks.tags``: 12 objects instead of 36, in smaller batches."""
    kinds = list(OBJECTS)[:12]
    learnt, held_out = draw(kinds, 20, "learn"), draw(kinds, 5, "held out")
    train(tmp_path / "clip", learnt, steps=50, batch=48)
    vocabularies = write_vocabularies(tmp_path, learnt)
    engine = make_engine("tag", f"open_clip:{tmp_path / 'clip'}", grids=[1], threshold=0.0, **vocabularies)  # type: ignore[arg-type]
    shares = accuracy(engine, held_out)
    assert shares["top-1"] > 0.7  # chance: 0.08
    assert shares["top-5"] > 0.9  # chance: 0.42
    assert shares["colour"] > 0.3  # chance: 0.14
