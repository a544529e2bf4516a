"""Choosing which states of a sequence are read on, by decisions that are trained with the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Sampler(nn.Module):
    """Keeps or drops each state of a sequence, by a decision that is trained with the rest.

    Half of what the decision sees is of the state itself, half is the mean over the states that are still kept. In
    training the decision is drawn: 0 or 1 in the forward pass, with the gradient of a relaxed one in the backward pass
    (straight-through Gumbel-softmax at temperature 1). At test the likelier answer is taken. The first state, the class
    token, is always kept.

    Args:
        width: Width of the states; even.
    """

    def __init__(self, width: int):
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.decide = nn.Sequential(
            nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, width // 4), nn.GELU(),
            nn.Linear(width // 4, 2),
        )  # fmt: skip

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        """Returns which of the states that were kept until now are still kept.

        Args:
            states: (batch, length, width)
            keep: (batch, length), 1 where a state was kept until now, 0 where it was dropped or there is none; the
                first one of each row is 1.

        Returns:
            float32 (batch, length), 0 or 1 up to rounding.
        """
        own, others = self.embed(states).chunk(2, -1)
        weights = keep[..., None].to(others.dtype)
        shared = (others * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        # (batch, length, 2): kept, dropped
        scores = self.decide(torch.cat([own, shared.expand_as(others)], -1)).float()
        if self.training:
            kept = F.gumbel_softmax(scores.log_softmax(-1), hard=True)[..., 0]
        else:
            kept = (scores[..., 0] >= scores[..., 1]).float()
        return keep * torch.cat([torch.ones_like(kept[:, :1]), kept[:, 1:]], 1)
