"""How a model is trained: every hyper-parameter in one value, and the recipes that are shipped."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_ita.devices import Precision, available_precision
from lightning_ita.errors import UserError
from lightning_ita.tags import LabelConvention, TagScheme

__all__ = ["RECIPES", "Precision", "Recipe", "available_precision", "preset_for"]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one run.

    Attributes:
        learning_rate: AdamW's learning rate for the encoder.
        head_lr_factor: The emission layer learns this many times faster.
        crf_lr_factor: The CRF's transitions learn this many times faster.
        weight_decay: AdamW's weight decay for encoder and emission layer.
        batch_size: Tweets a batch.
        token_budget: Sub-tokens a batch, all views and padding included, in place of `batch_size`.
        accumulate: Batches a step.
        epochs: Passes over the training split.
        warmup: Share of the steps in which the learning rate rises; it falls linearly to 0 after them.
        gradient_clip: Greatest norm of the gradient.
        word_dropout: Probability with which a word's encoder output is zeroed in training.
        freeze_word_embeddings: Whether the encoder's word embeddings stay as they are. They are half of MiniLM's
            parameters, and on CPU their gradient and update a fifth of a step.
        cross_modal_weight: Weight of NLL_{I+T} beside NLL_T where both views are trained.
        cva_weight: Weight of the cross-view alignment term.
        temperature: τ of token CVA; the data set's published one if not given.
        tag_scheme: Tags inside the model.
        labels: What becomes of stray ``I-`` tags, in training and in the count.
        max_length: Longest view in sub-tokens; the encoder's limit if not given.
        normalise_urls: Whether every URL is read as one and the same sub-token.
        gradient_checkpointing: Whether activations are computed anew in the backward pass: for encoders whose
            activations do not fit into memory.
        compile: Whether torch.compile makes kernels for the encoder: slow to start, faster on some GPUs.
        precision: Arithmetic of the encoder: ``float32``, ``bfloat16``, or ``auto`` (bfloat16 where the processor has
            it); the CRF is always at least float32.
    """

    learning_rate: float = 1e-4
    head_lr_factor: float = 30.0
    crf_lr_factor: float = 500.0
    weight_decay: float = 0.01
    batch_size: int = 16
    token_budget: int | None = None
    accumulate: int = 1
    epochs: int = 3
    warmup: float = 0.0
    gradient_clip: float = 1.0
    word_dropout: float = 0.1
    freeze_word_embeddings: bool = False
    cross_modal_weight: float = 0.5
    cva_weight: float = 0.5
    temperature: float | None = None
    tag_scheme: TagScheme = "BIOES"
    labels: LabelConvention = "repair"
    max_length: int | None = None
    normalise_urls: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            UserError: A value is out of its range; names it.
        """
        positive = ["learning_rate", "head_lr_factor", "crf_lr_factor", "batch_size", "accumulate", "epochs"]
        positive += ["gradient_clip", *(["token_budget"] if self.token_budget is not None else [])]
        for name in positive:
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be greater than 0, not {getattr(self, name)}")
        for name in ("weight_decay", "cross_modal_weight", "cva_weight"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must not be less than 0, not {getattr(self, name)}")
        for name in ("warmup", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 0 and less than 1, not {getattr(self, name)}")
        if self.temperature is not None and not self.temperature > 0:
            raise UserError(f"temperature must be greater than 0, not {self.temperature}")


RECIPES = {
    # For encoders of MiniLM's size on corpora of a few thousand tweets.
    "small": Recipe(),
    # For the demo corpus: few tweets, so smaller batches and a higher rate; and most of them cannot be told for sure
    # from their words, so that the text view's likelihood is noise, above which ½ would not make the contexts heard.
    "demo": Recipe(
        learning_rate=2e-4,
        batch_size=8,
        epochs=2,
        warmup=0.1,
        cross_modal_weight=2.0,
        temperature=2.0,
        freeze_word_embeddings=True,
        precision="auto",
    ),
    # The paper's for XLM-R-large: lr 5e-6, transitions ×10⁴, batch 4, 10 epochs, no warm-up, clip 5.
    "paper": Recipe(
        learning_rate=5e-6,
        head_lr_factor=1.0,
        crf_lr_factor=1e4,
        batch_size=4,
        epochs=10,
        gradient_clip=5.0,
    ),
}


def preset_for(encoder: str, datasets: str) -> str:
    """Returns the name of the recipe to start from: ``demo`` or ``small`` for minilm, else the paper's."""
    if encoder != "minilm":
        return "paper"
    return "demo" if datasets == "demo" else "small"
