"""The model of RpBERT; ``docs/systems/rpbert.md`` has its equations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ita.images.visual import Visual
from lightning_ita.models.blocks.bilstm import BiLSTM
from lightning_ita.models.blocks.joint_sequence import Sequences, check_packable, encode
from lightning_ita.models.blocks.relation import RelationLoss
from lightning_ita.models.fusion import hide_some
from lightning_ita.models.options import TEXT
from lightning_ita.models.visual_tagger import SeeingTagger


class RpBERT(RelationLoss, SeeingTagger):
    """An encoder that reads sub-tokens and regions as one sequence, twice: to judge the picture, then to read with it.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    def add_parts(self, width: int) -> int:
        """Adds what makes regions sub-tokens, the relation head, and the BiLSTM if there is one."""
        own: Any = self.options
        encoder: Any = self.encoder
        check_packable(encoder, "RpBERT")
        self.regions_in = nn.Linear(self.channels, encoder.get_input_embeddings().embedding_dim)
        # A softmax over two scores, as the official code has it, depends on their difference alone: this score.
        self.relation = nn.Linear(width, 1)
        self.lstm = BiLSTM(width, own.lstm_width, own.lstm_layers) if own.lstm_layers else None
        return 2 * int(own.lstm_width) if own.lstm_layers else width

    def states(self, batch: Any, views: tuple[str, ...]) -> Tensor:
        """Encodes tweets alone, with their pictures, or both in one pass; see `Tagger.states`."""
        own: Any = self.options
        wanted = batch.text.first_subtokens
        kinds = []
        for view in views:
            if view == TEXT:
                kinds.append(self.tweets(batch.text, wanted))
            else:
                visual = hide_some(self.see(batch), wanted, own.image_dropout if self.training else 0.0)
                kinds.append(self.joint(batch.text, visual, wanted, self.judge(batch.text, visual)))
        states = torch.cat(encode(self.encoder, kinds))
        return states if self.lstm is None else self.lstm(states, batch.mask.repeat(len(views), 1))

    def relation_scores(self, batch: Any) -> Tensor:
        """Returns the scores of a first pass; see `RelationLoss`."""
        return self.judge(batch.text, self.see(batch))

    def judge(self, text: Any, visual: Visual) -> Tensor:
        """Reads tweets and pictures without a gate, and returns the score of "the picture adds", (batch,), from [CLS].

        Args:
            text: The batch's `ViewBatch`.
            visual: What is seen of its pictures.
        """
        first = torch.zeros_like(text.first_subtokens[:, :1])
        (states,) = encode(self.encoder, [self.joint(text, visual, first)])
        score: Tensor = self.relation(states[:, 0])[:, 0]
        return score.float()

    def tweets(self, text: Any, wanted: Tensor) -> Sequences:
        """Returns the tweets alone, as the encoder reads them."""
        ids = text.input_ids
        there = text.attention_mask.bool()
        encoder: Any = self.encoder
        return Sequences(
            embeddings=encoder.get_input_embeddings()(ids),
            positions=torch.arange(ids.shape[1], device=ids.device).expand_as(ids),
            types=torch.zeros_like(ids),
            bias=torch.zeros(ids.shape, device=ids.device).masked_fill_(~there, -torch.inf),
            wanted=wanted,
        )

    def joint(self, text: Any, visual: Visual, wanted: Tensor, score: Tensor | None = None) -> Sequences:
        """Returns tweets followed by the regions of their pictures; a region has the position behind its own tweet.

        Args:
            text: The batch's `ViewBatch`.
            visual: What is seen of its pictures.
            wanted: int64 (batch, n), the sub-tokens whose states are wanted.
            score: (batch,), the gate's scores; without them, pictures are read as they are.
        """
        tweets = self.tweets(text, wanted)
        regions = self.regions_in(visual.regions).to(tweets.embeddings.dtype)
        weight = torch.zeros(regions.shape[:2], device=regions.device)
        if score is not None and self.options.gate == "input":  # type: ignore[attr-defined]
            regions = regions * torch.sigmoid(score)[:, None, None].to(regions.dtype)
        elif score is not None:
            weight = F.logsigmoid(score)[:, None].expand_as(weight)
        count = torch.arange(regions.shape[1], device=regions.device)
        return Sequences(
            embeddings=torch.cat([tweets.embeddings, regions], 1),
            positions=torch.cat([tweets.positions, text.attention_mask.sum(1)[:, None] + count], 1),
            types=torch.cat([tweets.types, tweets.types.new_ones(regions.shape[:2])], 1),
            bias=torch.cat([tweets.bias, weight.masked_fill(~visual.region_mask, -torch.inf)], 1),
            wanted=wanted,
        )
