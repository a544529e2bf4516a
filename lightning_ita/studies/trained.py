"""A model trained once and tested several times: cells that differ by a control at test alone share their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.records import Metrics
from lightning_ita.studies.study import ENVIRONMENT, METRICS

# The best epoch's weights in the folder of a finished cell, for as long as others need them.
WEIGHTS = "best.ckpt"
VALID_PREDICTIONS = "predictions.valid.jsonl"


@dataclass(frozen=True)
class Trained:
    """A model that a finished cell has trained.

    Attributes:
        weights: Its best epoch's weights.
        metrics: Content of the cell's ``metrics.json``.
    """

    weights: Path
    metrics: Metrics


def tests_another(cell: Cell) -> bool:
    """Tells whether a cell's model is that of the same cell without its control."""
    return cell.control is not None and cell.control.at_test


def trained_already(cell: Cell, folder: Path, made_with: Mapping[str, str]) -> Trained | None:
    """Returns the model of a cell with a control at test, where the cell without it has left its weights.

    Args:
        cell: The cell.
        folder: Its folder, beside which the other one lies.
        made_with: Code and packages of this process: weights that others made are not taken.

    Raises:
        UserError: The other cell's files are damaged.
    """
    if not tests_another(cell):
        return None
    there = folder.with_name(cell.uncontrolled.name)
    if not all((there / name).is_file() for name in (WEIGHTS, METRICS, VALID_PREDICTIONS)):
        return None
    environment = schema.read_environment(there / ENVIRONMENT)
    if {"code": environment.get("code"), **environment["packages"]} != dict(made_with):
        return None
    return Trained(there / WEIGHTS, schema.read_metrics(there / METRICS))


def waits(cell: Cell, left: Sequence[Cell]) -> bool:
    """Tells whether a cell should wait for another one that is still to be run, whose model it tests."""
    return tests_another(cell) and any(other.name == cell.uncontrolled.name for other in left)


def with_own_model(cells: Sequence[Cell]) -> list[Cell]:
    """Returns the cells of a plan without those that test the model of another one in it."""
    names = {cell.name for cell in cells}
    return [cell for cell in cells if not (tests_another(cell) and cell.uncontrolled.name in names)]


def is_shared(cell: Cell, cells: Sequence[Cell]) -> bool:
    """Tells whether other cells of a plan test the model of this one."""
    return any(tests_another(other) and other.uncontrolled.name == cell.name for other in cells)


def drop_weights(cells: Sequence[Cell], folder: Path) -> None:
    """Removes weights that no cell of a plan waits for any more.

    Args:
        cells: The plan.
        folder: The folder of all cells.
    """
    for name in {cell.uncontrolled.name for cell in cells if tests_another(cell)}:
        others = [cell for cell in cells if tests_another(cell) and cell.uncontrolled.name == name]
        if all((folder / cell.name / METRICS).is_file() for cell in others):
            (folder / name / WEIGHTS).unlink(missing_ok=True)
