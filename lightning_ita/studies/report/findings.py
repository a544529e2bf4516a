"""The sentences of a report: what its tables show, and what is missing from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.studies.report.evidence import (
    ALIGNMENT,
    METHODS_DIFFER,
    MODELS_DIFFER,
    POOLED,
    Evidence,
    RowEvidence,
    Verdict,
)
from lightning_ita.studies.report.grids import interval_text, minus, share_text
from lightning_ita.studies.report.reading import StudyFolder
from lightning_ita.studies.tables.ablation import STALE_MARK, models_of_their_own, signed
from lightning_ita.studies.tables.grid import two_digits

# So many rows are named in a sentence; of more, those at both ends.
MOST_NAMED = 4


def gaps(study: StudyFolder, evidence: Evidence) -> list[str]:
    """Says what is missing, failed or stale on a data set, and what a reader must know of its data."""
    runs: dict[str, dict[str, list[int]]] = {}  # seeds, by reason and row
    for row in evidence.rows:
        for result in row.runs.results:
            if result.metrics is None:
                reason = f"failed: {result.failure}" if result.failure else "not run"
            elif result.stale:
                reason = f"stale{STALE_MARK}, measured with another version of the code, other settings or other data"
            else:
                continue
            runs.setdefault(reason, {}).setdefault(row.label, []).append(result.cell.seed)
    lines = []
    for reason, by_row in runs.items():
        if len(by_row) > MOST_NAMED:
            count = sum(map(len, by_row.values()))
            lines.append(f"{count} runs of {len(by_row)} rows, from {next(iter(by_row))} on: {reason}")
            continue
        for label, seeds in by_row.items():
            lines.append(f"{label}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}: {reason}")
    # Of a study without a plan, whose logs name their cell by its folder.
    lines += [
        f"{name}: failed: {why}" for name, why in study.failures.items() if name.startswith(f"{evidence.dataset}-")
    ]
    lines += models_of_their_own([row.runs for row in evidence.rows])
    warnings = {warning for row in evidence.rows for metrics in row.runs.finished for warning in metrics["warnings"]}
    return lines + sorted(warnings)


def findings(evidence: Evidence) -> list[str]:
    """Says in sentences what the tables show: the largest gain, what the text view keeps, how certain both are."""
    best_row = best_on_valid(evidence.rows)
    lines = [] if best_row is None or CROSS_MODAL not in best_row.gains else [_gain(best_row), _kept(evidence)]
    lines += [*_alignment(evidence), *_pooled(evidence)]
    if evidence.most_seeds == 1:
        lines.append("Every row has one seed: nothing here says what other seeds would give.")
    return lines


def _gain(row: RowEvidence) -> str:
    verdict = row.gains[CROSS_MODAL]
    found = verdict.comparison
    level = {
        METHODS_DIFFER: "more than tweets and seeds explain by chance",
        MODELS_DIFFER: "more than the choice of test tweets explains by chance, but other seeds may not show it",
    }.get(verdict.mark, "which may be chance, all comparisons counted")
    direction = "above" if found.difference >= 0 else "below"
    points, interval = two_digits(abs(found.difference)), interval_text(found.low, found.high, sign=True)
    return (
        f"{row.label}, the best row on valid, is {points} F1 {direction} BERT-CRF in the I+T view (95 % interval "
        f"{interval}), {level}."
    )


def _kept(evidence: Evidence) -> str:
    parts = {}
    for row in evidence.rows:
        if row.kept is not None:
            between = minus(f"{100 * row.kept.low:.0f} to {100 * row.kept.high:.0f}")
            below = "; negative: it is below BERT-CRF" if row.kept.value < 0 else ""
            parts[f"{row.label} {share_text(row.kept)} (95 % interval {between}{below})"] = row.kept.value
    if not parts:
        return "No row gains beyond doubt in the I+T view, so there is no gain for the text view to keep."
    if len(parts) > MOST_NAMED:
        least, most = _ends(parts)
        return f"Of the gain in the I+T view, the text views of {len(parts)} rows keep from {least} to {most}."
    return f"Of the gain in the I+T view, the text view keeps: {'; '.join(parts)}."


def _ends(values: Mapping[str, float]) -> tuple[str, str]:
    """Returns what has the smallest value, and what has the greatest."""
    return min(values, key=values.__getitem__), max(values, key=values.__getitem__)


def _alignment(evidence: Evidence) -> list[str]:
    tested = [verdict for verdict in evidence.verdicts if verdict.question == ALIGNMENT and verdict.view == TEXT]
    parts = {_difference(verdict): verdict.comparison.difference for verdict in tested if verdict.mark}
    if not tested:
        return []
    if len(parts) > MOST_NAMED:
        least, most = _ends(parts)
        return [
            f"In the text view, two views and CVA change F1 in {len(parts)} of {len(tested)} comparisons: from {least} "
            f"to {most}."
        ]
    if parts:
        return [f"In the text view, two views and CVA change: {'; '.join(parts)}."]
    return ["In the text view, no row with two views or CVA differs from its counterpart by more than chance."]


def _pooled(evidence: Evidence) -> list[str]:
    parts = []
    for verdict in evidence.verdicts:
        if verdict.question == POOLED and verdict.view == TEXT:
            interval = interval_text(verdict.comparison.low, verdict.comparison.high, sign=True)
            parts.append(f"{_difference(verdict)} (95 % interval {interval})")
    return [f"In the text view, all rows of a system together: {'; '.join(parts)}."] if parts else []


def _difference(verdict: Verdict) -> str:
    return f"{verdict.first} {minus(signed(verdict.comparison.difference))}{verdict.mark} against {verdict.second}"


def best_on_valid(rows: Sequence[RowEvidence]) -> RowEvidence | None:
    """Returns the row whose I+T view is best on valid: chosen on test, it would look better than it is."""
    tested = [row for row in rows if CROSS_MODAL in row.views and row.cell.control is None]
    return max(tested, key=lambda row: row.runs.mean(CROSS_MODAL, "f1", "valid") or 0.0, default=None)
