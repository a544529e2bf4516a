"""Methods of a sweep: a grid's combinations are run once each, also by several processes that are killed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.errors import DataError, UserError
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.sweep.space import Parameter, read_method, read_space
from lightning_ita.studies.sweep.values import combinations, grid_size
from tests.studies.sweep.conftest import ROOT
from tests.studies.sweep.test_optuna import _fails, kill_two_workers, read_trials, stub, stub_sweep

pytest.importorskip("optuna")

from lightning_ita.commands import sweep as command
from lightning_ita.studies.sweep import trials
from lightning_ita.studies.sweep.grid import COMBINATION, queue_missing
from lightning_ita.studies.sweep.storage import Sweep, open_study

GRID = """
method: grid
parameters:
  cva: {value: token}
  recipe.learning_rate: {values: [1e-4, 2e-4, 3e-4]}
  recipe.temperature: {values: [2.0, 1.0]}
"""
ORDER = [(rate, temperature) for rate in (1e-4, 2e-4, 3e-4) for temperature in (2.0, 1.0)]


def make(folder: Path, content: str = GRID, **changes: Any) -> Sweep:
    """Makes a sweep of this file, without data."""
    path = folder / "grid.yaml"
    path.write_text(content, encoding="utf-8")
    method = read_method(path)
    count = grid_size(read_space(path)) if method == "grid" else 6
    return replace(stub_sweep(path, folder / "out", count, method), **changes)


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return tmp_path / "space.yaml"


@pytest.fixture
def arguments(tiny_run: list[str], tmp_path: Path, space: Path) -> list[str]:
    return [*tiny_run, f"--space={space}", f"--out={tmp_path / 'out'}", "--top=0"]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return make(tmp_path)


def values_of(sweep: Sweep, *states: str) -> list[tuple[float, float]]:
    """The values of trials in some states, in the order in which the trials were queued."""
    found = open_study(sweep).trials
    return [
        (trial.params["recipe.learning_rate"], trial.params["recipe.temperature"])
        for trial in found
        if trial.state.name in (states or ("COMPLETE",))
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("values: [8, 2, 4]", (8, 2, 4)),
        ("min: 2, max: 4", (2, 3, 4)),
        ("min: 8, max: 32, distribution: q_uniform, q: 8", (8, 16, 24, 32)),
    ],
)
def test_a_grid_lists_choices_and_whole_ranges(content: str, expected: tuple[int, ...], tmp_path: Path) -> None:
    found = make(tmp_path, f"method: grid\nparameters: {{recipe.batch_size: {{{content}}}}}")
    assert [values["recipe.batch_size"] for values in found.grid] == list(expected)
    assert all(type(values["recipe.batch_size"]) is int for values in found.grid)


def test_a_grid_lists_ranges_with_steps_without_errors_of_rounding() -> None:
    (warmup,) = [Parameter("recipe.warmup", (), 0.1, 0.7, step=0.1)]
    assert warmup.listed() == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert all(warmup.holds(value) for value in warmup.listed())


def test_the_first_parameter_of_a_grid_changes_last() -> None:
    parameters = [Parameter("contexts", ("tag", "cap")), Parameter("cva", ("joint", "token"))]
    assert [tuple(values.values()) for values in combinations(parameters)] == [
        ("tag", "joint"),
        ("tag", "token"),
        ("cap", "joint"),
        ("cap", "token"),
    ]
    assert grid_size(parameters) == 4


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("method: gird", r"unknown method 'gird'. Did you mean 'grid'\? Known: grid, random, bayes"),
        ("method: [grid]", r"unknown method \"\['grid'\]\""),
        ("method: null", "unknown method 'None'"),
        (
            "method: grid",
            r"recipe.warmup: a grid needs values, and the range from 0 to 0.5 has no steps; list `values`",
        ),
    ],
)
def test_bad_methods_are_refused(content: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"{content}\nparameters: {{recipe.warmup: {{min: 0, max: 0.5}}}}", encoding="utf-8")
    with pytest.raises(DataError, match=expected) as raised:
        read_space(path)
    assert str(path) in str(raised.value)


def test_a_range_that_an_argument_fixes_does_not_hinder_a_grid(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(GRID + "  recipe.warmup: {min: 0, max: 0.5}\n", encoding="utf-8")
    assert len(read_space(path, fixed=["recipe.warmup"])) == 3


def test_the_method_is_bayes_unless_a_file_says_otherwise(tmp_path: Path) -> None:
    assert make(tmp_path, "parameters: {recipe.warmup: {min: 0, max: 0.5}}").method == "bayes"
    methods = {path.stem: read_method(path) for path in (ROOT / "sweeps").glob("*.yaml")}
    assert methods == {"ablation": "grid", "cva": "bayes", "front": "grid"}


@pytest.mark.parametrize("journal", [False, True], ids=["SQLite", "journal"])
def test_a_grid_is_run_once_in_the_order_of_the_file(
    sweep: Sweep, journal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "run_cell", stub)
    if journal:
        sweep = replace(sweep, storage=str(sweep.out / "sweep.log"))
    for count in (2, 5):  # it may grow
        trials.run_trials(replace(sweep, trials=count))
        assert values_of(replace(sweep, trials=count)) == ORDER[:count]
    trials.run_trials(sweep)
    trials.run_trials(sweep)
    assert values_of(sweep) == ORDER
    assert len(open_study(sweep).trials) == len(ORDER)
    assert trials.unfinished(sweep, open_study(sweep)) == 0


def test_killed_workers_leave_a_grid_that_ends_whole(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_two_workers(2, sweep)
    assert len(values_of(sweep)) == 2

    ran = Counter[str]()

    def counted(cell: Cell, *rest: Any, **options: Any) -> dict[str, Any]:
        ran[cell.name] += 1
        return stub(cell, *rest, **options)

    monkeypatch.setattr(trials, "run_cell", counted)
    trials.run_trials(sweep)
    assert sorted(values_of(sweep)) == sorted(ORDER)
    assert len(ran) == len(ORDER) - 2, "what was finished is not run again"
    assert set(ran.values()) == {1}
    states = Counter(trial.state.name for trial in open_study(sweep).trials)
    assert states == {"COMPLETE": 6, "FAIL": 2}


def test_a_combination_whose_process_is_killed_again_and_again_is_left_out(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(trials.MOST_FAILURES):
        study = open_study(sweep)
        for trial in study.get_trials(states=(trials.TrialState.WAITING,)):
            if trial.user_attrs[COMBINATION] == sweep.grid[0]:
                study._storage.set_trial_state_values(trial._trial_id, state=trials.TrialState.RUNNING)
        trials._retry_killed(study, sweep)
    monkeypatch.setattr(trials, "run_cell", stub)
    trials.run_trials(sweep)
    assert values_of(sweep) == ORDER[1:]
    from lightning_ita.studies.sweep.results import caption

    said = caption(sweep, open_study(sweep).trials)
    assert "Grid of 6 combinations, 1 of them left out after 3 failures, pruner none" in said


def test_a_combination_that_fails_is_run_again_after_the_others(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def fails_first(*arguments: Any, **options: Any) -> dict[str, Any]:
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError("out of memory")
        return stub(*arguments, **options)

    monkeypatch.setattr(trials, "run_cell", fails_first)
    trials.run_trials(sweep)
    assert values_of(sweep) == [*ORDER[1:], ORDER[0]]


def test_combinations_that_two_machines_queued_are_run_once(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study(sweep)
    with monkeypatch.context() as patch:
        patch.setattr(type(study), "get_trials", lambda self, **options: [])  # as at the same moment
        queue_missing(study, sweep.grid)
    study.enqueue_trial({})  # as drawn from a queue that another machine had emptied
    assert len(study.trials) == 13
    monkeypatch.setattr(trials, "run_cell", stub)
    trials.run_trials(replace(sweep, trials=5))
    trials.run_trials(sweep)
    assert values_of(sweep) == ORDER
    while any(trial.state.name == "WAITING" for trial in study.trials):
        assert trials._run_one(study, sweep, 0, sweep.lock("turn"), lambda *_: None, 0, lambda _: None)
    assert values_of(sweep) == ORDER
    dropped = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert [trial.user_attrs["failure"] for trial in dropped] == [
        *(f"not run: trial {number} has the same values" for number in range(6)),
        "not run: the queue was empty",
    ]
    assert trials.unfinished(sweep, study) == 0


def test_a_random_search_begins_with_the_recipes_own_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "run_cell", stub)
    content = "method: random\nparameters: {recipe.learning_rate: {min: 1e-5, max: 1e-3}}"
    sweep = make(tmp_path, content)
    trials.run_trials(sweep)
    rates = [trial.params["recipe.learning_rate"] for trial in open_study(sweep).trials]
    assert rates[0] == sweep.base.recipe.learning_rate
    assert len(set(rates)) == 6
    # It does not depend on what was found, or on where it was stopped.
    monkeypatch.setattr(trials, "run_cell", lambda cell, *rest, **options: stub(Cell(), *rest, **options))
    again = replace(sweep, name="again", out=tmp_path / "again")
    (again.out / "locks").mkdir(parents=True)
    for count in (3, 6):
        trials.run_trials(replace(again, trials=count))
    assert [trial.params["recipe.learning_rate"] for trial in open_study(again).trials] == rates


def test_a_sweep_does_not_go_on_with_another_method(sweep: Sweep) -> None:
    open_study(sweep)
    with pytest.raises(UserError, match=r"it differs in method \(grid there, random now\)"):
        open_study(replace(sweep, method="random"))
    # Earlier versions did not note the method, and it was TPE whatever the file said.
    earlier = replace(sweep, name="earlier", method="bayes")
    study = open_study(earlier)
    newer = {"method", "ita.teacher", "ita.text_only", "ita.view_parameters"}
    assert newer <= set(study.user_attrs["settings"])
    study.set_user_attr("settings", {n: v for n, v in study.user_attrs["settings"].items() if n not in newer})
    assert len(open_study(earlier).trials) == 1
    with pytest.raises(UserError, match=r"it differs in method \(bayes there, grid now\)"):
        open_study(replace(earlier, method="grid"))


def test_the_command_runs_a_grid_and_shows_both_views(
    arguments: list[str],
    space: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    space.write_text((ROOT / "sweeps" / "front.yaml").read_text(encoding="utf-8").replace("[0.3, 0.1]", "[0.3]"))
    options = [*arguments, "--contexts=cap", "--pruner=none", "--recipe.epochs=1", "--jobs=1"]
    assert command.main([*options, "--trials=1"]) == 0
    assert "a grid of 4 combinations; trials to run in all, in the order of the file: 1" in capsys.readouterr().out
    assert command.main([*options, "--trials=99"]) == 0
    shown = capsys.readouterr().out
    assert "a grid of 4 combinations; trials to run in all, in the order of the file: 4" in shown
    assert "the first trial samples" not in shown
    assert "valid I+T" in shown
    trained = read_trials(out)
    found = {(line["cva"], float(line["recipe.cross_modal_weight"])) for line in trained}
    assert len(trained) == len(found) == 4
    for line in trained:
        scores = json.loads((out / "trials" / line["cell"] / "metrics.json").read_text())["valid"]
        assert {view: float(line[f"valid/{view}/f1"]) for view in scores} == pytest.approx(
            {view: scores[view]["f1"] for view in scores}, abs=1e-5
        )
    page = (out / "sweep.md").read_text(encoding="utf-8")
    assert "Grid of 4 combinations, pruner none." in page
    assert "| cva | cross_modal_weight | epochs |" in page
    assert "Trials that no other beats on valid" in page
    assert page.index("![views](views.png)") < page.index("![history](history.png)")
    assert (out / "views.png").read_bytes().startswith(b"\x89PNG")


def test_a_grid_that_is_too_large_is_refused(
    arguments: list[str],
    space: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    space.write_text("method: grid\nparameters: {recipe.batch_size: {min: 1, max: 20000}}")
    _fails(arguments, "a grid of 20000 combinations: at most 10000 can be run", capsys)
