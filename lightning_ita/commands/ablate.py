"""``lightning-ita ablate``: from tweets and contexts to the ablation table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from lightning_ita.commands.cli import (
    add_dataset,
    add_keep,
    add_logger,
    add_recipe,
    add_source,
    make_console,
    make_parser,
    parse,
    recipe_of,
    say,
    source_of,
    split_names,
    unread,
)
from lightning_ita.commands.launching import add_launcher, check_launcher, launcher_of
from lightning_ita.commands.systems import add_options, options_given, unread_options, unread_short_form
from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.errors import UserError
from lightning_ita.invocation import spelled
from lightning_ita.models import MODELS
from lightning_ita.studies.names import check_keep, check_logger
from lightning_ita.text import counted

if TYPE_CHECKING:  # --help and wrong arguments are answered before these are imported
    from lightning_ita.data.corpus import Corpus
    from lightning_ita.studies.cell import Cell
    from lightning_ita.studies.cost import Cost
    from lightning_ita.studies.plan import Study
    from lightning_ita.studies.study import Result

# Most cells that a dry run lists: to lay out thousands of lines takes longer than to plan and count them.
MOST_LINES = 200
DESCRIPTION = """\
Measures the effect of visual contexts and of cross-view alignment (CVA): trains BERT-CRF, and ITA with each context
alone and with all of them, each without and with CVA and with several seeds, and prints F1 in the text view (T: the
tweet alone) and in the cross-modal view (I+T: the tweet and its contexts) beside published numbers. Finished runs are
kept: the same command continues a study that was stopped, each run from its last checkpoint, and prints the table of
a finished study at once.

examples:
  lightning-ita ablate --contexts tag,cap
      the default study, on the generated demo corpus; needs no download
  lightning-ita ablate --dataset twitter15,twitter17 --data-dir DATA --contexts tag,cap,ocr --seeds 1,2,3
      the paper's ablation; DATA/twitter15/train.txt ... and DATA/contexts/twitter15.cap.NAME.jsonl ... must be there
  lightning-ita ablate --dataset twitter17 --data-dir DATA --contexts cap --cva off,joint,token,sequence
      the effect of alignment (token, sequence), and of training a second view without it (joint)
  lightning-ita ablate --control none,other-image-at-test,no-image-at-test:0.5
      the same models, tested with the images of other tweets, and with half of the images missing
  lightning-ita ablate --dataset twitter17 --data-dir DATA --contexts cap --encoder xlm-roberta-large --dry-run
      the runs of a study and what they cost; runs nothing
  lightning-ita ablate --launcher slurm --slurm.partition gpu --slurm.gres gpu:1 --slurm.time 4:00:00
      on a Slurm cluster; the job continues if this command ends, and the same command shows its progress again
