"""A sweep from its first trial to its results: trials, then the best of them with other seeds, then the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lightning_ita.errors import UserError
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.keeping import model_lines, remove
from lightning_ita.studies.launch.launcher import Launcher, Work
from lightning_ita.studies.plan import CELLS, FAILED, LOCKS, PLAN, write_plan
from lightning_ita.studies.progress import describe
from lightning_ita.studies.study import collect, forget_failures, set_aside
from lightning_ita.studies.sweep.progress import SweepProgress
from lightning_ita.studies.sweep.results import Winner, chosen, terminal, winner_cells, write_results
from lightning_ita.studies.sweep.storage import Sweep, open_study, storage_errors
from lightning_ita.studies.sweep.trials import unfinished

WINNERS = "winners"


def search(
    sweep: Sweep,
    console: Console,
    launcher: Launcher,
    top: int,
    seeds: Sequence[int],
    keep_models: str = "none",
    rerun_stale: bool = False,
) -> int:
    """Runs the trials and winners of a sweep that are missing, and prints and writes its results.

    Args:
        sweep: What is searched.
        console: Where progress and tables go.
        launcher: Where trials and winners run.
        top: How many of the best trials are run again.
        seeds: With which seeds they are.
        keep_models: Models that stay: of the chosen trial the best seed's (``best``), of all winners (``all``), none.
        rerun_stale: Whether winners that other code has trained are trained again.

    Returns:
        1 where a winner's run failed, else 0.

    Raises:
        UserError: The folder or the storage holds another sweep or cannot be written, or too many trials failed.
    """
    out = sweep.out / WINNERS
    folders = [sweep.out / name for name in (FAILED, LOCKS)] + [out / name for name in (CELLS, FAILED, LOCKS)]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {sweep.out}: {error.strerror}; choose another --out") from error
    study = open_study(sweep)
    with storage_errors(sweep), SweepProgress(sweep, study, console) as progress:
        if unfinished(sweep, study):
            launcher.run_trials(sweep, progress)

    winners = []
    trials = study.get_trials(deepcopy=False)
    if top:
        write_results(sweep, study, [])  # what there is already, should the runs to come be interrupted
        by_trial = winner_cells(sweep, trials, top, seeds)
        cells = [cell for _, cells in by_trial for cell in cells]
        if rerun_stale:
            set_aside(cells, out)
        _run(cells, out, sweep, launcher, console, keep_models)
        winners = [Winner(trial, tuple(collect(cells, out))) for trial, cells in by_trial]
    best = chosen(winners)
    for winner in winners if keep_models == "best" else ():
        for result in winner.results if winner is not best else ():
            remove(out / CELLS / result.cell.name)
    if best is not None:
        for line in model_lines([result.cell for result in best.results], out, keep_models):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    for table in terminal(sweep, trials, winners):
        console.print(table)
    written = write_results(sweep, study, winners)
    console.print("written: " + ", ".join(map(str, written)), soft_wrap=True, highlight=False, markup=False)
    gaps = [result for winner in winners for result in winner.results if result.metrics is None]
    for result in gaps:
        console.print(f"failed: {describe(result.cell)}: {result.failure}", markup=False, soft_wrap=True)
    return 1 if gaps else 0


def _run(
    cells: Sequence[Cell], out: Path, sweep: Sweep, launcher: Launcher, console: Console, keep_models: str
) -> None:
    """Runs the winners' cells that are not finished."""
    (out / PLAN).unlink(missing_ok=True)  # other trials may have won before
    write_plan(out, cells)
    forget_failures(cells, out)
    results = collect(cells, out)
    if any(result.left for result in results):
        launcher.run(Work(results, None, out, sweep.source, keep_models=keep_models), console)
