"""A run that is stopped anywhere goes on, and ends as if it had never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from experiments import resume
from experiments.cell import Cell, Source
from experiments.run import part_of, run_cell
from lightning_ita.models.recipes import Recipe

RECIPE = Recipe(batch_size=8, epochs=3, warmup=0.1)  # 24 tweets: three steps an epoch


class StoppedError(Exception):
    pass


class Stop(Callback):
    """Stops a run, as a kill would, when a hook has been called so often."""

    def __init__(self, hook: str, calls: int):
        self.calls = calls
        setattr(self, hook, self.count)

    def count(self, *_: object) -> None:
        self.calls -= 1
        if self.calls == 0:
            raise StoppedError


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a checkpoint whenever one may be written."""
    monkeypatch.setattr(resume, "SECONDS_APART", 0.0)
    monkeypatch.setattr(resume, "COSTS_APART", 0.0)


@pytest.fixture
def cell(corpus: Path, tiny_encoder: str) -> Cell:
    return Cell("demo", ("cap",), "token", tiny_encoder, recipe=RECIPE)


@pytest.fixture
def source(corpus: Path) -> Source:
    return Source(str(corpus))


@pytest.fixture
def undisturbed(cell: Cell, source: Source, tmp_path: Path) -> Path:
    run_cell(cell, tmp_path / "undisturbed", source)
    return tmp_path / "undisturbed"


def assert_same_result(folder: Path, undisturbed: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {path.name for path in undisturbed.iterdir()}
    for name in ("config.yaml", "predictions.valid.jsonl", "predictions.test.jsonl"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
    metrics, expected = (json.loads((place / "metrics.json").read_text()) for place in (folder, undisturbed))
    for name in ("seconds", "training_seconds"):
        assert metrics.pop(name) > 0
        expected.pop(name)
    assert metrics == expected


def devices(folder: Path) -> list[int]:
    environment = json.loads((folder / "environment.json").read_text())
    return [part["step"] for part in environment["trained_on"]]


@pytest.mark.parametrize(
    ("hook", "calls", "step"),
    [
        ("on_train_batch_start", 2, 1),  # in the first epoch
        ("on_train_batch_start", 6, 5),  # in a later one
        ("on_train_batch_end", 6, 5),  # after an epoch's last step
        ("on_validation_batch_end", 1, 2),
        ("on_train_epoch_start", 2, 3),
        ("on_predict_batch_end", 1, None),  # in evaluation: training is over
    ],
)
@pytest.mark.usefixtures("always")
def test_a_stopped_run_goes_on_where_it_was(
    hook: str, calls: int, step: int | None, cell: Cell, source: Source, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    with pytest.raises(StoppedError):
        run_cell(cell, folder, source, callbacks=[Stop(hook, calls)])
    assert not folder.exists()
    torch.rand(7)  # another process has another history
    run_cell(cell, folder, source)
    assert_same_result(folder, undisturbed)
    assert devices(folder) == ([0] if step is None else [0, step])
    assert not part_of(folder).exists()
