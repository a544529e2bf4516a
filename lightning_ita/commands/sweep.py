"""``lightning-ita sweep``: searches hyper-parameters on valid, and trains the best again with other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightning_ita.commands.ablate import parse_seeds
from lightning_ita.commands.cli import (
    add_dataset,
    add_keep,
    add_recipe,
    add_source,
    given_arguments,
    make_console,
    make_parser,
    parse,
    recipe_of,
    say,
    source_of,
    unread,
)
from lightning_ita.commands.launching import add_launcher, check_launcher, launcher_of
from lightning_ita.commands.systems import add_options, one_system, unread_options, unread_short_form
from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.data import DATASETS
from lightning_ita.devices import available_precision
from lightning_ita.errors import UserError, unknown
from lightning_ita.models import MODELS
from lightning_ita.studies import sweep
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.names import check_keep
from lightning_ita.studies.plan import CACHE
from lightning_ita.studies.sweep.space import read_method, read_space, searched
from lightning_ita.studies.sweep.values import corners, defaults, grid_size, with_values

DESCRIPTION = """\
Searches hyper-parameters with Optuna. Each trial trains one model and scores it on valid; bad trials end early. No
trial is scored on test. The best trials are then trained again with other seeds; the one with the highest mean on valid
is chosen, and only these are scored on test.

The hyper-parameters to search are listed in a YAML file, in the format of Weights & Biases, so that both can use one
file. Their names are arguments of `lightning-ita train`, options of a system (ita.cva) included. A hyper-parameter that
is given as an argument, or in a --config file, is not searched, but has this value in every trial. Finished trials are
kept: the same command continues a sweep that was stopped, and trials that were killed.

The file's `method` says how values are chosen. bayes (the default): by Optuna's TPE. random: at random. With both, the
first trial has the recipe's own values. grid: each combination of values once, in the order of the file; the first
parameter changes last.

examples:
  lightning-ita sweep
      12 trials over sweeps/cva.yaml on the demo corpus, the best 2 with 3 seeds; needs no download
  lightning-ita sweep --trials 40
      continue, up to 40 trials in all
  lightning-ita sweep --dataset twitter17 --data-dir DATA --contexts cap --recipe.epochs 5 --trials 30
      on real data, with contexts and epochs fixed
  lightning-ita sweep --storage postgresql+psycopg://user:password@host/sweeps --name cva --trials 200
      several machines share one sweep: run the command on each; a file in a shared folder works too
  lightning-ita sweep --launcher slurm --jobs 8 --slurm.partition gpu --slurm.gres gpu:1 --trials 60
      8 workers as an array job of Slurm, on the trials in the sweep's folder; --launcher ray takes a --storage by URL
  lightning-ita sweep --space mine.yaml --pruner none --top 0 --out runs/mine
      another space; no trial ends early, and none is trained again
  lightning-ita sweep --space sweeps/front.yaml --pruner none --contexts cap --top 0
      a grid of 8 combinations: how far gains in one view cost the other; views.png shows it
