"""What a study compares, the cells it plans, and its folder, where the plan lies as ``plan.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.data import DATASETS
from lightning_ita.data.controls import Control, name_of
from lightning_ita.data.corpus import Corpus, image_ids
from lightning_ita.data.dataset import Dataset
from lightning_ita.data.source import Source
from lightning_ita.devices import Precision, available_precision
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import read_text, write_text
from lightning_ita.models import MODELS
from lightning_ita.models.options import Options
from lightning_ita.models.recipes import LATER, Recipe
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell, can_control, written_again
from lightning_ita.studies.records import VERSION, Config, PlanLine, Settings, StudyFile
from lightning_ita.text import quoted

STUDY, PLAN, SOURCE = "study.json", "plan.jsonl", "source.json"
CELLS, FAILED, LOCKS, STALE, CACHE = "cells", "failed", "locks", "stale", "cache"
# What reading a file raises that is missing, damaged, or of another version.
UNREADABLE = (DataError, OSError, ValueError, TypeError)


@dataclass(frozen=True)
class Study:
    """What an ablation compares.

    Attributes:
        datasets: Names of data sets.
        rows: The systems, each with its options; see `ablation_rows`.
        encoder: The encoder of every cell.
        seeds: Each row is run once per seed.
        recipe: Hyper-parameters of every cell.
        controls: What happens to the tweets' images: each row is run once per control; ``None`` stands for the right
            images, with which rows are run that read nothing of images.
    """

    datasets: tuple[str, ...]
    rows: tuple[Options, ...]
    encoder: str
    seeds: tuple[int, ...]
    recipe: Recipe
    controls: tuple[Control | None, ...] = (None,)

    def __post_init__(self) -> None:
        """Checks that no data set, row, seed or control is named twice, and that there is one of each.

        Raises:
            UserError: One is missing or named twice.
        """
        named = {
            "datasets": self.datasets,
            "seeds": self.seeds,
            "rows": tuple(row.label for row in self.rows),
            "controls": tuple(map(name_of, self.controls)),
        }
        for what, values in named.items():
            if not values or len(set(values)) < len(values):
                hint = "; --systems, --contexts and --cva make the rows" if what == "rows" else ""
                raise UserError(
                    f"{what} must name at least one, each once, not {', '.join(map(str, values)) or 'none'}{hint}"
                )

    @property
    def contexts(self) -> tuple[str, ...]:
        """Kinds of context that any row reads."""
        return parse_contexts(dict.fromkeys(kind for row in self.rows for kind in row.kinds))

    @property
    def of_pictures(self) -> tuple[str, ...]:
        """What any row reads of pictures."""
        return tuple(dict.fromkeys(part for row in self.rows for part in row.of_pictures))


def ablation_rows(
    systems: Sequence[str],
    contexts: Sequence[str],
    modes: Sequence[str],
    given: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Options, ...]:
    """Returns the rows of an ablation, system by system.

    Args:
        systems: Names of `lightning_ita.models.MODELS`.
        contexts: Kinds of context to compare, for systems that read them.
        modes: Training modes to compare, for systems with two views.
        given: Options by system that are the same in all its rows.

    Raises:
        UserError: A system, context or mode is unknown.
    """
    rows: list[Options] = []
    for system in systems:
        kind: type[Options] = MODELS[system]
        rows += kind.rows((given or {}).get(system, {}), contexts, modes)
    return tuple(rows)


def read_corpora(study: Study, source: Source) -> dict[str, Corpus]:
    """Reads every data set of a study once, with contexts and pictures, so that bad data is found before anything runs.

    Raises:
        UserError: A file is missing or malformed.
    """
    corpora: dict[str, Corpus] = {}
    for name in study.datasets:
        dataset: Dataset = DATASETS[name]()
        corpus = dataset.read(source, study.contexts, study.recipe.labels)
        corpus = dataset.with_pictures(corpus, source, study.of_pictures)
        shared = [note for other in corpora.values() for note in _shared_files(corpus, other, source)]
        corpora[name] = replace(corpus, warnings=(*corpus.warnings, *shared))
    return corpora


def _shared_files(corpus: Corpus, other: Corpus, source: Source) -> Iterator[str]:
    """Yields a note for each file of contexts that two data sets read for images of one id, which may be two images."""
    images = len(image_ids(corpus.splits).keys() & image_ids(other.splits).keys())
    for kind, path in source.context_files.items():
        if images and kind in corpus.contexts and "{dataset}" not in path:
            yield (
                f"{corpus.name}: {images} of its images have the id of one of {other.name}, and so the same {kind} "
                f"context from {path}; {{dataset}} in a path stands for the name of the data set"
            )


def plan(study: Study, corpora: Mapping[str, Corpus]) -> list[Cell]:
    """Returns the cells of a study, seed by seed, so that a first whole table is there early.

    A row's controls follow it. Where one has no meaning for a row, the row stands once, with the right images.

    Args:
        study: What is compared.
        corpora: Its data sets, for their digests.
    """
    cells: list[Cell] = []
    for name in study.datasets:
        # What is looked up on disk is the same for all seeds.
        first = [
            Cell(name, row, study.encoder, study.seeds[0], study.recipe, control=control).resolve(corpora[name].digests)
            for row in study.rows
            for control in dict.fromkeys(
                None if control is None or not can_control(row, control) else control for control in study.controls
            )
        ]
        cells += [replace(cell, seed=seed) for seed in study.seeds for cell in first]
    return cells


def with_precision_of(study: Study, out: Path) -> Study:
    """Decides the precision ``auto``: that of the study in `out`, if there is one, else the best of this machine."""
    if study.recipe.precision != "auto":
        return study
    path = out / STUDY
    known = cast(Precision, schema.read_study_file(path)["settings"]["precision"]) if path.is_file() else None
    return replace(study, recipe=replace(study.recipe, precision=known or available_precision("auto")))


def open_folder(out: Path, study: Study, corpora: Mapping[str, Corpus], cells: Sequence[Cell], source: Source) -> None:
    """Makes a folder ready for a study, or checks that the study in it is this one; writes the plan.

    A study may grow: seeds, rows and data sets can be added, also by several processes at once. Its encoder,
    hyper-parameters and data stay, the content of folders and files that are named included, and so does what is known
    of where the data lie.

    Raises:
        UserError: The folder holds another study, or something that is not a study, or cannot be written.
    """
    settings = {"encoder": study.encoder, **study.recipe.recorded()}
    data = {name: dict(corpus.digests) for name, corpus in corpora.items()}
    path = out / STUDY
    # In this order: another process may be making the study.
    if out.is_dir() and any(_foreign(path) for path in out.iterdir()) and not path.is_file():
        raise UserError(f"{out} is not empty and holds no study ({STUDY} is missing); choose another --out")
    try:
        for folder in (out / CELLS, out / FAILED, out / LOCKS):
            folder.mkdir(parents=True, exist_ok=True)
        with plan_lock(out):
            after = _grown(out, settings, data, cells)
            if after is not None:
                schema.write_study_file(path, after)
            write_plan(out, cells)
            source = replace(source.absolute(), cache_dir=None)
            read = {kind for corpus in corpora.values() for kind in corpus.contexts}
            with suppress(*UNREADABLE):
                source = _recorded_source(out / SOURCE).joined(source, read)
            write_text(out / SOURCE, json.dumps(asdict(source), indent=2) + "\n")
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def plan_lock(out: Path) -> FileLock:
    """Returns the lock of the files that say what a study is: who reads and then writes them holds it."""
    return FileLock(out / LOCKS / "plan.lock")


def _grown(
    out: Path, settings: Mapping[str, Any], data: dict[str, dict[str, str]], cells: Sequence[Cell]
) -> StudyFile | None:
    """Returns what ``study.json`` is to say from now on; ``None`` where it says so already.

    Args:
        out: The study's folder.
        settings: Encoder and hyper-parameters.
        data: SHA-256 by data set, and by split and kind of context.
        cells: The cells that are to be in it.

    Raises:
        UserError: The folder holds another study.
    """
    before: StudyFile | None = None
    if (out / STUDY).is_file():
        before = schema.read_study_file(out / STUDY)
        changed = differences(before, settings, data)
        if (out / PLAN).is_file():
            changed += written_again([cell for _, cell in _planned(out / PLAN, {cell.name for cell in cells})], cells)
        if changed:
            raise UserError(f"{out} holds another study: it differs in {'; '.join(changed)}. Choose another --out.")
        data = united(before["data"], data)
    after: StudyFile = {"version": VERSION, "settings": cast(Settings, settings), "data": data}
    return None if after == before else after


def differences(
    there: StudyFile, settings: Mapping[str, Any], data: Mapping[str, Mapping[str, str]], other: str = "now"
) -> list[str]:
    """Returns what keeps a study from growing by another one: settings, or data of one name, that are not the same.

    Args:
        there: The study.
        settings: Encoder and hyper-parameters of the other one.
        data: Its SHA-256 by data set, and by split and kind of context.
        other: What the other one is called.
    """
    known, known_settings = there["data"], {**LATER, **cast(dict[str, Any], there["settings"])}
    changed = [
        f"{name}'s {part} (SHA-256 {known[name][part][:8]}… there, {digest[:8]}… {other})"
        for name, digests in data.items()
        for part, digest in digests.items()
        if known.get(name, {}).get(part, digest) != digest
    ]
    return changed + [
        f"{key} ({known_settings.get(key)} there, {value} {other})"
        for key, value in {**LATER, **settings}.items()
        if known_settings.get(key) != value
    ]


def united(data: Mapping[str, dict[str, str]], others: Mapping[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Returns SHA-256 by data set, and by split and kind of context, of two studies together."""
    return {name: data.get(name, {}) | others.get(name, {}) for name in dict(data) | dict(others)}


