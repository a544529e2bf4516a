"""Workers that share no folder, with their trials on a PostgreSQL server.

It runs where the environment variable ``POSTGRESQL_URL`` names an empty database of a server, for example
``postgresql+psycopg://user:password@localhost/sweeps``.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from lightning_ita.data.source import Source
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.sweep import storage, trials
from lightning_ita.studies.sweep.space import Parameter
from lightning_ita.studies.sweep.storage import Sweep, open_study
from tests.studies.sweep.test_optuna import stub

pytestmark = [
    pytest.mark.skipif("POSTGRESQL_URL" not in os.environ, reason="needs a server; set POSTGRESQL_URL"),
    # Connections, which SQLAlchemy leaves to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning",
        "ignore::ResourceWarning",
    ),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]
TRIALS = 8


@pytest.fixture
def sweep(tmp_path: Path, tiny_encoder: str) -> Sweep:
    return Sweep(
        name=f"test-{uuid.uuid4()}",
        storage=os.environ["POSTGRESQL_URL"],
        out=tmp_path / "here",
        base=Cell("demo", short_form("cap", "token"), tiny_encoder, recipe=Recipe(epochs=2)),
        digests={},
        source=Source(),
        space=(Parameter("recipe.learning_rate", low=1e-4, high=1e-3, log=True),),
        trials=TRIALS,
        pruner="none",
    )


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Lets connections go while their warnings are expected."""
    yield
    gc.collect()


def machine(sweep: Sweep, folder: Path, killed_in: int | None = None) -> None:
    """Runs trials as another machine does, in a folder of its own; until it is killed in one, if that is given."""
    storage.HEARTBEAT = 1  # type: ignore[assignment]
    runs: list[int] = []

    def run(*arguments: Any, **options: Any) -> dict[str, Any]:
        runs.append(1)
        if len(runs) == killed_in:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        return stub(*arguments, **options)

    trials.run_cell = run  # type: ignore[assignment]
    trials.run_trials(replace(sweep, out=folder))


def test_what_a_lost_machine_tried_another_one_finishes(sweep: Sweep, tmp_path: Path) -> None:
    open_study(sweep)
    context = multiprocessing.get_context("spawn")
    lost = context.Process(target=machine, args=(sweep, tmp_path / "lost", 2))
    others = [context.Process(target=machine, args=(sweep, tmp_path / f"other{number}")) for number in range(2)]
    lost.start()
    lost.join(300)
    assert lost.exitcode == -signal.SIGKILL
    (running,) = open_study(sweep).get_trials(states=(optuna.trial.TrialState.RUNNING,))
    for other in others:
        other.start()
    for other in others:
        other.join(300)
    assert [other.exitcode for other in others] == [0, 0]
    found = open_study(sweep).trials
    counts = [trial.state.name for trial in found]
    assert (counts.count("COMPLETE"), counts.count("FAIL"), counts.count("RUNNING")) == (TRIALS, 1, 0)
    assert found[running.number].state.name == "FAIL"
    (again,) = (trial for trial in found if trial.system_attrs.get("failed_trial") == running.number)
    assert again.state.name == "COMPLETE"
    assert again.params == running.params
    # No other values were tried twice.
    finished = [json.dumps(trial.params) for trial in found if trial.state.name == "COMPLETE"]
    assert len(set(finished)) == TRIALS


def test_a_trial_whose_machines_are_lost_is_given_up(sweep: Sweep, tmp_path: Path) -> None:
    open_study(sweep)
    context = multiprocessing.get_context("spawn")
    for number in range(storage.MOST_FAILURES):
        lost = context.Process(target=machine, args=(sweep, tmp_path / f"lost{number}", 1))
        lost.start()
        lost.join(300)
        assert lost.exitcode == -signal.SIGKILL
        time.sleep(3)  # until its heartbeat is missed
    machine_left = context.Process(target=machine, args=(sweep, tmp_path / "left"))
    machine_left.start()
    machine_left.join(300)
    assert machine_left.exitcode == 0
    counts = [trial.state.name for trial in open_study(sweep).trials]
    assert (counts.count("COMPLETE"), counts.count("FAIL")) == (TRIALS, storage.MOST_FAILURES)
