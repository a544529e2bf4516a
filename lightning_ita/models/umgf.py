"""UMGF: a graph of words and objects, joined by gates in every layer (Zhang et al., AAAI 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

from lightning_ita.errors import UserError
from lightning_ita.images.vision import Vision
from lightning_ita.models.fusion_options import FusionOptions
from lightning_ita.models.visual_options import VisualOptions


@dataclass(frozen=True)
class UMGFOptions(VisualOptions, FusionOptions):
    """Options of UMGF; the defaults are the paper's but for the dropout and the vision model, which the paper trains.

    Attributes:
        vision: How pictures are seen: by crops, four as in the paper.
        layers: Number of fusion layers.
        width: Width of the states of words and crops in the fusion layers.
        heads: Attention heads of a fusion layer.
        feed_forward: Hidden units of the feed-forward parts of a fusion layer.
        dropout: Dropout in the fusion layers, and in the projection of crops. The paper's is 0.4, over 30 epochs; in a
            few epochs little is learned with it.
    """

    vision: Vision = Vision(crops=4)  # noqa: RUF009, it is immutable
    layers: Annotated[int, Gt(0), Le(100)] = 6
    width: Annotated[int, Gt(0), Le(65536)] = 512
    heads: Annotated[int, Gt(0), Le(1024)] = 8
    feed_forward: Annotated[int, Gt(0), Le(65536)] = 256
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1

    system: ClassVar[str] = "umgf"
    tagger: ClassVar[str] = "lightning_ita.models.umgf_tagger:UMGF"
    arithmetic: ClassVar[str] = "lightning_ita.models.arithmetic:umgf"
    name: ClassVar[str] = "UMGF"

    def __post_init__(self) -> None:
        """Checks types and ranges.

        Raises:
            UserError: One is wrong, or there is no crop to look at.
        """
        super().__post_init__()
        if not self.vision.crops:
            raise UserError("umgf looks at crops alone: give vision.crops from 1 up; the paper has 4")
        if self.width % self.heads:
            raise UserError(f"umgf.heads {self.heads} do not divide umgf.width {self.width}")
