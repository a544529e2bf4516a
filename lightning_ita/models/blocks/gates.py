"""Gates between a tweet and its picture: how much of what was seen is let through."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VectorGate(nn.Module):
    """One gate per word and channel (UMT): sigmoid(W [by; gated] + b) ∘ gated.

    Args:
        width: Width of both.
    """

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(2 * width, width)

    def forward(self, by: Tensor, gated: Tensor) -> Tensor:
        """Lets through what is wanted.

        Args:
            by: (..., width), what decides beside the gated itself.
            gated: (..., width)

        Returns:
            (..., width)
        """
        return torch.sigmoid(self.score(torch.cat([by, gated], -1))) * gated


class PairGate(nn.Module):
    """One gate per pair and channel (UMGF): each receiver i gets Σ_j m_j · sigmoid(W [x_i; y_j] + b) ∘ y_j.

    W [x; y] is computed as W₁ x + W₂ y, so that no pair is ever concatenated: the same numbers for a fraction of the
    arithmetic.

    Args:
        width: Width of receivers and givers.
    """

    def __init__(self, width: int):
        super().__init__()
        self.receiver = nn.Linear(width, width)
        self.giver = nn.Linear(width, width, bias=False)

    def forward(self, receivers: Tensor, givers: Tensor, mask: Tensor) -> Tensor:
        """Sums for each receiver what the givers have for it.

        Args:
            receivers: (batch, receivers, width)
            givers: (batch, givers, width), finite where there is none.
            mask: bool (batch, givers), True where there is a giver.

        Returns:
            (batch, receivers, width), 0 in rows without any giver.
        """
        # (batch, receivers, givers, width)
        gates = torch.sigmoid(self.receiver(receivers)[:, :, None] + self.giver(givers)[:, None])
        return (gates * (givers * mask[..., None])[:, None]).sum(2)


class ScalarGate(nn.Module):
    """One gate per tweet, from a vector of the text and one of the picture: sigmoid(w · ReLU(W₁ t ∘ W₂ v) + b).

    Args:
        text: Width of the text's vector.
        visual: Width of the picture's vector.
        width: Width in which they meet.
    """

    def __init__(self, text: int, visual: int, width: int):
        super().__init__()
        self.text = nn.Linear(text, width)
        self.visual = nn.Linear(visual, width)
        self.out = nn.Linear(width, 1)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Returns the score of each tweet, (batch,), whose sigmoid is the gate: losses want the score itself.

        Args:
            text: (batch, text)
            visual: (batch, visual)
        """
        score: Tensor = self.out(torch.relu(self.text(text) * self.visual(visual)))[:, 0]
        return score
