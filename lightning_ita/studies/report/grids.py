"""Builds the tables of a report as grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_ita.models.options import TEXT, VIEWS
from lightning_ita.statistics.comparison import Estimate, Share, estimate
from lightning_ita.studies.published import published_grid
from lightning_ita.studies.report.evidence import (
    BASELINE,
    METHODS_DIFFER,
    MODELS_DIFFER,
    POOLED,
    QUESTIONS,
    Evidence,
    RowEvidence,
    Verdict,
)
from lightning_ita.studies.report.reading import StudyFolder
from lightning_ita.studies.report.sides import RIGHT
from lightning_ita.studies.tables.ablation import conditions, mean_text, seeds_text, signed
from lightning_ita.studies.tables.grid import MISSING, Entry, Grid, two_digits
from lightning_ita.studies.trained import tests_another

T_OF_CONTROLS = "T of a row under a control at test is that of the row without, and is not tested twice. "
MARKS = (
    f"{METHODS_DIFFER} the methods differ: p ≤ 0.05 over tweets and seeds. {MODELS_DIFFER} the trained models differ, "
    "other seeds may not: p ≤ 0.05 over tweets alone. Both are Holm-corrected"
)


AGAINST = {
    "off": "the same system and contexts, trained on I+T alone",
    "joint": "trained on both views without alignment",
    TEXT: "the text view of the same models",
    RIGHT: "the same row without the control",
}
POOLING = (
    "Each side is all rows of one system that differ in contexts alone: what they get right and wrong on a tweet is "
    "averaged, seed by seed, so that a difference is that of the rows on average. "
)


def minus(text: str) -> str:
    """Writes numbers with the minus sign of typography."""
    return text.replace("-", "−")


def interval_text(low: float | None, high: float | None, sign: bool = False) -> str:
    """Writes an interval; a dash where there is none."""
    if low is None or high is None:
        return MISSING
    return minus(f"[{two_digits(low, sign)}, {two_digits(high, sign)}]")


def share_text(share: Share | None) -> str:
    """Writes a share in percent."""
    return MISSING if share is None else minus(f"{100 * share.value:.0f} %")


def p_text(p: float | None) -> str:
    """Writes a p value."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def encoder_name(study: StudyFolder) -> str:
    """Returns the encoder's name without its folder or owner."""
    return Path(study.settings["encoder"]).name


def grids(study: StudyFolder, evidence: Evidence) -> list[Grid]:
    """Returns the tables of a data set; those that would be empty are left out."""
    found = [*(verdict_grid(evidence, question) for question in QUESTIONS), type_grid(evidence)]
    main = [main_grid(study, evidence)] if evidence.rows else []
    return [grid for grid in (*main, *found, published_grid(evidence.dataset)) if grid.rows]


def main_grid(study: StudyFolder, evidence: Evidence) -> Grid:
    """The ablation: both views, gains over BERT-CRF, the share the text view keeps, and the paper's numbers."""
    encoder = encoder_name(study)
    best = {view: evidence.best(view) for view in VIEWS}
    rows = []
    for row in evidence.rows:
        entries = [Entry(row.label)]
        for view in VIEWS:
            entries += [_score(row, view, best[view]), _gain(row, view)]
        kept = Entry(share_text(row.kept))
        if row.kept is not None:
            kept = Entry(kept.text, note=minus(f"[{100 * row.kept.low:.0f}, {100 * row.kept.high:.0f}]"))
        rows.append((*entries, kept, _seeds(row), *_paper(row, encoder)))
    single = any(len(view.seeds) == 1 for row in evidence.rows for view in row.views.values())
    return Grid(
        name=f"{evidence.dataset}-ablation",
        title="Ablation",
        columns=("system", "T", "Δ", "I+T", "Δ", "kept", "seeds", "paper", f"{encoder} − paper"),
        rows=tuple(rows),
        caption=(
            f"{conditions([row.runs for row in evidence.rows])} T: the text view alone. I+T: tweet and image, or what "
            "was said of the image. "
            f"{T_OF_CONTROLS if any(map(tests_another, (row.cell for row in evidence.rows))) else ''}"
            "In brackets: 95 % interval of the mean over seeds (Student’s t). Δ: points above BERT-CRF. "
            f"{MARKS} over all comparisons with BERT-CRF on the data set. kept: the share of the I+T view’s gain that "
            "the text view keeps, (T − BERT-CRF) / (I+T − BERT-CRF), with its 95 % interval; empty unless that gain is "
            "marked and its interval above 0. paper: what was published for the system of this name, with its own "
            f"contexts and the encoder in brackets. {encoder} − paper: our I+T (T for BERT-CRF) minus it; where the "
            "encoders differ, so do the models."
            f"{' A row with one seed has no standard deviation and no interval over seeds.' if single else ''}"
        ),
    )


def _score(row: RowEvidence, view: str, best: str) -> Entry:
    if view not in row.views:
        return Entry(MISSING)
    found = row.views[view].f1
    note = "" if found.std is None else interval_text(found.low, found.high)
    return Entry(mean_text(found.mean, found.std), note=note, best=two_digits(found.mean) == best, value=found.mean)


