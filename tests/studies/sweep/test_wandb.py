"""Each sweep file as W&B reads it: its schema, its agent's command line, and a run of that, offline."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_ita.commands import train
from lightning_ita.errors import UserError
from lightning_ita.studies import run
from lightning_ita.studies.loggers import OBJECTIVE
from tests.studies.sweep.conftest import ROOT

wandb = pytest.importorskip("wandb")
from wandb import wandb_agent  # noqa: E402
from wandb.apis.public import sweeps as wandb_sweeps  # noqa: E402
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # noqa: E402

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
# W&B's own search engine (the package `sweeps`) checks the files and draws a first run of each. -P: the folder of the
# same name in this repository is not meant.
ENGINE = """
import json, sys, yaml, sweeps
answers = {}
for path in sys.argv[1:]:
    config = yaml.safe_load(open(path))
    violations = sweeps.schema_violations_from_proposed_config(config)
    run = None if violations else sweeps.next_run(config, [])
    answers[path] = violations, run and {name: entry["value"] for name, entry in run.config.items()}
print(json.dumps(answers, default=float))
"""


@pytest.fixture(scope="module")
def engine() -> dict[str, Any]:
    """What W&B's engine says of each file: violations of its schema, and the values of a first run."""
    try:
        importlib.metadata.version("sweeps")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("wandb[sweeps] is not installed")
    command = [sys.executable, "-W", "ignore", "-P", "-c", ENGINE, *map(str, FILES)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    answers: dict[str, Any] = json.loads(answer.stdout)
    return answers


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def first_values(path: Path) -> dict[str, Any]:
    """The first of each parameter's values, or its minimum."""
    return {
        name: spec.get("value", spec["values"][0] if "values" in spec else spec.get("min"))
        for name, spec in read(path)["parameters"].items()
    }


def records(path: Path) -> Iterator[Any]:
    """Reads what W&B wrote of a run: a LevelDB log (blocks of 32 KiB, after a header) of protobuf records."""
    content, at, parts = path.read_bytes(), 7, b""
    assert content.startswith(b":W&B")
    while at + 7 <= len(content):
        if (left := 2**15 - at % 2**15) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        if at + 7 + length > len(content):  # it is being written yet
            return
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


def told(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Reads the config, the history and the summary of the one run in a folder."""
    (path,) = out.glob("wandb/offline-run-*/*.wandb")
    for _ in range(600):  # W&B's own process writes it, and may not be done when the run is finished
        if any(record.HasField("exit") for record in records(path)):
            break
        time.sleep(0.1)
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    for record in records(path):
        for items, into in (
            (record.run.config.update, config),
            (record.config.update, config),
            (record.summary.update, summary),
        ):
            into |= {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
        if record.HasField("history"):
            item = record.history.item
            history.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in item})
    return config, history, summary


@pytest.fixture
def agent_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets W&B's agent expand a sweep's command for some values; returns it with its environment."""
    for variable in ("RUN_ID", "SWEEP_PARAM_PATH", "SWEEP_ID", "DIR"):
        monkeypatch.setenv(f"WANDB_{variable}", "")  # set by the agent, so restored after the test
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    started: dict[str, Any] = {}
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda **options: started.update(options) or _Process())

    def expand(path: Path, values: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
        agent = wandb_agent.Agent(api=None, queue=None, sweep_id="sweep1")
        agent._sweep_command = read(path)["command"]
        args = {name: {"value": value} for name, value in values.items()}
        agent._command_run({"args": args, "run_id": "run1", "program": read(path)["program"]})
        return started["command"], started["env"]

    return expand


class _Process:
    last_sigterm_time = None


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_sweep_file_is_what_wandb_accepts(path: Path, engine: dict[str, Any]) -> None:
    violations, run = engine[str(path)]
    assert violations == []
    assert set(run) == set(read(path)["parameters"])


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_sweep_file_names_what_is_there(path: Path) -> None:
    config = read(path)
    if hasattr(wandb_sweeps, "_validate_config_and_fill_distribution"):  # not in the oldest wandb that setup.cfg allows
        assert wandb_sweeps._validate_config_and_fill_distribution(config)["parameters"]
    assert config["metric"] == {"name": OBJECTIVE, "goal": "maximize"}
    assert (ROOT / config["program"]).is_file()
    for name, spec in config["parameters"].items():
        assert all(not isinstance(value, bool) for value in spec.get("values", [])), f"{name}: off must stand in quotes"


def test_the_ablation_is_a_whole_grid() -> None:
    parameters = read(ROOT / "sweeps" / "ablation.yaml")["parameters"]
    assert {name: len(spec["values"]) for name, spec in parameters.items()} == {"contexts": 3, "cva": 2, "seed": 3}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_what_the_agent_starts_runs_offline(
    path: Path, agent_command: Any, tiny_run: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    values = first_values(path)
    with contextlib.suppress(pytest.skip.Exception):
        values = request.getfixturevalue("engine")[str(path)][1]
    command, environment = agent_command(path, values)
    module = command.index("experiments.train")
    assert command[:module] == ["/usr/bin/env", "python", "-m"]
    assert [f"--{name}={value}" for name, value in values.items()] == command[-len(values) :]

    out = tmp_path / "out"
    environment |= {"WANDB_MODE": "offline", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    small = [*tiny_run, "--recipe.epochs=2", f"--out={out}"]
    ended = subprocess.run([*command, *small], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr

    (cell,) = out.glob("demo-*")
    metrics = json.loads((cell / "metrics.json").read_text(encoding="utf-8"))
    config, history, summary = told(out)
    assert {name: config[name] for name in values} == values
    assert config["system"] == metrics["system"]
    assert config["recipe.epochs"] == 2
    objective = [round(line[OBJECTIVE], 6) for line in history if OBJECTIVE in line]
    assert objective == [epoch[OBJECTIVE] for epoch in metrics["history"]]
    assert summary[OBJECTIVE] == max(objective)
    for view, scores in metrics["test"].items():
        assert summary[f"test/{view}/f1"] == scores["f1"]
    (table,) = out.glob("wandb/offline-run-*/files/media/table/*.json")
    content = json.loads(table.read_text(encoding="utf-8"))
    assert content["columns"][:5] == ["split", "view", "precision", "recall", "f1"]
    assert [row[:5] for row in content["data"]] == [
        [split, view, *(metrics[split][view][name] for name in ("precision", "recall", "f1"))]
        for split in ("valid", "test")
        for view in ("T", "I+T")
    ]


@pytest.mark.parametrize("form", ["args", "args_no_equals", "args_no_boolean_flags"])
def test_values_of_any_kind_come_through_the_agent(
    form: str, agent_command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"program: x\ncommand: [python, -m, experiments.train, '${{{form}}}']", encoding="utf-8")
    recipe = {"learning_rate": "1e-4", "temperature": None, "normalise_urls": True, "compile": False, "batch_size": 8}
    values = {f"recipe.{name}": value for name, value in recipe.items()} | {"ita.cva": "joint"}
    command, _ = agent_command(path, values)
    with pytest.raises(SystemExit):
        train.main([*command[3:], "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    assert {name: config["recipe"][name] for name in recipe} == recipe | {"learning_rate": 1e-4}
    assert config["ita"]["cva"] == "joint"


@pytest.fixture
def offline_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WANDB_SILENT", "true")
    for variable in ("WANDB_INIT_TIMEOUT", "WANDB_FINISH_TIMEOUT"):
        monkeypatch.setenv(variable, "5")
    yield tmp_path / "out"
    wandb.teardown()


def test_a_run_goes_on_where_no_server_answers(
    tiny_run: list[str], offline_here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # refuses connections
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    arguments = [*tiny_run, "--contexts=cap", "--recipe.epochs=1", f"--out={offline_here}", "--logger=wandb"]
    assert train.main(arguments) == 0
    assert re.search(r"warning: W&B: .*; this run is kept on disk; `wandb sync` sends it", capsys.readouterr().err)
    _, history, summary = told(offline_here)
    best = max(line[OBJECTIVE] for line in history if OBJECTIVE in line)
    assert summary[OBJECTIVE] == pytest.approx(best, abs=1e-6)

    # Finished, it is told again without being run again.
    for path in offline_here.glob("wandb/offline-run-*/*.wandb"):
        path.unlink()
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(run, "run_cell", lambda *_, **__: pytest.fail("a finished run was run again"))
    assert train.main(arguments) == 0
    assert told(offline_here)[2][OBJECTIVE] == summary[OBJECTIVE]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # W&B leaves the file open
def test_a_run_without_the_values_that_the_agent_shows_is_refused(
    tiny_run: list[str], offline_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As W&B's agent starts it with ${args_no_boolean_flags}: what is false is left out, and the preset has it true.
    path = offline_here.with_name("values.yaml")
    path.write_text("wandb_version: 1\nrecipe.freeze_word_embeddings: {value: false}", encoding="utf-8")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    arguments = [*tiny_run, "--preset=demo", f"--out={offline_here}", "--logger=wandb"]
    with pytest.raises(
        UserError, match=r"recipe.freeze_word_embeddings: W&B's agent gave False, and this run has True"
    ):
        train.main(arguments)
    assert not list(offline_here.glob("demo-*"))


def test_without_wandb_there_is_a_remedy(tiny_run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"needs the package wandb.*lightning-ita\[sweeps\]"):
        train.main([*tiny_run, f"--out={out}", "--logger=wandb"])
    assert train.main([*tiny_run, "--contexts=cap", "--recipe.epochs=1", f"--out={out}"]) == 0
    with pytest.raises(UserError, match=r"unknown logger 'wanbd'\. Did you mean 'wandb'"):
        train.main([*tiny_run, f"--out={out}", "--logger=wanbd"])
