"""Confidence intervals of a study's scores, significance tests between its rows, and the number of seeds they need.

All functions are pure. They distinguish two sources of chance. The **tweets** of the test split are a sample: on other
tweets the same trained models would reach other scores. The **seeds** are a sample as well: the same method trained
again gives another model. A test over tweets compares the trained models; only a test over tweets and seeds compares
the methods.

SciPy takes most of a second to import, so it is imported by the functions that use it: means and standard deviations
do without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_ita.statistics.resampling import CONFIDENCE, Floats, Sample, percentile_interval, randomise

SIGNIFICANCE = 0.05
POWER = 0.8
# Largest number of seeds that `seeds_needed` returns.
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with its 95 % confidence interval.

    Attributes:
        mean: The mean.
        std: Standard deviation of a sample; ``None`` for a single seed.
        seeds: Number of seeds.
    """

    mean: float
    std: float | None
    seeds: int

    @cached_property
    def _half_width(self) -> float | None:
        """Half the width of the interval (Student's t)."""
        if self.std is None:
            return None
        from scipy import stats

        return float(stats.t.ppf((1 + CONFIDENCE) / 2, self.seeds - 1)) * self.std / self.seeds**0.5

    @property
    def low(self) -> float | None:
        """Lower bound of the interval; ``None`` for a single seed."""
        return None if self._half_width is None else self.mean - self._half_width

    @property
    def high(self) -> float | None:
        """Upper bound of the interval; ``None`` for a single seed."""
        return None if self._half_width is None else self.mean + self._half_width


def estimate(scores: Sequence[float]) -> Estimate:
    """Returns the mean, the standard deviation and the confidence interval of scores, one per seed.

    Raises:
        ValueError: There are no scores.

    Example:
        >>> found = estimate([83.4, 83.9, 84.1])
        >>> f"{found.mean:.1f}, 95 % interval {found.low:.1f} to {found.high:.1f}"
        '83.8, 95 % interval 82.9 to 84.7'
    """
    if not len(scores):
        raise ValueError("expected the score of one seed at least, got none")
    values = np.asarray(scores, dtype=float)
    return Estimate(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Comparison:
    """The difference between two rows, and its significance.

    Attributes:
        difference: Mean F1 of the first minus that of the second, in points.
        low: Lower bound of its 95 % confidence interval: over tweets and seeds, or over tweets alone if a row has a
            single seed.
        high: Upper bound of this interval.
        p_bootstrap: Two-sided p value of the paired bootstrap over tweets, with the trained models held fixed.
        p_randomisation: The same by approximate randomisation.
        p_methods: Two-sided p value over tweets and seeds; ``None`` if a row has a single seed.
        seeds: Number of seeds of the first row and of the second.
        seeds_needed: Number of seeds per row that would make this difference significant; ``None`` if no number would.
    """

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_randomisation: float
    p_methods: float | None
    seeds: tuple[int, int]
    seeds_needed: int | None


def compare(first: Sample, second: Sample, seed: int = 0) -> Comparison:
    """Compares two rows that were tested on the same tweets.

    * Paired bootstrap (Koehn, EMNLP 2004; shifted to the null hypothesis as in Berg-Kirkpatrick et al., EMNLP 2012):
      the statistic is the difference of mean micro F1 over seeds; a resample has the same tweets for every model.
    * Approximate randomisation: see `randomise`. It needs the same number of models of both rows: all models of the row
      that has fewer, and as many of the other, from the first on.
    * Over tweets and seeds: the variance of the difference is s₁²/k₁ + s₂²/k₂ over the seeds of each row, as in Welch's
      t test, plus the variance over tweets from `tweets_error`. The degrees of freedom are those of Welch and
      Satterthwaite, with infinitely many for the variance over tweets. Seeds are not paired here: two rows that read
      different inputs have little in common with the same seed, and if they have, the test is conservative.

    Args:
        first: One row in one view.
        second: The other row, with the same tweets and resamples; seeds of both rows are in the same order.
        seed: Seed of the randomisation.

    Raises:
        ValueError: The rows differ in their number of tweets or of resamples.
    """
    sizes = [(row.counts.shape[1], len(row.resampled)) for row in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"expected two rows with the same tweets and resamples, got {sizes[0]} and {sizes[1]} of them")
    from scipy import stats

    seeds = (len(first.counts), len(second.counts))
    difference = float(first.f1.mean() - second.f1.mean())
    resampled = first.resampled.mean(axis=1) - second.resampled.mean(axis=1)
    pairs = range(min(seeds))
    one, two = first.only(pairs), second.only(pairs)
    swapped = randomise(one.counts, two.counts, len(resampled), seed)
    low, high = percentile_interval(resampled)
    p_methods = needed = None
    if min(seeds) > 1:
        spreads = float(first.f1.std(ddof=1)), float(second.f1.std(ddof=1))
        over_tweets = tweets_error(first, second)
        error, freedom = standard_error(spreads, seeds, over_tweets)
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error)
        low, high = difference - reach, difference + reach
        p_methods = float(2 * stats.t.sf(abs(difference) / error, freedom)) if error > 0 else float(difference == 0)
        needed = seeds_needed(difference, spreads, over_tweets)
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        p_bootstrap=_p_value(resampled - difference, difference),
        p_randomisation=_p_value(swapped, float(one.f1.mean() - two.f1.mean())),
        p_methods=p_methods,
        seeds=seeds,
        seeds_needed=needed,
    )


def _p_value(under_null: Floats, observed: float) -> float:
    """Returns the share of values under the null hypothesis that are as far from 0 as the observed value.

    The observed value counts as one of them, so that the share is never 0.
    """
    extreme = int((np.abs(under_null) >= abs(observed) - 1e-9).sum())
    return (1 + extreme) / (1 + len(under_null))


