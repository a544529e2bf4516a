"""A report in files other than its page: Markdown, LaTeX, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_ita.statistics.comparison import Estimate, estimate
from lightning_ita.studies.report.evidence import Evidence
from lightning_ita.studies.report.findings import findings, gaps
from lightning_ita.studies.report.grids import grids
from lightning_ita.studies.report.reading import StudyFolder
from lightning_ita.studies.tables.ablation import rounded
from lightning_ita.studies.tables.grid import records
from lightning_ita.studies.tables.render import csv_text, markdown_line, markdown_text
from lightning_ita.studies.tables.render import latex as latex_table
from lightning_ita.studies.tables.render import markdown as markdown_table
from lightning_ita.text import without_folder

PREAMBLE = r"""% \usepackage{booktabs,graphicx}, then \input this file. With pdfLaTeX also \usepackage[T1]{fontenc}.
"""


def markdown(study: StudyFolder, evidence: Sequence[Evidence]) -> str:
    """Writes the whole report as Markdown."""
    lines = [f"# {markdown_text(study.path.resolve().name)}", ""]
    for each in evidence:
        lines += [f"## {markdown_text(each.dataset)}", ""]
        lines += [f"- {markdown_line(finding)}" for finding in findings(each)]
        for grid in grids(study, each):
            lines += ["", f"### {markdown_text(grid.title)}", "", markdown_table(grid), "", markdown_line(grid.caption)]
        notes = [f"- {markdown_line(note)}" for note in gaps(study, each)]
        lines += ["", "### Gaps and warnings", "", *notes, ""] if notes else [""]
    return "\n".join(lines).rstrip() + "\n"


def latex(study: StudyFolder, evidence: Sequence[Evidence]) -> str:
    """Writes the tables of all data sets in LaTeX, for a paper to read in."""
    tables = []
    for each in evidence:
        for grid in grids(study, each):
            title = grid.title if grid.title.endswith("?") else f"{grid.title}."
            tables.append("\n" + latex_table(grid, f"{each.dataset}: {title}"))
    return PREAMBLE + "".join(tables)


def _fields(prefix: str, found: Estimate) -> dict[str, Any]:
    values = {"mean": found.mean, "std": found.std, "low": found.low, "high": found.high}
    return {f"{prefix}_{name}": rounded(value) for name, value in values.items()}


def rows_csv(evidence: Sequence[Evidence]) -> str:
    """Writes one line per row and view: F1 with both intervals, gain with its p values, the share kept."""
    lines = []
    for each in evidence:
        for row in each.rows:
            for view, found in row.views.items():
                line: dict[str, Any] = {
                    "dataset": each.dataset,
                    "system": row.label,
                    "view": view,
                    "encoder": without_folder(row.cell.encoder),
                    "seeds": len(found.seeds),
                    **_fields("f1", found.f1),
                    "f1_low_over_tweets": round(found.over_tweets[0], 4),
                    "f1_high_over_tweets": round(found.over_tweets[1], 4),
                    **_fields("valid_f1", estimate(row.runs.scores(view, "f1", "valid"))),
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
                number = row.runs.published
                if number is not None:
                    line |= {"paper_f1": number.f1, "paper_encoder": number.encoder, "paper_source": number.source}
                    if view == row.main_view:
                        line["minus_paper"] = round(found.f1.mean - float(number.f1), 4)
                lines.append(line)
    return csv_text(records("rows", lines))


def comparisons_csv(evidence: Sequence[Evidence]) -> str:
    """Writes one line per comparison, with p values before and after correction."""
    lines = []
    for each in evidence:
        for verdict in each.verdicts:
            found = verdict.comparison
            p_values = {
                name: _rounded(getattr(found, name)) for name in ("p_bootstrap", "p_randomisation", "p_methods")
            }
            lines.append(
                {
                    "dataset": each.dataset,
                    "family": verdict.question,
                    "first": verdict.first,
                    "second": verdict.second,
                    "against": verdict.against,
                    "view": verdict.view,
                    "difference": round(found.difference, 4),
                    "low": round(found.low, 4),
                    "high": round(found.high, 4),
                    **p_values,
                    "holm_p_bootstrap": _rounded(verdict.p_bootstrap),
                    "holm_p_randomisation": _rounded(verdict.p_randomisation),
                    "holm_p_methods": _rounded(verdict.p_methods),
                    "mark": verdict.mark,
                    "seeds_first": found.seeds[0],
                    "seeds_second": found.seeds[1],
                    "seeds_needed": found.seeds_needed,
                }
            )
    return csv_text(records("comparisons", lines))


def _rounded(p: float | None) -> float | None:
    return None if p is None else round(p, 6)


def types_csv(evidence: Sequence[Evidence]) -> str:
    """Writes one line per row, view and entity type: precision, recall and F1 over seeds."""
    lines = []
    for each in evidence:
        for row in each.rows:
            for view in row.views:
                for type_ in () if each.split is None else each.split.types:
                    line: dict[str, Any] = {
                        "dataset": each.dataset,
                        "system": row.label,
                        "view": view,
                        "type": type_,
                    }
                    for score in ("precision", "recall", "f1"):
                        line |= _fields(score, estimate(row.runs.scores(view, f"{type_}/{score}")))
                    lines.append(line)
    return csv_text(records("types", lines))