def write_plan(out: Path, cells: Sequence[Cell]) -> None:
    """Writes a study's plan, one cell per line; cells that were planned before stay in it, behind these."""
    planned = {cell.name: cell.to_config() for cell in cells}
    lines: list[PlanLine] = [
        {"version": VERSION, "name": cell.name, "identity": cell.identity, "config": cast(Config, planned[cell.name])}
        for cell in cells
    ]
    if (out / PLAN).is_file():
        lines += [line for line, _ in _planned(out / PLAN, planned)]
    schema.write_plan(out / PLAN, lines)


def read_plan(out: Path) -> list[Cell]:
    """Reads a study's plan.

    Raises:
        UserError: There is none, or it cannot be read; names file and cell.
    """
    path = out / PLAN
    if not path.is_file():
        raise UserError(f"{out} holds no plan: {PLAN} is missing; the command that made the study writes it")
    return [cell for _, cell in _planned(path)]


def _planned(path: Path, but: Container[str] = ()) -> Iterator[tuple[PlanLine, Cell]]:
    """Yields the lines of a plan with their cells, but for the cells of these names.

    Raises:
        UserError: It cannot be read; names file and cell.
    """
    for line in schema.read_plan(path):
        if line["name"] not in but:
            try:
                yield line, Cell.from_config(line["config"])
            except UserError as error:
                raise DataError(f"cell {quoted(line['name'])}: {error}", path) from None


