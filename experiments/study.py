"""A study of many cells: plan, run, collect are three steps, and collecting never trains."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import Callback

from experiments.cell import Cell, Source
from experiments.run import METRICS, run_cell
from lightning_ita.data.corpus import Corpus
from lightning_ita.errors import UserError
from lightning_ita.files import write_text
from lightning_ita.models.ita import CVA
from lightning_ita.models.recipes import Recipe, available_precision

STUDY, CELLS, FAILED, LOCKS, CACHE = "study.json", "cells", "failed", "locks", "cache"
# The order of the paper's rows.
SINGLE_CONTEXTS = ("ocr", "cap", "tag")


@dataclass(frozen=True)
class Study:
    """What an ablation compares.

    Attributes:
        datasets: Names of data sets.
        contexts: Contexts of the ITA rows: one row each, and one for all of them together.
        cva: Training modes of each ITA row.
        encoder: The encoder of every cell.
        seeds: Each row is run once a seed.
        recipe: Hyper-parameters of every cell.
    """

    datasets: tuple[str, ...]
    contexts: tuple[str, ...]
    cva: tuple[CVA, ...]
    encoder: str
    seeds: tuple[int, ...]
    recipe: Recipe

    def __post_init__(self) -> None:
        """Checks that no data set, seed or training mode is named twice, and that there is one of each.

        Raises:
            UserError: One is missing or named twice.
        """
        for what in ("datasets", "cva", "seeds"):
            values = getattr(self, what)
            if not values or len(set(values)) < len(values):
                raise UserError(
                    f"{what} must name at least one, each once, not {', '.join(map(str, values)) or 'none'}"
                )

    def rows(self) -> list[tuple[tuple[str, ...], CVA]]:
        """Returns contexts and training mode of each row: BERT-CRF, each context alone, all of them together."""
        singles = [(kind,) for kind in SINGLE_CONTEXTS if kind in self.contexts]
        together = [self.contexts] if len(self.contexts) > 1 else []
        return [((), "off"), *((contexts, cva) for contexts in [*singles, *together] for cva in self.cva)]


@dataclass(frozen=True)
class Result:
    """What became of a cell.

    Attributes:
        cell: The cell.
        metrics: Content of its ``metrics.json``; ``None`` if it is not finished.
        failure: Why it failed, if it did.
    """

    cell: Cell
    metrics: dict[str, Any] | None = None
    failure: str | None = None


def read_corpora(study: Study, source: Source) -> dict[str, Corpus]:
    """Reads every data set of a study once, with all its contexts, so that bad data is found before anything runs.

    Raises:
        UserError: A file is missing or malformed.
    """
    cells = [Cell(name, study.contexts, "off", study.encoder, recipe=study.recipe) for name in study.datasets]
    return {cell.dataset: cell.datamodule(source).corpus for cell in cells}


def plan(study: Study, corpora: Mapping[str, Corpus]) -> list[Cell]:
    """Returns the cells of a study, seed by seed, so that a first whole table is there early.

    Args:
        study: What is compared.
        corpora: Its data sets, for their digests.
    """
    cells = [
        Cell(name, contexts, cva, study.encoder, seed, study.recipe)
        for name in study.datasets
        for seed in study.seeds
        for contexts, cva in study.rows()
    ]
    return [cell.resolve(corpora[cell.dataset].digests) for cell in cells]


def open_folder(out: Path, study: Study, corpora: Mapping[str, Corpus]) -> None:
    """Makes a folder ready for a study, or checks that the study in it is this one.

    A study may grow: seeds, rows and data sets can be added. Its encoder, hyper-parameters and data stay.

    Raises:
        UserError: The folder holds another study, or something that is not a study, or cannot be written.
    """
    recipe = replace(study.recipe, precision=available_precision(study.recipe.precision))
    settings = {"encoder": study.encoder, **asdict(recipe)}
    data = {name: dict(corpus.digests) for name, corpus in corpora.items()}
    path = out / STUDY
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        known = before["data"]
        changed = [
            f"{name}'s {part} (SHA-256 {known[name][part][:8]}… there, {digest[:8]}… now)"
            for name, digests in data.items()
            for part, digest in digests.items()
            if known.get(name, {}).get(part, digest) != digest
        ]
        changed += [
            f"{key} ({before['settings'].get(key)} there, {value} now)"
            for key, value in settings.items()
            if before["settings"].get(key) != value
        ]
        if changed:
            raise UserError(f"{out} holds another study: it differs in {'; '.join(changed)}. Choose another --out.")
        data = {name: known.get(name, {}) | data.get(name, {}) for name in known | data}
    elif out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no study ({STUDY} is missing); choose another --out")
    try:
        for folder in (out / CELLS, out / FAILED, out / LOCKS):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"settings": settings, "data": data}, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def collect(cells: Sequence[Cell], out: Path) -> list[Result]:
    """Reads what there is of each cell; trains nothing.

    Raises:
        UserError: A cell's metrics cannot be read.
    """
    return [_read(cell, out) for cell in cells]


def _read(cell: Cell, out: Path) -> Result:
    path, failure = out / CELLS / cell.name / METRICS, out / FAILED / f"{cell.name}.log"
    if path.is_file():
        try:
            return Result(cell, json.loads(path.read_text(encoding="utf-8")))
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path} is damaged ({error}); delete the folder {path.parent} to run the cell again"
            ) from None
    return Result(cell, failure=failure.read_text(encoding="utf-8").splitlines()[0] if failure.is_file() else None)


def run(
    cells: Sequence[Cell],
    out: Path,
    source: Source,
    callbacks: Callable[[Cell], Sequence[Callback]] = lambda cell: (),
    finished: Callable[[Cell], None] = lambda cell: None,
) -> None:
    """Runs the cells that are not finished and not noted as failed; one that fails is noted, and the others go on.

    Several processes may run one study: each claims a cell by a lock that ends with the process, so that none is run
    twice and one left by a killed process is taken up by another.

    Args:
        cells: The plan.
        out: The study's folder; see `open_folder`.
        source: Where the data lie.
        callbacks: Lightning callbacks for the run of a cell.
        finished: Told each cell that is finished or has failed.

    Raises:
        OSError: The folder cannot be written: a full disk ends the study, not one cell.
    """
    waiting = list(cells)
    while waiting:
        claimed_elsewhere = []
        for cell in waiting:
            try:
                with FileLock(out / LOCKS / f"{cell.name}.lock", timeout=0):
                    if _read(cell, out) == Result(cell):
                        _run_noting_failure(cell, out, source, callbacks(cell))
                    finished(cell)
            except Timeout:
                claimed_elsewhere.append(cell)
        if len(claimed_elsewhere) == len(waiting):
            time.sleep(1)
        waiting = claimed_elsewhere


def forget_failures(cells: Sequence[Cell], out: Path) -> None:
    """Removes the notes of earlier failures, so that `run` tries those cells again."""
    for cell in cells:
        (out / FAILED / f"{cell.name}.log").unlink(missing_ok=True)


def _run_noting_failure(cell: Cell, out: Path, source: Source, callbacks: Sequence[Callback]) -> None:
    try:
        run_cell(cell, out / CELLS / cell.name, source, callbacks=callbacks)
    except OSError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        write_text(out / FAILED / f"{cell.name}.log", f"{reason}\n\n{traceback.format_exc()}")
