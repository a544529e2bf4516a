"""Tags by engines that need no download: a classifier of timm, and YOLOX detectors as ONNX files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.engines import make_engine
from lightning_ita.contexts.engines.yolox import Yolox, suppressed
from lightning_ita.errors import UserError
from lightning_ita.images.files import decode, read_file
from tests.conftest import SHARED
from tests.contexts.tiny_models import PICTURES, noise
from tests.contexts.tiny_onnx import write_yolox

timm = pytest.importorskip("timm")
REAL = SHARED.parent / "models" / "yolox_nano.onnx"
REAL_PICTURES = SHARED / "tweets-with-images" / "images"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("words") / "names.txt"
    path.write_text("blue thing\ngreen thing\nred thing\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def bundled() -> Engine:
    return make_engine("tag", top_k=3, threshold=0.0, precision="float32", device="cpu")


def test_the_bundled_classifier_is_timms_with_its_names(bundled: Engine) -> None:
    engine = bundled
    assert (engine.name, engine.model, engine.version.partition(",")[0]) == (
        "timm",
        "efficientnet-lite0",
        f"timm {timm.__version__}",
    )
    picture = noise(300, 240)
    reading = engine.read([engine.prepare(picture)])[0]
    config = timm.data.resolve_data_config(engine.net.pretrained_cfg)  # type: ignore[attr-defined]
    with torch.inference_mode():
        pixels = timm.data.create_transform(**config)(picture)[None]
        expected = engine.net(pixels).softmax(-1)[0].topk(3)  # type: ignore[attr-defined]
    info = timm.data.ImageNetInfo()
    assert reading.texts == tuple(info.index_to_description(int(i)).split(",")[0] for i in expected.indices)
    assert reading.scores == pytest.approx(expected.values.tolist(), abs=1e-5)
    assert reading.boxes == ()


@pytest.mark.skipif(not REAL_PICTURES.is_dir(), reason="real pictures are not part of the project")
@pytest.mark.parametrize(("image", "tag"), [("t17-test-1", "basketball"), ("t15-test-102", "stage")])
def test_the_bundled_classifier_sees_what_real_pictures_show(image: str, tag: str, bundled: Engine) -> None:
    picture = decode(read_file(REAL_PICTURES / f"{image}.jpg")[0])
    (reading,) = bundled.read([bundled.prepare(picture)])
    assert reading.texts[0] == tag
    assert reading.scores[0] > 0.7


def test_a_folder_of_timm_is_read_with_its_own_names_or_a_file(tiny_vision: str, names: str) -> None:
    with pytest.raises(UserError, match=r"does not name its 3 classes: .* tag\.names=FILE"):
        make_engine("tag", tiny_vision)
    options = {"names": names, "threshold": 0.0, "precision": "float32", "device": "cpu"}
    engine = make_engine("tag", tiny_vision, **options)
    assert engine.parameters["names"].startswith("names.txt sha256:")  # type: ignore[attr-defined]
    together = engine.read([engine.prepare(picture) for picture in PICTURES])
    for picture, reading in zip(PICTURES, together, strict=True):
        (alone,) = engine.read([pickle.loads(pickle.dumps(engine.prepare))(picture)])
        assert alone.texts == reading.texts
        assert alone.scores == pytest.approx(reading.scores, abs=1e-5)
        assert sum(reading.scores) == pytest.approx(1, abs=1e-5)
    sure = make_engine("tag", tiny_vision, **(options | {"threshold": 1.0}))
    assert sure.read([engine.prepare(PICTURES[0])]) == [Reading(())]


@pytest.mark.parametrize(
    ("choice", "options", "message"),
    [
        ("timm:resnet81", {}, "unknown model of timm 'resnet81'. Did you mean"),
        ("timm:./nowhere", {}, "'./nowhere' does not exist"),
        ("timm", {"names": "coco"}, "has 1000 classes, and 'coco' names 80"),
        ("yolox", {}, "tag=yolox needs a model: tag=yolox:FILE.onnx"),
        ("yolox:nowhere.onnx", {}, "tag=yolox:nowhere.onnx: no such file"),
        ("yolox:BAD", {}, "is no model that ONNX Runtime reads"),
        ("yolox:TINY", {}, r"expected an output of shape \(1, 84, 85\) for 80 classes, found \(1, 84, 8\)"),
        ("yolox:TINY", {"names": "cocoa"}, "Did you mean 'coco'"),
        ("yolox:TINY", {"threshold": 2.0}, "threshold must lie between 0 and 1"),
        ("yolox:ODD", {}, r"multiples of 32, found \[\[1, 3, 50, 50\]\]"),
    ],
)
def test_what_a_user_gets_wrong_is_named(choice: str, options: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"onnx")
    write_yolox(tmp_path / "tiny.onnx", [])
    write_yolox(tmp_path / "odd.onnx", [], size=50)
    for file in ("bad", "tiny", "odd"):
        choice = choice.replace(file.upper(), str(tmp_path / f"{file}.onnx"))
    with pytest.raises(UserError, match=message):
        make_engine("tag", choice, **options)


@pytest.mark.parametrize("colour", ["blue", "red"])
def test_objects_are_found_where_they_are_and_counted(colour: str, names: str, tmp_path: Path) -> None:
    # At twice the size of the input, two objects; a third lies over the first, and a fourth is unsure.
    path = write_yolox(tmp_path / "tiny.onnx", [(0, 0, 0.9), (4, 2, 0.8), (1, 0, 0.7), (6, 6, 0.2)])
    engine = make_engine("tag", f"yolox:{path}", names=names)
    picture = Image.new("RGB", (128, 128), {"blue": (0, 0, 255), "red": (255, 0, 0)}[colour])
    (reading,) = engine.read([pickle.loads(pickle.dumps(engine.prepare))(picture)])
    # An object reaches from its anchor's cell to the next: the first is 0..16 of 64, and 8..24 shares a third with it.
    assert reading.texts == (f"{colour} thing ×3",)
    assert reading.scores == pytest.approx((0.9,))
    assert reading.boxes == (pytest.approx((0, 0, 32, 32)),)
    each = make_engine("tag", f"yolox:{path}", names=names, counts=False)
    (reading,) = each.read([each.prepare(picture)])
    assert reading.texts == (f"{colour} thing",) * 3
    assert reading.scores == pytest.approx((0.9, 0.8, 0.7))
    assert reading.boxes[1] == pytest.approx((64, 32, 96, 64))
    (reading,) = make_engine("tag", f"yolox:{path}", names=names, counts=False, top_k=1).read([each.prepare(picture)])
    assert reading.texts == (f"{colour} thing",)


def test_a_picture_keeps_its_proportions_and_boxes_stay_in_it(names: str, tmp_path: Path) -> None:
    path = write_yolox(tmp_path / "tiny.onnx", [(6, 0, 1.0)])
    engine = make_engine("tag", f"yolox:{path}", names=names, threshold=0.1)
    sheet = engine.prepare(Image.new("RGB", (32, 16), (0, 255, 0)))
    assert (sheet.scale, sheet.pixels.shape) == (2.0, (3, 64, 64))
    assert (sheet.pixels[:, :32] == np.array([0, 255, 0])[:, None, None]).all()
    assert (sheet.pixels[:, 32:] == 114).all()
    (reading,) = engine.read([sheet])
    assert reading.texts[0] == "green thing"
    assert reading.boxes[0] == pytest.approx((24, 0, 32, 8))
    for picture in PICTURES:
        for left, top, right, bottom in engine.read([engine.prepare(picture)])[0].boxes:
            assert 0 <= left <= right <= picture.width
            assert 0 <= top <= bottom <= picture.height


def test_boxes_that_are_decoded_already_are_refused(
    names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_yolox(tmp_path / "tiny.onnx", [])
    run = Yolox._run
    monkeypatch.setattr(Yolox, "_run", lambda engine, pixels: run(engine, pixels) + 40)
    with pytest.raises(UserError, match="export without decode_in_inference"):
        make_engine("tag", f"yolox:{path}", names=names)


def test_of_boxes_that_overlap_the_best_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 4], [20, 0, 30, 10], [0, 0, 0, 0]], np.float32)
    assert suppressed(boxes, np.array([0.8, 0.9, 0.5, 0.7, 0.6])) == [1, 3, 4, 2]
    assert suppressed(boxes[:0], np.zeros(0)) == []


@pytest.mark.skipif(not (REAL.is_file() and REAL_PICTURES.is_dir()), reason="a detector is not part of the project")
def test_a_real_detector_counts_people_on_a_real_picture() -> None:
    engine = make_engine("tag", f"yolox:{REAL}")
    picture = decode(read_file(REAL_PICTURES / "t17-dev-1.jpg")[0])  # two men in suits
    (reading,) = engine.read([engine.prepare(picture)])
    assert reading.texts == ("person ×2",)
    assert reading.scores[0] == pytest.approx(0.93, abs=0.02)
    assert reading.boxes[0] == pytest.approx((0, 23, 149, 297), abs=3)
