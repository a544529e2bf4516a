"""What a sweep found: its trials, and its winners over several seeds; as Markdown, CSV, for the terminal, as YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, cast

import yaml
from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from lightning_ita.files import write_text
from lightning_ita.models.options import VIEWS
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.study import Result
from lightning_ita.studies.sweep.plots import write_plots
from lightning_ita.studies.sweep.progress import write_value
from lightning_ita.studies.sweep.space import SHORT_FORM_OF, Parameter
from lightning_ita.studies.sweep.trials import Sweep, ranking
from lightning_ita.studies.tables.ablation import MISSING, csv_text, markdown_table, spread

BEST = "best.yaml"


@dataclass(frozen=True)
class Winner:
    """One of the best trials, run anew with other seeds.

    Attributes:
        trial: The trial.
        results: What became of its cells, one a seed.
    """

    trial: FrozenTrial
    results: tuple[Result, ...]

    @property
    def finished(self) -> list[Any]:
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


def winner_cells(sweep: Sweep, trials: Sequence[FrozenTrial], top: int, seeds: Sequence[int]) -> list[list[Cell]]:
    """Returns the cells of the best trials, one a seed each; none of these seeds is the trials' own."""
    return [[replace(sweep.cell(trial.params), seed=seed) for seed in seeds] for trial in ranking(trials)[:top]]


def chosen(winners: Sequence[Winner]) -> Winner | None:
    """Returns the winner with the greatest mean on valid over its seeds; ``None`` if none has finished."""
    return max((winner for winner in winners if winner.valid), key=lambda winner: mean(winner.valid), default=None)


def searched(space: Sequence[Parameter]) -> list[Parameter]:
    """Returns the parameters that have more than one value."""
    return [parameter for parameter in space if len(parameter.values) != 1]


def _ordered(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Sorts: completed trials, the best first; then pruned ones by how far they came; then the others."""

    def key(trial: FrozenTrial) -> tuple[int, float, int]:
        order = {TrialState.COMPLETE: 0, TrialState.PRUNED: 1}.get(trial.state, 2)
        value = trial.value if order == 0 else trial.last_step
        return order, -(value or 0.0), trial.number

    return sorted(trials, key=key)


def _trial_rows(trials: Sequence[FrozenTrial], parameters: Sequence[Parameter]) -> list[list[str]]:
    return [
        [
            str(trial.number),
            f"{trial.value:.2f}" if trial.state == TrialState.COMPLETE else trial.state.name.lower(),
            *(write_value(trial.params.get(p.name, MISSING)) for p in parameters),
            str(trial.last_step or 0),
        ]
        for trial in _ordered(trials)
    ]


def _winner_rows(winners: Sequence[Winner], parameters: Sequence[Parameter]) -> list[list[str]]:
    best = chosen(winners)
    return [
        [
            f"{winner.trial.number}{' (chosen)' if winner is best else ''}",
            *(write_value(winner.trial.params[p.name]) for p in parameters),
            spread(winner.valid),
            *(spread(winner.test(view)) for view in VIEWS),
            f"{len(winner.finished)}/{len(winner.results)}",
        ]
        for winner in winners
    ]


def _headers(parameters: Sequence[Parameter]) -> tuple[list[str], list[str]]:
    labels = [parameter.label for parameter in parameters]
    return ["trial", "valid F1", *labels, "epochs"], ["trial", *labels, "valid F1", "test T", "test I+T", "seeds"]


def caption(sweep: Sweep, trials: Sequence[FrozenTrial]) -> str:
    """Says under what conditions a sweep's trials were run."""
    counts = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    cell = sweep.base
    return (
        f"{cell.dataset}, encoder {cell.encoder}, {cell.recipe.epochs} epochs, seed {cell.seed}: "
        f"{counts[TrialState.COMPLETE]} trials completed, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed or killed. TPE, pruner {sweep.pruner}. valid F1: mean over the trained "
        "views on valid, best epoch, in %. No trial tags test."
    )


WINNERS = (
    "The best trials, trained anew with seeds that no trial had. The chosen one has the greatest mean valid F1 over "
    "them; test is scored for these alone, after the search, and chooses nothing. Mean ± standard deviation over seeds."
)


def terminal(sweep: Sweep, trials: Sequence[FrozenTrial], winners: Sequence[Winner], most: int = 10) -> list[Table]:
    """Returns the tables for the terminal: the best `most` trials, and the winners."""
    parameters = searched(sweep.space)
    of_trials, _ = _headers(parameters)
    rows = _trial_rows(trials, parameters)
    left = f" The best {most} of {len(rows)}." if len(rows) > most else ""
    tables = [_table("trials", of_trials, rows[:most], caption(sweep, trials) + left)]
    if winners:
        tables.append(_table("winners", _headers(())[1], _winner_rows(winners, ()), WINNERS))
    return tables


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], text: str) -> Table:
    table = Table(title=title, caption=text, title_justify="left", caption_justify="left")
    for name in header:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def markdown(sweep: Sweep, trials: Sequence[FrozenTrial], winners: Sequence[Winner], plots: Sequence[Path]) -> str:
    """Writes the page of a sweep."""
    parameters = searched(sweep.space)
    of_trials, of_winners = _headers(parameters)
    lines = [f"# Sweep {sweep.name}", "", caption(sweep, trials), ""]
    if winners:
        lines += ["## Winners", "", WINNERS, "", *markdown_table(of_winners, _winner_rows(winners, parameters)), ""]
        lines += [
            f"- failed: trial {winner.trial.number}, seed {result.cell.seed}: {result.failure}"
            for winner in winners
            for result in winner.results
            if result.failure is not None
        ]
        lines += [f"`lightning-ita train --config {sweep.out / BEST}` runs the chosen one.", ""]
    lines += ["## Trials", "", *markdown_table(of_trials, _trial_rows(trials, parameters)), ""]
    for plot in plots:
        lines += [f"![{plot.stem}]({plot.name})", ""]
    return "\n".join(lines).rstrip() + "\n"


