"""Outputs of a grid: terminal, Markdown, CSV, LaTeX, HTML.

Names of systems, entity types, encoders and files come from users and others. They are text in every output: no
markup of rich, Markdown, HTML or LaTeX in them has an effect, and no spreadsheet takes them for a formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from markupsafe import Markup, escape
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lightning_ita.studies.tables.grid import Entry, Grid
from lightning_ita.text import printable

# Longest text of an entry, in characters; captions may be longer.
MOST_ENTRY, MOST_CAPTION = 300, 10_000
# A text that starts with one of these is a formula for a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
# What Markdown gives a meaning: characters that always have one, "_", "<" and "&" where they do, and the end of a
# link's text; at the start of a line also what makes a heading, a quotation, a list or a rule.
MARKDOWN = re.compile(r"[\\`*$~|]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|\](?=[(\[:])|&(?=#?\w+;)")
MARKDOWN_START = re.compile(r"^(\s*\d{0,9})(?=[#>+=.)-])")
LATEX = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "≤": r"$\le$",
    "<": "$<$",
    ">": "$>$",
    "Δ": r"$\Delta$",
    "τ": r"$\tau$",
    "°": r"$^{\circ}$",
    "†": r"$^{\dagger}$",
    "*": r"$^{*}$",
    "·": r"$\cdot$",
    "–": "--",
    "…": r"\dots{}",
    "’": "'",
    "“": "``",
    "”": "''",
}


def terminal(grid: Grid) -> Table:
    """Returns a table for the terminal, without the small print, with as few rules as a table of a paper."""
    table = Table(
        title=Text(printable(grid.title)),
        caption=Text(printable(grid.caption, MOST_CAPTION)),
        caption_justify="left",
        title_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )
    for index, name in enumerate(grid.columns):
        left = index in grid.left
        # A sweep has many columns: rich would cut cross_modal_weight.
        heading = printable(name) if left else printable(name).replace("_", "_\n")
        table.add_column(Text(heading), justify="left" if left else "right", no_wrap=not left)
    for row in grid.rows:
        table.add_row(*(Text(printable(e.text, MOST_ENTRY) + e.mark, style="bold" if e.best else "") for e in row))
    return table


def markdown(grid: Grid) -> str:
    """Returns a table in Markdown, without title and caption."""
    lines = [[markdown_text(name) for name in grid.columns], ["---"] * len(grid.columns)]
    lines += [[_markdown_entry(entry) for entry in row] for row in grid.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _markdown_entry(entry: Entry) -> str:
    text = markdown_text(entry.text)
    return (
        (f"**{text}**" if entry.best else text)
        + markdown_text(entry.mark)
        + (f" ({markdown_text(entry.note)})" if entry.note else "")
    )


def markdown_text(text: str, most: int = MOST_ENTRY) -> str:
    """Writes plain text so that Markdown shows it as it is within a line."""
    return MARKDOWN.sub(r"\\\g<0>", printable(text, most))


def markdown_line(text: str) -> str:
    """Writes plain text so that Markdown shows it as it is where it starts a paragraph or an entry of a list."""
    return MARKDOWN_START.sub(r"\1\\", markdown_text(text, MOST_CAPTION), count=1)


def csv_text(grid: Grid) -> str:
    """Returns a table as CSV: values in full where there are any, no marks and notes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_no_formula(name) for name in grid.columns])
    writer.writerows([_no_formula(e.text) if e.value is None else e.value for e in row] for row in grid.rows)
    return text.getvalue()


def _no_formula(text: str) -> str:
    """Puts an apostrophe before a text that a spreadsheet would compute, as spreadsheets themselves write such text."""
    return f"'{text}" if text.startswith(FORMULA) else text


def latex(grid: Grid, title: str) -> str:
    """Returns a table with rules of booktabs, the best in bold.

    Args:
        grid: The table.
        title: What the caption says before the grid's own.
    """
    alignment = "".join("l" if index in grid.left else "r" for index in range(len(grid.columns)))
    label = re.sub(r"[^\w+-]", "-", grid.name, flags=re.ASCII)
    return "\n".join(
        [
            r"\begin{table*}[t]",
            r"\centering",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _latex_row([Entry(column) for column in grid.columns]),
            r"\midrule",
            *(_latex_row(row) for row in grid.rows),
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\caption{{{latex_text(f'{title} {grid.caption}'.strip(), MOST_CAPTION)}}}",
            rf"\label{{tab:{label}}}",
            r"\end{table*}",
            "",
        ]
    )


def _latex_row(row: Sequence[Entry]) -> str:
    text = " & ".join(_latex_entry(entry) for entry in row) + r" \\"
    # A bracket after a rule or the end of the row before would be read as a distance.
    return "{}" + text if text.startswith("[") else text


def _latex_entry(entry: Entry) -> str:
    text = latex_text(entry.text)
    if entry.best:
        text = r"\textbf{" + text + "}"
    text += latex_text(entry.mark)
    if entry.note:
        note = rf"{{\scriptsize {latex_text(entry.note)}}}"
        return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{text}\\[-2pt]{note}\end{{tabular}}"
    return text


def latex_text(text: str, most: int = MOST_ENTRY) -> str:
    """Writes plain text so that LaTeX prints it as it is."""
    separate = printable(text, most).replace("--", "-\0-").replace("--", "-\0-")  # two hyphens are printed as a dash
    return "".join(LATEX.get(character, character) for character in separate).replace("\0", "{}")


def html(grid: Grid) -> Markup:
    """Returns a table that can be scrolled, without title and caption."""
    sides = [Markup(' class="left"') if index in grid.left else "" for index in range(len(grid.columns))]
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(side, printable(name))
        for side, name in zip(sides, grid.columns, strict=True)
    )
    body = Markup("\n").join(
        Markup('<tr><th scope="row"{}>{}</th>{}</tr>').format(
            sides[0],
            _html_entry(row[0]),
            Markup("").join(
                Markup("<td{}>{}</td>").format(side, _html_entry(entry))
                for side, entry in zip(sides[1:], row[1:], strict=True)
            ),
        )
        for row in grid.rows
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>\n'
        "<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table></div>"
    ).format(printable(grid.title), head, body)


def _html_entry(entry: Entry) -> Markup:
    text = escape(printable(entry.text, MOST_ENTRY))
    if entry.best:
        text = Markup("<strong>{}</strong>").format(text)
    if entry.mark:
        text += Markup("<sup>{}</sup>").format(entry.mark)
    if entry.note:
        text += Markup("<small>{}</small>").format(printable(entry.note))
    return text
