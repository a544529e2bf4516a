"""A report's tables in LaTeX, for papers: booktabs, the best in bold, marks of significance."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_ita.studies.report.evidence import Evidence
from lightning_ita.studies.report.grids import Entry, Grid, grids
from lightning_ita.studies.report.reading import StudyFolder

PREAMBLE = r"""% \usepackage{booktabs,graphicx}, then \input this file. With pdfLaTeX also \usepackage[T1]{fontenc}.
"""
ESCAPES = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "≤": r"$\le$",
    "<": "$<$",
    ">": "$>$",
    "Δ": r"$\Delta$",
    "°": r"$^{\circ}$",
    "*": r"$^{*}$",
    "·": r"$\cdot$",
    "–": "--",
    "’": "'",
    "“": "``",
    "”": "''",
}


def escape(text: str) -> str:
    """Writes plain text so that LaTeX prints it as it is."""
    return "".join(ESCAPES.get(character, character) for character in text)


def latex(study: StudyFolder, evidence: Sequence[Evidence]) -> str:
    """Writes the tables of all data sets, for a paper to read in."""
    return PREAMBLE + "".join(tabular(each.dataset, grid) for each in evidence for grid in grids(study, each))


def tabular(dataset: str, grid: Grid) -> str:
    """Writes one table."""
    header = " & ".join(escape(column.strip()) for column in grid.columns)
    alignment = "ll" if grid.columns[1] in ("view", "encoder") else "lr"
    alignment += "l" * (len(grid.columns) - 2) if grid.columns[-1] == "source" else "r" * (len(grid.columns) - 2)
    title = grid.title if grid.title.endswith("?") else f"{grid.title}."
    body = [" & ".join(_entry(entry) for entry in row) + r" \\" for row in grid.rows]
    return "\n".join(
        [
            "",
            r"\begin{table*}[t]",
            r"\centering",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            header + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\caption{{{escape(f'{dataset}: {title} {grid.caption}')}}}",
            rf"\label{{tab:{grid.name}}}",
            r"\end{table*}",
            "",
        ]
    )


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.best:
        text = r"\textbf{" + text + "}"
    text += escape(entry.mark)
    if not entry.note:
        return text
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{text}\\[-2pt]{{\scriptsize {escape(entry.note)}}}\end{{tabular}}"