def trials_csv(trials: Sequence[FrozenTrial], parameters: Sequence[Parameter]) -> str:
    """Writes a line for each trial: its values in full, what became of it, and the objective after each epoch."""
    return csv_text(
        [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "valid_f1": "" if trial.state != TrialState.COMPLETE else trial.value,
                **{parameter.name: trial.params.get(parameter.name, "") for parameter in parameters},
                **{f"valid_f1_epoch_{epoch}": value for epoch, value in sorted(trial.intermediate_values.items())},
                "seconds": trial.user_attrs.get("seconds", ""),
                "cell": trial.user_attrs.get("cell", ""),
                "failure": trial.user_attrs.get("failure", ""),
            }
            for trial in trials
        ]
    )


def winners_csv(winners: Sequence[Winner], parameters: Sequence[Parameter]) -> str:
    """Writes a line for each winner and seed."""
    best = chosen(winners)
    return csv_text(
        [
            {
                "trial": winner.trial.number,
                "chosen": winner is best,
                **{parameter.name: winner.trial.params[parameter.name] for parameter in parameters},
                "seed": result.cell.seed,
                "identity": result.cell.identity,
                **{
                    f"{split}/{view}/f1": scores["f1"]
                    for split in ("valid", "test")
                    for view, scores in cast(Any, result.metrics or {}).get(split, {}).items()
                },
            }
            for winner in winners
            for result in winner.results
        ]
    )


def best_config(cell: Cell) -> str:
    """Writes a cell without its seed and data, for ``--config`` of `experiments.train` and `experiments.ablate`."""
    config = cell.to_config()
    if cell.system in SHORT_FORM_OF:  # which both commands read
        config = {"dataset": cell.dataset, "contexts": ",".join(cell.contexts) or "none", "cva": cell.cva, **config}
        for name in ("system", cell.system):
            config.pop(name, None)
    return yaml.safe_dump({n: v for n, v in config.items() if n not in ("seed", "data")}, sort_keys=False)


def write_results(sweep: Sweep, study: Study, winners: Sequence[Winner]) -> list[Path]:
    """Writes everything a sweep found into its folder; returns the paths."""
    trials = study.get_trials(deepcopy=False)
    plots = write_plots(study, searched(sweep.space), sweep.out)
    files = {
        "sweep.md": markdown(sweep, trials, winners, plots),
        "trials.csv": trials_csv(trials, sweep.space),
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
