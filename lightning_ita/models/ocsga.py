"""OCSGA: words attend to the names of the objects in the picture (Wu et al., ACM MM 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from lightning_ita.contexts.kinds import check_kind, kind_title
from lightning_ita.models.fusion_options import FusionOptions

# Of the paper's text side: widths of characters' embeddings, and per direction of the LSTMs over characters and words.
CHARACTER, CHARACTER_LSTM, WORD_LSTM = 30, 25, 100


@dataclass(frozen=True)
class OCSGAOptions(FusionOptions):
    """Options of OCSGA, which reads the names of objects as text, and no pixels.

    The defaults are the paper's but for the dropout.

    Attributes:
        variant: What the words are read with: encoder is the encoder of the run; lstm is as in the paper, a BiLSTM over
            word vectors and characters, where the encoder's word embeddings stand in for GloVe.
        kind: Kind of context whose texts are the names of objects.
        objects: Objects per picture, at most: the first ones of the context, which engines sort by confidence.
        heads: Heads of the co-attention.
        dropout: Dropout of the co-attention's weights and results. The paper's is 0.6, over 200 epochs; in a few epochs
            little is learned with it.
    """

    variant: Literal["encoder", "lstm"] = "encoder"
    kind: str = "tag"
    objects: Annotated[int, Gt(0), Le(1000)] = 4
    heads: Annotated[int, Gt(0), Le(1024)] = 2
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1

    system: ClassVar[str] = "ocsga"
    tagger: ClassVar[str] = "lightning_ita.models.ocsga_tagger:OCSGA"
    inputs: ClassVar[str] = "lightning_ita.models.label_inputs:LabelInputs"
    arithmetic: ClassVar[str] = "lightning_ita.models.arithmetic:ocsga"
    needs: ClassVar[frozenset[str]] = frozenset({"contexts"})
    name: ClassVar[str] = "OCSGA"

    def __post_init__(self) -> None:
        """Checks types and ranges, and the kind of context.

        Raises:
            UserError: One is wrong.
        """
        super().__post_init__()
        check_kind(self.kind)

    @property
    def title(self) -> str:
        """``OCSGA``, ``OCSGA (LSTM)``; with labels of another kind than the published one's, ``OCSGA (Know)`` ..."""
        own = [*(["LSTM"] if self.variant == "lstm" else []), *([kind_title(self.kind)] if self.kind != "tag" else [])]
        return f"{self.name} ({', '.join(own)})" if own else self.name

    @property
    def slug(self) -> str:
        """``ocsga-off``, ``ocsga-lstm-token``, ``ocsga-know-off`` ..."""
        own = [*(["lstm"] if self.variant == "lstm" else []), *([self.kind] if self.kind != "tag" else [])]
        return "-".join([self.name.lower(), *own, self.mode_slug])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of context whose texts are labels."""
        return (self.kind,)
