"""Random chains, and what can be said of them by listing every tag sequence."""

import itertools

import torch
from torch import Tensor

from lightning_ita.crf import ChainDistribution


def prefix_mask(lengths: list[int]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def random_potentials(batch, length, tags, spread=1.0, dtype=torch.float64, grad=False) -> tuple[Tensor, ...]:
    """Emissions, start, transitions, end."""
    shapes = [(batch, length, tags), (tags,), (tags, tags), (tags,)]
    return tuple((spread * torch.randn(shape, dtype=dtype)).requires_grad_(grad) for shape in shapes)


def random_chain(lengths: list[int], tags: int, spread=1.0, dtype=torch.float64, grad=False) -> ChainDistribution:
    emissions, *moves = random_potentials(len(lengths), max(lengths), tags, spread, dtype, grad)
    return ChainDistribution(emissions, prefix_mask(lengths), *moves)


def sequences(chain: ChainDistribution, row: int) -> Tensor:
    """All tag sequences of a row, (sequences, row length)."""
    length = int(chain.mask[row].sum())
    return torch.tensor(list(itertools.product(range(chain.emissions.shape[2]), repeat=length)))


def log_probs(chain: ChainDistribution, row: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of all tag sequences of a row, (sequences,), and log Z."""
    tags = sequences(chain, row)
    scores = chain.start_transitions[tags[:, 0]] + chain.end_transitions[tags[:, -1]]
    scores = scores + chain.emissions[row, torch.arange(tags.shape[1]), tags].sum(1)
    scores = scores + chain.transitions[tags[:, :-1], tags[:, 1:]].sum(1)
    return scores.log_softmax(0), scores.logsumexp(0)


def padded(rows: list[Tensor], length: int) -> Tensor:
    """Rows of different lengths as one batch, zero at padding."""
    batch = rows[0].new_zeros(len(rows), length, *rows[0].shape[1:])
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    return batch
