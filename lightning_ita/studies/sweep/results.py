"""What a sweep found: its trials, and the best of them over several seeds; as tables, plots and a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import yaml
from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from lightning_ita.files import write_text
from lightning_ita.models.options import VIEWS, to_values
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.records import Metrics
from lightning_ita.studies.study import Result
from lightning_ita.studies.sweep.front import by_view, front_trials, in_both_views
from lightning_ita.studies.sweep.grid import MOST_FAILURES, left_out
from lightning_ita.studies.sweep.plots import write_plots
from lightning_ita.studies.sweep.progress import write_value
from lightning_ita.studies.sweep.space import SHORT, SHORT_FORM_OF, Parameter, searched
from lightning_ita.studies.sweep.storage import Sweep
from lightning_ita.studies.sweep.trials import CODE, is_stale, ranking
from lightning_ita.studies.sweep.values import grid_size
from lightning_ita.studies.tables.ablation import STALE_MARK, seeds_text, spread
from lightning_ita.studies.tables.grid import MISSING, Entry, Grid, records, two_digits
from lightning_ita.studies.tables.render import csv_text, markdown_line, markdown_text
from lightning_ita.studies.tables.render import markdown as markdown_table
from lightning_ita.studies.tables.render import terminal as terminal_table
from lightning_ita.text import without_folder

BEST = "best.yaml"


@dataclass(frozen=True)
class Winner:
    """One of the best trials, run again with other seeds.

    Attributes:
        trial: The trial.
        results: What became of its cells, one per seed.
    """

    trial: FrozenTrial
    results: tuple[Result, ...]

    @property
    def finished(self) -> list[Metrics]:
        """Metrics of the cells that are finished."""
        return [result.metrics for result in self.results if result.metrics is not None]

    @property
    def valid(self) -> list[float]:
        """The objective of each finished cell: mean F1 on valid over the trained views."""
        views = self.results[0].cell.trained_views
        return [mean(metrics["valid"][view]["f1"] for view in views) for metrics in self.finished]

    def test(self, view: str) -> list[float]:
        """Returns F1 on test of each finished cell that is tested in a view."""
        return [metrics["test"][view]["f1"] for metrics in self.finished if view in metrics["test"]]


def winner_cells(
    sweep: Sweep, trials: Sequence[FrozenTrial], top: int, seeds: Sequence[int]
) -> list[tuple[FrozenTrial, list[Cell]]]:
    """Returns the best trials, each with its cells, one per seed; none of these seeds is the trials' own.

    Of trials that differ only in values that play no part, such as the temperature with sequence CVA, the first counts.
    """
    different: dict[str, tuple[FrozenTrial, Cell]] = {}
    for trial in ranking(trials):
        cell = sweep.cell(trial.params)
        different.setdefault(cell.identity, (trial, cell))
    return [(trial, [replace(cell, seed=seed) for seed in seeds]) for trial, cell in [*different.values()][:top]]


def chosen(winners: Sequence[Winner]) -> Winner | None:
    """Returns the winner with the greatest mean on valid over its seeds; ``None`` if none has finished."""
    return max((winner for winner in winners if winner.valid), key=lambda winner: mean(winner.valid), default=None)


def _ordered(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Sorts: completed trials, the best first; then pruned ones by how far they came; then the others."""

    def key(trial: FrozenTrial) -> tuple[int, float, int]:
        order = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1}.get(trial.state, 2)
        value = trial.value if order == 0 else trial.last_step
        return order, -(value or 0.0), trial.number

    return sorted(trials, key=key)


def trials_grid(sweep: Sweep, trials: Sequence[FrozenTrial], most: int | None = None) -> Grid:
    """Returns the table of trials, the best first; of the best `most` alone, if that is given."""
    parameters = searched(sweep.space)
    views = sweep.views if len(sweep.views) > 1 else ()
    ordered = _ordered(trials)
    is_cut = most is not None and len(ordered) > most
    return Grid(
        name="trials",
        title="Trials",
        columns=(
            "trial",
            "valid F1",
            *(f"valid {view}" for view in views),
            *(parameter.label for parameter in parameters),
            "epochs",
        ),
        rows=tuple(
            (
                Entry(str(trial.number)),
                Entry(_outcome(trial) + STALE_MARK * is_stale(sweep, trial)),
                *(Entry(two_digits(by_view(trial)[view]) if view in by_view(trial) else "") for view in views),
                *(Entry(write_value(trial.params.get(parameter.name, MISSING))) for parameter in parameters),
                Entry(str(trial.last_step or 0)),
            )
            for trial in ordered[:most]
        ),
        caption=caption(sweep, trials) + (f" The best {most} of {len(ordered)}." if is_cut else ""),
        left=(),
    )


