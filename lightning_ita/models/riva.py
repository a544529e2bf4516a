"""RIVA without its pre-training: a relation gate, attention to regions and a BiLSTM (after Sun et al., COLING 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lightning_ita.models.recipes import Count
from lightning_ita.models.relation_options import RelationOptions


@dataclass(frozen=True)
class RIVAOptions(RelationOptions):
    """Options of RIVA (no pre-training).

    Attributes:
        gate_width: Width to which the gate projects the vectors of the tweet and of the picture.
        lstm_width: Hidden units of the BiLSTM, per direction.
    """

    gate_width: Count = 200
    lstm_width: Count = 200

    system: ClassVar[str] = "riva"
    tagger: ClassVar[str] = "lightning_ita.models.riva_tagger:RIVA"
    arithmetic: ClassVar[str] = "lightning_ita.models.arithmetic:riva"
    name: ClassVar[str] = "RIVA"
    reduction: ClassVar[str] = "no pre-training"
