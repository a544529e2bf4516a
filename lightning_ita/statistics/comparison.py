"""What a study's numbers are worth: intervals, tests between rows, and how many seeds would settle a difference.

All functions are pure. Two sources of chance are told apart. The **tweets** of the test split are a sample: another
sample would give other scores to the same trained models. The **seeds** are a sample as well: the same method trained
again gives another model. Tests over tweets speak of the trained models; only one over tweets and seeds, of methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lightning_ita.statistics.resampling import CONFIDENCE, Floats, Sample, percentile_interval, randomise

SIGNIFICANCE = 0.05
POWER = 0.8
# More seeds than this are not an answer.
MOST_SEEDS = 1000


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: The mean.
        std: Standard deviation of a sample; ``None`` for a single seed, as are the bounds.
        low: Lower bound of the 95 % confidence interval of the mean (Student's t).
        high: Its upper bound.
        seeds: How many.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None
    seeds: int


def estimate(scores: Sequence[float]) -> Estimate:
    """Returns mean, standard deviation and t interval of the scores of seeds, of which there must be one at least."""
    values = np.asarray(scores, dtype=float)
    mean, seeds = float(values.mean()), len(values)
    if seeds == 1:
        return Estimate(mean, None, None, None, 1)
    std = float(values.std(ddof=1))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1)) * std / seeds**0.5
    return Estimate(mean, std, mean - reach, mean + reach, seeds)


@dataclass(frozen=True)
class Comparison:
    """A difference between two rows, and what speaks against chance.

    Attributes:
        difference: Mean F1 of the first minus that of the second, in points.
        low: Lower bound of its 95 % confidence interval: over tweets and seeds, where a row has a single seed over
            tweets alone.
        high: Its upper bound.
        p_bootstrap: Two-sided p of the paired bootstrap over tweets, the trained models held fixed.
        p_randomisation: The same by approximate randomisation.
        p_methods: Two-sided p over tweets and seeds; ``None`` where a row has a single seed.
        seeds: Number of seeds of the first and of the second.
        seeds_needed: Seeds a row that would separate rows with this difference; ``None`` if no number would.
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

    * Paired bootstrap (Koehn, EMNLP 2004; shifted to the null hypothesis as by Berg-Kirkpatrick et al., EMNLP 2012):
      the statistic is the difference of mean micro F1 over seeds; a resample takes the same tweets for every model.
    * Approximate randomisation: see `randomise`. It needs as many models of each row: those of the row that has fewer,
      and the first of the other.
    * Over tweets and seeds: the variance of the difference is s₁²/k₁ + s₂²/k₂ over the seeds of each row, as in Welch's
      t test, plus the variance over tweets that `tweets_error` finds; degrees of freedom by Welch and Satterthwaite,
      with the tweets' taken as endless. Seeds are not paired here: once two rows read different inputs, the same seed
      gives them little in common, and where it does the test errs towards no difference.

    Args:
        first: One row in one view.
        second: The other, with the same tweets and resamples; seeds that both have stand at the same place in both.
        seed: Seed of the randomisation.
    """
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
    """Share of values under the null hypothesis as far from 0 as the observed one, which is counted among them."""
    extreme = int((np.abs(under_null) >= abs(observed) - 1e-9).sum())
    return (1 + extreme) / (1 + len(under_null))


def tweets_error(first: Sample, second: Sample) -> float:
    """Returns the standard error over tweets of the difference between two methods, with two or more seeds each.

    Over resamples of the tweets, two models of one method vary together by what the method makes of a tweet, and each
    varies alone by what is the model's own. The latter is part of the variance over seeds already, so only covariances
    between different models count: the mean within each row, minus twice the mean between the rows.
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
    """Returns how many seeds a row would show a difference: 80 % power at 5 %, two-sided, uncorrected.

    Assumes that the difference, the standard deviations and the error over tweets are as observed, that scores of
    seeds are normal, and the test over tweets and seeds of `compare` (noncentral t). The observed difference is itself
    uncertain: this is an order of magnitude, not a promise.

    Returns:
        ``None`` where no number of seeds up to a thousand would do: then a larger test split is needed.
    """

    def power(seeds: int) -> float:
        error, freedom = standard_error(spreads, (seeds, seeds), over_tweets)
        if error == 0:
            return float(difference != 0)
        shift, critical = abs(difference) / error, stats.t.ppf(1 - SIGNIFICANCE / 2, min(freedom, 1e6))
        if shift > 2 * critical + 10:
            return 1.0  # beyond what the noncentral distribution is accurate for
        noncentral = stats.nct(min(freedom, 1e6), shift)
        # In the far tail SciPy has no number at times, for what is nothing.
        return float(noncentral.sf(critical) + np.nan_to_num(noncentral.cdf(-critical)))

    if power(MOST_SEEDS) < POWER:
        return None
    low, high = 1, MOST_SEEDS  # power grows with seeds: low is too few, high is enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects the p values of a family of tests (Holm 1979): each says at which level the whole family rejects it.

    Args:
        p_values: One a test; ``None`` where there was none, which the family then does not count.
    """
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[index] = largest
    return corrected


class Share(NamedTuple):
    """A share with its 95 % interval; 1 is the whole."""

    value: float
    low: float
    high: float


def share_kept(baseline: Sample, text: Sample, cross_modal: Sample, seed: int = 0) -> Share:
    """Returns how much of the cross-modal view's gain the text view keeps: (T − B) / (I+T − B).

    B is BERT-CRF's F1, T and I+T are those of one row's two views, means over seeds: the claim of ITA (Wang et al.,
    NAACL 2022) that CVA lets the text view do without the image, as one number. 1 keeps all of the gain,
    0 none; below 0 the text view is worse than BERT-CRF, above 1 it is better than I+T. It means nothing unless the
    gain is positive beyond doubt, which the caller decides.

    The interval is that of a bootstrap over tweets and seeds, each resampled on its own (Owen 2007, the pigeonhole
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
