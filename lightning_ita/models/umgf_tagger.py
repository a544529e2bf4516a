"""The model of UMGF; `lightning_ita.models.umgf` has its options, ``docs/systems/umgf.md`` its equations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_ita.images.visual import Visual
from lightning_ita.models.blocks.cross_layer import Attention, FeedForward, Sublayer, initialise_uniformly
from lightning_ita.models.blocks.gates import PairGate
from lightning_ita.models.dropout import Dropout
from lightning_ita.models.visual_tagger import VisualTagger


class UMGF(VisualTagger):
    """Words and objects that read their own kind, then each other by gates, layer by layer.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    def add_parts(self, width: int) -> int:
        """Adds projections of words and crops, and the layers."""
        options: Any = self.options
        inner, rate = options.width, options.dropout
        self.words_in = nn.Linear(width, inner)
        self.crops_in = nn.Sequential(
            nn.Linear(self.channels, inner), nn.ReLU(), Dropout(rate), nn.Linear(inner, inner), nn.ReLU(), Dropout(rate)
        )
        self.layers = nn.ModuleList(
            UMGFLayer(inner, options.heads, options.feed_forward, rate, last=number == options.layers)
            for number in range(1, options.layers + 1)
        )
        for part in (self.words_in, self.crops_in, self.layers):
            initialise_uniformly(part)
        return width + inner

    def fuse(self, words: Tensor, mask: Tensor, visual: Visual) -> Tensor:
        """Returns the encoder's states and those of the last layer; see `FusionTagger.fuse`."""
        fused, crops = self.words_in(words), self.crops_in(visual.crops)
        for layer in self.layers:
            fused, crops = layer(fused, mask, crops, visual.crop_mask)
        return torch.cat([words, fused], -1)


class UMGFLayer(nn.Module):
    """One layer: attention among words and among objects, gates between them, and feed-forward parts.

    Args:
        width: Width of words and objects.
        heads: Attention heads.
        feed_forward: Width inside the feed-forward parts.
        dropout: Dropout of attention weights, and of every part's result.
        last: Whether no layer follows: what the objects would become is then not computed, and has no parameters.
    """

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float, last: bool):
        super().__init__()
        self.words_attend = Attention(width, heads, dropout)
        self.objects_attend = Attention(width, heads, dropout, project_values=False)
        self.words_attended, self.objects_attended = Sublayer(width, dropout), Sublayer(width, dropout)
        self.objects_to_words, self.words_joined = PairGate(width), Sublayer(width, dropout)
        self.words_feed = FeedForward(width, feed_forward, "relu")
        self.words_fed = Sublayer(width, dropout)
        self.last = last
        if not last:
            self.words_to_objects, self.objects_joined = PairGate(width), Sublayer(width, dropout)
            self.objects_feed = FeedForward(width, feed_forward, "relu")
            self.objects_fed = Sublayer(width, dropout)

    def forward(self, words: Tensor, mask: Tensor, objects: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Returns words and objects after one layer; the objects of the last one mean nothing.

        Args:
            words: (batch, words, width)
            mask: bool (batch, words), True where there is a word.
            objects: (batch, objects, width)
            present: bool (batch, objects), True where there is an object.
        """
        words = self.words_attended(words, self.words_attend(words, words, mask))
        objects = self.objects_attended(objects, self.objects_attend(objects, objects, present))
        joined = self.words_joined(words, self.objects_to_words(words, objects, present))
        if not self.last:
            told = self.objects_joined(objects, self.words_to_objects(objects, words, mask))
            objects = self.objects_fed(told, self.objects_feed(told))
        return self.words_fed(joined, self.words_feed(joined)), objects