def _outcome(trial: FrozenTrial) -> str:
    return two_digits(trial.value or 0.0) if trial.state == TrialState.COMPLETE else trial.state.name.lower()


def winners_grid(winners: Sequence[Winner], parameters: Sequence[Parameter] = ()) -> Grid:
    """Returns the table of the best trials over several seeds, with the values of `parameters`."""
    best = chosen(winners)
    return Grid(
        name="winners",
        title="Winners",
        columns=("trial", *(p.label for p in parameters), "valid F1", *(f"test {view}" for view in VIEWS), "seeds"),
        rows=tuple(
            (
                Entry(f"{winner.trial.number}{' (chosen)' if winner is best else ''}"),
                *(Entry(write_value(winner.trial.params[parameter.name])) for parameter in parameters),
                spread(winner.valid),
                *(spread(winner.test(view)) for view in VIEWS),
                Entry(seeds_text(winner.results)),
            )
            for winner in winners
        ),
        caption=winners_caption(winners),
        left=(),
    )


def caption(sweep: Sweep, trials: Sequence[FrozenTrial]) -> str:
    """Says under what conditions a sweep's trials were run."""
    counts = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    cell = sweep.base
    method = {"bayes": "TPE", "random": "Random search"}.get(sweep.method, "")
    if sweep.method == "grid":
        method = f"Grid of {grid_size(sweep.space)} combinations"
        if given_up := left_out(sweep.grid, trials):
            method += f", {given_up} of them left out after {MOST_FAILURES} failures"
    return (
        f"{cell.dataset}, encoder {without_folder(cell.encoder)}, {cell.recipe.epochs} epochs, seed {cell.seed}: "
        f"{counts[TrialState.COMPLETE]} trials completed, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed or killed. {method}, pruner {sweep.pruner}. valid F1: mean over the trained "
        "views on valid, best epoch, in %. No trial is tested on test."
        f"{_stale_note(sweep, trials)}"
    )


def _stale_note(sweep: Sweep, trials: Sequence[FrozenTrial]) -> str:
    """Says how many trials are of other code, and what to do about it; nothing where there are none."""
    count = sum(is_stale(sweep, trial) for trial in trials)
    if not count:
        return ""
    return (
        f" {STALE_MARK} {count} trial{'' if count == 1 else 's'} {OTHER_CODE}: they may not compare with the others, "
        "but are ranked, and values for further trials chosen, with them; another --out starts a search with this code."
    )


OTHER_CODE = "measured with another version of the code, or with one that was not recorded"
WINNERS = (
    "The best trials, trained again with seeds that no trial had. The chosen one has the greatest mean F1 on valid "
    "over them; test is scored for these alone, after the search, and chooses nothing. Mean ± standard deviation over "
    "seeds."
)


def winners_caption(winners: Sequence[Winner]) -> str:
    """Says how the winners were chosen, and what their mark means."""
    if not any(result.stale for winner in winners for result in winner.results):
        return WINNERS
    return f"{WINNERS} {STALE_MARK} {OTHER_CODE}: not comparable, perhaps; --rerun-stale trains them again."


def terminal(sweep: Sweep, trials: Sequence[FrozenTrial], winners: Sequence[Winner], most: int = 10) -> list[Table]:
    """Returns the tables for the terminal: the best `most` trials, and the winners."""
    grids = [trials_grid(sweep, trials, most), *([winners_grid(winners)] if winners else [])]
    return [terminal_table(grid) for grid in grids]


