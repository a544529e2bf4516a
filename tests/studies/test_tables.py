"""One grid in five outputs, with names that are code for each of them."""

from __future__ import annotations

import csv
import html.parser
import re
import subprocess
from collections.abc import Set
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from lightning_ita.studies.tables import render
from lightning_ita.studies.tables.grid import Entry, Grid, records
from tests.studies.studies import latex_with_booktabs

# Names as users and strangers may choose them: of a type, an encoder's folder, a row.
HOSTILE = (
    "[/x]",
    "[bold red]x[/]",
    ":smile:",
    "a|b",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![](http://x/y.png)",
    "[click](javascript:alert(1))",
    "[x]: http://y",
    "# title",
    "- item",
    "1. item",
    "> quotation",
    "$x^2$",
    "50 % of A_b & #c < ~1",
    "_x_ *y* `z` ~~w~~",
    "&lt;b&gt; &amp;",
    "C:\\dir\\",
    "\\input{/etc/passwd}",
    "---",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    '"quoted", "twice"',
)


def grid_of(*names: str) -> Grid:
    rows = tuple((Entry(name, note=name), Entry("1.50", "*", best=True, value=1.5), Entry("-0.50")) for name in names)
    return Grid("names", names[0], (names[0], "F1", "Δ"), rows, names[0])


def shown(markdown: str, more_tags: Set[str] = frozenset()) -> str:
    """Returns the text of a page as a reader sees it; it has no other elements than tables, lists and `more_tags`."""
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    return text_of(page, more_tags)


class Text(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def text_of(page: str, more_tags: Set[str] = frozenset()) -> str:
    parser = Text()
    parser.feed(page)
    parser.close()
    tables = {"table", "thead", "tbody", "tr", "th", "td", "strong", "sup", "small", "div"}
    assert parser.tags <= {*tables, *more_tags, "p", "ul", "li"}
    return parser.text


def printed(grid: Grid, width: int = 200) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(render.terminal(grid))
    return capture.get()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_terminal_prints_names_as_they_are(name: str) -> None:
    assert printed(grid_of(name)).count(name) == 4  # title, column, row, caption


def test_a_terminal_cuts_no_long_heading() -> None:
    names = ("learning_rate", "head_lr_factor", "crf_lr_factor", "cross_modal_weight", "cva_weight", "temperature")
    columns = ("trial", "valid F1", "valid T", "valid I+T", *names, "epochs")
    grid = Grid("trials", "Trials", columns, (tuple(Entry("0.0002") for _ in columns),))
    assert "…" not in printed(grid, width=120)


def test_escape_sequences_do_not_reach_a_terminal() -> None:
    assert "\x1b" not in printed(grid_of("a\x1b[2Jb"))
    assert "a\\x1b[2Jb" in printed(grid_of("a\x1b[2Jb"))


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_they_are(name: str) -> None:
    text = shown(render.markdown(grid_of(name)))
    assert text.split("\n")[:4] == ["", "", "", name]
    assert f"{name} ({name})" in text
    assert shown(render.markdown_line(name)).strip() == name
    assert shown(f"- {render.markdown_line(name)}").strip() == name


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" |\\[](){}<>!*_`$~&#-+=.1a;:"), min_size=1)
)
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    text = " ".join(text.split()) or "x"
    assert shown(render.markdown_line(text)).strip() == text
    line = shown(render.markdown(Grid("t", "t", ("a", "b"), ((Entry(text), Entry("c")),))))
    assert f"\n{text}\nc\n" in line


def test_markdown_keeps_numbers_and_plain_words_as_they_are() -> None:
    grid = Grid("t", "t", ("system", "Δ"), ((Entry("ITA-Cap+CVA (token)"), Entry("-0.35", note="[−0.1, 0.2]")),))
    assert render.markdown(grid).split("\n")[2] == "| ITA-Cap+CVA (token) | -0.35 ([−0.1, 0.2]) |"
    assert render.markdown_text("p < 0.001, p_bootstrap, AT&T") == "p < 0.001, p_bootstrap, AT&T"


@pytest.mark.parametrize("name", HOSTILE)
def test_html_shows_names_as_they_are(name: str) -> None:
    page = str(render.html(grid_of(name)))
    assert text_of(page).count(name) == 3  # column, row, and its note
    assert "<strong>1.50</strong><sup>*</sup>" in page


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_has_names_that_no_spreadsheet_computes(name: str) -> None:
    header, line = csv.reader(render.csv_text(grid_of(name)).splitlines())
    expected = f"'{name}" if name[0] in "=+-@" else name
    assert (header[0], line[0]) == (expected, expected)
    assert line[1] == "1.5"


def test_csv_keeps_numbers_and_leaves_gaps_empty() -> None:
    grid = records("x", [{"a": -1.5, "b": "=x"}, {"b": None, "c": True}])
    assert render.csv_text(grid) == "a,b,c\n-1.5,'=x,\n,,True\n"


def test_latex_escapes() -> None:
    assert render.latex_text("50 % of A_b & #c < ~1 {x} ^ \\y $") == (
        r"50 \% of A\_b \& \#c $<$ \textasciitilde{}1 \{x\} \textasciicircum{} \textbackslash{}y \$"
    )
    assert render.latex_text("a--b---c") == "a-{}-b-{}-{}-c"
    table = render.latex(
        Grid("a b%", "t", ("x", "y", "z"), ((Entry("[1]"), Entry("b"), Entry("[2]")),), left=(0, 2)), "t."
    )
    assert r"\label{tab:a-b-}" in table
    assert "\n{}[1] & b & [2]" in table
    assert r"\begin{tabular}{lrl}" in table


@pytest.mark.skipif(not latex_with_booktabs(), reason="no pdfLaTeX with booktabs and graphicx here")
def test_latex_compiles_whatever_the_names(tmp_path: Path) -> None:
    table = render.latex(grid_of(*HOSTILE), "Names.")
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}\begin{document}"
        + table
        + r"\end{document}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "paper.tex"]
    compiled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert compiled.returncode == 0, compiled.stdout[-2000:]


def test_long_names_are_cut() -> None:
    grid = grid_of("x" * 10**6)
    for output in (printed(grid), render.markdown(grid), render.html(grid), render.latex(grid, "t")):
        assert len(output) < 40_000
    assert not re.search("x{20000}", printed(grid))
