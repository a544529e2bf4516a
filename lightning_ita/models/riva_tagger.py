"""The model of RIVA without its pre-training; ``docs/systems/riva.md`` has its equations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_ita.images.visual import Visual
from lightning_ita.models.blocks.bilstm import BiLSTM
from lightning_ita.models.blocks.cross_layer import Attention, mean_over
from lightning_ita.models.blocks.gates import ScalarGate
from lightning_ita.models.blocks.relation import RelationLoss
from lightning_ita.models.visual_tagger import VisualTagger


class RIVA(RelationLoss, VisualTagger):
    """A gate for how far the picture adds to the tweet, attention to the part that the tweet asks for, and a BiLSTM.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    def add_parts(self, width: int) -> int:
        """Adds the gate, the attention to regions, and the BiLSTM."""
        own: Any = self.options
        self.relation = ScalarGate(width, self.channels, own.gate_width)
        self.regions_in = nn.Linear(self.channels, width)
        self.attention = Attention(width, heads=1)
        self.lstm = BiLSTM(2 * width, own.lstm_width)
        return 2 * int(own.lstm_width)

    def fuse(self, words: Tensor, mask: Tensor, visual: Visual) -> Tensor:
        """Returns the BiLSTM's states over [h; s · c]; see `FusionTagger.fuse`."""
        tweet = mean_over(words, mask)
        # (batch, 1, width), 0 without a picture
        seen = self.attention(tweet[:, None], self.regions_in(visual.regions), visual.region_mask)
        gate = torch.sigmoid(self.relation(tweet, visual.pooled)).masked_fill(~visual.present, 0.0)
        let_through = (gate[:, None, None] * seen).to(words.dtype).expand_as(words)
        return self.lstm(torch.cat([words, let_through], -1), mask)

    def relation_scores(self, batch: Any) -> Tensor:
        """Returns the gate's scores; see `RelationLoss`."""
        return self.relation(mean_over(self.words(batch), batch.mask), self.see(batch).pooled)
