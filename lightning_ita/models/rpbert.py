"""RpBERT: one encoder for sub-tokens and regions, and a gate for pictures that add nothing (Sun et al., AAAI 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from lightning_ita.models.recipes import Count
from lightning_ita.models.relation_options import RelationOptions


@dataclass(frozen=True)
class RpBERTOptions(RelationOptions):
    """Options of RpBERT.

    Attributes:
        gate: Where the gate g is: attention (each region counts g times as much as a sub-token in every layer, and not
            at all for g = 0) or input (regions are multiplied by g before positions are added and normalised, as in the
            official code; for g = 0 they are still there).
        lstm_layers: Layers of the BiLSTM between encoder and CRF; 0 for none.
        lstm_width: Hidden units of the BiLSTM, per direction.
    """

    gate: Literal["attention", "input"] = "attention"
    lstm_layers: Annotated[int, Ge(0), Le(8)] = 2
    lstm_width: Count = 256

    system: ClassVar[str] = "rpbert"
    tagger: ClassVar[str] = "lightning_ita.models.rpbert_tagger:RpBERT"
    arithmetic: ClassVar[str] = "lightning_ita.models.arithmetic:rpbert"
    inputs: ClassVar[str] = "lightning_ita.models.relation_inputs:RpBERTInputs"
    name: ClassVar[str] = "RpBERT"
    published: ClassVar[str] = "RpBERT-base"
