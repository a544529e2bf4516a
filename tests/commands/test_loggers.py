"""Runs are told to Lightning's loggers, from `train` as from `ablate`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from lightning_ita.commands import ablate, train
from lightning_ita.errors import UserError


@pytest.fixture
def options(corpus: Path, tiny_encoder: str, tmp_path: Path) -> list[str]:
    data = [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=small", "--recipe.epochs=2"]
    return [*data, f"--out={tmp_path / 'out'}", "--contexts=cap"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_cell_of_a_study_is_told_to_csv(options: list[str], tmp_path: Path) -> None:
    assert ablate.main([*options, "--seeds=1", "--cva=token", "--jobs=1", "--logger=csv"]) == 0
    logs = sorted((tmp_path / "out" / "logs").glob("*/metrics.csv"))
    assert [path.parent.name.split("-seed")[0] for path in logs] == ["demo-bert-crf", "demo-ita-cap-token"]
    told = rows(logs[1])
    assert sum(bool(row.get("valid/I+T/f1")) for row in told) == 2
    assert any(row.get("test/T/f1") for row in told)
    assert "cva: token" in (logs[1].parent / "hparams.yaml").read_text(encoding="utf-8")


def test_a_finished_run_is_told_again(options: list[str], tmp_path: Path) -> None:
    assert train.main(options) == 0
    assert not (tmp_path / "out" / "logs").exists()
    assert train.main([*options, "--logger=csv"]) == 0
    (log,) = (tmp_path / "out" / "logs").glob("*/metrics.csv")
    assert sum(bool(row.get("valid/f1")) for row in rows(log)) >= 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("csvv", "unknown logger 'csvv'. Did you mean 'csv'"),
        ("tensorboard", r"--logger tensorboard needs the package tensorboard.*`pip install tensorboard`"),
        ("mlflow", r"--logger mlflow needs the package mlflow.*`pip install mlflow`"),
    ],
)
def test_loggers_that_are_not_there(
    options: list[str], monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    for package in ("tensorboard", "mlflow"):
        monkeypatch.setitem(sys.modules, package, None)
    for command in (ablate, train):
        with pytest.raises(UserError, match=expected):
            command.main([*options, f"--logger={name}"])
