"""``lightning-ita work``: runs the cells of a plan until none is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightning_ita.commands.cli import add_keep, add_logger, add_source, make_console, make_parser, say, source_of
from lightning_ita.studies.names import check_keep

DESCRIPTION = """\
Runs the cells of a study that are neither finished nor failed, one after the other, until none is left. Any number of
processes, on any number of machines that share the folder, may work on one study: each claims a cell by a lock, and if
a process is killed, another one continues its cell from the last checkpoint. At the end each process prints and writes
the tables of the whole plan, with all rows that were ever added to the study; `ablate` shows only the rows of its own
arguments.

examples:
  lightning-ita ablate --dataset twitter17 --data-dir DATA --contexts cap --plan --out runs/study
      write the plan, run nothing
  lightning-ita work runs/study
      run its cells: here, in several terminals, or as a task of a cluster
  lightning-ita work runs/study --data-dir /scratch/DATA
      the same on a machine where the data are in another folder; their SHA-256 are checked. Options that are not given
      are as planned; --context-files or --context-store replaces all files and stores of contexts of the plan
  lightning-ita work runs/study
      once all are finished: prints the table of all rows, runs nothing
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 1 where a cell of the plan has failed, else 0."""
    parser = make_parser("work", DESCRIPTION)
    parser.add_argument("study", type=str, help="The study's folder, with its plan.jsonl.")
    add_source(parser)
    add_logger(parser)
    add_keep(parser)
    parser.add_argument("--threads", type=int | None, help="Threads of this process; by default all cores.")
    arguments = parser.parse_args(list(argv))
    check_keep(arguments.keep_models)

    from lightning_ita.studies.plan import CACHE, check_data, open_plan, read_source

    out = Path(arguments.study)
    cells = open_plan(out)
    console = make_console()

    from lightning_ita.commands.ablate import show
    from lightning_ita.studies.keeping import model_lines
    from lightning_ita.studies.launch.local import run_here
    from lightning_ita.studies.looking import corpora_of, look
    from lightning_ita.studies.study import collect

    source = source_of(arguments)
    left = [result.cell for result in collect(cells, out) if result.left]
    if left:
        source = replace(read_source(out, source), cache_dir=str(out / CACHE))
        check_data(left, source)
        looking = [cell for cell in left if cell.options.of_pictures]
        look(looking, corpora_of(looking, source), source.cache_dir, console)
    run_here(cells, out, source, arguments.threads, arguments.logger, console, arguments.keep_models)
    for line in model_lines(cells, out, arguments.keep_models):
        say(console, line)
    return show(collect(cells, out), out, console)
