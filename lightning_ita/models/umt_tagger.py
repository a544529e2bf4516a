"""The model of UMT; `lightning_ita.models.umt` has its options, ``docs/systems/umt.md`` its equations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_ita.crf import LinearChainCRF
from lightning_ita.images.visual import Visual
from lightning_ita.models.blocks.cross_layer import CrossLayer, initialise_as_bert
from lightning_ita.models.blocks.gates import VectorGate
from lightning_ita.models.dropout import Dropout
from lightning_ita.models.visual_tagger import VisualTagger
from lightning_ita.tags import TagSet


class UMT(VisualTagger):
    """Words that read the picture in two ways, a gate, and a head for spans that never sees the picture.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    part_groups: ClassVar[Mapping[str, str]] = {**VisualTagger.part_groups, "span_crf": "crf"}
    _span_states: Tensor | None = None

    def add_parts(self, width: int) -> int:
        """Adds two layers over the words, three between words and regions, and the gate."""
        options: Any = self.options
        encoder: Any = self.encoder
        heads = options.heads or encoder.config.num_attention_heads
        layer = partial(CrossLayer, width, heads, 4 * width, dropout=options.dropout, eps=1e-12)
        self.dropout = Dropout(options.dropout)
        # U and S: both read the tweet alone; U is for the span head.
        self.span_layer, self.text_layer = layer(), layer()
        # V and V₂: regions as keys, and regions as queries.
        self.region_keys, self.region_queries = nn.Linear(self.channels, width), nn.Linear(self.channels, width)
        # A = X₁(S; V): words that read regions. P = X₂(V₂; S): regions that read words. B = X₃(S; P).
        self.words_read_regions, self.regions_read_words, self.words_read_back = layer(), layer(), layer()
        self.gate = VectorGate(width)
        for part in self.children():
            if part is not self.encoder:
                initialise_as_bert(part)
        return 2 * width

    def add_head(self, width: int) -> None:
        """Adds the emission layer, which the span head is a part of, both CRFs, and the scores."""
        super().add_head(width)
        options: Any = self.options
        self.emission: nn.Module = SpanEmission(self.emission, width // 2, self.tag_set, options.span_share)  # type: ignore[assignment, arg-type]
        self.span_crf = LinearChainCRF(len(self.emission.span_tags))

    def words(self, batch: Any) -> Tensor:
        """Returns U and S side by side, (batch, words, 2 · width)."""
        states = self.dropout(super().words(batch))
        spans, text = (layer(states, states, batch.mask) for layer in (self.span_layer, self.text_layer))
        if self.training:  # several threads may predict with one model
            self._span_states: Tensor | None = spans
        return torch.cat([spans, text], -1)

    def fuse(self, words: Tensor, mask: Tensor, visual: Visual) -> Tensor:
        """Returns B, the gated A, and U; see `FusionTagger.fuse`."""
        spans, text = words.chunk(2, -1)
        present = visual.region_mask
        reading = self.words_read_regions(text, self.region_keys(visual.regions), present)
        told = self.regions_read_words(self.region_queries(visual.regions), text, mask)
        back = self.words_read_back(text, told, present)
        # Without a picture A would be a transformed S: nothing that was seen.
        gated = self.gate(back, reading).masked_fill(~visual.present[:, None, None], 0.0)
        return torch.cat([back, gated, spans], -1)

    def auxiliary(self, batch: Any) -> dict[str, Tensor]:
        """Returns the span head's own loss, ``spans``: how unlikely the mentions' borders are, whatever their types."""
        assert self._span_states is not None
        emission: Any = self.emission
        chain = self.span_crf(emission.spans(self._span_states).float(), batch.mask)
        self._span_states = None
        return {"spans": self.options.span_weight * -chain.log_prob(emission.span_ids[batch.tags])}  # type: ignore[attr-defined]


class SpanEmission(nn.Module):
    """Scores tags by a multimodal head and a span head: (1 − share) · W_c [B; g ∘ A] + share · M (W_a U).

    M is fixed. It gives the score of a span tag (O, B, I, and E, S under BIOES) to the tags that it stands for, in
    equal parts: O to O, B to each B-TYPE by 1 over the number of types.

    Args:
        tags: The multimodal head, W_c.
        width: Width of U.
        tag_set: The model's tags.
        share: The span head's share.
    """

    conversion: Tensor
    span_ids: Tensor

    def __init__(self, tags: nn.Linear, width: int, tag_set: TagSet, share: float):
        super().__init__()
        self.share = share
        self.span_tags = list(dict.fromkeys(tag[0] for tag in tag_set.tags))
        self.tags, self.spans = tags, nn.Linear(width, len(self.span_tags))
        initialise_as_bert(self)
        # The span tag of each tag, (tags,); and M, (span tags, tags).
        span_ids = torch.tensor([self.span_tags.index(tag[0]) for tag in tag_set.tags])
        stands_for = nn.functional.one_hot(span_ids, len(self.span_tags)).T.float()
        self.register_buffer("span_ids", span_ids, persistent=False)
        self.register_buffer("conversion", stands_for / stands_for.sum(1, keepdim=True), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        """Returns the scores of each tag, (..., tags), from (..., [B; g ∘ A; U])."""
        fused, spans = states.split([self.tags.in_features, self.spans.in_features], -1)
        shared = self.spans(spans).to(self.conversion.dtype) @ self.conversion
        emissions: Tensor = (1 - self.share) * self.tags(fused) + self.share * shared
        return emissions