"""


CONTROL = (
    "Controls, separated by commas; each makes further rows. none: the right images. other-image: every tweet is given "
    "the image of another tweet of its split, and so its contexts. no-image: it loses its own. With -at-test only in "
    "test, with a model that is trained once for all of them; with :0.5 for half of the tweets."
)


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 1 if a cell failed, else 0."""
    parser = make_parser("ablate", DESCRIPTION)
    parser.add_argument(
        "--systems", type=str, default="bert-crf,ita", help=f"Any of {', '.join(MODELS)}, separated by commas."
    )
    parser.add_argument(
        "--contexts",
        type=str,
        default="tag,cap",
        help="Kinds of context, separated by commas: tag, cap, ocr or your own. ITA has one row per kind, and one with "
        "all of them.",
    )
    add_dataset(parser, several=True)
    add_source(parser)
    parser.add_argument(
        "--cva",
        type=str,
        default="off,token",
        help="Training modes of each row with two views: off (I+T alone), joint (both views, no alignment), token "
        "(alignment as in the official code), sequence (as in the paper).",
    )
    parser.add_argument("--control", type=str, default="none", help=CONTROL)
    parser.add_argument("--seeds", type=str, default="1,2", help="Seeds, separated by commas.")
    add_recipe(parser)
    add_options(parser)
    parser.add_argument(
        "--out",
        type=str | None,
        help="The study's folder; by default runs/DATASET-ENCODER-CONTEXTS, or runs/DATASET-SYSTEMS-ENCODER-CONTEXTS "
        "with other systems than bert-crf and ita.",
    )
    add_launcher(parser)
    add_logger(parser)
    add_keep(parser)
    parser.add_argument("--retry-failed", action="store_true", help="Run failed cells again.")
    parser.add_argument(
        "--rerun-stale",
        action="store_true",
        help="Run cells again that were measured with another version of the code; old results move to OUT/stale.",
    )
    parser.add_argument(
        "--plan", action="store_true", help=f"Write the plan for `{spelled('work')}`, which runs it; run nothing."
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Print the plan, which cells are finished, and how long the others may take; run nothing.",
    )
    arguments = parse(parser, argv)

    check_launcher(arguments)
    check_logger(arguments.logger)
    check_keep(arguments.keep_models)
    from lightning_ita.data.controls import parse_controls
    from lightning_ita.studies.plan import (
        CACHE,
        PLAN,
        Study,
        ablation_rows,
        open_folder,
        plan,
        read_corpora,
        with_precision_of,
    )
    from lightning_ita.studies.study import collect, forget_failures, set_aside, tidy

    source = source_of(arguments)
    systems, contexts = split_names(arguments.systems), parse_contexts(arguments.contexts)
    study = Study(
        datasets=split_names(arguments.dataset),
        rows=ablation_rows(systems, contexts, split_names(arguments.cva), options_given(arguments)),
        encoder=arguments.encoder,
        seeds=parse_seeds(arguments.seeds),
        recipe=recipe_of(arguments),
        controls=parse_controls(arguments.control),
    )
    out = Path(arguments.out or default_folder(study, systems))
    console = make_console()
    if arguments.cancel:
        launcher_of(arguments).cancel(out, console)
        return 0
    corpora = read_corpora(study, source)
    study = with_precision_of(study, out)  # may import torch: later than what is wrong with the data is said
    cells = plan(study, corpora)
    warnings = [warning for corpus in corpora.values() for warning in corpus.warnings]
    unread_here = (
        *unread(source, study.contexts, study.datasets, study.of_pictures),
        *unread_options(arguments, systems),
        *unread_short_form(parser, arguments, study.rows),
    )
    for note in (*unread_here, *warnings):
        say(console, f"note: {note}")
    if arguments.dry_run:
        from lightning_ita.models.encoders.locating import encoder_shape
        from lightning_ita.studies.cost import costs, flop_per_second

        rate = flop_per_second(encoder_shape(study.encoder), study.recipe.precision)
        results = collect(cells, out)
        console.print(plan_table(results, costs(cells, corpora), rate))
        say_pass([result.cell for result in results if result.metrics is None], corpora, out / CACHE, rate, console)
        return 0

    open_folder(out, study, corpora, cells, source)
    if arguments.plan:
        hint = f"{len(cells)} cells planned: {out / PLAN}; to run them: {spelled('work', out)}"
        console.print(hint, soft_wrap=True, highlight=False, markup=False)
        return 0
    for part in tidy(cells, out):
        console.print(
            f"note: {part} holds a stopped run of a cell that is not in this plan", soft_wrap=True, markup=False
        )
    if arguments.rerun_stale:
        set_aside([result.cell for result in collect(cells, out) if result.stale], out)
    if arguments.retry_failed:
        forget_failures(cells, out)
    results = collect(cells, out)
    left = [result.cell for result in results if result.left]
    if left:
        from lightning_ita.studies.cost import costs
        from lightning_ita.studies.launch.launcher import Work
        from lightning_ita.studies.looking import look

        cache = out / CACHE
        look(left, corpora, str(cache), console)
        with console.status("counting sub-tokens"):
            weights = [cost.flop for cost in costs(cells, corpora, str(cache))]
        work = Work(
            results,
            weights,
            out,
            replace(source, cache_dir=str(cache)),
            arguments.logger,
            arguments.keep_models,
        )
        launcher_of(arguments).run(work, console)
        results = collect(cells, out)
    status = show(results, out, console)
    if arguments.keep_models != "none":
        from lightning_ita.studies.keeping import model_lines

        for line in model_lines(cells, out, arguments.keep_models):
            say(console, line)
    return status


def say_pass(cells: Sequence[Cell], corpora: Mapping[str, Corpus], cache: Path, rate: float, console: Console) -> None:
    """Prints what looking at pictures takes before the cells run, where any cell looks at some."""
    if not any(cell.options.of_pictures for cell in cells):
        return
    from lightning_ita.studies.looking import pass_cost

    pictures, flop = pass_cost(cells, corpora, str(cache) if cache.is_dir() else None)
    minutes = f", {flop / 1e12:.1f} TFLOP, about {flop / rate / 60:.1f} minutes" if flop else ""
    say(console, f"before them, one pass over the pictures: {pictures} to look at{minutes}")


