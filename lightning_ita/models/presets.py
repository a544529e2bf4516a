"""The recipes that are shipped, and which one a study starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lightning_ita.models.encoders.locating import MINILM, encoder_shape
from lightning_ita.models.recipes import Recipe

# What the recipes of the other systems share: one learning rate for all, BIO tags, no dropout of words.
AS_IN_OTHER_PAPERS: dict[str, Any] = {
    "head_lr_factor": 1.0,
    "crf_lr_factor": 1.0,
    "word_dropout": 0.0,
    "tag_scheme": "BIO",
}
# A norm that no gradient reaches.
NO_CLIPPING = 1e9

RECIPES = {
    # For encoders of MiniLM's size on corpora of a few thousand tweets.
    "small": Recipe(),
    # For the demo corpus: few tweets, so smaller batches and a higher rate. Most of its tweets cannot be tagged for
    # sure from their words, so the text view's likelihood is noise, and at weight ½ the contexts would have no effect.
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
    # For encoders of BERT-base's size: values that are usual for fine-tuning them. Not tuned and not measured here.
    "base": Recipe(
        learning_rate=3e-5,
        head_lr_factor=30.0,
        crf_lr_factor=1000.0,
        epochs=5,
        warmup=0.1,
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
    # OCSGA's official code: SGD with 0.005 on the sum of ten tweets' losses, which is 0.05 on their mean.
    "ocsga": Recipe(
        optimizer="sgd",
        schedule="inverse",
        learning_rate=0.05,
        weight_decay=1e-8,
        batch_size=10,
        epochs=200,
        **AS_IN_OTHER_PAPERS,
        gradient_clip=NO_CLIPPING,
    ),
    # UMT's, with AdamW in the place of its BertAdam. 24 epochs are its number for Twitter-15; 22 for Twitter-17.
    "umt": Recipe(
        learning_rate=5e-5,
        batch_size=32,
        epochs=24,
        warmup=0.1,
        max_length=128,
        **AS_IN_OTHER_PAPERS,
    ),
    # UMGF's. Its losses are summed over a batch, which Adam does not notice.
    "umgf": Recipe(
        schedule="step",
        learning_rate=1e-4,
        weight_decay=0.0,
        batch_size=16,
        epochs=30,
        max_length=128,
        **AS_IN_OTHER_PAPERS,
        gradient_clip=NO_CLIPPING,
    ),
    # RpBERT's, with AdamW without decay, which is Adam: 1e-5 for encoder and vision model, 1e-3 for all else.
    "rpbert": Recipe(
        schedule="constant",
        learning_rate=1e-5,
        weight_decay=0.0,
        batch_size=16,
        epochs=10,
        **{**AS_IN_OTHER_PAPERS, "head_lr_factor": 100.0, "crf_lr_factor": 100.0},
        gradient_clip=NO_CLIPPING,
    ),
}
# Encoders whose layers have at most so many weights start from `small`, or from `base`; larger ones from `paper`.
# MiniLM's have 10.6 million, BERT-base's 85, XLM-R-large's 302.
SMALL_ENCODER, BASE_ENCODER = 30e6, 150e6


def describe(recipe: Recipe) -> str:
    """Says a recipe in one line: the preset it starts from, if any, and the values that matter most.

    Args:
        recipe: Hyper-parameters; precision and temperature may have been decided since it was chosen.
    """
    undecided = replace(recipe, precision="float32", temperature=None)
    names = [n for n, r in RECIPES.items() if replace(r, precision="float32", temperature=None) == undecided]
    batch = f"{recipe.batch_size} tweets" if recipe.token_budget is None else f"{recipe.token_budget} sub-tokens"
    if (per_step := recipe.accumulate * recipe.devices) > 1:
        batch += f", {per_step} of them per step"
    return (
        f"recipe {names[0] if names else 'of its own'}: learning rate {recipe.learning_rate:g} (emission layer "
        f"×{recipe.head_lr_factor:g}, CRF ×{recipe.crf_lr_factor:g}), batches of {batch}, epochs {recipe.epochs}"
    )


def preset_for(encoder: str, datasets: str) -> str:
    """Returns the name of the recipe to start from, by the encoder's size.

    Args:
        encoder: ``minilm``, a folder, or a Hub id.
        datasets: Names of the data sets, separated by commas.

    Raises:
        UserError: The encoder's configuration cannot be read.
    """
    # MiniLM's size is known: nothing is read, and nobody is asked for it where its package is missing.
    weights = 0 if encoder == MINILM else encoder_shape(encoder).layer_weights
    if weights > SMALL_ENCODER:
        return "base" if weights <= BASE_ENCODER else "paper"
    return "demo" if datasets == "demo" else "small"
