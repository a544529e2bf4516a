"""What a report says in words: what its tables show, and what is missing from them."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.evidence import METHODS_DIFFER, MODELS_DIFFER, Evidence, RowEvidence
from experiments.report.grids import interval_text, share_text
from experiments.report.reading import StudyFolder
from experiments.statistics import estimate
from experiments.table import signed
from lightning_ita.models.ita import CROSS_MODAL, TEXT


def gaps(study: StudyFolder, evidence: Evidence) -> list[str]:
    """Says what is missing, failed or stale on a data set, and what a reader must know of its data."""
    lines = []
    for row in evidence.rows:
        for result in row.row.results:
            if result.metrics is None:
                reason = f"failed: {result.failure}" if result.failure else "not run"
                lines.append(f"{row.row.label}, seed {result.cell.seed}: {reason}")
            elif result.cell.name in study.stale:
                lines.append(f"{row.row.label}, seed {result.cell.seed}: stale, from other code or settings")
    warnings = {warning for row in evidence.rows for metrics in row.row.finished for warning in metrics["warnings"]}
    return lines + sorted(warnings)


def findings(study: StudyFolder, evidence: Evidence) -> list[str]:
    """Says in sentences what the tables show: the largest gain, what the text view keeps, how certain both are."""
    best_row = best_on_dev(evidence.rows)
    baseline = next((row for row in evidence.rows if row.is_baseline and row.views), None)
    if best_row is None or baseline is None or CROSS_MODAL not in best_row.gains:
        return []
    verdict = best_row.gains[CROSS_MODAL]
    found = verdict.comparison
    level = {
        METHODS_DIFFER: "more than tweets and seeds explain by chance",
        MODELS_DIFFER: "more than these test tweets explain by chance, but not more than seeds may",
    }.get(verdict.mark, "which chance explains")
    direction = "above" if found.difference >= 0 else "below"
    lines = [
        f"{best_row.row.label}, the best ITA row on dev, is {abs(found.difference):.2f} F1 {direction} BERT-CRF in the "
        f"I+T view (95 % interval {interval_text(found.low, found.high, sign=True)}), {level}."
    ]
    kept = [row for row in evidence.rows if row.kept is not None]
    if kept:
        parts = [f"{row.row.label} {share_text(row.kept)}" for row in kept]
        lines.append(f"Of its gain in the I+T view, the text view keeps: {', '.join(parts)}.")
    else:
        lines.append("No row’s I+T gain is above 0 beyond doubt, so that there is no gain for the text view to keep.")
    marked = [v for v in evidence.verdicts if v.question == "alignment" and v.mark and v.view == TEXT]
    parts = [f"{v.first} {signed(v.comparison.difference)}{v.mark} against {v.second}" for v in marked]
    lines.append(
        f"In the text view, training on both views changes: {'; '.join(parts)}."
        if marked
        else "In the text view no row trained on both views differs from its counterpart by more than chance."
        if any(v.question == "alignment" for v in evidence.verdicts)
        else ""
    )
    if evidence.most_seeds == 1:
        lines.append("Every row has one seed: nothing here says what other seeds would give.")
    return [line for line in lines if line]


def best_on_dev(rows: Sequence[RowEvidence]) -> RowEvidence | None:
    """Returns the ITA row whose I+T view is best on dev: choosing on test would flatter it."""
    tested = [row for row in rows if CROSS_MODAL in row.views]
    return max(tested, key=lambda row: estimate(row.row.scores(CROSS_MODAL, "f1", "dev")).mean, default=None)
