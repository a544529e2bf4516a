"""BGA-MNER: each modality's states are generated from the other's, layer by layer; text alone at test (MM 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lightning_ita.models.fusion_options import layer_factor
from lightning_ita.models.options import CROSS_MODAL, VIEWS
from lightning_ita.models.recipes import Count, NotNegative, Positive, Recipe
from lightning_ita.models.visual_options import PictureOptions


@dataclass(frozen=True)
class BGAMNEROptions(PictureOptions):
    """Options of BGA-MNER.

    It has no training modes: it looks at pictures in training alone, so that its two views are one at test, and there
    is nothing to align. Both columns of a table have the same result, and its title says why.

    Attributes:
        generation_weight: Weight of the loss that makes generated states like the real ones.
        cycle_weight: Weight of the loss that makes states that were generated from generated ones like the real ones.
        feed_forward: Width of the feed-forward part of the generators; twice the encoder's if not given.
        layer_lr_factor: Factor on the learning rate of picture tower, generators and samplers; by default the recipe's
            for the emission layer, but at most 3.
    """

    generation_weight: NotNegative = 0.001
    cycle_weight: NotNegative = 0.001
    feed_forward: Count | None = None
    layer_lr_factor: Positive | None = None

    system: ClassVar[str] = "bga-mner"
    tagger: ClassVar[str] = "lightning_ita.models.bga_mner_tagger:BGAMNER"
    arithmetic: ClassVar[str] = "lightning_ita.models.arithmetic:bga_mner"

    @property
    def title(self) -> str:
        """The system's name, and why both columns have one number."""
        return "BGA-MNER (no picture at test)"

    @property
    def published_name(self) -> str | None:
        """``BGA-MNER``."""
        return "BGA-MNER"

    @property
    def slug(self) -> str:
        """``bga-mner``."""
        return "bga-mner"

    @property
    def trained_views(self) -> tuple[str, ...]:
        """I+T: tweets and pictures."""
        return (CROSS_MODAL,)

    @property
    def tested_views(self) -> tuple[str, ...]:
        """Both, which are the same: no picture is looked at."""
        return VIEWS

    def layer_factor(self, recipe: Recipe) -> float:
        """Returns `layer_lr_factor`, or what stands for it."""
        return layer_factor(self.layer_lr_factor, recipe)
