"""Studies on a real Slurm, whose nodes share this machine's folders; a controller and one node here are enough.

They take minutes, and run where the environment variable ``CLUSTER_TESTS`` is set and Slurm answers.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.studies.launch.slurm import Array
from tests.studies.studies import results

pytestmark = [
    pytest.mark.skipif("CLUSTER_TESTS" not in os.environ, reason="takes minutes; set CLUSTER_TESTS=1 to run it"),
    pytest.mark.skipif(shutil.which("sbatch") is None, reason="there is no Slurm on this machine"),
]
# Seconds that a study may take before its test fails; what goes back into the queue waits there for two minutes.
PATIENCE = 900.0


@pytest.fixture(scope="module")
def study(corpus: Path, tiny_encoder: str) -> list[str]:
    """Arguments of a study of four cells, long enough to be disturbed."""
    options = ["--preset=small", "--contexts=cap", "--cva=off,token", "--seeds=1", "--recipe.epochs=60"]
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", *options]


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "out"
    Array(tmp_path / "out").cancel()


def start(study: list[str], out: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.ablate", *study, f"--out={out}", "--launcher=slurm", "--jobs=2", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, said
    return said


def at_work(out: Path) -> list[Path]:
    """Returns the runs that have had an epoch."""
    return list((out / "cells").glob(".*.part/epoch-*.ckpt"))


def saved(out: Path) -> list[Path]:
    return list((out / "cells").glob(".*.part/state.ckpt"))


def parts(out: Path) -> list[int]:
    """Returns in how many parts each cell was trained."""
    paths = (out / "cells").glob("[!.]*/environment.json")
    return [len(json.loads(path.read_text())["trained_on"]) for path in paths]


def test_a_killed_command_leaves_its_job_which_the_next_one_watches(
    study: list[str], expected: dict[str, bytes], out: Path
) -> None:
    first = start(study, out)
    wait_for(lambda: at_work(out))
    first.kill()
    first.communicate()
    tasks = set(Array(out).tasks())
    assert len(tasks) == 2
    second = start(study, out)
    said = finish(second)
    assert "is at work already" in said
    assert "submitted" not in said
    assert results(out) == expected
    assert set(parts(out)) == {1}  # nothing was disturbed
    assert not Array(out).tasks()


@pytest.mark.parametrize("how", ["limit", "preemption"])
def test_what_goes_back_into_the_queue_is_taken_up_from_its_checkpoint(
    how: str, study: list[str], expected: dict[str, bytes], out: Path
) -> None:
    process = start(study, out)
    wait_for(lambda: len(at_work(out)) == 2)  # a task that has not begun would not go back at its limit
    task = next(task for task, state in Array(out).tasks().items() if state.startswith("RUNNING"))
    # What Slurm itself sends: SIGUSR2 before the time limit; what it preempts it puts back after SIGTERM.
    command = ["scancel", "--signal=USR2", task] if how == "limit" else ["scontrol", "requeue", task]
    subprocess.run(command, check=True)
    wait_for(lambda: task in Array(out).tasks() and Array(out).tasks()[task].startswith("PENDING"))
    finish(process)
    assert results(out) == expected
    assert max(parts(out)) == 2


def test_a_cancelled_study_is_saved_and_goes_on(study: list[str], expected: dict[str, bytes], out: Path) -> None:
    process = start(study, out)
    wait_for(lambda: len(at_work(out)) == 2)
    assert "cancelled 2 tasks of the job" in finish(start(study, out, "--cancel"))
    assert "all tasks of the job" in finish(process, status=2)
    assert saved(out)
    finish(start(study, out))
    assert results(out) == expected
    assert 2 in parts(out)


def test_the_job_survives_the_login_shell(study: list[str], expected: dict[str, bytes], out: Path) -> None:
    process = start(study, out)
    wait_for(lambda: at_work(out))
    process.send_signal(signal.SIGHUP)  # as when the login shell goes
    process.communicate()
    wait_for(lambda: not Array(out).tasks())
    said = finish(start(study, out))
    assert "submitted" not in said
    assert results(out) == expected


def test_a_sweep_loses_no_values_when_a_task_is_killed(corpus: Path, tiny_encoder: str, out: Path) -> None:
    space = out.with_name("space.yaml")
    space.write_text("parameters:\n  recipe.learning_rate: {min: 0.0001, max: 0.001}\n")
    options = [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=small", "--contexts=cap", "--cva=token"]
    options += [f"--space={space}", "--trials=4", "--top=1", "--seeds=1", "--recipe.epochs=60", "--pruner=none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.optuna", *options, f"--out={out}", "--launcher=slurm", "--jobs=2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: len(list((out / "trials").glob(".*.part/epoch-*.ckpt"))) == 2)
    task = next(task for task, state in Array(out).tasks().items() if state.startswith("RUNNING"))
    subprocess.run(["scancel", "--signal=KILL", task], check=True)
    finish(process)
    with (out / "trials.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    states = [line["state"] for line in lines]
    assert (states.count("complete"), states.count("fail"), len(states)) == (4, 1, 5)
    (lost,) = (line["recipe.learning_rate"] for line in lines if line["state"] == "fail")
    assert [line["state"] for line in lines if line["recipe.learning_rate"] == lost] == ["fail", "complete"]
    assert len(list((out / "winners" / "cells").glob("*/metrics.json"))) == 1
