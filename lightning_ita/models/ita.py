"""ITA: visual contexts as text behind the tweet, and cross-view alignment (Wang et al., NAACL 2022, 2112.06482)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_ita.contexts.kinds import parse_contexts, system_name
from lightning_ita.errors import UserError
from lightning_ita.models.options import Options, TwoViewOptions

# The order of the paper's rows.
SINGLE_CONTEXTS = ("ocr", "cap", "tag")


@dataclass(frozen=True)
class ITAOptions(TwoViewOptions):
    """Options of ITA.

    Attributes:
        contexts: Kinds of visual context that follow the tweet in the cross-modal view; at least one.
    """

    contexts: tuple[str, ...] = ("cap", "tag")

    system: ClassVar[str] = "ita"
    tagger: ClassVar[str] = "lightning_ita.models.encoder_tagger:EncoderTagger"
    needs: ClassVar[frozenset[str]] = frozenset({"contexts"})

    def __post_init__(self) -> None:
        """Puts the contexts in order, and checks types and ranges.

        Raises:
            UserError: A context is unknown, named twice, or there is none.
        """
        object.__setattr__(self, "contexts", parse_contexts(self.contexts))
        if not self.contexts:
            raise UserError(
                f"ITA (cva {self.cva!r}) needs contexts: without any, its two views are the same; give some, or take "
                f"the system bert-crf"
            )
        super().__post_init__()

    @property
    def title(self) -> str:
        """``ITA-Cap``, ``ITA-Tag+Cap``, ``ITA-All`` ..."""
        return system_name(self.contexts)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The contexts."""
        return self.contexts

    def deciding(self) -> dict[str, Any]:
        """Returns contexts and training mode: as results were identified before there were other systems."""
        return {"contexts": list(self.contexts), "cva": self.cva}

    @classmethod
    def rows(cls, given: Mapping[str, Any], contexts: Sequence[str], modes: Sequence[str]) -> list[Options]:
        """Returns each context alone, then all of them together, each in every training mode."""
        singles = [(kind,) for kind in SINGLE_CONTEXTS if kind in contexts]
        others = [(kind,) for kind in contexts if kind not in SINGLE_CONTEXTS]
        together = [tuple(contexts)] if len(contexts) > 1 else []
        combinations = [given["contexts"]] if "contexts" in given else [*singles, *others, *together]
        return [
            row
            for combination in combinations
            for row in super(ITAOptions, cls).rows({**given, "contexts": combination}, contexts, modes)
        ]
