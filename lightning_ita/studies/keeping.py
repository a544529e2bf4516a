"""Which trained models of a study stay on disk: a folder ``model`` in the folder of a cell, with a model card.

Keeping changes no identity and no result: it is asked for when cells are run, and is no part of what they are.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from lightning_ita.data.corpus import Corpus
from lightning_ita.errors import UserError
from lightning_ita.invocation import spelled
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.plan import CELLS
from lightning_ita.studies.records import Metrics
from lightning_ita.studies.study import CONFIG, METRICS
from lightning_ita.studies.trained import with_own_model

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

# The folder of a kept model, in the folder of its cell.
MODEL = "model"


def keep(tagger: Tagger, folder: Path, cell: Cell, metrics: Metrics, corpus: Corpus) -> None:
    """Writes a trained model into the folder of its cell, where predictions and metrics are already.

    Args:
        tagger: The model, with the weights of its best epoch.
        folder: The cell's folder.
        cell: The cell.
        metrics: What it reached.
        corpus: What it was trained on.
    """
    from lightning_ita.models.kept import handles_of, public_name, save
    from lightning_ita.studies.card import model_card

    config = replace(cell, options=cell.options.without_folders(), encoder=public_name(cell.encoder)).to_config()
    training = {"name": cell.name, "identity": cell.identity, "config": config, "release": metrics["release"]}
    handles = tagger.handles or handles_of(corpus)  # a model that another cell has trained was not fitted here
    save(tagger, folder / MODEL, model_card(cell, metrics, corpus, folder), training, handles)


def valid_f1(cell: Cell, metrics: Metrics) -> float:
    """Returns what models are chosen by: mean F1 on valid over the trained views."""
    return mean(metrics["valid"][view]["f1"] for view in cell.trained_views)


def best_of_rows(cells: Sequence[Cell], out: Path) -> list[Cell]:
    """Returns the finished cell of each row with the highest F1 on valid; of equal ones that of the least seed.

    Rows that test the models of another row, under a control at test, have none of their own.
    """
    # By seed, not by place: other processes may have the same cells in another order.
    rows: dict[str, list[tuple[float, int, Cell]]] = defaultdict(list)
    for cell in with_own_model(cells):
        path = out / CELLS / cell.name / METRICS
        if path.is_file():
            rows[_row(cell)].append((valid_f1(cell, schema.read_metrics(path)), -cell.seed, cell))
    return [max(row, key=lambda each: each[:2])[-1] for row in rows.values()]


def keep_best(cells: Sequence[Cell], out: Path, among: Cell | None = None) -> None:
    """Removes the models of all finished cells but the best of each row.

    Args:
        cells: The plan.
        out: The study's folder.
        among: Only the row of this cell.
    """
    if among is not None:
        cells = [cell for cell in cells if _row(cell) == _row(among)]
    best = {cell.name for cell in best_of_rows(cells, out)}
    for cell in cells:
        if cell.name not in best and (out / CELLS / cell.name / METRICS).is_file():
            remove(out / CELLS / cell.name)


def remove(folder: Path) -> None:
    """Removes the model in the folder of a cell, in one step for who may read it; another process may be at it, too."""
    aside = folder / f".{MODEL}.{os.getpid()}"
    try:
        os.replace(folder / MODEL, aside)
    except OSError:
        return
    shutil.rmtree(aside, ignore_errors=True)


def without_model(cells: Sequence[Cell], out: Path, keep_models: str) -> list[Cell]:
    """Returns the finished cells whose model was to be kept and is not there: they were run without being asked to."""
    if keep_models == "none":
        return []
    wanted = best_of_rows(cells, out) if keep_models == "best" else with_own_model(cells)
    folders = [(cell, out / CELLS / cell.name) for cell in wanted]
    return [cell for cell, folder in folders if (folder / METRICS).is_file() and not (folder / MODEL).is_dir()]


def model_lines(cells: Sequence[Cell], out: Path, keep_models: str) -> Iterator[str]:
    """Yields where the kept models of a study are, and how to get those of cells that were finished without keeping.

    With ``best`` the models of other seeds are removed: seeds may have been added, or finished on other machines.
    """
    if keep_models == "none":
        return
    if keep_models == "best":
        keep_best(cells, out)
    for cell in cells:
        if (out / CELLS / cell.name / MODEL).is_dir():
            yield f"model: {out / CELLS / cell.name / MODEL}"
    for cell in without_model(cells, out, keep_models):
        config = out / CELLS / cell.name / CONFIG
        command = spelled("train", "--config", config, "--keep-models", "best", "--out", out / CELLS)
        yield f"no model of {cell.name}, which was finished before; to get it: {command}"


def add_model(folder: Path, run: Callable[[Path], Metrics]) -> Metrics:
    """Adds a model to a cell that was finished without keeping it, by running it again; its results stay.

    Args:
        folder: The finished cell.
        run: Runs the cell again in another folder, keeping its model.

    Returns:
        What the new run reached; other scores than before mean other code, packages or another machine.

    Raises:
        UserError: The new run did not keep a model.
    """
    again = folder.with_name(f".{folder.name}.again")
    shutil.rmtree(again, ignore_errors=True)
    try:
        metrics = run(again)
        if not (again / MODEL).is_dir():
            raise UserError(f"{again} has no model")
        os.replace(again / MODEL, folder / MODEL)
    finally:
        shutil.rmtree(again, ignore_errors=True)
    return metrics


def _row(cell: Cell) -> str:
    """Returns what the cells of a row share, recipe and data included: all but the seed."""
    return replace(cell, seed=0).identity
