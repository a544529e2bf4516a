"""How a model is trained: the hyper-parameters that all systems share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import AllowInfNan

from lightning_ita.checks import check_fields
from lightning_ita.devices import Precision
from lightning_ita.tags import LabelConvention, TagScheme

Positive = Annotated[float, Gt(0), AllowInfNan(False)]
NotNegative = Annotated[float, Ge(0), AllowInfNan(False)]
Share = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Gt(0), Lt(2**31)]
Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["linear", "constant", "step", "inverse"]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters that all systems share; each system adds options of its own.

    Attributes:
        learning_rate: The learning rate of the encoder.
        head_lr_factor: Factor on the learning rate of the emission layer, and of what a system adds to the encoder; at
            most 3 for layers that have a factor of their own, `layer_lr_factor`, if that is not given.
        crf_lr_factor: Factor on the learning rate of the CRF's transitions.
        weight_decay: Weight decay of encoder and emission layer.
        batch_size: Tweets per batch.
        token_budget: Sub-tokens per batch, all views and padding included, in place of `batch_size`.
        accumulate: Batches per optimiser step.
        epochs: Passes over the training split.
        warmup: Share of the steps in which the learning rate rises; after them it follows `schedule`.
        gradient_clip: Largest norm of the gradient; larger gradients are scaled down to it.
        word_dropout: Probability with which a word's encoder output is zeroed in training.
        freeze_word_embeddings: Whether the encoder's word embeddings are kept as they are. They are half of MiniLM's
            parameters, and on a CPU their gradient and update take a fifth of a step.
        cross_modal_weight: Weight of the loss NLL_{I+T} if both views are trained; NLL_T has weight 1.
        cva_weight: Weight of the cross-view alignment term.
        temperature: Temperature τ of token CVA; by default the one published for the data set.
        tag_scheme: Tag scheme inside the model; files and scores always use BIO.
        labels: How stray I- tags (those that continue no mention) are read, in training and in scores: repair reads
            them as B-; strict leaves them, and mentions that start with one do not count.
        max_length: Longest view in sub-tokens; by default the encoder's limit.
        normalise_urls: Whether every URL is replaced by the same single sub-token.
        gradient_checkpointing: Whether activations are computed again in the backward pass, which needs less memory.
            Without effect, as `compile`, where the encoder is not called as a whole: BGA-MNER calls its layers one by
            one, and OCSGA's variant lstm has its word embeddings alone.
        compile: Whether the encoder is compiled by torch.compile: slow to start, faster on some GPUs.
        precision: Arithmetic of the encoder: float32, bfloat16, or auto (bfloat16 if the processor multiplies matrices
            in it); the CRF always computes in float32 or better.
        optimizer: adamw, or plain stochastic gradient descent (sgd).
        schedule: What the learning rate does after the warm-up: linear falls to 0 at the last step; constant stays;
            step falls to 4/5 after every second epoch, as in UMGF; inverse is divided by 1 + epoch/20, as in OCSGA.
        devices: GPUs of one machine that train the model together. Each takes a batch of its own, so that a step is of
            `devices` times as many tweets, and the result differs from that of one device.

    Raises:
        UserError: A value has a wrong type or is out of its range.
    """

    learning_rate: Positive = 1e-4
    head_lr_factor: Positive = 30.0
    crf_lr_factor: Positive = 500.0
    weight_decay: NotNegative = 0.01
    batch_size: Count = 16
    token_budget: Count | None = None
    accumulate: Count = 1
    epochs: Count = 3
    warmup: Share = 0.0
    gradient_clip: Positive = 1.0
    word_dropout: Share = 0.1
    freeze_word_embeddings: bool = False
    cross_modal_weight: NotNegative = 0.5
    cva_weight: NotNegative = 0.5
    temperature: Positive | None = None
    tag_scheme: TagScheme = "BIOES"
    labels: LabelConvention = "repair"
    max_length: Count | None = None
    normalise_urls: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    precision: Precision = "float32"
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "linear"
    devices: Count = 1

    def __post_init__(self) -> None:
        """Checks types and ranges."""
        check_fields(self)

    def recorded(self) -> dict[str, Any]:
        """Returns the values by which studies and identities know a recipe.

        Hyper-parameters that came after the first published results are left out where they have their default, so that
        what was measured before is still known.
        """
        return {name: value for name, value in asdict(self).items() if LATER.get(name, ...) != value}


# Hyper-parameters that came later, with their defaults.
LATER = {"optimizer": "adamw", "schedule": "linear", "devices": 1}


# τ of token CVA, as published for ITA (Wang et al., NAACL 2022, arXiv 2112.06482); 4 for any other data set.
PUBLISHED_TEMPERATURES = {"twitter15": 4.0, "twitter17": 2.0, "snap": 4.0}
DEFAULT_TEMPERATURE = 4.0


def published_temperature(dataset: str) -> float:
    """Returns the temperature of token CVA that was published for a data set, or the default."""
    return PUBLISHED_TEMPERATURES.get(dataset, DEFAULT_TEMPERATURE)
