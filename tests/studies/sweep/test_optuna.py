"""The real command over tiny runs; the storage, its workers and what they leave behind."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from lightning_ita.commands import train
from lightning_ita.commands.cli import guard
from lightning_ita.data.source import Source
from lightning_ita.errors import NonFiniteLossError, Terminated, UserError
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.study import Result, part_of
from lightning_ita.studies.tables.ablation import STALE_MARK
from tests.conftest import write_tiny_encoder
from tests.studies.sweep.conftest import ROOT

pytest.importorskip("optuna")
import optuna

from lightning_ita.commands import sweep as command
from lightning_ita.studies import run
from lightning_ita.studies.sweep import trials
from lightning_ita.studies.sweep.results import Winner, trials_grid, winners_grid
from lightning_ita.studies.sweep.space import Method, Parameter, read_space
from lightning_ita.studies.sweep.storage import Sweep, open_study

SPACE = """
parameters:
  recipe.learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 0.001}
  recipe.temperature: {values: [1.0, 2.0, 4.0]}
  contexts: {values: [tag, cap]}
  cva: {value: token}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE, encoding="utf-8")
    return path


@pytest.fixture
def arguments(tiny_run: list[str], tmp_path: Path, space: Path) -> list[str]:
    """A sweep that runs in this process."""
    out = tmp_path / "out"
    return [*tiny_run, f"--space={space}", f"--out={out}", "--recipe.epochs=2", "--jobs=1", "--top=0"]


def stub(cell: Any, folder: Path, *_: Any, callbacks: Any = (), test: bool = True, **__: Any) -> dict[str, Any]:
    """Stands for `run_cell`: two epochs whose objective follows from the learning rate."""
    value = 100 - abs(cell.recipe.learning_rate - 3e-4) * 1e4
    scores = {view: {"precision": value, "recall": value, "f1": value} for view in ("T", "I+T")}
    metrics: dict[str, Any] = {
        "version": 2,
        "system": cell.system,
        "types": ["PER"],
        "history": [{"valid/f1": value - 1}, {"valid/f1": value}],
        "best_epoch": 2,
        "valid": scores,
        "test": scores if test else {},
        "splits": {},
        "contexts": {},
        "release": "",
        "warnings": [],
        "training_seconds": 1.0,
        "seconds": 1.0,
    }
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    environment = {
        "lightning_ita": "0.1.0",
        "code": trials.code_digest(cell.dataset, cell.system),
        "packages": {},
        "processor": "",
        "accelerator": None,
        "threads": 1,
        "finished": "2026-01-02T03:04:05Z",
    }
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    return metrics


