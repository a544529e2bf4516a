"""Where contexts help: the gain over BERT-CRF on tweets with little and with much context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightning_ita.data.views import context_words
from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.statistics.resampling import Sample, bootstrap, percentile_interval
from lightning_ita.studies.report.evidence import Evidence, RowEvidence

# Tweets with context are cut into this many bins of about as many tweets each.
BINS = 3
# A bin with fewer gold mentions says nothing.
FEWEST_MENTIONS = 30
# Resamples for an interval that is only drawn.
RESAMPLES = 2000


@dataclass(frozen=True)
class Bin:
    """Tweets with a similar amount of context.

    Attributes:
        words: Mean number of context words.
        tweets: How many tweets.
        gain: F1 of the row's I+T view on them minus BERT-CRF's, in points.
        low: Lower bound of the 95 % interval over tweets, the models held fixed.
        high: Its upper bound.
    """

    words: float
    tweets: int
    gain: float
    low: float
    high: float


def gains_by_context(evidence: Evidence, row: RowEvidence) -> list[Bin]:
    """Returns the gain of a row by how many words of its contexts a tweet has: none, then bins of equal size.

    Empty where the row or BERT-CRF is not finished, or the contexts' texts are not known.
    """
    split, baseline = evidence.split, evidence.baseline
    kinds = row.cell.contexts
    if split is None or baseline is None or CROSS_MODAL not in row.views:
        return []
    if not kinds or not set(kinds) <= set(split.contexts):
        return []
    lengths = np.array(
        [len(context_words({k: split.contexts[k][tweet] for k in kinds})) for tweet in range(len(split.ids))]
    )
    edges = np.unique(np.quantile(lengths[lengths > 0], np.linspace(0, 1, BINS + 1))) if lengths.any() else np.array([])
    groups = [
        lengths == 0,
        *((lengths > 0) & (np.searchsorted(edges[1:-1], lengths) == i) for i in range(len(edges) - 1)),
    ]
    first, second = row.views[CROSS_MODAL].sample.counts, baseline.views[TEXT].sample.counts
    bins = []
    for group in groups:
        if first[0, group, 2].sum() < FEWEST_MENTIONS:
            continue
        counts = np.concatenate([first[:, group], second[:, group]])
        drawn = bootstrap(counts, RESAMPLES)
        one, two = Sample(first[:, group], drawn[:, : len(first)]), Sample(second[:, group], drawn[:, len(first) :])
        differences = one.resampled.mean(axis=1) - two.resampled.mean(axis=1)
        low, high = percentile_interval(differences)
        gain = float(one.f1.mean() - two.f1.mean())
        bins.append(Bin(float(lengths[group].mean()), int(group.sum()), gain, low, high))
    return bins
