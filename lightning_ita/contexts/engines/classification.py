"""Object tags by classification: the classes of ImageNet, or of another list, that a model of timm sees in an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.loading import (
    as_json,
    autocast,
    choose_precision,
    digest,
    existing_path,
    hub_revision,
    load,
    package_versions,
)
from lightning_ita.contexts.engines.options import check_count, check_share
from lightning_ita.contexts.engines.regions import not_too_long
from lightning_ita.contexts.engines.vocabulary import read_vocabulary
from lightning_ita.contexts.engines.zero_shot import MOST_TAGS
from lightning_ita.devices import Precision, choose_device
from lightning_ita.errors import UserError, unknown
from lightning_ita.images.locating import LITE0_SHA256, lite0_file
from lightning_ita.images.vision import DEFAULT
from lightning_ita.registry import require
from lightning_ita.text import quoted

NEEDS = "config.json and model.safetensors, as timm saves them"


@dataclass(frozen=True)
class Crop:
    """Resizes and crops an image as the model's evaluation does. Pickles without the model.

    Attributes:
        transform: timm's transform, without normalisation.
    """

    transform: Any

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Returns the pixels, shape (3, height, width), unsigned bytes."""
        return np.asarray(self.transform(not_too_long(image)), dtype=np.uint8)


class Classifier:
    """Engine ``tag=timm``: the classes that a classifier gives an image, best first.

    A classifier sees one thing per image, in its middle: ImageNet's pictures show one object each, and half of its
    1000 classes are animals and plants. People have no class there; what they wear and hold has.

    Args:
        model: ``efficientnet-lite0``, whose weights a package carries, or any classifier of timm: its name, its folder
            or its id on the Hub.
        names: A file with the names of the classes, one per line, in the order of the model's outputs. By default the
            model's own, or those of ImageNet (the first of a class's synonyms).
        top_k: Tags per image, at most.
        threshold: Smallest probability of a class.
        batch_size: Images read at once.
        device: A device; the accelerator by default.
        precision: ``bfloat16``, ``float32``, or ``auto``: bfloat16 where it is fast.

    Raises:
        UserError: The package, the model or its weights are missing, the names of its classes are not known, or a value
            is out of its range.
    """

    kind = "tag"
    name = "timm"

    def __init__(
        self,
        model: str | None = None,
        *,
        names: str | None = None,
        top_k: int = 5,
        threshold: float = 0.1,
        batch_size: int = 32,
        device: str | None = None,
        precision: Precision = "auto",
    ):
        timm = require("timm", extra="vision")
        self.model = model or DEFAULT
        self.top_k, self.threshold = check_count("top_k", top_k, MOST_TAGS), check_share("threshold", threshold)
        self.batch_size = check_count("batch_size", batch_size)
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        what = f"tag={self.name}:{self.model}"
        net, weights = _bundled(timm) if self.model == DEFAULT else _named(timm, what, self.model)
        self.net = net.eval().requires_grad_(False).to(self.device)
        self.classes, named_by = _classes(timm, what, net, names)
        self.version = f"{package_versions('timm')}, {weights}"
        config = timm.data.resolve_model_data_config(net)
        mean_and_std = torch.tensor([config["mean"], config["std"]], device=self.device)
        self._mean, self._std = mean_and_std.reshape(2, 3, 1, 1)
        self.prepare = Crop(timm.data.create_transform(**config, is_training=False, normalize=False))
        self.parameters = as_json(
            {"names": named_by, "top_k": top_k, "threshold": threshold, "precision": self.precision}
        )

    @torch.inference_mode()
    def read(self, prepared: Sequence[np.ndarray]) -> list[Reading]:
        """Classifies a batch of prepared images."""
        pixels = torch.from_numpy(np.stack(prepared)).to(self.device)  # (images, 3, height, width)
        with autocast(self.device, self.precision):
            logits = self.net((pixels / 255 - self._mean) / self._std)
        # (images, classes)
        best = logits.float().softmax(-1).sort(dim=-1, descending=True, stable=True)
        return [self._tag(*row) for row in zip(best.values.tolist(), best.indices.tolist(), strict=True)]

    def _tag(self, probabilities: Sequence[float], classes: Sequence[int]) -> Reading:
        """Returns the names of the most probable classes; two classes of one name count as the better one."""
        texts: dict[str, float] = {}
        for probability, number in zip(probabilities, classes, strict=True):
            if probability < self.threshold or len(texts) == self.top_k:
                break
            texts.setdefault(self.classes[number], probability)
        return Reading(tuple(texts), tuple(texts.values()))


def _bundled(timm: Any) -> tuple[Any, str]:
    """Returns EfficientNet-Lite0 with its classifier, and the digest of its weights.

    Their names are another library's; their order is that of timm's model, as in `lightning_ita.images.nets`.
    """
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    given = torch.load(lite0_file(), map_location="cpu", weights_only=True)
    values = [value for name, value in given.items() if not name.endswith("num_batches_tracked")]
    own = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    net.load_state_dict(dict(zip(own, values, strict=True)), strict=False)
    return net, f"sha256:{LITE0_SHA256[:16]}"


def _named(timm: Any, what: str, model: str) -> tuple[Any, str]:
    """Returns a classifier by its name, folder or id on the Hub, and what identifies its weights."""
    folder = existing_path(model)
    name = f"local-dir:{folder}" if folder else f"hf-hub:{model}" if "/" in model else model
    if ":" not in name and not timm.is_model(name):
        raise unknown("model of timm", model, [DEFAULT, *timm.list_models()])
    net = load(what, lambda: timm.create_model(name, pretrained=True), folder, may_download=True, needs=NEEDS)
    if folder:
        return net, digest(folder)
    repository = net.pretrained_cfg.get("hf_hub_id") or model
    return net, hub_revision(repository, ("model.safetensors", "pytorch_model.bin", "config.json"))


def _classes(timm: Any, what: str, net: Any, file: str | None) -> tuple[tuple[str, ...], str]:
    """Returns the names of a classifier's outputs, and where they come from.

    Raises:
        UserError: The model gives features and no classes, or there are not as many names as classes.
    """
    outputs = net.num_classes
    if not outputs:
        raise UserError(f"{what} gives features and no classes; choose a classifier")
    own = net.pretrained_cfg.get("label_names")
    subset = timm.data.infer_imagenet_subset(net)
    if file is not None:
        vocabulary = read_vocabulary(file)
        names, source = vocabulary.entries, vocabulary.version
    elif own:
        names, source = tuple(str(name) for name in own), "the model's"
    elif subset:
        info = timm.data.ImageNetInfo(subset)
        names = tuple(info.index_to_description(i).partition(",")[0].strip() for i in range(outputs))
        source = subset
    else:
        raise UserError(f"{what} does not name its {outputs} classes: give a file, one name per line: tag.names=FILE")
    if len(names) != outputs:
        raise UserError(f"{what} has {outputs} classes, and {quoted(file or source)} names {len(names)}")
    return names, source