def read_trials(out: Path) -> list[dict[str, str]]:
    with (out / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_sweep_selects_on_valid_and_tests_its_winners_alone(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command.main([*arguments, "--trials=4", "--pruner=halving", "--top=1", "--seeds=1,2"]) == 0
    shown = capsys.readouterr().out
    trained = read_trials(out)
    assert len(trained) == 4
    folders = list((out / "trials").iterdir())
    assert folders
    assert not any((folder / "predictions.test.jsonl").exists() for folder in folders)
    assert all(json.loads((folder / "metrics.json").read_text())["test"] == {} for folder in folders)
    assert not any(folder.name.startswith(".") for folder in folders), "a pruned trial left its checkpoint"
    for line in trained:
        if line["state"] == "complete":
            assert float(line["valid_f1"]) == pytest.approx(
                max(float(line[f"valid_f1_epoch_{epoch}"]) for epoch in (1, 2)), abs=1e-5
            )

    best = max((line for line in trained if line["state"] == "complete"), key=lambda line: float(line["valid_f1"]))
    with (out / "winners.csv").open(encoding="utf-8") as file:
        winners = list(csv.DictReader(file))
    assert [(line["trial"], line["seed"], line["chosen"]) for line in winners] == [
        (best["trial"], seed, "True") for seed in ("1", "2")
    ]
    assert all(line["test/T/f1"] and line["test/I+T/f1"] for line in winners)
    assert {path.name for path in (out / "winners" / "cells").iterdir()} != {best["cell"]}
    config = yaml.safe_load((out / "best.yaml").read_text(encoding="utf-8"))
    assert config["recipe"]["learning_rate"] == float(best["recipe.learning_rate"])
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "sweep.md").read_text(encoding="utf-8")
    assert f"| {best['trial']} (chosen) |" in page
    assert f"{best['trial']} (chosen)" in shown

    # The configuration is one that the other commands read; a finished sweep is only read.
    with pytest.raises(SystemExit) as ended:
        train.main([f"--config={out / 'best.yaml'}", "--print_config"])
    assert ended.value.code == 0


def test_names_are_printed_as_text(
    arguments: list[str], tiny_encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder, out = tmp_path / "[b] {1}", tmp_path / "e_[/x] {y} 100% #"
    shutil.copytree(tiny_encoder, encoder)
    options = [f"--encoder={encoder}", f"--out={out}", "--trials=1", "--top=1", "--seeds=1", "--recipe.epochs=1"]
    assert command.main([*arguments, *options]) == 0
    shown = capsys.readouterr().out
    assert f"written: {out}/sweep.md" in shown
    assert "[b]{1},1epochs" in "".join(shown.split())
    assert (out / "sweep.db").exists()


def _killed_in_trial(number: int, sweep: Sweep) -> None:
    runs = []

    def killed(*arguments: Any, **options: Any) -> dict[str, Any]:
        runs.append(1)
        if len(runs) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return stub(*arguments, **options)

    trials.run_cell = killed  # type: ignore[assignment]
    trials.run_trials(sweep)


def kill_two_workers(number: int, sweep: Sweep) -> None:
    """Has two processes work on a sweep that are killed, each in the trial of this number that it runs."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_killed_in_trial, args=(number, sweep)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2


def test_two_killed_workers_leave_a_sweep_that_ends_with_as_many_trials_as_asked_for(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_study(sweep)
    kill_two_workers(3, sweep)
    left = open_study(sweep).trials
    # The second to be killed has failed what the first left, and may have taken it up.
    states = [trial.state.name for trial in left if trial.state.name != "WAITING"]
    assert states.count("COMPLETE") == 4
    assert len({json.dumps(trial.params) for trial in left}) >= 5

    monkeypatch.setattr(trials, "run_cell", stub)
    trials.run_trials(sweep)
    found = open_study(sweep).trials
    states = [trial.state.name for trial in found]
    assert (states.count("COMPLETE"), states.count("FAIL"), len(states)) == (12, 2, 14)
    # Every set of values is finished once, those of the killed too.
    finished = [trial.params for trial in found if trial.state.name == "COMPLETE"]
    assert len({json.dumps(values) for values in finished}) == 12
    assert all(trial.params in finished for trial in found)
    trials.run_trials(sweep)
    assert len(open_study(sweep).trials) == 14


def leave(sweep: Sweep, study: Any) -> tuple[dict[str, Any], Path]:
    """Draws a trial's values and leaves it with a checkpoint, as a killed process does; returns both."""
    trial = study.ask()
    values = {parameter.name: parameter.suggest(trial) for parameter in sweep.space}
    part = part_of(sweep.folder(sweep.cell(values)))
    part.mkdir(parents=True, exist_ok=True)
    (part / "state.ckpt").touch()
    return values, part


def test_a_trial_that_keeps_being_killed_is_given_up(sweep: Sweep) -> None:
    study = open_study(sweep)
    for attempt in range(trials.MOST_FAILURES):
        values, part = leave(sweep, study)
        trials._retry_killed(study, sweep)
        assert part.exists() == (attempt + 1 < trials.MOST_FAILURES)
    assert not study.get_trials(states=(trials.TrialState.WAITING,))
    assert len({json.dumps(trial.params) for trial in study.trials}) == 1
    assert study.trials[0].params == values


def test_a_trial_given_up_leaves_the_checkpoint_of_another_with_the_same_values(sweep: Sweep) -> None:
    study = open_study(sweep)
    values, part = leave(sweep, study)
    with sweep.lock(sweep.cell(values).name):  # held by the process that runs the other
        thread = threading.Thread(target=trials._give_up, args=(sweep, sweep.cell(values)))
        thread.start()
        thread.join()
    assert part.exists()


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), Terminated(), OSError(28, "No space left on device")])
def test_a_trial_that_was_stopped_is_taken_up_however_often(
    sweep: Sweep, reason: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []

    def stopped(cell: Cell, folder: Path, *_: Any, **__: Any) -> None:
        part_of(folder).mkdir(parents=True, exist_ok=True)
        parts.append(part_of(folder))
        raise reason

    monkeypatch.setattr(trials, "run_cell", stopped)
    for _ in range(trials.MOST_FAILURES + 1):
        with pytest.raises(type(reason)):
            trials.run_trials(sweep)
    assert len(set(parts)) == 1
    assert parts[0].exists()
    monkeypatch.setattr(trials, "run_cell", stub)
    trials.run_trials(sweep)
    found = open_study(sweep).trials
    assert [trial.state.name for trial in found].count("COMPLETE") == sweep.trials
    assert found[0].params in [trial.params for trial in found if trial.state.name == "COMPLETE"]


def stub_sweep(space: Path, out: Path, trials: int, method: Method = "bayes") -> Sweep:
    """Makes a sweep without data, for objectives that are stubs."""
    (out / "locks").mkdir(parents=True, exist_ok=True)
    return Sweep(
        name="stub",
        storage=f"sqlite:///{out}/sweep.db",
        out=out,
        base=Cell(seed=0),
        digests={"train": "a", "valid": "b", "test": "c", "tag": "d", "cap": "e"},
        source=Source(),
        space=read_space(space),
        trials=trials,
        pruner="none",
        method=method,
    )


@pytest.fixture
def sweep(tmp_path: Path, space: Path) -> Sweep:
    return stub_sweep(space, tmp_path / "out", 12)


ROUNDS = 4


def _open_fresh(sweep: Sweep, barrier: Any, number: int) -> None:
    for name in range(ROUNDS):
        for out in (sweep.out, sweep.out / f"{number}-{name}"):  # in one folder, and in folders of their own
            (out / "locks").mkdir(parents=True, exist_ok=True)
            storage = f"sqlite:///{sweep.out}/{name}-{out == sweep.out}.db"
            barrier.wait(600)
            open_study(replace(sweep, out=out, storage=storage))


def test_processes_that_start_together_share_a_fresh_storage(sweep: Sweep) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_open_fresh, args=(sweep, barrier, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
    assert [process.exitcode for process in processes] == [0, 0]
    for name in range(ROUNDS):
        (first,) = open_study(replace(sweep, storage=f"sqlite:///{sweep.out}/{name}-True.db")).trials
        assert first.state.name == "WAITING"


def test_a_storage_that_vanishes_is_named(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def deletes(cell: Cell, folder: Path, *rest: Any, **options: Any) -> dict[str, Any]:
        for path in sweep.out.glob("sweep.db*"):
            path.unlink()
        return stub(cell, folder, *rest, **options)

    monkeypatch.setattr(trials, "run_cell", deletes)
    with pytest.raises(UserError, match=r"sweep.db cannot be read or written any more: .*; was it deleted"):
        trials.run_trials(sweep)


@pytest.mark.parametrize("journal", [False, True], ids=["SQLite", "journal"])
def test_a_sweep_that_was_stopped_searches_the_same(
    sweep: Sweep, journal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "run_cell", stub)
    if journal:
        sweep = replace(sweep, storage=str(sweep.out / "sweep.log"))
    trials.run_trials(sweep)
    undisturbed = open_study(sweep).trials
    again = replace(sweep, name="again")
    for count in (5, 12):
        trials.run_trials(replace(again, trials=count))
    assert [trial.params for trial in open_study(again).trials] == [trial.params for trial in undisturbed]
    # Every epoch counts for the pruner, also of runs that were there, as all of the second sweep's were.
    assert all(set(trial.intermediate_values) == {1, 2} for trial in open_study(again).trials)
    blind = trials.STARTUP_TRIALS
    assert max(t.value or 0 for t in undisturbed[blind:]) > max(t.value or 0 for t in undisturbed[:blind])


def test_a_hopeless_run_ends_early_but_not_in_its_last_epoch() -> None:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=50))
    trial = study.ask()
    pruning = trials.Pruning(trial)

    def epoch(number: int, score: float) -> Any:
        scores = {"valid/f1": torch.tensor(score)}
        return SimpleNamespace(current_epoch=number - 1, max_epochs=3, callback_metrics=scores)

    pruning.on_validation_end(epoch(1, 60.0), None)  # type: ignore[arg-type]
    with pytest.raises(optuna.TrialPruned, match="after epoch 2"):
        pruning.on_validation_end(epoch(2, 40.0), None)  # type: ignore[arg-type]
    pruning.on_validation_end(epoch(3, 40.0), None)  # type: ignore[arg-type]
    assert study.trials[0].intermediate_values == {1: 60.0, 2: 40.0, 3: 40.0}


def test_the_default_pruner_lets_a_first_epoch_pass(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "run_cell", stub)
    sweep = replace(sweep, pruner="median")
    study = open_study(sweep)
    for score in (60.0, 61.0, 62.0, 63.0, 64.0, 10.0):
        trial = study.ask()
        for epoch in (1, 2):
            trial.report(score, epoch)
            assert trial.should_prune() == (score == 10.0 and epoch == 2)
        study.tell(trial, score)


def test_the_default_pruner_judges_a_run_of_two_epochs_after_the_first(sweep: Sweep) -> None:
    base = replace(sweep.base, recipe=replace(sweep.base.recipe, epochs=2))
    study = open_study(replace(sweep, base=base, pruner="median"))
    for score in (60.0, 61.0, 62.0, 63.0, 64.0, 10.0):
        trial = study.ask()
        trial.report(score, 1)
        assert trial.should_prune() == (score == 10.0)
        study.tell(trial, score)


def first_values(sweep: Sweep, **changes: Any) -> dict[str, Any]:
    """Runs a sweep's first trial from another cell; returns its values."""
    sweep = replace(sweep, base=replace(sweep.base, **changes), trials=1)
    trials.run_trials(sweep)
    return open_study(sweep).trials[0].params


def test_the_first_trial_has_the_recipes_own_values(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "run_cell", stub)
    recipe = Recipe(learning_rate=2e-4, temperature=3.0)
    first = first_values(sweep, options=ITAOptions("token", ("tag",)), recipe=recipe)
    assert (first["recipe.learning_rate"], first["contexts"], first["cva"]) == (2e-4, "tag", "token")
    assert first["recipe.temperature"] in (1.0, 2.0, 4.0)  # 3 is none of the choices


@pytest.mark.parametrize(
    ("dataset", "choices", "expected"),
    [
        ("twitter17", (1.0, 2.0, 4.0), 2.0),  # as published for this data set
        ("twitter15", (1.0, 2.0, 4.0), 4.0),
        ("twitter17", (1.0, None), None),
        ("twitter17", (), 2.0),
    ],
)
def test_the_first_trial_has_the_temperature_of_its_data_set(
    sweep: Sweep, dataset: str, choices: tuple[Any, ...], expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "run_cell", stub)
    temperature = Parameter("recipe.temperature", choices, low=0.5, high=8.0)
    space = tuple(temperature if each.name == temperature.name else each for each in sweep.space)
    sweep = replace(sweep, space=space)
    for modes in (("token",), ("joint", "token")):  # one fixed, or searched
        mode = Parameter("cva", modes)
        sweep = replace(sweep, name=str(modes), space=(*(p for p in space if p.name != "cva"), mode))
        first = first_values(sweep, dataset=dataset)
        assert first["recipe.temperature"] == expected
        cell = replace(sweep.base, dataset=dataset)
        ran = replace(sweep, base=cell).cell(first)
        assert ran.recipe == replace(cell, options=ran.options).resolve(sweep.digests).recipe


def test_a_trial_whose_loss_is_no_number_is_pruned(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(cell: Any, folder: Path, *rest: Any, **options: Any) -> dict[str, Any]:
        if cell.contexts == ("tag",):
            raise NonFiniteLossError("the loss became nan in epoch 1, step 1")
        return stub(cell, folder, *rest, **options)

    monkeypatch.setattr(trials, "run_cell", diverges)
    trials.run_trials(sweep)
    states = {(trial.params["contexts"], trial.state.name) for trial in open_study(sweep).trials}
    assert states == {("tag", "PRUNED"), ("cap", "COMPLETE")}


def test_a_sweep_whose_trials_fail_ends_with_the_reason(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(cell: Cell, folder: Path, *_: Any, **__: Any) -> None:
        part_of(folder).mkdir(parents=True)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(trials, "run_cell", broken)
    with pytest.raises(UserError, match="3 trials failed, the last of them with: out of memory"):
        trials.run_trials(sweep)
    logs = list((sweep.out / "failed").iterdir())
    assert len(logs) == 3
    assert not list((sweep.out / "trials").glob(".*"))
    assert "RuntimeError: out of memory" in logs[0].read_text(encoding="utf-8")


def test_a_sweep_may_grow_but_not_change(sweep: Sweep) -> None:
    open_study(sweep)
    open_study(replace(sweep, trials=99))
    with pytest.raises(UserError, match=r"holds another sweep 'stub': it differs in pruner \(none there, median now\)"):
        open_study(replace(sweep, pruner="median"))
    with pytest.raises(UserError, match=r"--storage nosql://me:\*\*\*@there/x cannot be opened"):
        open_study(replace(sweep, storage="nosql://me:secret@there/x"))


def test_a_sweep_does_not_go_on_with_an_encoder_that_was_written_again(sweep: Sweep, tmp_path: Path) -> None:
    encoder = write_tiny_encoder(tmp_path / "encoder")
    sweep = replace(sweep, base=replace(sweep.base, encoder=encoder))
    study = open_study(sweep)
    open_study(sweep)
    write_tiny_encoder(tmp_path / "encoder", hidden=16)
    with pytest.raises(UserError, match=r"holds another sweep 'stub': it differs in content of encoder \("):
        open_study(sweep)
    settings = study.user_attrs["settings"]
    del settings["content of encoder"]  # as earlier versions wrote them
    study.set_user_attr("settings", settings)
    open_study(sweep)


def test_trials_of_other_code_are_marked_and_their_results_not_taken(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def counted(cell: Cell, *rest: Any, **options: Any) -> dict[str, Any]:
        ran.append(cell.name)
        return stub(cell, *rest, **options)

    monkeypatch.setattr(trials, "run_cell", counted)
    trials.run_trials(replace(sweep, trials=2))
    study = open_study(sweep)
    study.enqueue_trial(study.trials[0].params)
    trials.run_trials(replace(sweep, trials=3))
    assert len(ran) == 2, "what this code has left is read"
    grid = trials_grid(sweep, study.trials)
    assert STALE_MARK not in grid.caption + "".join(row[1].text for row in grid.rows)

    for module in ("study", "sweep.trials"):
        monkeypatch.setattr(f"lightning_ita.studies.{module}.code_digest", lambda *_: "0" * 64)
    study.enqueue_trial(study.trials[0].params)
    trials.run_trials(replace(sweep, trials=4))
    assert ran[2:] == ran[:1]
    assert [trials.is_stale(sweep, trial) for trial in study.trials] == [True, True, True, False]
    assert len(list((sweep.out / "stale").iterdir())) == 1
    grid = trials_grid(sweep, study.trials)
    assert sum(row[1].text.endswith(STALE_MARK) for row in grid.rows) == 3
    assert "† 3 trials measured with another version of the code" in grid.caption

    cell = sweep.cell(study.trials[0].params)
    metrics = json.loads((sweep.folder(cell) / "metrics.json").read_text(encoding="utf-8"))
    for code, mark in (("0" * 64, ""), ("1" * 64, STALE_MARK)):
        grid = winners_grid([Winner(study.trials[0], (Result(cell, metrics, code=code),))])
        assert grid.rows[0][-1].text == f"1/1{mark}"
        assert (STALE_MARK in grid.caption) == bool(mark)


def test_winners_of_other_code_are_trained_again_on_request(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line = [*arguments, "--trials=1", "--top=1", "--seeds=1", "--recipe.epochs=1"]
    assert command.main(command_line) == 0
    cells = tmp_path / "out" / "winners" / "cells"
    (environment,) = cells.glob("*/environment.json")
    written = json.loads(environment.read_text(encoding="utf-8"))
    environment.write_text(json.dumps(written | {"code": "1" * 64}), encoding="utf-8")
    capsys.readouterr()
    assert command.main(command_line) == 0
    assert "--rerun-stale" in "".join(capsys.readouterr().out.split())
    assert command.main([*command_line, "--rerun-stale"]) == 0
    assert json.loads(environment.read_text(encoding="utf-8"))["code"] == written["code"]
    assert [path.name for path in (cells.parent / "stale").iterdir()] == [f"{environment.parent.name}-11111111"]


def test_trials_share_a_frozen_teacher_that_no_parameter_changes(
    arguments: list[str], space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.write_text("method: grid\nparameters: {recipe.cva_weight: {values: [0.1, 0.9]}}", encoding="utf-8")
    real, ran = run.run_cell, []

    def counted(cell: Cell, *rest: Any, **options: Any) -> Any:
        ran.append(cell.cva)
        return real(cell, *rest, **options)

    for module in (run, trials):
        monkeypatch.setattr(module, "run_cell", counted)
    options = ["--contexts=tag", "--cva=token", "--ita.teacher=frozen", "--recipe.epochs=1", "--pruner=none"]
    assert command.main([*arguments, *options]) == 0
    assert ran == ["off", "token", "token"]
    assert len(list((tmp_path / "out" / "trials").glob("*/best.ckpt"))) == 1


def test_trials_whose_parameters_change_the_teacher_do_not_share_it(sweep: Sweep) -> None:
    options = ITAOptions(contexts=("cap",), cva="token", teacher="frozen")
    taught = replace(sweep, base=replace(sweep.base, options=options))
    rate, weight = (
        Parameter("recipe.learning_rate", low=1e-5, high=1e-3),
        Parameter("recipe.cva_weight", low=0.1, high=1),
    )
    assert replace(taught, space=(weight,)).shares_teacher
    assert not replace(taught, space=(weight, rate)).shares_teacher
    assert not replace(sweep, space=(weight,)).shares_teacher, "there is none"


def test_the_default_space_is_that_of_wandb() -> None:
    assert command.SPACE.read_bytes() == (ROOT / "sweeps" / "cva.yaml").read_bytes()
    space = {parameter.name: parameter for parameter in read_space(ROOT / "sweeps" / "cva.yaml")}
    assert {"contexts", "recipe.cva_weight", "recipe.temperature"} < set(space)
    rate = space["recipe.learning_rate"]
    assert (rate.low, rate.high, rate.log) == (3e-5, 5e-4, True)
    assert "contexts" not in {p.name for p in read_space(ROOT / "sweeps" / "cva.yaml", fixed=["contexts"])}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1", "no `parameters` in it"),
        ("parameters: {cva: {value: token}}", "nothing is left to search"),
        ("parameters: {contexts: {values: [none, cap]}}", "aligns two views"),
        ("parameters: {bert-crf.contexts: {values: [tag, cap]}}", "Did you mean"),
        ("parameters: {recipe.batch_size: {min: 0, max: 4}}", "batch_size must be greater than 0"),
    ],
)
def test_bad_spaces_end_with_a_message(
    arguments: list[str], space: Path, content: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    space.write_text(content, encoding="utf-8")
    _fails(arguments, expected, capsys)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--trials=0", "expected 1 or more"),
        ("--pruner=medain", "unknown pruner 'medain'. Did you mean 'median'?"),
        ("--storage=trials.csv", "expected a file ending in .db"),
        ("--seed=2", "not 2, with which the trials are run"),
        ("--space=nowhere.yaml", "nowhere.yaml: No such file"),
        ("--out=what?", "SQLite cannot open a file in a folder with a ? in its name"),
    ],
)
def test_bad_options_end_with_a_message(
    arguments: list[str], option: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _fails([*arguments, "--top=1", option], expected, capsys)


def test_contexts_and_a_mode_that_no_trial_follows_are_told(
    arguments: list[str], space: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space.write_text("parameters: {recipe.epochs: {values: [1, 2]}}", encoding="utf-8")
    monkeypatch.setattr("lightning_ita.studies.sweep.search.search", lambda *_: 0)
    without = [argument for argument in arguments if not argument.startswith("--recipe.epochs")]
    assert command.main([*without, "--system=bert-crf", "--contexts=ocr", "--cva=joint"]) == 0
    said = capsys.readouterr().out
    assert "note: --contexts ocr is read by no system here" in said
    assert "note: --cva joint is followed by no system here" in said


def _fails(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        guard(lambda _: command.main(arguments))
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error


def test_a_trial_that_ends_while_others_look_for_killed_ones_stays_ended(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(sweep)
    listed = study.ask()
    running = study.get_trials(deepcopy=True, states=(trials.TrialState.RUNNING,))
    study.tell(listed, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(type(study), "get_trials", lambda self, **options: running)
        trials._retry_killed(study, sweep)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]
