from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, write
from lightning_ita.models.options import VIEWS
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.run import run_cell, score
from lightning_ita.tags import bio_tags


def test_a_run_notes_how_far_its_views_agree(tiny_encoder: str, tmp_path: Path) -> None:
    corpus = write(DemoConfig(train=24, valid=80, test=12), tmp_path / "demo")
    recipe = Recipe(learning_rate=5e-3, batch_size=4, epochs=4)
    cell = Cell("demo", short_form("tag,cap", "off"), tiny_encoder, recipe=recipe)
    metrics = run_cell(cell, tmp_path / "cell", Source(str(corpus)))
    names = bio_tags(Demo.types)
    lines = (tmp_path / "cell" / "predictions.valid.jsonl").read_text(encoding="utf-8").splitlines()
    text, cross_modal = (
        [[names.index(tag) for tag in line[view]] for line in map(json.loads, lines)] for view in VIEWS
    )
    expected = score(text, cross_modal, Demo.types, "repair")["f1"]
    assert 0 < expected < 100
    noted = [epoch["valid/agreement"] for epoch in metrics["history"]]
    assert noted[metrics["best_epoch"] - 1] == pytest.approx(expected, abs=1e-3)
