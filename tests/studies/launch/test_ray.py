"""Studies on a real Ray cluster of three nodes on this machine, which share no folder for their runs.

They take minutes, and run where the environment variable ``CLUSTER_TESTS`` is set.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.studies.resume import read_checkpoint
from tests.studies.studies import results

pytestmark = [
    pytest.mark.skipif("CLUSTER_TESTS" not in os.environ, reason="takes minutes; set CLUSTER_TESTS=1 to run it"),
    # Sockets and pipes of the cluster's processes, which it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
# Seconds that a study may take before its test fails.
PATIENCE = 900.0


class Nodes:
    """A head that runs nothing, and three nodes, each with a processor and a temporary folder of its own."""

    def __init__(self, place: Path):
        from ray.cluster_utils import Cluster

        self.place, self.nodes = place, {}  # type: ignore[var-annotated]
        self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.count = 0
        while len(self.nodes) < 3:
            self.add()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> None:
        folder = self.place / f"node{self.count}"
        folder.mkdir()
        self.count += 1
        self.nodes[folder] = self.cluster.add_node(num_cpus=1, env_vars={"TMPDIR": str(folder)})

    def kill(self, folder: Path) -> None:
        self.cluster.remove_node(self.nodes.pop(folder), allow_graceful=False)

    def running(self) -> set[tuple[str, str]]:
        """Returns which node has had an epoch of which cell that it still runs."""
        found = (path for node in self.nodes for path in node.glob("lightning-ita-*/*/*/cells/.*.part/epoch-*.ckpt"))
        return {(path.relative_to(self.place).parts[0], path.parts[-4]) for path in found}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    pytest.importorskip("ray")
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.cluster.shutdown()


@pytest.fixture(scope="module")
def study(corpus: Path, tiny_encoder: str) -> list[str]:
    """Arguments of a study of six cells, long enough to be disturbed."""
    options = ["--preset=small", "--contexts=cap", "--cva=off,token", "--seeds=1,2", "--recipe.epochs=20"]
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", *options]


def start(study: list[str], out: Path, nodes: Nodes) -> subprocess.Popen[str]:
    command = [*study, f"--out={out}", "--launcher=ray", f"--ray-address={nodes.address}"]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.ablate", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := condition():
            return found
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    raise AssertionError("it did not come")


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def finished(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in (out / "cells").glob("[!.]*/metrics.json")}


def starts(out: Path) -> list[list[int]]:
    """Returns the steps at which the parts of each run began."""
    paths = sorted((out / "cells").glob("[!.]*/environment.json"))
    return [[part["step"] for part in json.loads(path.read_text())["trained_on"]] for path in paths]


def clean(out: Path, nodes: Nodes) -> bool:
    """Tells whether neither the study nor the nodes keep anything of runs that have ended."""
    return not [*(out / "cells").glob(".*"), *(path for node in nodes.nodes for path in node.glob("*/*/*/cells"))]


def test_the_table_is_that_of_one_machine_also_when_a_node_is_lost(
    study: list[str], expected: dict[str, bytes], nodes: Nodes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(study, out, nodes)
    running = wait_for(lambda: finished(out) and nodes.running(), process)
    assert max(Counter(node for node, _ in running).values()) == 1  # a cell has the processor of its node to itself
    node, _ = next(iter(running))
    nodes.kill(nodes.place / node)
    said = finish(process)
    assert "running 6 of 6 cells, 3 at once" in said
    assert "it is sent again" in said
    assert results(out) == expected
    assert clean(out, nodes)
    nodes.add()


def test_a_killed_driver_goes_on_and_runs_no_finished_cell_again(
    study: list[str], expected: dict[str, bytes], nodes: Nodes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(study, out, nodes)
    wait_for(lambda: finished(out) and nodes.running(), process)
    process.kill()
    process.communicate()
    before = finished(out)
    finish(start(study, out, nodes))
    assert {name: time for name, time in finished(out).items() if name in before} == before
    assert results(out) == expected
    assert clean(out, nodes)


def test_sigterm_brings_the_checkpoints_home_and_they_are_taken_up(
    study: list[str], expected: dict[str, bytes], nodes: Nodes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(study, out, nodes)
    wait_for(lambda: len(nodes.running()) == 3, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM, said
    assert said.splitlines()[-1] == "ended by SIGTERM; the same command goes on where it stopped"
    saved = sorted(read_checkpoint(path)["global_step"] for path in (out / "cells").glob(".*.part/state.ckpt"))
    assert len(saved) == 3
    finish(start(study, out, nodes))
    assert sorted(step for parts in starts(out) for step in parts[1:]) == saved
    assert results(out) == expected
    assert clean(out, nodes)


@pytest.mark.skipif("POSTGRESQL_URL" not in os.environ, reason="needs a database; set POSTGRESQL_URL")
def test_a_sweep_loses_no_values_when_a_node_is_lost(
    corpus: Path, tiny_encoder: str, nodes: Nodes, tmp_path: Path
) -> None:
    """Takes some minutes: a lost node's heartbeat is missed after two."""
    out = tmp_path / "out"
    space = tmp_path / "space.yaml"
    space.write_text("parameters:\n  recipe.learning_rate: {min: 0.0001, max: 0.001}\n")
    options = [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=small", "--contexts=cap", "--cva=token"]
    options += [f"--space={space}", "--trials=6", "--top=1", "--seeds=1", "--recipe.epochs=60", "--pruner=none"]
    options += [f"--storage={os.environ['POSTGRESQL_URL']}", f"--name={uuid.uuid4()}", f"--out={out}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeps.optuna", *options, "--launcher=ray", f"--ray-address={nodes.address}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def at_work() -> list[Path]:
        found = [path for node in nodes.nodes for path in node.glob("lightning-ita-*/*/trials/.*.part/epoch-*.ckpt")]
        return found if len({path.relative_to(nodes.place).parts[0] for path in found}) == 3 else []

    (first, *_) = wait_for(at_work, process)
    nodes.kill(nodes.place / first.relative_to(nodes.place).parts[0])
    nodes.add()
    said = finish(process)
    assert "a worker was lost" in said
    with (out / "trials.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    states = [line["state"] for line in lines]
    assert (states.count("complete"), states.count("fail"), len(states)) == (6, 1, 7)
    (lost,) = (line for line in lines if line["state"] == "fail")
    assert [line["state"] for line in lines if line["recipe.learning_rate"] == lost["recipe.learning_rate"]] == [
        "fail",
        "complete",
    ]
    assert len(list((out / "winners" / "cells").glob("*/metrics.json"))) == 1
