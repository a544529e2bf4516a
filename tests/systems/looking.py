"""A system of another package that looks at pictures: what is seen is added to the state of every word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_ita.images.tower import VisionTower
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.options import TEXT
from lightning_ita.models.packing import word_states
from lightning_ita.models.visual_inputs import VisualBatch
from lightning_ita.models.visual_options import VisualOptions


@dataclass(frozen=True)
class LookingOptions(VisualOptions):
    system: ClassVar[str] = "looking"
    tagger: ClassVar[str] = "tests.systems.looking:Looking"
    title = "Looking"


class Looking(EncoderTagger):
    def __init__(
        self, types: Any, options: Any, recipe: Any = None, encoder: str = "minilm", pretrained: bool = True
    ) -> None:
        super().__init__(types, options, recipe, encoder, pretrained)
        self.vision = VisionTower(self.options.vision, pretrained)  # type: ignore[attr-defined]
        self.whole, self.part = (nn.Linear(self.vision.channels, self.emission.in_features, False) for _ in range(2))

    def states(self, batch: VisualBatch, views: tuple[str, ...]) -> Tensor:  # type: ignore[override]
        words, seen = word_states(self.encoder, [batch.text]), self.vision(batch.visual)
        found = []
        for view in views:
            visual = seen.absent() if view == TEXT else seen
            found.append(words + (self.whole(visual.pooled) + self.part(visual.crops).sum(1))[:, None])
        return torch.cat(found)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups: Mapping[str, list[nn.Parameter]] = super().parameter_groups()
        own = {id(parameter) for parameter in self.vision.parameters()}
        moved = [parameter for parameter in groups["head"] if id(parameter) in own]
        return {
            **groups,
            "encoder": groups["encoder"] + moved,
            "head": [parameter for parameter in groups["head"] if id(parameter) not in own],
        }
