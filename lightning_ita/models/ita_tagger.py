"""ITA's model: BERT-CRF on both views, which share all parameters unless some are given to one view alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_ita.data.batching import TwoViewBatch, ViewBatch
from lightning_ita.errors import UserError
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.models.packing import word_states

# Token types: of the tweet, of the contexts in I+T (BERT's own type of a second text), and of the tweet in I+T.
TWEET, CONTEXT, TWEET_WITH_CONTEXT = 0, 1, 2


class ITATagger(EncoderTagger):
    """An encoder that reads both views; its options may give I+T parameters of its own (``view_parameters``)."""

    part_groups: ClassVar[Any] = {**EncoderTagger.part_groups, "cross_modal_emission": "head"}

    def add_parts(self, width: int) -> int:
        """Adds token types to the encoder, if any are wanted; returns the width of the word states.

        Raises:
            UserError: The encoder has no embeddings of token types.
        """
        own = self.options.view_parameters  # type: ignore[attr-defined]
        self.segment, self.view = "segment" in own, "view" in own
        if self.segment or self.view:
            add_token_types(self.encoder, TWEET_WITH_CONTEXT + 1 if self.view else CONTEXT + 1, self.encoder_name)
        return width

    def add_head(self, width: int) -> None:
        """Adds emission layer and CRF, and I+T's own emission layer, if it is wanted."""
        super().add_head(width)
        self.cross_modal_emission = None
        if "emission" in self.options.view_parameters:  # type: ignore[attr-defined]
            self.cross_modal_emission = nn.Linear(width, len(self.tag_set))

    def states(self, batch: TwoViewBatch, views: tuple[str, ...]) -> Tensor:
        """Encodes all views in one pass; see `Tagger.states`."""
        if not (self.segment or self.view):
            return super().states(batch, views)
        inputs = {TEXT: self._typed(batch.text, batch.text), CROSS_MODAL: self._typed(batch.cross_modal, batch.text)}
        return word_states(self.encoder, [inputs[view] for view in views])

    def _typed(self, view: ViewBatch, text: ViewBatch) -> ViewBatch:
        """Returns a view with the types of its sub-tokens; it begins with the tweet as the text view has it."""
        types = torch.full_like(view.input_ids, TWEET)
        if self.view:
            types = types.masked_fill(_longer(view, text)[:, None], TWEET_WITH_CONTEXT)
        if self.segment:
            places = torch.arange(types.shape[1], device=types.device)
            is_context = places >= text.attention_mask.sum(1, keepdim=True)
            types = types.masked_fill(is_context & view.attention_mask.bool(), CONTEXT)
        return replace(view, token_types=types)

    def emit(self, states: Tensor, batch: TwoViewBatch, views: tuple[str, ...]) -> Tensor:
        """Scores each tag of each word, in I+T by its own layer if it has one; see `Tagger.emit`.

        A tweet without context is the same in both views, and so are its scores.
        """
        if self.cross_modal_emission is None or CROSS_MODAL not in views:
            return super().emit(states, batch, views)
        parts = dict(zip(views, states.chunk(len(views)), strict=True))
        scores = {view: self.emission(part) for view, part in parts.items()}
        own = self.cross_modal_emission(parts[CROSS_MODAL])
        with_context = _longer(batch.cross_modal, batch.text)[:, None, None]
        scores[CROSS_MODAL] = torch.where(with_context, own, scores[CROSS_MODAL])
        return torch.cat(list(scores.values()))


def _longer(view: ViewBatch, text: ViewBatch) -> Tensor:
    """Tells which tweets have context in a view, (batch,)."""
    return view.attention_mask.sum(1) > text.attention_mask.sum(1)


def add_token_types(encoder: Any, count: int, name: str) -> None:
    """Makes an encoder tell so many types of sub-tokens apart; a new one begins as the first one.

    Args:
        encoder: A Hugging Face encoder.
        count: Types, at least.
        name: The encoder's name, for the error.

    Raises:
        UserError: It has no embeddings of token types.
    """
    embeddings = getattr(encoder, "embeddings", None)
    known = getattr(embeddings, "token_type_embeddings", None)
    if not isinstance(known, nn.Embedding):
        raise UserError(
            f"encoder {name!r} has no embeddings of token types: leave segment and view out of ita.view_parameters"
        )
    missing = count - known.num_embeddings
    if missing > 0:
        known.weight = nn.Parameter(torch.cat([known.weight.detach(), known.weight.detach()[:1].repeat(missing, 1)]))
        known.num_embeddings = encoder.config.type_vocab_size = count
