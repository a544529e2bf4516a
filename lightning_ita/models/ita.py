"""ITA: visual contexts as text behind the tweet, and cross-view alignment (Wang et al., NAACL 2022, 2112.06482)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from lightning_ita.contexts.kinds import parse_contexts, system_name
from lightning_ita.errors import UserError, unknown
from lightning_ita.models.options import Options, TwoViewOptions

# Parameters that I+T may have of its own.
ViewParameter = Literal["segment", "view", "emission"]
# The order of the paper's rows.
SINGLE_CONTEXTS = ("ocr", "cap", "tag")


@dataclass(frozen=True)
class ITAOptions(TwoViewOptions):
    """Options of ITA.

    Attributes:
        contexts: Kinds of visual context that follow the tweet in the cross-modal view; at least one.
        view_parameters: Parameters that the views do not share, where both are trained; the paper's share all.
            ``segment``: the contexts' sub-tokens have another token type than the tweet's. ``view``: the tweet's
            sub-tokens have another token type in I+T than in T. ``emission``: I+T has its own emission layer.
    """

    contexts: tuple[str, ...] = ("cap", "tag")
    view_parameters: tuple[str, ...] = field(default=(), kw_only=True)

    system: ClassVar[str] = "ita"
    tagger: ClassVar[str] = "lightning_ita.models.ita_tagger:ITATagger"
    needs: ClassVar[frozenset[str]] = frozenset({"contexts"})

    def __post_init__(self) -> None:
        """Puts the contexts in order, and checks types and ranges.

        Raises:
            UserError: A context is unknown, named twice, or there is none; or another option is wrong.
        """
        object.__setattr__(self, "contexts", parse_contexts(self.contexts))
        known = get_args(ViewParameter)
        if isinstance(self.view_parameters, str) or self.view_parameters is None:
            raise UserError(f"view_parameters {self.view_parameters!r}: expected several names, of {', '.join(known)}")
        for name in self.view_parameters:
            if name not in known:
                raise unknown("view parameter", str(name), known)
        # In one order, so that one choice has one identity.
        object.__setattr__(self, "view_parameters", tuple(name for name in known if name in self.view_parameters))
        if not self.contexts:
            raise UserError(
                f"ITA (cva {self.cva!r}) needs contexts: without any, its two views are the same; give some, or take "
                f"the system bert-crf"
            )
        super().__post_init__()
        if self.text_only and self.view_parameters:
            raise UserError("ita.view_parameters has no effect with ita.text_only: there is no I+T view to have them")

    @property
    def title(self) -> str:
        """``ITA-Cap``, ``ITA-Tag+Cap``, ``ITA-All`` ..., and the parameters that the views do not share."""
        own = f" (I+T's own {', '.join(self.view_parameters)})" if self.view_parameters else ""
        return system_name(self.contexts) + own

    @property
    def slug(self) -> str:
        """``ita-cap-token``, ``ita-cap-view-emission-token`` ..."""
        return "-".join([system_name(self.contexts).lower(), *self.view_parameters, self.mode_slug])

    @property
    def published_name(self) -> str | None:
        """``ITA-All+CVA`` ...; nobody published scores with parameters of one view."""
        return None if self.view_parameters else super().published_name

    @property
    def kinds(self) -> tuple[str, ...]:
        """The contexts."""
        return self.contexts

    def deciding(self) -> dict[str, Any]:
        """Returns contexts and training mode; newer options where they differ, so that earlier identities stay."""
        newer = {name: list(value) if isinstance(value, tuple) else value for name, value in self.newer.items()}
        return {"contexts": list(self.contexts), "cva": self.cva, **newer}

    @classmethod
    def without_effect(cls, mode: str) -> dict[str, Any]:
        """Returns also the parameters of one view, where one view is trained; see `TwoViewOptions.without_effect`."""
        return super().without_effect(mode) | ({"view_parameters": ()} if mode == "off" else {})

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
