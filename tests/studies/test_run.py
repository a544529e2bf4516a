from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.data.controls import Control
from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, write
from lightning_ita.models import kept
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.inputs import TwoViewInputs
from lightning_ita.models.kept import read_kept_config
from lightning_ita.models.options import VIEWS
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies import run
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.run import run_cell
from lightning_ita.studies.scoring import score
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


def test_how_a_corpus_writes_handles_is_counted_once(
    tiny_encoder: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(kept, "handles_of", lambda _: (counted.append(1), "split")[1])
    cell = Cell("demo", BertCRFOptions(), tiny_encoder, recipe=Recipe(epochs=1))
    run_cell(cell, tmp_path / "cell", Source(str(corpus)), keep_model=True)
    assert read_kept_config(tmp_path / "cell" / "model")["handles"] == "split"
    assert len(counted) == 1


def test_what_a_cell_reads_the_next_ones_do_not_read_again(
    tiny_encoder: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = TwoViewInputs.read

    def counted(inputs: TwoViewInputs, *given: Any) -> list[Any]:
        reads.append(1)
        return read(inputs, *given)

    monkeypatch.setattr(TwoViewInputs, "read", counted)
    monkeypatch.setattr(run, "READ", {})
    source, recipe = Source(str(corpus)), Recipe(epochs=1)
    cell = Cell("demo", short_form("cap", "off"), tiny_encoder, recipe=recipe)
    other = Control.parse("other-image")
    cells = {
        "first": (cell, 3),  # train, valid, test
        "seed": (replace(cell, seed=2), 0),
        "other contexts": (replace(cell, options=short_form("tag", "off")), 3),
        "shorter": (replace(cell, recipe=replace(recipe, max_length=16)), 3),
        "control": (replace(cell, control=other), 3),
        "control, seed": (replace(cell, control=other, seed=2), 3),
        "again": (replace(cell, recipe=replace(recipe, learning_rate=1e-3)), 0),
    }
    for name, (each, expected) in cells.items():
        reads.clear()
        with_kept = run_cell(each, tmp_path / name, source)
        assert len(reads) == expected, name
        if not expected:
            monkeypatch.setattr(run, "READ", {})
            alone = run_cell(each, tmp_path / f"{name}, alone", source)
            assert (with_kept["test"], with_kept["splits"]) == (alone["test"], alone["splits"])
