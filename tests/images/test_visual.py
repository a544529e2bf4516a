from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_ita.errors import UserError
from lightning_ita.images.crops import GRID, WHOLE, Part, cut, parts_of
from lightning_ita.images.vision import MOST_CROPS, PREPROCESSING, Vision
from lightning_ita.images.visual import Visual


def visual() -> Visual:
    return Visual(
        crop_mask=torch.tensor([[True, False], [True, True]]),
        present=torch.tensor([True, True]),
        regions=torch.ones(2, 4, 3),
        crops=torch.ones(2, 2, 3),
    )


def test_absent_is_zero_and_masked() -> None:
    seen, absent = visual(), visual().absent()
    assert not absent.present.any()
    assert not absent.crop_mask.any()
    assert not absent.region_mask.any()
    assert not absent.regions.any()
    assert not absent.crops.any()
    assert absent.regions.shape == seen.regions.shape
    assert seen.regions.all()
    assert seen.region_mask.shape == (2, 4)


def test_hiding_some_leaves_the_others() -> None:
    hidden = visual().without(torch.tensor([True, False]))
    assert hidden.present.tolist() == [False, True]
    assert hidden.crop_mask.tolist() == [[False, False], [True, True]]
    assert hidden.regions[0].sum() == 0
    assert hidden.regions[1].sum() == 12


def test_moving_keeps_everything() -> None:
    moved = visual().to("meta")
    assert moved.regions.device.type == moved.present.device.type == "meta"


@pytest.mark.parametrize("crops", range(MOST_CROPS + 1))
def test_the_grid_has_as_many_crops_as_asked_within_the_picture(crops: int) -> None:
    parts = parts_of(crops, None)
    assert len(set(parts)) == crops
    assert all(0 <= p.left < p.right <= 1 and 0 <= p.top < p.bottom <= 1 and not p.pixels for p in parts)
    assert WHOLE not in parts
    assert len(GRID) == MOST_CROPS


def test_boxes_are_taken_best_first_and_none_is_made_up() -> None:
    boxes = [(0.0, 0.0, 5.0, 5.0), (1.0, 1.0, 9.0, 9.0)]
    assert parts_of(1, boxes) == [Part(0, 0, 5, 5, pixels=True)]
    assert len(parts_of(4, boxes)) == 2
    assert parts_of(4, []) == []


def test_a_part_is_cut_where_it_lies() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:20, 40:] = 255
    image = Image.fromarray(pixels)
    assert np.asarray(cut(image, Part(0.5, 0, 1, 0.5), 8)).mean() > 240
    assert np.asarray(cut(image, Part(40, 0, 80, 20, pixels=True), 8)).mean() > 240
    assert np.asarray(cut(image, Part(0, 0, 40, 40, pixels=True), 8)).mean() < 15
    whole = np.asarray(cut(image, WHOLE, 8))
    assert whole.shape == (8, 8, 3)
    assert whole[0, 7].min() > 200
    assert whole[7, 7].max() < 50


@pytest.mark.parametrize("box", [(90, 90, 99, 99), (-5, -5, 0, 0), (3, 3, 3, 3), (5, 5, 1, 1)])
def test_a_part_outside_the_picture_or_of_no_size_still_has_pixels(box: tuple[int, ...]) -> None:
    assert cut(Image.new("RGB", (10, 10), "red"), Part(*box, pixels=True), 4).getpixel((1, 1)) == (255, 0, 0)


def test_a_vision_model_is_named_by_its_library() -> None:
    with pytest.raises(UserError, match=r"unknown vision model 'tim'.*timm"):
        Vision("tim:resnet18")
    with pytest.raises(UserError, match="LIBRARY:NAME"):
        Vision("timm")
    with pytest.raises(UserError, match="LIBRARY:NAME"):
        Vision("efficientnet-lite0:x")
    with pytest.raises(UserError, match="no such file or folder"):
        _ = Vision("timm:/nowhere/at/all").folder
    with pytest.raises(UserError, match=r"crops must be .*13"):
        Vision(crops=14)
    with pytest.raises(UserError, match="finetune"):
        Vision(finetune="yes")  # type: ignore[arg-type]


def test_a_folder_decides_by_its_digest_not_its_path(tiny_vision: str) -> None:
    assert Vision(tiny_vision, 2).deciding() == {
        "model": "timm:folder",
        "crops": 2,
        "finetune": False,
        "preprocessing": PREPROCESSING,
    }
    assert Vision("timm:resnet18").deciding()["model"] == "timm:resnet18"
