"""Systems that join pixels to word states: by features that were made before, or by a vision model that is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lightning_ita.images.nets import net_shape
from lightning_ita.images.tower import VisionTower
from lightning_ita.images.visual import Visual
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.fusion import FusionTagger
from lightning_ita.models.options import Options
from lightning_ita.models.recipes import Recipe


class SeeingTagger(EncoderTagger):
    """A system that sees pictures as `lightning_ita.images.visual.Visual`.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    def __init__(
        self,
        types: Sequence[str],
        options: Options | Mapping[str, Any],
        recipe: Recipe | Mapping[str, Any] | None = None,
        encoder: str | nn.Module = "minilm",
        pretrained: bool = True,
    ):
        super().__init__(types, options, recipe, encoder, pretrained)
        self.vision = VisionTower(self.options.vision, pretrained)  # type: ignore[attr-defined]

    @property
    def channels(self) -> int:
        """Width of the vision model's features; known before `vision` is made."""
        return net_shape(self.options.vision)[2]  # type: ignore[attr-defined]

    @property
    def regions(self) -> int:
        """Regions of the whole picture; known before `vision` is made."""
        return net_shape(self.options.vision)[1]  # type: ignore[attr-defined]

    def see(self, batch: Any) -> Visual:
        """Returns features of the batch's pictures: those it comes with, or those that `vision` makes of its pixels."""
        seen: Visual = self.vision(batch.visual)
        return seen


class VisualTagger(SeeingTagger, FusionTagger):
    """A `FusionTagger` that sees pictures."""
