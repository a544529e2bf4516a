"""A study of many cells: plan, run, collect are three steps, and collecting never trains."""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import Callback

from lightning_ita.data.corpus import Corpus
from lightning_ita.errors import UserError
from lightning_ita.files import write_text
from lightning_ita.models.ita import CVA
from lightning_ita.models.recipes import Recipe, available_precision
from lightning_ita.studies.cell import Cell, Source
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.run import ENVIRONMENT, METRICS, part_of, run_cell

STUDY, CELLS, FAILED, LOCKS, STALE, CACHE = "study.json", "cells", "failed", "locks", "stale", "cache"
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
        code: Digest of the code that it was finished with, as its ``environment.json`` says (see `code_digest`);
            ``unknown`` where it says none, ``None`` where nobody looked.
        packages: Versions of the packages that it was finished with.
    """

    cell: Cell
    metrics: dict[str, Any] | None = None
    failure: str | None = None
    code: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def stale(self) -> bool:
        """Whether it is finished, but with other code than today's."""
        return self.code is not None and self.code != code_digest(self.cell.dataset)


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
    before = None
    if path.is_file():
        before = _read_json(path, "restore it, or choose another --out")
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
    elif out.is_dir() and any(_foreign(path) for path in out.iterdir()):
        raise UserError(f"{out} is not empty and holds no study ({STUDY} is missing); choose another --out")
    after = {"settings": settings, "data": data}
    try:
        for folder in (out / CELLS, out / FAILED, out / LOCKS):
            folder.mkdir(parents=True, exist_ok=True)
        if after != before:
            write_text(path, json.dumps(after, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def _foreign(path: Path) -> bool:
    """Tells what a study left behind that was killed at its very start from what is not a study's."""
    return path.name not in (CELLS, FAILED, LOCKS) and not path.name.startswith(f".{STUDY}.")


def collect(cells: Sequence[Cell], out: Path) -> list[Result]:
    """Reads what there is of each cell; trains nothing.

    Raises:
        UserError: A cell's metrics cannot be read.
    """
    return [_read(cell, out) for cell in cells]


def _read(cell: Cell, out: Path) -> Result:
    folder, failure = out / CELLS / cell.name, failure_log(cell, out)
    if (folder / METRICS).is_file():
        environment = _read_json(folder / ENVIRONMENT) if (folder / ENVIRONMENT).is_file() else {}
        code, packages = environment.get("code", "unknown"), environment.get("packages", {})
        return Result(cell, _read_json(folder / METRICS), code=code, packages=packages)
    return Result(cell, failure=failure.read_text(encoding="utf-8").splitlines()[0] if failure.is_file() else None)


def _read_json(path: Path, remedy: str = "delete its folder to run the cell again") -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None
    return content


def failure_log(cell: Cell, out: Path) -> Path:
    """Returns where the failure of a cell is noted: its reason in the first line, then the traceback."""
    return out / FAILED / f"{cell.name}.log"


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
                with claim(cell.name, out):
                    if _read(cell, out) == Result(cell):
                        _run_noting_failure(cell, out, source, callbacks(cell))
                    finished(cell)
            except Timeout:
                claimed_elsewhere.append(cell)
        if len(claimed_elsewhere) == len(waiting):
            time.sleep(1)
        waiting = claimed_elsewhere


def claim(name: str, out: Path) -> FileLock:
    """Returns the lock of a cell: who holds it may write its folders.

    Raises:
        Timeout: Another process holds it (on entering it).
    """
    return FileLock(out / LOCKS / f"{name}.lock", timeout=0)


def forget_failures(cells: Sequence[Cell], out: Path) -> None:
    """Removes the notes of earlier failures, so that `run` tries those cells again."""
    for cell in cells:
        failure_log(cell, out).unlink(missing_ok=True)


def set_aside(cells: Sequence[Cell], out: Path) -> None:
    """Moves the results of stale cells to the folder ``stale``, so that `run` runs those cells again."""
    for cell in cells:
        with suppress(Timeout), claim(cell.name, out):  # another process is at it
            result = _read(cell, out)
            if result.stale:
                place = out / STALE / f"{cell.name}-{str(result.code)[:8]}"
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(exist_ok=True)
                os.replace(out / CELLS / cell.name, place)


def tidy(cells: Sequence[Cell], out: Path) -> list[Path]:
    """Removes the checkpoints of finished cells, which a kill just before the end leaves behind.

    Returns:
        Checkpoints of cells that are not among `cells` and that no process works on: an unfinished study with more
        seeds or rows may want them, so they are left alone.
    """
    planned, others = {part_of(out / CELLS / cell.name).name for cell in cells}, []
    for part in sorted((out / CELLS).glob(".*.part")):
        name = part.name.removeprefix(".").removesuffix(".part")
        with suppress(Timeout), claim(name, out):
            if (out / CELLS / name / METRICS).is_file():
                shutil.rmtree(part)
            elif part.name not in planned:
                others.append(part)
    return others


def _run_noting_failure(cell: Cell, out: Path, source: Source, callbacks: Sequence[Callback]) -> None:
    try:
        run_cell(cell, out / CELLS / cell.name, source, callbacks=callbacks)
    except OSError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        write_text(failure_log(cell, out), f"{reason}\n\n{traceback.format_exc()}")
