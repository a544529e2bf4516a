"""Resampling of the test split: the micro F1 that the same trained models reach on other samples of tweets.

Counts of mentions are arrays (..., tweets, 3): correct, predicted and gold mentions of each tweet. They are integers,
or means of integers over systems that count as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000
# Resamples drawn at once: limits the memory to a few dozen MiB for splits of a few thousand tweets.
CHUNK = 500

Counts = NDArray[np.int64] | NDArray[np.float64]
Floats = NDArray[np.float64]


def micro_f1(counts: Counts) -> Floats:
    """Returns micro F1 in percent, (...), from counts, (..., tweets, 3)."""
    correct, predicted, gold = np.moveaxis(counts.sum(axis=-2), -1, 0)
    return np.asarray(200.0 * correct / np.maximum(predicted + gold, 1))


def bootstrap(counts: Counts, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Returns micro F1 on resamples of the tweets, drawn with replacement and the same for all systems.

    Args:
        counts: (systems, tweets, 3).
        resamples: Number of samples to draw; each has as many tweets as the split.
        seed: Seed of the draws.

    Returns:
        (resamples, systems), in percent.
    """
    systems, tweets, _ = counts.shape
    generator = np.random.default_rng(seed)
    # (tweets, 2 · systems): float32 represents sums of integers below 2²⁴ exactly.
    terms = np.concatenate([2 * counts[..., 0], counts[..., 1] + counts[..., 2]]).T.astype(np.float32)
    scores = np.empty((resamples, systems))
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        drawn = generator.integers(tweets, size=(size, tweets)) + tweets * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * tweets).reshape(size, tweets).astype(np.float32)
        scores[start : start + size] = _ratios(weights @ terms)
    return scores


def randomise(first: Counts, second: Counts, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Returns differences of mean micro F1 after the two systems' outputs are swapped for a random half of the tweets.

    Approximate randomisation (Noreen 1989; Yeh, COLING 2000). The outputs for a tweet are swapped for all seeds
    together, the first seed of one system with the first of the other, and so on. This respects that the models of a
    system often agree on a tweet: more seeds must not count as more tweets.

    Args:
        first: (seeds, tweets, 3).
        second: The same, with as many seeds.
        resamples: Number of random swaps to draw.
        seed: Seed of the draws.

    Returns:
        (resamples,), in points.
    """
    tweets = first.shape[1]
    generator = np.random.default_rng(seed)
    # Swaps that give the observed difference again must give it exactly, and float32 has no exact sums of means.
    whole = all(np.issubdtype(counts.dtype, np.integer) for counts in (first, second))
    exact: Any = np.float32 if whole else np.float64
    own, other = (
        np.concatenate([2 * counts[..., 0], counts[..., 1] + counts[..., 2]]).T.astype(exact)
        for counts in (first, second)
    )
    change = other - own
    differences = np.empty(resamples)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        octets = generator.integers(256, size=(size, -(-tweets // 8)), dtype=np.uint8)
        swapped = np.unpackbits(octets, axis=1, count=tweets).astype(exact) @ change
        gained = _ratios(own.sum(0) + swapped) - _ratios(other.sum(0) - swapped)
        differences[start : start + size] = gained.mean(axis=1)
    return differences


def _ratios(terms: NDArray[np.float32] | Floats) -> Floats:
    """Returns F1 in percent from the sums of its numerators and denominators, (resamples, 2 · systems)."""
    numerator, denominator = np.split(terms.astype(float), 2, axis=1)
    return np.asarray(100.0 * numerator / np.maximum(denominator, 1))


@dataclass(frozen=True)
class Sample:
    """The results of one row in one view, on each tweet and on each resample of the tweets.

    Attributes:
        counts: (seeds, tweets, 3).
        resampled: (resamples, seeds), micro F1 from `bootstrap`; samples that are compared must share the resamples.

    Raises:
        ValueError: The arrays have other shapes, or a value is NaN or infinite: tests would find it significant.
    """

    counts: Counts
    resampled: Floats

    def __post_init__(self) -> None:
        shapes = self.counts.shape, self.resampled.shape
        if len(shapes[0]) != 3 or shapes[0][2] != 3 or len(shapes[1]) != 2 or shapes[0][0] != shapes[1][1]:
            raise ValueError(f"expected counts (seeds, tweets, 3) and resampled (resamples, seeds), got {shapes}")
        if not (np.isfinite(self.counts).all() and np.isfinite(self.resampled).all()):
            raise ValueError("expected finite counts and scores, got NaN or infinity")

    @property
    def f1(self) -> Floats:
        """Micro F1 of each seed, (seeds,), in percent."""
        return micro_f1(self.counts)

    def only(self, models: Sequence[int]) -> Sample:
        """Returns the sample of some of the models, chosen by position."""
        return Sample(self.counts[list(models)], self.resampled[:, list(models)])

    def over_tweets(self) -> tuple[float, float]:
        """Returns the 95 % percentile interval of mean F1 over resamples of the tweets, with the models held fixed."""
        return percentile_interval(self.resampled.mean(axis=1))


def percentile_interval(values: Floats) -> tuple[float, float]:
    """Returns the 95 % percentile interval of resampled values."""
    low, high = np.percentile(values, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)
