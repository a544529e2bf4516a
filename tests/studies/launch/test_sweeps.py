"""Sweeps whose trials run on clusters: on Slurm with submitit's local executor, on Ray with a stand-in."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_ita.commands import sweep as command
from lightning_ita.errors import UserError
from lightning_ita.studies.launch import ray_search
from lightning_ita.studies.launch.ray_node import Outcome
from lightning_ita.studies.sweep.storage import Sweep
from tests.studies.launch.fake_ray import FakeRay, NodeDiedError
from tests.studies.launch.test_slurm_array import Here

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

SPACE = """\
parameters:
  recipe.learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.001}
"""


@pytest.fixture
def arguments(corpus: Path, tiny_encoder: str, tmp_path: Path) -> list[str]:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    options = ["--preset=small", "--contexts=none", "--cva=off", "--recipe.epochs=1", f"--space={space}"]
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", *options, "--trials=2", "--top=1", "--seeds=1"]


def states(out: Path) -> list[str]:
    with (out / "trials.csv").open(encoding="utf-8") as file:
        return [line["state"] for line in csv.DictReader(file)]


def test_trials_and_winners_run_as_array_jobs_of_slurm(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, out = Here(monkeypatch), tmp_path / "out"
    assert command.main([*arguments, f"--out={out}", "--launcher=slurm", "--jobs=1", "--slurm.partition=gpu"]) == 0
    said = capsys.readouterr().out
    assert "running 2 trials, one after the other" in said
    assert [values["partition"] for values in here.submitted] == ["gpu", "gpu"]  # trials, winners
    assert states(out) == ["complete", "complete"]
    assert len(list((out / "winners" / "cells").iterdir())) == 1
    # Network file systems keep a journal whole, and a SQLite file not always; who goes on alone finds it.
    assert (out / "sweep.log").is_file()
    assert not (out / "sweep.db").exists()
    assert command.main([*arguments, f"--out={out}"]) == 0
    assert len(here.submitted) == 2


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_trials_and_winners_run_on_ray_also_when_a_node_is_lost(
    arguments: list[str],
    cluster: Callable[..., FakeRay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Sweep, "elsewhere", True)  # its database is a file, and its nodes are this process

    def lose(number: int) -> None:
        if number == 0:
            raise NodeDiedError("its node is dead")

    run, shut_down = ray_search.run_search, iter([Outcome("stopped", node="node1")])
    monkeypatch.setattr(ray_search, "run_search", lambda *given: next(shut_down, None) or run(*given))
    ray, out = cluster(lose), tmp_path / "out"
    options = ["--launcher=ray", "--jobs=1", f"--storage={tmp_path / 'database.db'}"]
    assert command.main([*arguments, f"--out={out}", *options]) == 0
    said = capsys.readouterr().out
    assert "a worker was lost: NodeDiedError: its node is dead; another one is started" in said
    assert "a worker was lost: node1: its process was told to end; another one is started" in said
    assert states(out) == ["complete", "complete"]
    assert len(list((out / "winners" / "cells").iterdir())) == 1
    # One corpus for the trials and one for the winner, whose digests are the same; nothing stays on the node.
    assert sum(type(value).__name__ == "Corpus" for value in ray.puts) == 2
    assert not list((tmp_path / "node").iterdir())
    assert not (out / "trials").exists()


def test_ray_needs_a_database_that_all_nodes_reach(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"the nodes cannot reach the trials in .*sweep.log; give a database by its URL"
    ):
        command.main([*arguments, f"--out={tmp_path / 'out'}", "--launcher=ray"])


def test_a_launcher_without_sweeps_says_so(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_ita.studies.launch.launcher import Launcher
    from lightning_ita.studies.launch.local import Local

    monkeypatch.setattr(Local, "run_trials", Launcher.run_trials)
    with pytest.raises(UserError, match="this --launcher runs the cells of studies, and no sweeps"):
        command.main([*arguments, f"--out={tmp_path / 'out'}"])
