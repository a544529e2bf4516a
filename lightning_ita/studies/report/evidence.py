"""What a study shows on one data set: rows with their intervals, comparisons with their corrected p values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_ita.models.options import CROSS_MODAL, TEXT, VIEWS
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
from lightning_ita.studies.report.reading import StudyFolder, TaggedSplit
from lightning_ita.studies.tables.ablation import BASELINE as BASELINE_SYSTEM
from lightning_ita.studies.tables.ablation import Row, rows_of

# The families of tests, each corrected on its own for every data set.
BASELINE, ALIGNMENT, POOLED = "baseline", "alignment", "pooled"
QUESTIONS = {
    BASELINE: "Does it beat BERT-CRF?",
    ALIGNMENT: "What do two views and CVA change?",
    POOLED: "What holds over all contexts together?",
}
# All ITA rows of one training mode, as one system.
POOLED_SYSTEM = "ITA"
METHODS_DIFFER, MODELS_DIFFER = "*", "°"


@dataclass(frozen=True)
class ViewEvidence:
    """One row in one view.

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
        view: The view of the first; BERT-CRF has T alone.
        comparison: Difference and uncorrected p values.
        p_bootstrap: Corrected by Holm over the family, as are the others.
        p_randomisation: The same by approximate randomisation.
        p_methods: The same over tweets and seeds; ``None`` where a row has a single seed.
    """

    question: str
    first: str
    second: str
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


@dataclass(frozen=True)
class RowEvidence:
    """A row of the table.

    Attributes:
        row: Its results.
        views: What it reached in each tested view; empty while no cell is finished.
        gains: Its views against BERT-CRF; a view is missing while one of the two is.
        kept: How much of the I+T view's gain the text view keeps; ``None`` unless that gain is marked and its
            interval is above 0: a share of what may be nothing says nothing.
    """

    row: Row
    views: Mapping[str, ViewEvidence]
    gains: Mapping[str, Verdict]
    kept: Share | None

    @property
    def is_baseline(self) -> bool:
        """Whether this is BERT-CRF."""
        return self.row.cell.system == BASELINE_SYSTEM

    @property
    def best_view(self) -> str:
        """The view that stands for the row: I+T, or T where that is the only one."""
        return self.row.cell.tested_views[-1]


@dataclass(frozen=True)
class Evidence:
    """What a study shows on one data set.

    Attributes:
        dataset: The data set.
        rows: The rows, in the order of the paper's.
        verdicts: All comparisons, family by family.
        split: What every model said; ``None`` while no cell is finished.
    """

    dataset: str
    rows: tuple[RowEvidence, ...]
    verdicts: tuple[Verdict, ...]
    split: TaggedSplit | None

    @property
    def baseline(self) -> RowEvidence | None:
        """BERT-CRF, if any of its cells is finished."""
        return next((row for row in self.rows if row.is_baseline and row.views), None)

    def best(self, view: str) -> float | None:
        """Returns the highest mean F1 of a view, as it is printed."""
        return max((round(row.views[view].f1.mean, 2) for row in self.rows if view in row.views), default=None)

    @property
    def most_seeds(self) -> int:
        """Seeds of the row that has most."""
        return max((len(view.seeds) for row in self.rows for view in row.views.values()), default=0)


def weigh(study: StudyFolder, dataset: str, split: TaggedSplit | None, resamples: int = RESAMPLES) -> Evidence:
    """Computes intervals and tests of a data set; equal inputs give equal results, bit by bit.

    Args:
        study: The study.
        dataset: The data set.
        split: From `read_split`.
        resamples: Resamples of the bootstrap, and of the randomisation.
    """
    rows = rows_of([result for result in study.results if result.cell.dataset == dataset])
    views = {} if split is None else _views(rows, split, resamples)
    baseline = next((row.label for row in rows if row.cell.system == BASELINE_SYSTEM), None)
    single: Systems = {(row.cell.contexts, str(row.cell.cva)): row.label for row in rows if row.cell.contexts}
    pooled: Systems = {((POOLED,), mode): _pooled_label(members) for mode, members in _modes(rows).items()}
    verdicts = tuple(
        verdict
        for question, pairs in (
            (BASELINE, _against_baseline(single, baseline)),
            (ALIGNMENT, _against_counterparts(single)),
            (POOLED, [*_against_baseline(pooled, baseline), *_against_counterparts(pooled)]),
        )
        for verdict in _family(question, pairs, views)
    )
    gains = {(v.first, v.view): v for v in verdicts if v.question == BASELINE}
    evidence = []
    for row in rows:
        found = views.get(row.label, {})
        own = {view: gains[row.label, view] for view in found if (row.label, view) in gains}
        kept = None
        if (
            baseline is not None
            and CROSS_MODAL in own
            and own[CROSS_MODAL].mark
            and own[CROSS_MODAL].comparison.low > 0
        ):
            kept = share_kept(views[baseline][TEXT].sample, found[TEXT].sample, found[CROSS_MODAL].sample)
        evidence.append(RowEvidence(row, found, own, kept))
    return Evidence(dataset, tuple(evidence), verdicts, split)


def _views(rows: Sequence[Row], split: TaggedSplit, resamples: int) -> dict[str, dict[str, ViewEvidence]]:
    """Returns what is known of each row, and of the rows of a training mode together, by label and view."""
    # All types together, by label and view, and by seed.
    counts = {
        (row.label, view): {
            result.cell.seed: split.counts[result.cell.name, view].sum(axis=1)
            for result in row.results
            if (result.cell.name, view) in split.counts
        }
        for row in rows
        for view in VIEWS
    }
    counts |= _pooled(rows, counts)
    # One bootstrap for all models, so that each resample holds the same tweets for all.
    models = np.stack([model for by_seed in counts.values() for model in by_seed.values()])
    resampled = iter(bootstrap(models, resamples).T)
    named = {row.label: row for row in rows}
    found: dict[str, dict[str, ViewEvidence]] = {}
    for (label, view), by_seed in counts.items():
        if by_seed:
            sample = Sample(np.stack([*by_seed.values()]), np.stack([next(resampled) for _ in by_seed], axis=1))
            scores = named[label].scores(view) if label in named else sample.f1.tolist()
            evidence = ViewEvidence(estimate(scores), sample.over_tweets(), sample, tuple(by_seed))
            found.setdefault(label, {})[view] = evidence
    return found


def _modes(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Returns the ITA rows of each training mode; no mode that has a single row."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.cell.contexts:
            found.setdefault(row.cell.cva, []).append(row)
    return {mode: members for mode, members in found.items() if len(members) > 1}


def _pooled_label(members: Sequence[Row]) -> str:
    """Returns what the rows of a training mode are called together: ``ITA``, ``ITA+CVA (token)`` ..."""
    return members[0].label.replace(members[0].cell.title, POOLED_SYSTEM)


def _pooled(
    rows: Sequence[Row], counts: Mapping[tuple[str, str], Mapping[int, Counts]]
) -> dict[tuple[str, str], dict[int, Counts]]:
    """Averages the counts of all ITA rows of a training mode, seed by seed; a seed that a row lacks is left out.

    Means, not sums: to be swapped with a single row's, a tweet's counts must weigh as much.
    """
    pooled = {}
    for members in _modes(rows).values():
        for view in VIEWS:
            parts = [counts[row.label, view] for row in members]
            common = sorted(set.intersection(*map(set, parts)))
            pooled[_pooled_label(members), view] = {
                seed: np.mean([part[seed] for part in parts], axis=0) for seed in common
            }
    return pooled


def _aligned(one: ViewEvidence, two: ViewEvidence) -> tuple[Sample, Sample]:
    """Returns both samples with the seeds they have in common first, in the same order."""
    common = set(one.seeds) & set(two.seeds)

    def ordered(view: ViewEvidence) -> Sample:
        return view.sample.only(
            sorted(range(len(view.seeds)), key=lambda model: (view.seeds[model] not in common, view.seeds[model]))
        )

    return ordered(one), ordered(two)


# First label and view, second label and view.
Pair = tuple[str, str, str, str]
# Labels of ITA systems by contexts and training mode.
Systems = Mapping[tuple[tuple[str, ...], str], str]


def _against_baseline(systems: Systems, baseline: str | None) -> list[Pair]:
    return [] if baseline is None else [(label, view, baseline, TEXT) for label in systems.values() for view in VIEWS]


def _against_counterparts(systems: Systems) -> list[Pair]:
    """Each system that is trained on both views against the same contexts without, and alignment against `joint`."""
    pairs = []
    for (contexts, mode), label in systems.items():
        others = {"off": [], "joint": ["off"]}.get(mode, ["off", "joint"])
        for other in others:
            if (contexts, other) in systems:
                pairs += [(label, view, systems[contexts, other], view) for view in VIEWS]
    return pairs


def _family(question: str, pairs: Sequence[Pair], views: Mapping[str, Mapping[str, ViewEvidence]]) -> list[Verdict]:
    tested = []
    for first, view, second, other in pairs:
        if view in views.get(first, {}) and other in views.get(second, {}):
            one, two = _aligned(views[first][view], views[second][other])
            tested.append((first, view, second, compare(one, two)))
    comparisons = [comparison for *_, comparison in tested]
    corrected = [
        holm([getattr(comparison, name) for comparison in comparisons])
        for name in ("p_bootstrap", "p_randomisation", "p_methods")
    ]
    return [
        Verdict(question, first, second, view, comparison, bootstrapped or 0.0, randomised or 0.0, methods)
        for (first, view, second, comparison), bootstrapped, randomised, methods in zip(tested, *corrected, strict=True)
    ]
