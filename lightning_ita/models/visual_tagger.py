"""Systems that join pixels to word states: by features that were made before, or by a vision model that is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from lightning_ita.images.tower import VisionTower
from lightning_ita.images.visual import Pixels, Visual
from lightning_ita.models.fusion import FusionTagger
from lightning_ita.models.options import Options
from lightning_ita.models.recipes import Recipe


class VisualTagger(FusionTagger):
    """A `FusionTagger` that sees pictures as `lightning_ita.images.visual.Visual`.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    # A vision model that is trained learns at the encoder's rate: it is pretrained, too.
    part_groups: ClassVar[Mapping[str, str]] = {**FusionTagger.part_groups, "vision": "encoder"}

    def __init__(
        self,
        types: Sequence[str],
        options: Options | Mapping[str, Any],
        recipe: Recipe | Mapping[str, Any] | None = None,
        encoder: str | nn.Module = "minilm",
        pretrained: bool = True,
    ):
        super().__init__(types, options, recipe, encoder, pretrained)
        vision = self.options.vision  # type: ignore[attr-defined]
        self.vision = VisionTower(vision, pretrained) if vision.finetune else None

    @property
    def channels(self) -> int:
        """Channels of the vision model's features."""
        raise NotImplementedError

    def see(self, batch: Any) -> Visual:
        """Returns features of the batch's pictures: those it has, or those of its pixels by the trained model."""
        visual: Visual | Pixels = batch.visual
        if isinstance(visual, Pixels):
            assert self.vision is not None
            seen: Visual = self.vision(visual)
            return seen
        return visual
