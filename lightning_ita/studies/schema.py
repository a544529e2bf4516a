"""Reads and writes the files of a study, in every version so far; files are not trusted.

Readers return plain dictionaries of the types in `lightning_ita.studies.records`, in the newest version. What is
damaged, or of a newer version than this program's, is a `DataError` that names the file and the field.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from lightning_ita.errors import DataError
from lightning_ita.files import Lines, parse_json, parse_yaml, read_bytes, read_text, write_text
from lightning_ita.studies.records import (
    VERSION,
    CellRecord,
    Config,
    Environment,
    Metrics,
    PlanLine,
    Prediction,
    StudyFile,
    types_of,
)
from lightning_ita.text import printable, quoted

# Largest files that are read, in bytes.
MOST, MOST_CONFIG, MOST_LINES = 2**24, 2**16, 2**30
# Files that no other run of a cell writes again.
OF_STUDY = ("study.json", "plan.jsonl", "cells.csv")

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def check(kind: type[T], value: Any, path: Path, line: int | None = None, strict: bool = True) -> T:
    """Checks that a value is of a kind of record.

    Args:
        kind: The kind: `Metrics`, `Config` ...
        value: What the file holds.
        path: The file, for the error.
        line: Its line, for the error.
        strict: Whether numbers must be numbers; in CSV everything is text.

    Returns:
        The value, whole numbers as floats where floats are meant.

    Raises:
        DataError: It is of a newer version, or a field is missing or malformed; names the field.
    """
    version = value.get("version", 1) if isinstance(value, dict) else 1
    if isinstance(version, int) and version > VERSION:
        raise DataError(f"version {quoted(version)}, and this program reads up to {VERSION}; update it", path, line)
    try:
        checked: T = _adapter(cast(Any, kind)).validate_python(value, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = printable(".".join(map(str, first["loc"])) or "its content")
        reason = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] == "missing" else f", not {quoted(first['input'])}"
        raise damaged(f"{field}: {reason}{given}", path, line) from None
    return checked


def damaged(what: object, path: Path, line: int | None = None) -> DataError:
    """Returns the error for a damaged file, with the remedy."""
    remedy = "restore it from a copy" if path.name in OF_STUDY else "delete its folder to run the cell again"
    return DataError(f"damaged: {printable(what)}; {remedy}", path, line)


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    write_text(path, json.dumps({**record, "version": VERSION}, indent=2, allow_nan=False) + "\n")


def _json(path: Path) -> Any:
    try:
        return parse_json(read_bytes(path, MOST).decode())
    except ValueError as error:
        raise damaged(error, path) from None


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yields the number and the content of each line of a JSONL file; empty lines are skipped."""
    if path.is_file() and path.stat().st_size > MOST_LINES:
        raise DataError(f"larger than {MOST_LINES / 2**20:g} MiB, the most that is read", path)
    for number, line in Lines(path):
        if line.strip():
            try:
                yield number, parse_json(line)
            except ValueError as error:
                raise damaged(error, path, number) from None


def read_metrics(path: Path) -> Metrics:
    """Reads ``metrics.json``."""
    return check(Metrics, _upgraded(_json(path)), path)


def write_metrics(path: Path, metrics: Metrics) -> None:
    """Writes ``metrics.json``.

    Raises:
        DataError: A field is missing or malformed; NaN is.
    """
    _write_json(path, check(Metrics, {**metrics, "version": VERSION}, path))


def _upgraded(value: Any) -> Any:
    """Returns the content of a ``metrics.json`` of version 1 as version 2 has it; what is malformed stays so."""
    if not isinstance(value, dict) or "version" in value:
        return value
    value = {("valid" if name == "dev" else name): content for name, content in value.items()}
    if isinstance(value.get("history"), list):
        value["history"] = [valid_for_dev(epoch) if isinstance(epoch, dict) else epoch for epoch in value["history"]]
    by_view = value.get("valid")
    scores = next(iter(by_view.values()), None) if isinstance(by_view, dict) else None
    types = types_of(scores) if isinstance(scores, dict) else []
    # Version 1 names the row, without its training mode, where version 2 names the system.
    system = "bert-crf" if value.get("system") == "BERT-CRF" else "ita"
    return {**value, "version": VERSION, "types": types, "system": system}


