"""A pretrained encoder under the CRF: BERT-CRF reads the tweet with it, ITA the tweet and its visual contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from lightning_ita.data.batching import TwoViewBatch
from lightning_ita.models.encoders.loading import checkpoint_activations, load_encoder
from lightning_ita.models.options import CROSS_MODAL, TEXT, Options
from lightning_ita.models.packing import use_packed_attention, word_states
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger


class EncoderTagger(Tagger):
    """An encoder whose last layer, at the first sub-token of each word, is the word's state.

    Context is seen by attention, never by the CRF.

    Args:
        types: Entity types.
        options: The system's options, or their values.
        recipe: Hyper-parameters, or their values.
        encoder: ``minilm``, a folder, or a Hub id; or a Hugging Face encoder, with which `inputs` cannot be made.
        pretrained: Whether the encoder's weights are read; if not, they are random, for a state dict to fill.

    Attributes:
        packed: Whether the encoder is called with packed views, where its family allows that; see
            `lightning_ita.models.packing`.
    """

    packed: ClassVar[bool] = True

    def __init__(
        self,
        types: Sequence[str],
        options: Options | Mapping[str, Any],
        recipe: Recipe | Mapping[str, Any] | None = None,
        encoder: str | nn.Module = "minilm",
        pretrained: bool = True,
    ):
        super().__init__(types, options, recipe, encoder if isinstance(encoder, str) else "module")
        module = load_encoder(encoder, pretrained, self.recipe.max_length) if isinstance(encoder, str) else encoder
        if self.recipe.gradient_checkpointing:
            checkpoint_activations(module)
        if self.recipe.compile:
            module.compile(dynamic=True)
        if self.packed:
            use_packed_attention(module)
        self.encoder = module
        if self.recipe.freeze_word_embeddings:
            module.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
        self.add_head(self.add_parts(module.config.hidden_size))  # type: ignore[union-attr, arg-type]

    def add_parts(self, width: int) -> int:
        """Adds what a system has between encoder and emission layer: nothing here.

        Args:
            width: Width of the encoder's states.

        Returns:
            The width of the word states that `states` returns.
        """
        return width

    def states(self, batch: TwoViewBatch, views: tuple[str, ...]) -> Tensor:
        """Encodes all views in one pass; see `Tagger.states`."""
        inputs = {TEXT: batch.text, CROSS_MODAL: batch.cross_modal}
        return word_states(self.encoder, [inputs[view] for view in views])
