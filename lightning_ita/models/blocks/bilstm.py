"""Bidirectional LSTMs that stop where a row ends, so that padding changes nothing."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class BiLSTM(nn.Module):
    """A bidirectional LSTM over rows of different lengths.

    Args:
        width: Width of the inputs.
        hidden: Width of the states, per direction.
        layers: Number of layers.
    """

    def __init__(self, width: int, hidden: int, layers: int = 1):
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=True)

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Returns the states of the last layer.

        Args:
            inputs: (batch, length, width)
            mask: bool (batch, length), True where a row has an element; those come first, and each row has one.

        Returns:
            (batch, length, 2 · hidden), 0 at padding.
        """
        states, _ = self.lstm(_packed(inputs, mask))
        padded: Tensor = pad_packed_sequence(states, batch_first=True, total_length=mask.shape[1])[0]
        return padded

    def ends(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Returns the last state of each direction in the last layer, (batch, 2 · hidden); arguments as for a call."""
        _, (last, _) = self.lstm(_packed(inputs, mask))
        # (directions, batch, hidden)
        return last[-2:].transpose(0, 1).flatten(1)


def _packed(inputs: Tensor, mask: Tensor) -> PackedSequence:
    return pack_padded_sequence(inputs, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