def markdown(sweep: Sweep, trials: Sequence[FrozenTrial], winners: Sequence[Winner], plots: Sequence[Path]) -> str:
    """Writes the page of a sweep."""
    lines = [f"# Sweep {markdown_text(sweep.name)}", "", markdown_line(caption(sweep, trials)), ""]
    if winners:
        lines += [
            "## Winners",
            "",
            winners_caption(winners),
            "",
            markdown_table(winners_grid(winners, searched(sweep.space))),
            "",
        ]
        failures = [
            f"failed: trial {winner.trial.number}, seed {result.cell.seed}: {result.failure}"
            for winner in winners
            for result in winner.results
            if result.failure is not None
        ]
        lines += [*(f"- {markdown_line(failure)}" for failure in failures), ""] if failures else []
        line = f"{BEST} has the chosen one: lightning-ita train --config {BEST}, with the sweep's --data-dir, runs it."
        lines += [markdown_line(line), ""]
    lines += ["## Trials", "", markdown_table(trials_grid(sweep, trials)), ""]
    if in_both_views(trials):
        lines += ["## Views", "", markdown_line(front_line(trials)), ""]
    for plot in sorted(plots, key=lambda plot: plot.stem != "views"):
        lines += [f"![{plot.stem}]({plot.name})", ""]
    return "\n".join(lines).rstrip() + "\n"


def front_line(trials: Sequence[FrozenTrial]) -> str:
    """Names the trials that no other beats in both views."""
    numbers = ", ".join(str(trial.number) for trial in front_trials(trials))
    return (
        "Trials that no other beats on valid (at least as good in both views, better in one), from the best in the "
        f"text view (T) to the best in the cross-modal view (I+T): trials {numbers}."
    )


def trials_csv(trials: Sequence[FrozenTrial], parameters: Sequence[Parameter], views: Sequence[str] = VIEWS) -> str:
    """Writes one line per trial: its values in full, what became of it, and F1 by view and after each epoch."""
    lines = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "valid_f1": trial.value if trial.state == TrialState.COMPLETE else None,
            **{f"valid/{view}/f1": by_view(trial).get(view) for view in views},
            **{parameter.name: trial.params.get(parameter.name) for parameter in parameters},
            **{f"valid_f1_epoch_{epoch}": value for epoch, value in sorted(trial.intermediate_values.items())},
            "seconds": trial.user_attrs.get("seconds"),
            "cell": trial.user_attrs.get("cell"),
            "failure": trial.user_attrs.get("failure"),
            "code": trial.user_attrs.get(CODE, "")[:16],
        }
        for trial in trials
    ]
    return csv_text(records("trials", lines))


def winners_csv(winners: Sequence[Winner], parameters: Sequence[Parameter]) -> str:
    """Writes one line per winner and seed."""
    best = chosen(winners)
    lines = [
        {
            "trial": winner.trial.number,
            "chosen": winner is best,
            **{parameter.name: winner.trial.params[parameter.name] for parameter in parameters},
            "seed": result.cell.seed,
            "identity": result.cell.identity,
            "code": (result.code or "")[:16],
            "stale": int(result.stale),
            **{
                f"{split}/{view}/f1": scores["f1"]
                for split in ("valid", "test")
                for view, scores in (result.metrics[split].items() if result.metrics else ())
            },
        }
        for winner in winners
        for result in winner.results
    ]
    return csv_text(records("winners", lines))


def best_config(cell: Cell) -> str:
    """Writes a cell without its seed and data, for ``--config`` of ``lightning-ita train`` and ``ablate``."""
    config = cell.to_config()
    if cell.system in SHORT_FORM_OF:  # which both commands read
        config = {"dataset": cell.dataset, "contexts": ",".join(cell.contexts) or "none", "cva": cell.cva, **config}
        own = config.pop(config.pop("system"), {})
        default = to_values(type(cell.options)())
        further = {name: value for name, value in own.items() if name not in SHORT and value != default[name]}
        config |= {cell.system: further} if further else {}
    return yaml.safe_dump({n: v for n, v in config.items() if n not in ("seed", "data")}, sort_keys=False)


def write_results(sweep: Sweep, study: Study, winners: Sequence[Winner]) -> list[Path]:
    """Writes everything a sweep found into its folder; returns the paths."""
    trials = study.get_trials(deepcopy=False)
    plots = write_plots(study, searched(sweep.space), sweep.out)
    files = {
        "sweep.md": markdown(sweep, trials, winners, plots),
        "trials.csv": trials_csv(trials, sweep.space, sweep.views),
    }
    if winners:
        files["winners.csv"] = winners_csv(winners, sweep.space)
    best = chosen(winners)
    best_trial = best.trial if best is not None else next(iter(ranking(trials)), None)
    if best_trial is not None:
        files[BEST] = best_config(sweep.cell(best_trial.params))
    for name, text in files.items():
        write_text(sweep.out / name, text)
    return [*(sweep.out / name for name in files), *plots]
