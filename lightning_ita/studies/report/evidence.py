"""What a study shows on one data set: rows with their intervals, comparisons with their corrected p values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.statistics.comparison import (
    SIGNIFICANCE,
    Comparison,
    Estimate,
    Share,
    compare,
    estimate,
    holm,
    share_kept,
)
from lightning_ita.statistics.resampling import RESAMPLES, Counts, Sample, bootstrap
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.report.reading import StudyFolder, TaggedSplit
from lightning_ita.studies.report.sides import Pair, Side, pairs_of, sides_of
from lightning_ita.studies.tables.ablation import Row, rows_of
from lightning_ita.studies.tables.grid import two_digits

# The families of tests, each corrected on its own for every data set.
BASELINE, ALIGNMENT, IMAGE, CONTROL, POOLED = "baseline", "alignment", "image", "control", "pooled"
QUESTIONS = {
    BASELINE: "Does it beat BERT-CRF?",
    ALIGNMENT: "What do two views and CVA change?",
    IMAGE: "Does the same model tag better with the image than without?",
    CONTROL: "What do other images, or none, change?",
    POOLED: "What holds over all rows of a system together?",
}
METHODS_DIFFER, MODELS_DIFFER = "*", "°"


@dataclass(frozen=True)
class ViewEvidence:
    """What one row, or several together, reached in one view.

    Attributes:
        f1: Test F1 over seeds.
        over_tweets: 95 % interval of mean F1 over resamples of the tweets, the models held fixed.
        sample: What its models did on every tweet.
        seeds: Their seeds, in the order of the sample.
    """

    f1: Estimate
    over_tweets: tuple[float, float]
    sample: Sample
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Verdict:
    """A comparison within a family of tests.

    Attributes:
        question: The family: a key of `QUESTIONS`.
        first: Label of the first row.
        second: Label of the second.
        against: The second row in short: ``off`` and ``joint`` are the first one's own system and options.
        view: The view of the first; BERT-CRF has T alone.
        comparison: Difference and uncorrected p values.
        p_bootstrap: Corrected by Holm over the family, as are the others.
        p_randomisation: The same by approximate randomisation.
        p_methods: The same over tweets and seeds; ``None`` where a row has a single seed.
    """

    question: str
    first: str
    second: str
    against: str
    view: str
    comparison: Comparison
    p_bootstrap: float
    p_randomisation: float
    p_methods: float | None

    @property
    def mark(self) -> str:
        """``*``: the methods differ. ``°``: the trained models differ, other seeds may not. Empty: neither is shown."""
        if max(self.p_bootstrap, self.p_randomisation) > SIGNIFICANCE:
            return ""
        return METHODS_DIFFER if self.p_methods is not None and self.p_methods <= SIGNIFICANCE else MODELS_DIFFER


@dataclass(frozen=True, eq=False)
class RowEvidence:
    """A row of the table: its runs, and what they show.

    Attributes:
        runs: Its runs.
        views: What it reached in each tested view; empty while no cell is finished.
        gains: Its views against BERT-CRF; a view is missing while one of the two is, and T under a control at test,
            where it is that of the row without.
        kept: How much of the I+T view's gain the text view keeps; ``None`` unless that gain is marked and its
            interval is above 0: a share of what may be nothing says nothing.
    """

    runs: Row
    views: Mapping[str, ViewEvidence]
    gains: Mapping[str, Verdict]
    kept: Share | None

    @property
    def label(self) -> str:
        """The name of the row."""
        return self.runs.label

    @property
    def cell(self) -> Cell:
        """The first cell of the row, which stands for what all its cells share."""
        return self.runs.cell

    @property
    def is_baseline(self) -> bool:
        """Whether this is BERT-CRF."""
        return self.runs.is_baseline

    @property
    def main_view(self) -> str:
        """The view that stands for the row: I+T, or T where it has no other."""
        return self.runs.cell.tested_views[-1]


@dataclass(frozen=True)
class Evidence:
    """What a study shows on one data set.

    Attributes:
        dataset: The data set.
        rows: The rows, in the order of the plan.
        verdicts: All comparisons, family by family.
        split: What every model predicted; ``None`` while no cell is finished.
    """

    dataset: str
    rows: tuple[RowEvidence, ...]
    verdicts: tuple[Verdict, ...]
    split: TaggedSplit | None

    @property
    def baseline(self) -> RowEvidence | None:
        """BERT-CRF, if any of its cells is finished."""
        return next((row for row in self.rows if row.is_baseline and row.views), None)

    def best(self, view: str) -> str:
        """Returns the highest mean F1 of a view, as it is printed; empty where there is none."""
        means = [row.views[view].f1.mean for row in self.rows if view in row.views]
        return two_digits(max(means)) if means else ""

    @property
    def most_seeds(self) -> int:
        """Seeds of the row that has most."""
        return max((len(view.seeds) for row in self.rows for view in row.views.values()), default=0)


def family_of(pair: Pair, baseline: Side | None) -> str:
    """Returns the family of tests that a comparison belongs to: a key of `QUESTIONS`."""
    if pair.first.is_pooled:
        return POOLED
    if pair.first.control is not None:
        return CONTROL
    if pair.second is baseline:
        return BASELINE
    return IMAGE if pair.second is pair.first else ALIGNMENT


def weigh(study: StudyFolder, dataset: str, split: TaggedSplit | None, resamples: int = RESAMPLES) -> Evidence:
    """Computes intervals and tests of a data set; equal inputs give equal results, bit by bit.

    Args:
        study: The study.
        dataset: The data set.
        split: From `read_split`.
        resamples: Resamples of the bootstrap, and of the randomisation.
    """
    rows = rows_of([result for result in study.results if result.cell.dataset == dataset])
    sides = sides_of(rows)
    views = {} if split is None else _views(sides, split, resamples)
    families: dict[str, list[Pair]] = {question: [] for question in QUESTIONS}
    baseline = next((side for side in sides if side.rows[0].is_baseline), None)
    for side in sides:
        for pair in pairs_of(side, sides, baseline):
            families[family_of(pair, baseline)].append(pair)
    families[POOLED].sort(key=lambda pair: pair.second is not baseline)
    judged = [each for question, pairs in families.items() for each in _family(question, pairs, views)]
    evidence = []
    for side in sides[: len(rows)]:
        found = views.get(side, {})
        gains = {v.view: v for pair, v in judged if pair.first is side and pair.second is baseline}
        kept, gain = None, gains.get(CROSS_MODAL)
        if baseline is not None and TEXT in found and gain is not None and gain.mark and gain.comparison.low > 0:
            kept = share_kept(views[baseline][TEXT].sample, found[TEXT].sample, found[CROSS_MODAL].sample)
        evidence.append(RowEvidence(side.rows[0], found, gains, kept))
    return Evidence(dataset, tuple(evidence), tuple(verdict for _, verdict in judged), split)


def _views(sides: Sequence[Side], split: TaggedSplit, resamples: int) -> dict[Side, dict[str, ViewEvidence]]:
    """Returns what is known of each side, by view."""
    # All types together, by side and view, and by seed.
    counts: dict[tuple[Side, str], dict[int, Counts]] = {}
    for side in sides:
        for view in side.views:
            parts = [
                {
                    result.cell.seed: split.counts[result.cell.name, view].sum(axis=1)
                    for result in row.results
                    if (result.cell.name, view) in split.counts
                }
                for row in side.rows
            ]
            # Of several rows means, not sums: to be swapped with a single row's, a tweet's counts must weigh as much.
            # A seed that one of the rows lacks is left out.
            common = sorted(set.intersection(*map(set, parts))) if len(parts) > 1 else list(parts[0])
            for seed in common:
                of_rows = [part[seed] for part in parts]
                model: Counts = of_rows[0] if len(of_rows) == 1 else np.mean(of_rows, axis=0)
                counts.setdefault((side, view), {})[seed] = model
    # One bootstrap for all models, so that each resample holds the same tweets for all.
    models: Any = np.stack([model for by_seed in counts.values() for model in by_seed.values()])
    resampled = iter(bootstrap(models, resamples).T)
    found: dict[Side, dict[str, ViewEvidence]] = {}
    for (side, view), by_seed in counts.items():
        of_side: Any = np.stack([*by_seed.values()])
        sample = Sample(of_side, np.stack([next(resampled) for _ in by_seed], axis=1))
        scores = sample.f1.tolist() if side.is_pooled else side.rows[0].scores(view)
        evidence = ViewEvidence(estimate(scores), sample.over_tweets(), sample, tuple(by_seed))
        found.setdefault(side, {})[view] = evidence
    return found


def _aligned(one: ViewEvidence, two: ViewEvidence) -> tuple[Sample, Sample]:
    """Returns both samples with the seeds they have in common first, in the same order."""
    common = set(one.seeds) & set(two.seeds)

    def ordered(view: ViewEvidence) -> Sample:
        return view.sample.only(
            sorted(range(len(view.seeds)), key=lambda model: (view.seeds[model] not in common, view.seeds[model]))
        )

    return ordered(one), ordered(two)


def _family(
    question: str, pairs: Sequence[Pair], views: Mapping[Side, Mapping[str, ViewEvidence]]
) -> list[tuple[Pair, Verdict]]:
    """Compares the pairs of a family of tests of which both sides are known, and corrects their p values."""
    tested = []
    for pair in pairs:
        if pair.view in views.get(pair.first, {}) and pair.second_view in views.get(pair.second, {}):
            one, two = _aligned(views[pair.first][pair.view], views[pair.second][pair.second_view])
            tested.append((pair, compare(one, two)))
    corrected = [
        holm([getattr(comparison, name) for _, comparison in tested])
        for name in ("p_bootstrap", "p_randomisation", "p_methods")
    ]
    verdicts = []
    for (pair, comparison), bootstrapped, randomised, methods in zip(tested, *corrected, strict=True):
        verdict = Verdict(
            question=question,
            first=pair.first.label,
            second=pair.second.label,
            against=pair.against,
            view=pair.view,
            comparison=comparison,
            p_bootstrap=bootstrapped or 0.0,
            p_randomisation=randomised or 0.0,
            p_methods=methods,
        )
        verdicts.append((pair, verdict))
    return verdicts