def _gain(row: RowEvidence, view: str) -> Entry:
    if view not in row.gains:
        return Entry(MISSING)
    difference = row.gains[view].comparison.difference
    return Entry(minus(signed(difference)), row.gains[view].mark, value=difference)


def _seeds(row: RowEvidence) -> Entry:
    return Entry(seeds_text(row.runs.results), note=f"{len(row.runs.failures)} failed" if row.runs.failures else "")


def _paper(row: RowEvidence, encoder: str) -> tuple[Entry, Entry]:
    number = row.runs.published
    if number is None:
        return Entry(MISSING), Entry(MISSING)
    theirs = number.encoder or "encoder not stated"
    paper = Entry(f"{number.f1} ({theirs})", value=float(number.f1))
    if row.main_view not in row.views:
        return paper, Entry(MISSING)
    difference = row.views[row.main_view].f1.mean - float(number.f1)
    return paper, Entry(minus(signed(difference)), note=f"{encoder} − {theirs}", value=difference)


def verdict_grid(evidence: Evidence, question: str) -> Grid:
    """One family of comparisons with its p values."""
    family = [verdict for verdict in evidence.verdicts if verdict.question == question]
    against = question != BASELINE  # where all rows are against BERT-CRF, as the title says
    columns = ["system", "view", "Δ", "95 % interval", "p bootstrap", "p randomisation", "p methods", "seeds", "needed"]
    if against:
        columns.insert(1, "against")
    return Grid(
        name=f"{evidence.dataset}-{question}",
        title=QUESTIONS[question],
        columns=tuple(columns),
        rows=tuple(_verdict(verdict, against) for verdict in family),
        caption=(
            f"{MARKS} over the {len(family)} comparisons of this table, as are the p values, which are two-sided. "
            f"{POOLING if question == POOLED else ''}{_against(family) if against else ''}"
            "p bootstrap (paired) and p randomisation (approximate) take the test "
            "tweets as chance and the trained models as given; p methods and the interval take tweets and seeds as "
            "chance (where a row has a single seed, the interval is over tweets). needed: seeds per row for 80 % power "
            "at 5 %, if difference and spread are as observed; “–” where a row has a single seed, or no number up to "
            "1000 would do on this test split."
        ),
        left=(0, 1, 2) if against else (0, 1),
    )


def _against(family: Sequence[Verdict]) -> str:
    """Explains the short names of the other sides in a family of comparisons."""
    found = dict.fromkeys(verdict.against for verdict in family)
    return "".join(f"{short}: {long}. " for short, long in AGAINST.items() if short in found)


def _verdict(verdict: Verdict, against: bool) -> tuple[Entry, ...]:
    found = verdict.comparison
    one, two = found.seeds
    return (
        Entry(verdict.first),
        *([Entry(verdict.against)] if against else []),
        Entry(verdict.view),
        Entry(minus(signed(found.difference)), verdict.mark, value=found.difference),
        Entry(interval_text(found.low, found.high, sign=True)),
        Entry(p_text(verdict.p_bootstrap)),
        Entry(p_text(verdict.p_randomisation)),
        Entry(p_text(verdict.p_methods)),
        Entry(f"{one}" if one == two else f"{one}, {two}"),
        Entry(MISSING if found.seeds_needed is None else str(found.seeds_needed)),
    )


def type_grid(evidence: Evidence) -> Grid:
    """Precision, recall and F1 over all mentions, and F1 by entity type."""
    types = () if evidence.split is None else evidence.split.types
    rows: list[tuple[Entry, ...]] = []
    scores = ("precision", "recall", "f1", *(f"{type_}/f1" for type_ in types))
    tested = [(row, view) for row in evidence.rows for view in VIEWS if view in row.views]
    best = {s: max((_mean(row, view, s).mean for row, view in tested), default=0.0) for s in scores}
    for row, view in tested:
        entries = [Entry(row.label), Entry(view)]
        for score in scores:
            found = _mean(row, view, score)
            note = ""
            if "/" in score:
                type_ = score.removesuffix("/f1")
                note = " · ".join(f"{n[0].upper()} {_mean(row, view, f'{type_}/{n}').mean:.1f}" for n in scores[:2])
            text = mean_text(found.mean, found.std)
            entries.append(
                Entry(text, note=note, best=two_digits(found.mean) == two_digits(best[score]), value=found.mean)
            )
        rows.append(tuple(entries))
    return Grid(
        name=f"{evidence.dataset}-types",
        title="By entity type",
        columns=("system", "view", "precision", "recall", "F1", *(f"{type_} F1" for type_ in types)),
        rows=tuple(rows),
        caption="Mean ± standard deviation over seeds, in %. P and R: precision and recall of the type.",
        left=(0, 1),
    )


def _mean(row: RowEvidence, view: str, score: str) -> Estimate:
    return estimate(row.runs.scores(view, score))