def tweets_error(first: Sample, second: Sample) -> float:
    """Returns the standard error over tweets of the difference between two methods, with two or more seeds each.

    The variance of a model over resamples of the tweets has two parts: one that it shares with all models of its
    method, and one of its own. The latter is already part of the variance over seeds. So only covariances between
    different models count: the mean within each row, minus twice the mean between the rows.
    """
    seeds = len(first.counts)
    covariance = np.cov(np.concatenate([first.resampled, second.resampled], axis=1).T)
    rows = covariance[:seeds, :seeds], covariance[seeds:, seeds:]
    within = sum(block[~np.eye(len(block), dtype=bool)].mean() for block in rows)
    return float(max(within - 2 * covariance[:seeds, seeds:].mean(), 0.0) ** 0.5)


def standard_error(spreads: tuple[float, float], seeds: tuple[int, int], over_tweets: float) -> tuple[float, float]:
    """Returns the standard error of a difference over tweets and seeds, and its degrees of freedom.

    Args:
        spreads: Standard deviation over seeds of each row.
        seeds: Number of seeds of each row, two or more.
        over_tweets: Standard error of the difference over tweets.
    """
    over_seeds = [spread**2 / count for spread, count in zip(spreads, seeds, strict=True)]
    variance = sum(over_seeds) + over_tweets**2
    uncertain = sum(part**2 / (count - 1) for part, count in zip(over_seeds, seeds, strict=True))
    return variance**0.5, variance**2 / uncertain if uncertain > 0 else np.inf


def seeds_needed(difference: float, spreads: tuple[float, float], over_tweets: float = 0.0) -> int | None:
    """Returns how many seeds per row make a difference significant.

    With that many, 80 % of studies would find it at the 5 % level, two-sided and without correction for multiple tests.
    Assumes that the difference, the standard deviations and the error over tweets are as observed, that the scores of
    seeds are normally distributed, and that the test is that over tweets and seeds in `compare` (noncentral t). The
    observed difference is itself uncertain, so the result is an order of magnitude.

    Args:
        difference: The difference of the means.
        spreads: Standard deviation over seeds of each row.
        over_tweets: Standard error of the difference over tweets.

    Returns:
        ``None`` if a thousand seeds are not enough: then a larger test split is needed.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    if not all(map(math.isfinite, (difference, *spreads, over_tweets))):
        raise ValueError(f"expected finite values, got {difference}, {spreads} and {over_tweets}")
    from scipy import stats

    def power(seeds: int) -> float:
        error, freedom = standard_error(spreads, (seeds, seeds), over_tweets)
        if error == 0:
            return float(difference != 0)
        shift, critical = abs(difference) / error, stats.t.ppf(1 - SIGNIFICANCE / 2, min(freedom, 1e6))
        if shift > 2 * critical + 10:
            return 1.0  # the noncentral distribution is not accurate so far out
        noncentral = stats.nct(min(freedom, 1e6), shift)
        # In the far tail, where the probability is 0, SciPy sometimes returns NaN.
        return float(noncentral.sf(critical) + np.nan_to_num(noncentral.cdf(-critical)))

    if power(MOST_SEEDS) < POWER:
        return None
    low, high = 1, MOST_SEEDS  # power grows with the number of seeds: low is not enough, high is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects the p values of a family of tests for multiple testing (Holm 1979).

    Args:
        p_values: One per test; ``None`` for a test that was not made, which does not count.

    Returns:
        Corrected p values in the same order: comparing each with a level keeps the probability of any false rejection
        in the family below that level.

    Raises:
        ValueError: A p value is not in 0 … 1, for example NaN.

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    for p in p_values:
        if p is not None and not 0 <= p <= 1:
            raise ValueError(f"expected p values in 0 … 1, got {p}")
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[index] = largest
    return corrected


class Share(NamedTuple):
    """A share, where 1 is the whole, with its 95 % interval."""

    value: float
    low: float
    high: float


def share_kept(baseline: Sample, text: Sample, cross_modal: Sample, seed: int = 0) -> Share:
    """Returns how much of the cross-modal view's gain the text view keeps: (T − B) / (I+T − B).

    B is BERT-CRF's F1, T and I+T are the F1 of the two views of one row, all of them means over seeds. This measures
    the claim of ITA (Wang et al., NAACL 2022) that with CVA the text view needs no image: at 1 it keeps the whole gain,
    at 0 nothing; below 0 the text view is worse than BERT-CRF, above 1 it is better than I+T. The share has a meaning
    only if the gain is significantly positive, which the caller must check.

    The interval is that of a bootstrap over tweets and seeds, each resampled independently (Owen 2007, the pigeonhole
    bootstrap); with few seeds it is too narrow.
    """
    generator = np.random.default_rng(seed)

    def drawn(seeds: int) -> NDArray[np.int64]:
        return generator.integers(seeds, size=(len(baseline.resampled), seeds))

    def means(sample: Sample, picks: NDArray[np.int64]) -> Floats:
        return np.asarray(np.take_along_axis(sample.resampled, picks, axis=1).mean(axis=1))

    models = drawn(len(text.counts))  # both views are of the same models
    base = means(baseline, drawn(len(baseline.counts)))
    gain = means(cross_modal, models) - base
    ratios = (means(text, models) - base) / np.where(gain == 0, np.nan, gain)
    value = (text.f1.mean() - baseline.f1.mean()) / (cross_modal.f1.mean() - baseline.f1.mean())
    return Share(float(value), *percentile_interval(ratios[np.isfinite(ratios)]))