def open_plan(out: Path) -> list[Cell]:
    """Reads the plan of a study that is to be worked on, and makes the folders that its workers need.

    Raises:
        UserError: There is no plan, it cannot be read, or the folder cannot be written.
    """
    cells = read_plan(out)
    try:
        for folder in (out / CELLS, out / FAILED, out / LOCKS):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    return cells


def read_source(out: Path, given: Source) -> Source:
    """Reads where the data of a study lay when it was planned.

    Args:
        out: The study's folder.
        given: Where they lie now, as far as that is another place.

    Raises:
        UserError: The file is missing or damaged, and nothing is given.
    """
    path = out / SOURCE
    try:
        planned = _recorded_source(path)
    except UNREADABLE as error:
        if given == Source():
            raise UserError(f"{path} cannot be read ({error}); say where the data lie with --data-dir") from None
        return given
    return planned.updated(given)


def _recorded_source(path: Path) -> Source:
    """Reads where the data of a study lie; raises any of `UNREADABLE`."""
    return Source(**json.loads(read_text(path)))


def check_data(cells: Sequence[Cell], source: Source) -> None:
    """Reads what cells read, each thing once, so that missing data end the command, and not one cell after the other.

    Args:
        cells: The cells that are to be run, as they were planned.
        source: Where their data lie.

    Raises:
        UserError: A file is missing or malformed, or is not what was planned (SHA-256 differs).
    """
    digests: dict[Hashable, Mapping[str, str]] = {}
    for cell in cells:
        reads = cell.dataset, cell.contexts, cell.options.of_pictures, cell.recipe.labels
        if reads not in digests:
            digests[reads] = cell.read(source).digests
        cell.resolve(digests[reads])


def _foreign(path: Path) -> bool:
    """Tells what is not a study's from what one leaves that was killed at its start, or deleted while it ran."""
    return path.name not in (CELLS, FAILED, LOCKS, CACHE) and not path.name.startswith(f".{STUDY}.")