def show(results: Sequence[Result], out: Path, console: Console) -> int:
    """Prints and writes the tables of a study, and what is stale or failed; returns 1 where a cell failed, else 0."""
    from lightning_ita.studies.progress import describe
    from lightning_ita.studies.study import failure_log
    from lightning_ita.studies.tables.ablation import rows_of, terminal, write_tables

    rows = rows_of(results)
    for dataset in dict.fromkeys(row.cell.dataset for row in rows):
        console.print(terminal([row for row in rows if row.cell.dataset == dataset]))
    written = ", ".join(map(str, write_tables(results, out)))
    console.print(f"written: {written}", soft_wrap=True, highlight=False, markup=False)
    hint = f"intervals, tests, plots and examples: {spelled('report', out)}"
    console.print(hint, soft_wrap=True, highlight=False, markup=False)
    stale = [result for result in results if result.stale]
    for result in stale:
        console.print(f"stale: {describe(result.cell)}", markup=False, soft_wrap=True)
    if stale:
        console.print(
            f"stale cells: {len(stale)}, measured with another version of the code; --rerun-stale runs them again"
        )
    gaps = [result for result in results if result.metrics is None]
    for result in gaps:
        console.print(f"failed: {describe(result.cell)}: {result.failure}", markup=False, soft_wrap=True)
        console.print(f"  {failure_log(result.cell, out)}", soft_wrap=True, highlight=False, markup=False)
    if gaps:
        console.print(f"{counted(len(gaps), 'cell')} failed; --retry-failed runs failed cells again")
    return 1 if gaps else 0


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads seeds separated by commas.

    Raises:
        UserError: One is not a whole number from 0 up.
    """
    try:
        seeds = tuple(int(seed) for seed in split_names(text))
    except ValueError:
        seeds = (-1,)
    if any(seed < 0 for seed in seeds):
        raise UserError(f"--seeds {text}: expected whole numbers from 0 up, for example 1,2,3")
    return seeds


def default_folder(study: Study, systems: Sequence[str]) -> str:
    """Names a study's folder by what it compares."""
    encoder = Path(study.encoder).name
    others = [] if set(systems) <= {"bert-crf", "ita"} else ["+".join(systems)]
    return "runs/" + "-".join(["+".join(study.datasets), *others, encoder, "+".join(study.contexts) or "none"])


def plan_table(results: Sequence[Result], cell_costs: Sequence[Cost], rate: float) -> Table:
    """Returns the plan with what it will cost.

    Args:
        results: What there is of each cell.
        cell_costs: What each cell takes.
        rate: Floating-point operations per second that training may reach here.
    """
    from lightning_ita.studies.progress import describe
    from lightning_ita.studies.tables.grid import Entry, Grid
    from lightning_ita.studies.tables.render import terminal

    states = ["finished" if result.metrics is not None else "failed" if result.failure else "" for result in results]
    left = sum(cost.flop for cost, state in zip(cell_costs, states, strict=True) if not state)
    counts = "".join(f", {states.count(state)} {state}" for state in ("finished", "failed") if state in states)
    minutes = round(left / rate / 60)
    about = "less than a minute" if not minutes else f"about {minutes} minute{'' if minutes == 1 else 's'}"
    more = f"the first {MOST_LINES} cells; " if len(results) > MOST_LINES else ""
    grid = Grid(
        name="plan",
        title=f"{len(results)} cells{counts}, {about}{' left' if counts else ''}",
        columns=("cell", "trained on", "k tweets", "k sub-tokens", "TFLOP", "minutes"),
        rows=tuple(
            (
                Entry(describe(result.cell)),
                Entry(", ".join(result.cell.trained_views)),
                Entry(f"{cost.tweets / 1e3:.1f}"),
                Entry(f"{cost.subtokens / 1e3:.0f}"),
                Entry(f"{cost.flop / 1e12:.1f}"),
                Entry(state or f"{cost.flop / rate / 60:.1f}"),
            )
            for result, cost, state in list(zip(results, cell_costs, states, strict=True))[:MOST_LINES]
        ),
        caption=f"{more}at {rate / 1e9:.0f} GFLOP/s, half of what such matrix products reach here just now; longer "
        "while other programs run",
        left=(0, 1),
    )
    return terminal(grid)
