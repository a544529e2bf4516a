"""BERT-CRF: the tweet alone, the baseline of every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_ita.models.options import TEXT, Options


@dataclass(frozen=True)
class BertCRFOptions(Options):
    """BERT-CRF has no options: an encoder, an emission layer and a CRF over the words of the tweet."""

    system: ClassVar[str] = "bert-crf"
    tagger: ClassVar[str] = "lightning_ita.models.encoder_tagger:EncoderTagger"

    @property
    def title(self) -> str:
        """``BERT-CRF``, whatever the encoder."""
        return "BERT-CRF"

    @property
    def trained_views(self) -> tuple[str, ...]:
        """The text view."""
        return (TEXT,)

    @property
    def tested_views(self) -> tuple[str, ...]:
        """The text view."""
        return (TEXT,)

    @property
    def slug(self) -> str:
        """``bert-crf``."""
        return "bert-crf"

    def deciding(self) -> dict[str, Any]:
        """Returns no contexts and no alignment: as results were identified when ITA was the only other system."""
        return {"contexts": [], "cva": "off"}
