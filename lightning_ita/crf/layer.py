"""The CRF layer: holds the transition parameters and returns a distribution over tag sequences."""

import torch
import torchcrf
from torch import Tensor

from lightning_ita.crf.distribution import ChainDistribution


class LinearChainCRF(torchcrf.CRF):
    """A linear-chain CRF whose call returns the distribution over tag sequences.

    Parameters, their names and their initialisation are those of pytorch-crf (with ``batch_first=True``), so that
    state dicts can be exchanged. Only the call differs: pytorch-crf returns a log-likelihood, this layer returns a
    distribution, which offers log-probabilities, marginals, entropy, divergences and decoding.

    Example:
        >>> crf = LinearChainCRF(num_tags=3)
        >>> emissions = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]])  # one sequence, two words, three tags
        >>> chain = crf(emissions, torch.ones(1, 2, dtype=torch.bool))
        >>> chain.argmax()
        tensor([[0, 1]])
        >>> loss = -chain.log_prob(torch.tensor([[0, 1]])).mean()
        >>> loss.backward()

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
        """Returns the distribution over tag sequences given emission scores.

        Args:
            emissions: Scores of each tag at each position, shape (batch, length, tags).
            mask: True at real positions, which come first in every row; bool, shape (batch, length).
            validate_args: Passed on to :class:`ChainDistribution`.

        Returns:
            A batch of distributions, one per row.

        Raises:
            ValueError: If shapes or dtypes do not fit, or the mask is no prefix mask.
        """
        return ChainDistribution(
            emissions, mask, self.start_transitions, self.transitions, self.end_transitions, validate_args
        )

    def decode(self, emissions: Tensor, mask: Tensor | None = None) -> list[list[int]]:
        """Returns the most probable tags as lists, as pytorch-crf does; ``crf(emissions, mask).argmax()`` is faster.

        Args:
            emissions: Shape (batch, length, tags).
            mask: True at real positions, shape (batch, length); everywhere by default.

        Returns:
            A list of tags for each row, of the row's length without padding.

        Raises:
            NonFiniteScoresError: If a score is NaN or +inf, or all scores of a position are −inf; it names the row.
        """
        mask = emissions.new_ones(emissions.shape[:2], dtype=torch.bool) if mask is None else mask.bool()
        paths = self(emissions, mask).argmax()
        return [path[inside].tolist() for path, inside in zip(paths, mask, strict=True)]
