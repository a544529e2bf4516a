"""UMT: words and regions attend to each other, and a span head reads the text alone (Yu et al., ACL 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

from lightning_ita.models.fusion_options import FusionOptions
from lightning_ita.models.visual_options import VisualOptions


@dataclass(frozen=True)
class UMTOptions(VisualOptions, FusionOptions):
    """Options of UMT; the defaults are the paper's.

    Attributes:
        heads: Attention heads of UMT's five layers; those of the encoder if not given, 12 for BERT-base.
        dropout: Dropout of the encoder's states, and of attention weights and results in UMT's layers.
        span_share: Share that the span head has in the emissions; the rest is the multimodal head's.
        span_weight: Weight of the span head's own loss.
    """

    heads: Annotated[int, Gt(0), Le(1024)] | None = None
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    span_share: Annotated[float, Ge(0), Lt(1)] = 0.5
    span_weight: Annotated[float, Ge(0), Le(1000)] = 0.5

    system: ClassVar[str] = "umt"
    tagger: ClassVar[str] = "lightning_ita.models.umt_tagger:UMT"
    arithmetic: ClassVar[str] = "lightning_ita.models.arithmetic:umt"
    name: ClassVar[str] = "UMT"
