"""Object tags by zero-shot classification: a CLIP model chooses the words of a vocabulary that fit an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.clip import OpenClip, Resize
from lightning_ita.contexts.engines.loading import as_json
from lightning_ita.contexts.engines.options import check_count, check_share
from lightning_ita.contexts.engines.regions import Box, check_grids, crop, grid_boxes
from lightning_ita.contexts.engines.vocabulary import read_vocabulary
from lightning_ita.devices import Precision
from lightning_ita.errors import UserError
from lightning_ita.text import quoted

TEMPLATES = ("a photo of a {}.", "a picture of the {}.")
# Regions that a model embeds at once, whatever the number of images in a batch.
REGIONS_AT_ONCE = 64
# More tags per image are a mistake.
MOST_TAGS = 1000


@dataclass(frozen=True)
class Regions:
    """Divides an image into regions and resizes each. Pickles without the model.

    Attributes:
        resize: Resizes a region to the model's input size.
        grids: See `grid_boxes`.
    """

    resize: Resize
    grids: tuple[int, ...]

    def __call__(self, image: Image.Image) -> tuple[np.ndarray, list[Box]]:
        """Returns the pixels of the regions, shape (regions, 3, height, width), and their boxes."""
        boxes = grid_boxes(*image.size, self.grids)
        return np.stack([self.resize(crop(image, box)) for box in boxes]), boxes


class Attributes:
    """Chooses the attribute that describes an object best, given its noun.

    For each noun the attributes are compared with one another and with no attribute: "a photo of a red car." with "a
    photo of a car.". A noun's prompts are embedded when it is first needed.

    Args:
        clip: The model.
        entries: The attributes.
        template: The prompt.
    """

    def __init__(self, clip: OpenClip, entries: Sequence[str], template: str):
        self.clip, self.entries, self.template = clip, entries, template
        self._classes: dict[str, Tensor] = {}

    def phrase(self, noun: str, image: Tensor) -> str:
        """Returns the noun with the attribute that fits an image best, or the noun alone.

        Args:
            noun: The object in the image.
            image: The embedding of the image, shape (width,).
        """
        if noun not in self._classes:
            phrases = [noun, *(f"{attribute} {noun}" for attribute in self.entries)]
            self._classes[noun] = self.clip.encode_prompts([[self.template.format(phrase)] for phrase in phrases])
        best = int((self._classes[noun] @ image).argmax())
        return f"{self.entries[best - 1]} {noun}" if best else noun


def check_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Checks the prompt templates and returns them.

    Raises:
        UserError: There are none, or one has not exactly one ``{}``.
    """
    if isinstance(templates, str):
        templates = [templates]
    if not templates or any(template.count("{}") != 1 or template.count("{") != 1 for template in templates):
        raise UserError(f"prompt templates need one {{}} each, where the word goes; given: {quoted(list(templates))}")
    return tuple(templates)


class OpenClipTagger:
    """Engine ``tag=open_clip``: the nouns that fit an image or a part of it best, each with an attribute.

    The embedding of every region is compared with that of every noun; a softmax over the nouns, at the model's own
    temperature, gives p(noun | region). A noun's score is the greatest p over the regions, its box is that region, and
    its attribute is the one that fits that region best.

    Args:
        model: See `clip.locate`.
        nouns: ``nouns`` (shipped) or a file with a noun per line.
        attributes: ``attributes`` (shipped), a file, or ``None``: nouns alone.
        top_k: Tags per image, at most.
        threshold: Smallest score of a tag.
        grids: The regions: 1 is the whole image, 2 its four quarters ...; see `grid_boxes`.
        templates: Prompts for a noun, which takes the place of ``{}``; their embeddings are averaged. The first is
            used for attributes.
        batch_size: Images read at once.
        device: A device; the accelerator by default.
        precision: ``bfloat16``, ``float32``, or ``auto``: bfloat16 where it is fast.

    Raises:
        UserError: The model or a vocabulary cannot be read, or a value is out of its range.
    """

    kind = "tag"
    name = "open_clip"
    default_model = "ViT-B-32/laion2b_s34b_b79k"

    def __init__(
        self,
        model: str | None = None,
        *,
        nouns: str = "nouns",
        attributes: str | None = "attributes",
        top_k: int = 10,
        threshold: float = 0.01,
        grids: Sequence[int] = (1, 2),
        templates: str | Sequence[str] = TEMPLATES,
        batch_size: int = 32,
        device: str | None = None,
        precision: Precision = "auto",
    ):
        self.model = model or self.default_model
        self.grids, self.templates = check_grids(grids), check_templates(templates)
        self.top_k, self.threshold = check_count("top_k", top_k, MOST_TAGS), check_share("threshold", threshold)
        self.batch_size = check_count("batch_size", batch_size)
        self.nouns = read_vocabulary(nouns)
        adjectives = None if attributes is None else read_vocabulary(attributes)
        self.clip = OpenClip(f"tag={self.name}:{self.model}", self.model, model is not None, device, precision)
        self._classes = self.clip.encode_prompts(
            [[template.format(noun) for template in self.templates] for noun in self.nouns.entries]
        )
        self._attributes = adjectives and Attributes(self.clip, adjectives.entries, self.templates[0])
        self.prepare = Regions(self.clip.resize, self.grids)
        self.version = self.clip.version
        self.parameters = as_json(
            {
                "nouns": self.nouns.version,
                "attributes": adjectives and adjectives.version,
                "top_k": top_k,
                "threshold": threshold,
                "grids": self.grids,
                "templates": self.templates,
                "precision": self.clip.precision,
            }
        )

    def read(self, prepared: Sequence[tuple[np.ndarray, list[Box]]]) -> list[Reading]:
        """Tags a batch of prepared images."""
        pixels = np.concatenate([regions for regions, _ in prepared])
        parts = [
            self.clip.encode_images(pixels[start : start + REGIONS_AT_ONCE])
            for start in range(0, len(pixels), REGIONS_AT_ONCE)
        ]
        embedded = torch.cat(parts).split([len(boxes) for _, boxes in prepared])
        return [self._tag(regions, boxes) for regions, (_, boxes) in zip(embedded, prepared, strict=True)]

    def _tag(self, regions: Tensor, boxes: list[Box]) -> Reading:
        """Tags one image by the embeddings of its regions, shape (regions, width)."""
        # (nouns,)
        best, where = self.clip.probabilities(regions, self._classes).max(dim=0)
        scores, nouns = best.topk(min(self.top_k, len(best)))
        found = [(s, n) for s, n in zip(scores.tolist(), nouns.tolist(), strict=True) if s >= self.threshold]
        places = [int(where[noun]) for _, noun in found]
        texts = [self.nouns.entries[noun] for _, noun in found]
        if self._attributes:
            texts = [self._attributes.phrase(text, regions[at]) for text, at in zip(texts, places, strict=True)]
        return Reading(
            tuple(texts),
            tuple(score for score, _ in found),
            () if self.grids == (1,) else tuple(boxes[at] for at in places),
        )
