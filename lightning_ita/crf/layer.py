"""The CRF layer: parameters in, distribution out."""

from typing import Any

import torchcrf
from torch import Tensor

from lightning_ita.crf.distribution import ChainDistribution


class LinearChainCRF(torchcrf.CRF):
    """A linear-chain CRF whose call returns the distribution over tag sequences.

    Parameters, their initialisation and their names are those of pytorch-crf, so that state dicts go both ways.

    Args:
        num_tags: Number of tags.

    Attributes:
        start_transitions: Scores of the first tag, shape (tags,).
        transitions: ``transitions[i, j]`` is the score of going from tag i to tag j, shape (tags, tags).
        end_transitions: Scores of the last tag, shape (tags,).
    """

    def __init__(self, num_tags: int) -> None:
        super().__init__(num_tags, batch_first=True)

    def forward(self, emissions: Tensor, mask: Tensor, validate_args: bool | None = None) -> ChainDistribution:
        """The distribution over tag sequences given emission scores.

        Args:
            emissions: Scores of each tag at each position, shape (batch, length, tags).
            mask: True at real positions, which come first in every row; bool, shape (batch, length).
            validate_args: Passed on to :class:`ChainDistribution`.

        Returns:
            A batch of distributions, one for each row.

        Raises:
            ValueError: If shapes or dtypes do not fit, or the mask is no prefix mask.
        """
        return ChainDistribution(
            emissions, mask, self.start_transitions, self.transitions, self.end_transitions, validate_args
        )

    def decode(self, *args: Any, **kwargs: Any) -> list[list[int]]:
        """Not offered: ``crf(emissions, mask).argmax()`` does it, faster and in one tensor.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("use crf(emissions, mask).argmax() instead of crf.decode(emissions, mask)")
