"""A report as plain text: terminal, Markdown, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lightning_ita.statistics.comparison import Estimate, estimate
from lightning_ita.studies.report.evidence import Evidence
from lightning_ita.studies.report.findings import findings, gaps
from lightning_ita.studies.report.grids import Entry, Grid, grids
from lightning_ita.studies.report.reading import StudyFolder
from lightning_ita.studies.tables.ablation import csv_text, markdown_table


def terminal(grid: Grid) -> Table:
    """Returns a table for the terminal, without the small print."""
    # As few rules as a paper's table: these are wide.
    table = Table(
        title=grid.title,
        caption=grid.caption,
        caption_justify="left",
        title_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )
    for index, name in enumerate(grid.columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=bool(index))
    for row in grid.rows:
        table.add_row(*(Text(entry.text + entry.mark, style="bold" if entry.best else "") for entry in row))
    return table


def markdown(study: StudyFolder, evidence: Sequence[Evidence]) -> str:
    """Writes the whole report as Markdown."""
    lines = [f"# {study.path.resolve().name}", ""]
    for each in evidence:
        lines += [f"## {each.dataset}", ""]
        lines += [f"- {finding}" for finding in findings(each)]
        for grid in grids(study, each):
            body = [[_markdown(entry) for entry in row] for row in grid.rows]
            lines += [
                "",
                f"### {grid.title}",
                "",
                *markdown_table([c.strip() for c in grid.columns], body),
                "",
                grid.caption,
            ]
        notes = gaps(study, each)
        lines += ["", "### Gaps and warnings", "", *(f"- {note}" for note in notes), ""] if notes else [""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.best else entry.text
    mark = entry.mark.replace("*", "\\*")
    return text + mark + (f" ({entry.note})" if entry.note else "")


def _fields(prefix: str, found: Estimate) -> dict[str, Any]:
    values = {"mean": found.mean, "std": found.std, "low": found.low, "high": found.high}
    return {f"{prefix}_{name}": "" if value is None else round(value, 4) for name, value in values.items()}


def rows_csv(evidence: Sequence[Evidence]) -> str:
    """Writes a line for each row and view: F1 with both intervals, gain with its p values, the share kept."""
    lines = []
    for each in evidence:
        for row in each.rows:
            for view, found in row.views.items():
                line: dict[str, Any] = {
                    "dataset": each.dataset,
                    "system": row.row.label,
                    "view": view,
                    "encoder": row.row.cell.encoder,
                    "seeds": len(found.seeds),
                    **_fields("f1", found.f1),
                    "f1_low_over_tweets": round(found.over_tweets[0], 4),
                    "f1_high_over_tweets": round(found.over_tweets[1], 4),
                    **_fields("valid_f1", estimate(row.row.scores(view, "f1", "valid"))),
                }
                if view in row.gains:
                    gain = row.gains[view]
                    line |= {
                        "gain": round(gain.comparison.difference, 4),
                        "gain_low": round(gain.comparison.low, 4),
                        "gain_high": round(gain.comparison.high, 4),
                        "mark": gain.mark,
                    }
                if row.kept is not None:
                    line |= {
                        f"kept{name}": round(v, 4) for name, v in zip(("", "_low", "_high"), row.kept, strict=True)
                    }
                number = row.row.published
                if number is not None:
                    line |= {"paper_f1": number.f1, "paper_encoder": number.encoder, "paper_source": number.source}
                    if view == row.best_view:
                        line["minus_paper"] = round(found.f1.mean - float(number.f1), 4)
                lines.append(line)
    return csv_text(lines)


def comparisons_csv(evidence: Sequence[Evidence]) -> str:
    """Writes a line for each comparison, p values before and after correction."""
    lines = []
    for each in evidence:
        for verdict in each.verdicts:
            found = verdict.comparison
            lines.append(
                {
                    "dataset": each.dataset,
                    "family": verdict.question,
                    "first": verdict.first,
                    "second": verdict.second,
                    "view": verdict.view,
                    "difference": round(found.difference, 4),
                    "low": round(found.low, 4),
                    "high": round(found.high, 4),
                    **{
                        name: _rounded(getattr(found, name)) for name in ("p_bootstrap", "p_randomisation", "p_methods")
                    },
                    "holm_p_bootstrap": _rounded(verdict.p_bootstrap),
                    "holm_p_randomisation": _rounded(verdict.p_randomisation),
                    "holm_p_methods": _rounded(verdict.p_methods),
                    "mark": verdict.mark,
                    "seeds_first": found.seeds[0],
                    "seeds_second": found.seeds[1],
                    "seeds_needed": "" if found.seeds_needed is None else found.seeds_needed,
                }
            )
    return csv_text(lines)


def _rounded(p: float | None) -> float | str:
    return "" if p is None else round(p, 6)


def types_csv(evidence: Sequence[Evidence]) -> str:
    """Writes a line for each row, view and entity type: precision, recall and F1 over seeds."""
    lines = []
    for each in evidence:
        for row in each.rows:
            for view in row.views:
                for type_ in () if each.split is None else each.split.types:
                    line: dict[str, Any] = {
                        "dataset": each.dataset,
                        "system": row.row.label,
                        "view": view,
                        "type": type_,
                    }
                    for score in ("precision", "recall", "f1"):
                        line |= _fields(score, estimate(row.row.scores(view, f"{type_}/{score}")))
                    lines.append(line)
    return csv_text(lines)
