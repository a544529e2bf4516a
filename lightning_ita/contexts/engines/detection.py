"""Object tags by detection: objects by a detector of transformers, and their attributes by a CLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from PIL import Image

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.clip import OpenClip
from lightning_ita.contexts.engines.hub import HubModel, ResizeForHub
from lightning_ita.contexts.engines.loading import as_json, autocast
from lightning_ita.contexts.engines.options import check_count, check_share
from lightning_ita.contexts.engines.regions import Box, crop
from lightning_ita.contexts.engines.vocabulary import read_vocabulary
from lightning_ita.contexts.engines.zero_shot import (
    MOST_TAGS,
    Attributes,
    check_templates,
)
from lightning_ita.devices import Precision

# The surroundings of an object help to tell its attributes: crops are larger than the box by this share on each side.
MARGIN = 0.1
# Detectors scale the longer side to a fixed length, and fail where the shorter one then has no pixel: images are padded
# with black until the shorter side is at least a quarter of the longer one.
NARROWEST = 4


@dataclass(frozen=True)
class Scaled:
    """An image resized for the detector.

    Attributes:
        pixels: Unsigned bytes, shape (3, height, width).
        sheet: Height and width of the image before resizing, with the padding of a narrow one at its right or bottom.
        size: Height and width of the upright image.
    """

    pixels: np.ndarray
    sheet: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Scale:
    """Resizes an image for the detector, and records its original size. Pickles without the model."""

    resize: ResizeForHub

    def __call__(self, image: Image.Image) -> Scaled:
        """Returns the resized image."""
        least = -(-max(image.size) // NARROWEST)
        sheet = image
        if min(image.size) < least:
            sheet = Image.new("RGB", (max(image.width, least), max(image.height, least)))
            sheet.paste(image)
        return Scaled(self.resize(sheet), (sheet.height, sheet.width), (image.height, image.width))


class Detector:
    """Engine ``tag=detr``: the classes of the objects that a detector finds, each once per attribute, best score first.

    Any model that transformers loads for object detection can be used: DETR, YOLOS, RT-DETR, Deformable DETR ... A
    detector pads the images of a batch to one size, and the padding changes its results a little. So that the result of
    an image does not depend on the other images, only images of equal size form a batch.

    Args:
        model: A folder or a Hub name, with weights as safetensors.
        attribute_model: The open_clip model that chooses an attribute for each object (see `clip.locate`); ``None``:
            classes without attributes.
        attributes: ``attributes`` (shipped) or a file.
        template: The prompt of an object with its attribute.
        top_k: Tags per image, at most.
        threshold: Smallest score of a detection.
        batch_size: Images read at once.
        device: A device; the accelerator by default.
        precision: ``bfloat16``, ``float32``, or ``auto``: bfloat16 where it is fast.

    Raises:
        UserError: A model or the vocabulary cannot be read, or a value is out of its range.
    """

    kind = "tag"
    name = "detr"
    default_model = "facebook/detr-resnet-50"

    def __init__(
        self,
        model: str | None = None,
        *,
        attribute_model: str | None = None,
        attributes: str = "attributes",
        template: str = "a photo of a {}.",
        top_k: int = 10,
        threshold: float = 0.5,
        batch_size: int = 8,
        device: str | None = None,
        precision: Precision = "auto",
    ):
        self.model = model or self.default_model
        self.top_k, self.threshold = check_count("top_k", top_k, MOST_TAGS), check_share("threshold", threshold)
        self.batch_size = check_count("batch_size", batch_size)
        what = f"tag={self.name}:{self.model}"
        self._hub = HubModel(what, self.model, model is not None, "AutoModelForObjectDetection", device, precision)
        self.version = self._hub.version
        parameters: dict[str, object] = {"top_k": top_k, "threshold": threshold, "precision": self._hub.precision}
        self._attributes = None
        if attribute_model is not None:
            (template,) = check_templates([template])
            words = read_vocabulary(attributes)
            clip = OpenClip(f"attribute_model={attribute_model}", attribute_model, True, device, precision)
            self._attributes = Attributes(clip, words.entries, template)
            self.version += f"; attributes: {clip.version}"
            parameters |= {"attribute_model": attribute_model, "attributes": words.version}
            parameters |= {"template": template, "margin": MARGIN}
        self.parameters = as_json(parameters)
        self.prepare = Scale(self._hub.resize)

    def read(self, prepared: Sequence[Scaled]) -> list[Reading]:
        """Detects objects in a batch of prepared images."""
        readings: dict[int, Reading] = {}
        order = sorted(range(len(prepared)), key=lambda i: prepared[i].pixels.shape)
        for _, group in groupby(order, key=lambda i: prepared[i].pixels.shape):
            indices = list(group)
            for i, found in zip(indices, self._detect([prepared[i] for i in indices]), strict=True):
                readings[i] = self._describe(prepared[i], found)
        return [readings[i] for i in range(len(prepared))]

    @torch.inference_mode()
    def _detect(self, images: Sequence[Scaled]) -> list[dict[str, Any]]:
        """Returns scores, labels, and boxes in pixels of the upright images, for images of one size."""
        hub = self._hub
        inputs = hub.inputs([image.pixels for image in images])
        with autocast(hub.device, hub.precision):
            outputs = hub.net(**inputs)
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        found: list[dict[str, Any]] = hub.processor.post_process_object_detection(
            outputs, threshold=self.threshold, target_sizes=[image.sheet for image in images]
        )
        return found

    def _describe(self, image: Scaled, found: dict[str, Any]) -> Reading:
        """Returns the tags of one image's detections, best score first, none twice."""
        height, width = image.size
        scores, which = found["scores"].sort(descending=True, stable=True)
        texts: dict[str, tuple[float, Box]] = {}
        picture = Image.fromarray(image.pixels.transpose(1, 2, 0)) if self._attributes else None
        for score, index in zip(scores.tolist(), which.tolist(), strict=True):
            if len(texts) == self.top_k:
                break
            text = self._hub.net.config.id2label[int(found["labels"][index])]
            left, top, right, bottom = found["boxes"][index].tolist()
            box = (_clip(left, width), _clip(top, height), _clip(right, width), _clip(bottom, height))
            if self._attributes and picture:
                across, down = picture.width / image.sheet[1], picture.height / image.sheet[0]
                scaled = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
                part = crop(picture, scaled, MARGIN)
                clip = self._attributes.clip
                text = self._attributes.phrase(text, clip.encode_images(clip.resize(part)[None])[0])
            texts.setdefault(text, (score, box))
        return Reading(tuple(texts), tuple(s for s, _ in texts.values()), tuple(b for _, b in texts.values()))


def _clip(value: float, length: int) -> float:
    """Moves a coordinate onto the image."""
    return min(max(value, 0.0), float(length))
