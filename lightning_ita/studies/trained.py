"""Models that a cell takes from another cell: the one that a control at test tests, and a frozen teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.records import Metrics
from lightning_ita.studies.study import ENVIRONMENT, METRICS, part_of

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
    if not _is_usable(there, (WEIGHTS, METRICS, VALID_PREDICTIONS), made_with):
        return None
    return Trained(there / WEIGHTS, schema.read_metrics(there / METRICS))


def needed_cell(cell: Cell) -> Cell | None:
    """Returns the cell whose trained model a cell needs: to test it, or to be taught by it; ``None`` for most."""
    return cell.uncontrolled if tests_another(cell) else cell.teacher


def teacher_folder(teacher: Cell, folder: Path) -> Path:
    """Returns where the run that will fill `folder` trains its teacher, where no other cell has left its weights."""
    return part_of(folder) / teacher.name


def teacher_weights(teacher: Cell, folder: Path, made_with: Mapping[str, str]) -> Path | None:
    """Returns the weights of a frozen teacher, where they are: in its own folder, or inside the run that it teaches.

    Args:
        teacher: The teacher's cell.
        folder: The folder of the cell that it teaches.
        made_with: Code and packages of this process: weights that others made are not taken.
    """
    for there in (folder.with_name(teacher.name), teacher_folder(teacher, folder)):
        if _is_usable(there, (WEIGHTS, METRICS), made_with):
            return there / WEIGHTS
    return None


def _is_usable(there: Path, names: Sequence[str], made_with: Mapping[str, str]) -> bool:
    if not all((there / name).is_file() for name in names):
        return False
    environment = schema.read_environment(there / ENVIRONMENT)
    return {"code": environment.get("code"), **environment["packages"]} == dict(made_with)


def waits(cell: Cell, left: Sequence[Cell]) -> bool:
    """Tells whether a cell should wait for another one that is still to be run, whose model it needs."""
    needed = needed_cell(cell)
    return needed is not None and any(other.name == needed.name for other in left)


def with_own_model(cells: Sequence[Cell]) -> list[Cell]:
    """Returns the cells of a plan without those that test the model of another one in it."""
    names = {cell.name for cell in cells}
    return [cell for cell in cells if not (tests_another(cell) and cell.uncontrolled.name in names)]


def is_shared(cell: Cell, cells: Sequence[Cell]) -> bool:
    """Tells whether other cells of a plan need the model of this one."""
    return any(needed.name == cell.name for needed in map(needed_cell, cells) if needed is not None)


def drop_weights(cells: Sequence[Cell], folder: Path) -> None:
    """Removes weights that no cell of a plan waits for any more.

    Args:
        cells: The plan.
        folder: The folder of all cells.
    """
    waiting: dict[str, list[Cell]] = {}
    for cell in cells:
        if (needed := needed_cell(cell)) is not None:
            waiting.setdefault(needed.name, []).append(cell)
    for name, others in waiting.items():
        if all((folder / cell.name / METRICS).is_file() for cell in others):
            (folder / name / WEIGHTS).unlink(missing_ok=True)
