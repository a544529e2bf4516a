"""``lightning-ita report``: makes tables, plots, statistical tests and examples from a study folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from lightning_ita.commands.cli import add_source, make_console, make_parser, source_of
from lightning_ita.errors import UserError
from lightning_ita.files import write_text
from lightning_ita.statistics.resampling import RESAMPLES
from lightning_ita.text import printable

DESCRIPTION = """\
Writes a report of a study: tables with intervals, significance tests, and the share of the gain in I+T that the text
view keeps; plots; tweets in which the image repaired or caused an error; the origin of every number. Reads the
finished runs, shows which are missing, and trains nothing. Prints the ablation table and its tests; writes
report.html, report.md, tables.tex, rows.csv, comparisons.csv and types.csv.

examples:
  lightning-ita report runs/demo-minilm-cap+tag
      the default study
  lightning-ita report runs/twitter --data-dir DATA
      a study of an earlier version, whose predictions have no words: the words are read from the corpus
  lightning-ita report runs/twitter --examples false
      a page to publish, without tweets
"""

# Longest line that is printed; findings name many rows.
MOST_CHARACTERS = 10_000


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 0."""
    parser = make_parser("report", DESCRIPTION)
    parser.add_argument("study", type=str, help="The folder of a study.")
    parser.add_argument("--out", type=str | None, help="Where to write; by default report/ in the study's folder.")
    parser.add_argument(
        "--resamples",
        type=int,
        default=RESAMPLES,
        help="Number of resamples in the bootstrap and in the randomisation.",
    )
    parser.add_argument(
        "--examples",
        type=bool,
        default=True,
        help="Whether the report quotes tweets; not every corpus may be published.",
    )
    add_source(parser)
    arguments = parser.parse_args(list(argv))
    if arguments.resamples < 100:
        raise UserError(f"--resamples {arguments.resamples}: expected 100 or more")

    # What is wrong with the arguments or the folder is said before torch, SciPy and Matplotlib are imported.
    from lightning_ita.studies.report.reading import read_split, read_study

    console, source = make_console(), source_of(arguments)
    study = read_study(Path(arguments.study))

    from lightning_ita.studies.report.evidence import QUESTIONS, weigh
    from lightning_ita.studies.report.findings import findings, gaps
    from lightning_ita.studies.report.grids import main_grid, verdict_grid
    from lightning_ita.studies.report.page import page
    from lightning_ita.studies.report.text import comparisons_csv, latex, markdown, rows_csv, types_csv
    from lightning_ita.studies.tables.render import terminal

    evidence = []
    for name in study.data:
        with console.status(_text(f"{name}: reading predictions")) as status:
            split = read_split(study, name, source)
            status.update(_text(f"{name}: resampling"))
            evidence.append(weigh(study, name, split, arguments.resamples))
    for each in evidence:
        console.rule(_text(each.dataset))
        for line in findings(each):
            console.print(_text(f"• {line}"))
        main = [main_grid(study, each)] if each.rows else []
        for grid in [*main, *(verdict_grid(each, question) for question in QUESTIONS)]:
            if grid.rows:
                console.print(terminal(grid))
        for line in gaps(study, each):
            console.print(_text(f"note: {line}"))
    files = {
        "report.html": page(study, evidence, arguments.examples),
        "report.md": markdown(study, evidence),
        "tables.tex": latex(study, evidence),
        "rows.csv": rows_csv(evidence),
        "comparisons.csv": comparisons_csv(evidence),
        "types.csv": types_csv(evidence),
    }
    out = Path(arguments.out) if arguments.out else study.path / "report"
    for name, text in files.items():
        write_text(out / name, text)
    console.print(_text("written: " + ", ".join(str(out / name) for name in files)), soft_wrap=True)
    return 0


def _text(line: str) -> Text:
    """Returns a line as it is printed: nothing in it is markup."""
    return Text(printable(line, MOST_CHARACTERS))
