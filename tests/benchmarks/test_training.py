from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import fidelity, scaling, train
from lightning_ita.data import DATASETS
from lightning_ita.data.demo import generated
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tiny_encoder: str) -> train.Workload:
    config = DemoConfig(train=24, valid=60, test=8)
    monkeypatch.setattr(
        DATASETS["demo"], "read", lambda self, source, kinds=(), labels="": generated(config, tuple(kinds))
    )
    return train.Workload(encoder=tiny_encoder, batch_size=4)


def test_the_plain_loop_computes_what_the_model_computes(small: train.Workload) -> None:
    train.check(small)


def test_the_table_names_every_contender(small: train.Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    in_new_process = train.take_turn

    def take_turn(make: Callable[..., train.Contender], *arguments: Any) -> train.Turn:
        """Measures the plain loop in a new process, as the benchmark does all, and the others in this one."""
        return (in_new_process if make is train.plain else train._take_turn)(make, *arguments)

    monkeypatch.setattr(train, "take_turn", take_turn)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # of this process, for all tests behind
    lines = train.report(small, rounds=1, threads=1)
    assert all(line.count("|") == len(train.HEADER) + 1 for line in lines)
    assert "plain loop, float32" in lines[0]
    assert "this project, float32" in lines[1]


def test_growth_and_utilisation_run_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main(["--device=cpu", "--encoders=tiny", "--steps=1", "--threads=1", f"--output={tmp_path / 'growth'}"])
    assert len((tmp_path / "growth.md").read_text().splitlines()) == 2 + 5 + 6 + 1
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    options = ["--device=cpu", "--encoders=tiny", "--steps=1", "--threads=1", "--utilisation", "--token-budget=512"]
    scaling.main([*options, "--gradient-checkpointing"])
    assert "| tiny |" in capsys.readouterr().out


def test_the_plain_loop_learns_and_is_scored_in_both_views(small: train.Workload, tmp_path: Path) -> None:
    cell = Cell("demo", short_form("cap", "token"), small.encoder, recipe=Recipe(epochs=1, batch_size=8))
    f1 = fidelity.plain_f1(cell, Source())
    assert set(f1) == {"T", "I+T"}
    assert all(0 <= value <= 100 for value in f1.values())