def valid_for_dev(record: Mapping[str, Any]) -> dict[str, Any]:
    """Renames the keys ``dev/...`` of version 1 to ``valid/...``."""
    return {"valid/" + name[4:] if name.startswith("dev/") else name: value for name, value in record.items()}


def read_environment(path: Path) -> Environment:
    """Reads ``environment.json``."""
    return check(Environment, _object(path), path)


def write_environment(path: Path, environment: Environment) -> None:
    """Writes ``environment.json``."""
    _write_json(path, check(Environment, {**environment, "version": VERSION}, path))


def _object(path: Path) -> Any:
    """Reads a JSON file whose fields are the same in both versions."""
    value = _json(path)
    return {"version": VERSION, **value} if isinstance(value, dict) else value


def read_config(path: Path) -> Config:
    """Reads ``config.yaml``; `Cell.from_config` makes a cell of it, and checks options and hyper-parameters."""
    try:
        value = parse_yaml(read_bytes(path, MOST_CONFIG))
    except ValueError as error:
        raise damaged(error, path) from None
    return check(Config, value, path)


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Writes ``config.yaml``."""
    plain = json.loads(json.dumps(check(Config, config, path)))  # nothing twice, which YAML would write as an alias
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def read_predictions(path: Path) -> list[Prediction]:
    """Reads ``predictions.*.jsonl``.

    Raises:
        DataError: A line is malformed, or has not as many words and tags of each kind; there is no line.
    """
    predictions = []
    for number, value in _lines(path):
        prediction = check(Prediction, value, path, number)
        lengths = {name: len(prediction[name]) for name in ("gold", "words", "T", "I+T") if name in prediction}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{length} {name}" for name, length in lengths.items())
            raise damaged(f"not as many words as tags ({found})", path, number)
        predictions.append(prediction)
    if not predictions:
        raise damaged("it holds no tweet", path)
    return predictions


def write_predictions(path: Path, predictions: Sequence[Mapping[str, Any]]) -> None:
    """Writes ``predictions.*.jsonl``."""
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in predictions))


def read_study_file(path: Path) -> StudyFile:
    """Reads ``study.json``."""
    return check(StudyFile, _object(path), path)


def write_study_file(path: Path, study: StudyFile) -> None:
    """Writes ``study.json``."""
    _write_json(path, check(StudyFile, {**study, "version": VERSION}, path))


def read_plan(path: Path) -> list[PlanLine]:
    """Reads ``plan.jsonl``."""
    return [check(PlanLine, value, path, number) for number, value in _lines(path)]


def write_plan(path: Path, lines: Sequence[PlanLine]) -> None:
    """Writes ``plan.jsonl``."""
    checked = [check(PlanLine, {**line, "version": VERSION}, path) for line in lines]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in checked))


def read_failure(path: Path) -> str:
    """Reads why a cell failed, in one line, from its log ``failed/NAME.log``."""
    first = read_bytes(path, MOST).decode("utf-8", "replace").strip().partition("\n")[0]
    return printable(first) or "its log is empty"


def write_failure(path: Path, reason: str, trace: str) -> None:
    """Writes the log of a cell that failed: the reason in its first line, then the traceback."""
    write_text(path, f"{printable(reason)}\n\n{trace}".encode("utf-8", "backslashreplace").decode())


def read_cells(path: Path) -> list[CellRecord]:
    """Reads ``cells.csv``."""
    text = read_text(path)
    records = []
    for number, line in enumerate(csv.DictReader(text.splitlines()), 2):
        values: dict[str, Any] = {name: value for name, value in line.items() if name and "/" not in name}
        scores = valid_for_dev({name: value for name, value in line.items() if name and "/" in name and value})
        records.append(check(CellRecord, {**values, "scores": scores}, path, number, strict=False))
    return records