"""
# The same as sweeps/cva.yaml, which W&B reads.
SPACE = Path(sweep.__file__).with_name("cva.yaml")
# Trials unless a number is given, and the most of a grid, whose combinations are all queued at the start.
TRIALS, MOST_OF_GRID = 12, 10_000
PRUNERS = ("median", "halving", "none")


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 1 where a winner's run failed, else 0."""
    parser = make_parser("sweep", DESCRIPTION)
    parser.add_argument(
        "--space",
        type=str | None,
        help="A YAML file whose `parameters` are searched; by default sweeps/cva.yaml, which explains the format.",
    )
    parser.add_argument(
        "--trials",
        type=int | None,
        help=f"Trials to finish in all, pruned ones included; by default {TRIALS}; for a grid, all its "
        "combinations, and never more.",
    )
    parser.add_argument(
        "--pruner",
        type=str,
        default="median",
        help="What ends a trial early: median (worse than the median of earlier ones after as many epochs, from the "
        "second epoch on; of two, after the first), halving (the worse half after 1, 2, 4 ... epochs), none.",
    )
    add_dataset(parser)
    add_source(parser)
    parser.add_argument("--system", type=str | None, help=f"One of {', '.join(MODELS)}; by default ita.")
    parser.add_argument("--contexts", type=str, default="tag,cap", help="Kinds of context, if they are not searched.")
    parser.add_argument("--cva", type=str, default="token", help="Training mode, if it is not searched.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the search and of every trial.")
    add_recipe(parser)
    add_options(parser)
    parser.add_argument("--top", type=int, default=2, help="How many of the best trials are trained again; 0 for none.")
    parser.add_argument(
        "--seeds",
        type=str,
        default="1,2,3",
        help="Seeds with which the best trials are trained again; other than --seed.",
    )
    parser.add_argument(
        "--rerun-stale",
        action="store_true",
        help="Train winners again that another version of the code trained; old results move to OUT/winners/stale.",
    )
    parser.add_argument("--out", type=str | None, help="The sweep's folder; by default runs/sweep-DATASET-ENCODER.")
    parser.add_argument(
        "--storage",
        type=str | None,
        help="Where trials are recorded: a file ending in .log (journal) or .db (SQLite), or a URL such as "
        "postgresql+psycopg://user:password@host/database, whose driver (psycopg) you must install; by default "
        "sweep.db in the sweep's folder, or sweep.log with a --launcher of several machines.",
    )
    parser.add_argument("--name", type=str | None, help="The sweep's name in the storage; by default its folder's.")
    add_launcher(parser, "Trials")
    add_keep(parser)
    arguments = parse(parser, argv)

    check_keep(arguments.keep_models)
    check_launcher(arguments)
    for name, least in (("trials", 1), ("top", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if arguments.pruner not in PRUNERS:
        raise unknown("pruner", arguments.pruner, PRUNERS)
    seeds = parse_seeds(arguments.seeds)
    if arguments.top and (not seeds or arguments.seed in seeds):
        raise UserError(
            f"--seeds {arguments.seeds}: expected at least one, and not {arguments.seed}, with which the trials are run"
        )
    source = source_of(arguments)
    path = Path(arguments.space or SPACE)
    method, space = read_method(path), read_space(path, given_arguments(parser, argv).keys())
    trials = trials_of(arguments.trials, grid_size(space)) if method == "grid" else arguments.trials or TRIALS
    contexts = parse_contexts(arguments.contexts)
    is_searched = "cva" in {parameter.name for parameter in space}
    base = Cell(
        dataset=arguments.dataset,
        options=one_system(arguments, contexts, "off" if is_searched and not contexts else arguments.cva),
        encoder=arguments.encoder,
        seed=arguments.seed,
        recipe=recipe_of(arguments),
    )
    console = make_console()
    cells = [with_values(base, values) for values in corners(space)]
    kinds = dict.fromkeys(kind for cell in cells for kind in cell.contexts)
    dataset = DATASETS[base.dataset]()
    corpus = dataset.read(source, parse_contexts(kinds), base.recipe.labels)
    of_pictures = dict.fromkeys(part for cell in cells for part in cell.options.of_pictures)
    corpus = dataset.with_pictures(corpus, source, tuple(of_pictures))
    unread_here = (
        *unread(source, corpus.contexts, [base.dataset], of_pictures),
        *unread_options(arguments, list(dict.fromkeys(cell.system for cell in cells))),
        *unread_short_form(parser, arguments, [cell.options for cell in cells]),
    )
    for note in (*unread_here, *corpus.warnings):
        say(console, f"note: {note}")
    if len({cell.trained_views for cell in cells}) > 1:
        say(console, "note: F1 on valid is the mean over the trained views, which differ between these trials")
    if any(parameter.name == "recipe.labels" and len(parameter.values) > 1 for parameter in space):
        say(console, "note: F1 on valid is counted with recipe.labels, which differs between these trials")
    own = defaults(base, space)
    drawn = [parameter.label for parameter in searched(space) if parameter.name not in own]
    if method == "grid":
        size = grid_size(space)
        say(console, f"note: a grid of {size} combinations; trials to run in all, in the order of the file: {trials}")
    elif drawn:
        say(
            console,
            f"note: the first trial samples {', '.join(drawn)}, since the recipe's own value is outside the space",
        )

    # What is wrong with arguments or data is said before torch and Lightning are imported.
    base = replace(base, recipe=replace(base.recipe, precision=available_precision(base.recipe.precision)))
    try:
        from lightning_ita.studies.looking import look
        from lightning_ita.studies.sweep.search import WINNERS, search
        from lightning_ita.studies.sweep.storage import Sweep
    except ModuleNotFoundError as error:
        raise UserError(
            f"a sweep needs the package {error.name}; `pip install lightning-ita[sweeps]` brings it"
        ) from None

    out = Path(arguments.out or f"runs/sweep-{base.dataset}-{Path(base.encoder).name}")
    launcher = launcher_of(arguments)
    if arguments.cancel:
        for folder in (out, out / WINNERS):
            launcher.cancel(folder, console)
        return 0
    if of_pictures:
        source = replace(source, cache_dir=str(out / CACHE))
        look(cells, {base.dataset: corpus}, source.cache_dir, console)
    sweep = Sweep(
        name=arguments.name or out.name,
        storage=storage_of(arguments.storage, out, arguments.launcher != "local"),
        out=out,
        base=base,
        digests=dict(corpus.digests),
        source=source,
        space=space,
        trials=trials,
        pruner=arguments.pruner,
        method=method,
    )
    return search(sweep, console, launcher, arguments.top, seeds, arguments.keep_models, arguments.rerun_stale)


def trials_of(given: int | None, size: int) -> int:
    """Returns how many trials of a grid are run.

    Args:
        given: How many were asked for.
        size: How many combinations the grid has.

    Raises:
        UserError: They are too many.
    """
    trials = min(given or size, size)
    if trials > MOST_OF_GRID:
        raise UserError(
            f"a grid of {size} combinations: at most {MOST_OF_GRID} can be run; list fewer values, or give --trials "
            "to run the first of them, or choose method random in the sweep file"
        )
    return trials


def storage_of(given: str | None, out: Path, on_cluster: bool = False) -> str:
    """Returns the URL of a database, or the path of a journal.

    Args:
        given: What was asked for.
        out: The sweep's folder, which has the storage if none was asked for.
        on_cluster: Whether workers run on several machines: SQLite's locks do not reach over all network file systems,
            a journal's do.

    Raises:
        UserError: It is neither a URL nor a file of a kind that is known, or its name cannot be part of a URL.
    """
    if given is None and not (out / "sweep.db").exists() and (on_cluster or (out / "sweep.log").exists()):
        return str(out / "sweep.log")
    if given is None or (given.endswith(".db") and "://" not in given):
        if "?" in str(given or out):
            raise UserError(
                f"{given or out}: SQLite cannot open a file in a folder with a ? in its name; choose another"
            )
        return f"sqlite:///{given or out / 'sweep.db'}"
    if "://" not in given and not given.endswith(".log"):
        raise UserError(f"--storage {given}: expected a file ending in .db (SQLite) or .log (journal), or a URL")
    return given
