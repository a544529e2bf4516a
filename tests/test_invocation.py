from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lightning_ita.invocation import spelled


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ``uv run``, which may have started the tests, and python on the path."""
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    monkeypatch.setattr(shutil, "which", lambda name: f"/env/bin/{name}")


@pytest.mark.parametrize(
    ("started", "command", "expected"),
    [
        ("/checkout/experiments/ablate.py", "report", "python -m experiments.report runs/a"),
        ("/checkout/sweeps/optuna.py", "sweep", "python -m sweeps.optuna runs/a"),
        ("/env/bin/lightning-ita", "report", "lightning-ita report runs/a"),
        ("/env/bin/jupyter-lab", "report", "lightning-ita report runs/a"),
        ("", "report", "lightning-ita report runs/a"),
    ],
)
def test_commands_are_spelled_as_the_process_was_started(
    started: str, command: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    assert spelled(command, Path("runs/a")) == expected


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("/checkout/experiments/ablate.py", "uv run python -m experiments.report"),
        ("/env/bin/lightning-ita", "uv run lightning-ita report"),
    ],
)
def test_under_uv_run_it_stands_in_front(started: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert spelled("report") == expected


@pytest.mark.parametrize("found", ["/usr/bin/", None])
@pytest.mark.parametrize(("folder", "shown"), [("HERE/.venv", ".venv"), ("/other", "/other"), ("/my env", "'/my env")])
def test_a_program_that_is_not_on_the_path_is_named_by_its_path(
    folder: str, shown: str, found: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, end = folder.replace("HERE", str(tmp_path)), "'" if "'" in shown else ""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: found and found + name)
    monkeypatch.setattr(sys, "executable", f"{folder}/python")
    monkeypatch.setattr(sys, "argv", ["/checkout/experiments/ablate.py"])
    assert spelled("report") == f"{shown}/python{end} -m experiments.report"
    monkeypatch.setattr(sys, "argv", [f"{folder}/lightning-ita"])
    assert spelled("report") == f"{shown}/lightning-ita{end} report"


def test_arguments_are_quoted_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/env/bin/lightning-ita"])
    assert spelled("report", "my runs/a", "--out", "b*") == "lightning-ita report 'my runs/a' --out 'b*'"
