"""Every identity in ``results/`` comes out the same as when it was measured, whatever has been built since."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form

RESULTS = Path(__file__).parents[2] / "results"
# One by one, so that a folder that goes missing or a changed column does not leave the test without work.
CELLS = {
    "demo-minilm-tag+cap": 14,
    "twitter-minilm-cap-joint": 24,
    "twitter-minilm-tag+cap+ocr": 54,
    "twitter15-minilm-cap-urls": 6,
}


def measured(folder: Path) -> Iterator[tuple[Cell, str]]:
    """Yields each cell of a study in ``results/`` with the identity noted when it was measured."""
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    settings = dict(study["settings"])
    encoder, recipe = settings.pop("encoder"), Recipe(**settings)
    with (folder / "cells.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            contexts = parse_contexts(line["contexts"].replace("+", ","))
            cell = Cell(line["dataset"], short_form(contexts, line["cva"]), encoder, int(line["seed"]), recipe)
            yield cell.resolve(study["data"][line["dataset"]]), line["identity"]


@pytest.mark.parametrize("name", CELLS)
def test_identities_are_those_of_the_results(name: str) -> None:
    cells = list(measured(RESULTS / name))
    assert len(cells) == CELLS[name]
    assert [cell.identity for cell, _ in cells] == [identity for _, identity in cells]
