"""Writes ``docs/schema.md`` from the types that read and write a study's files: ``python -m docs.schema``."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from typing_extensions import get_type_hints

from lightning_ita.studies import records

PAGE = Path(__file__).with_name("schema.md")
# In the order in which a reader meets them, with their example in the committed results.
FILES = (
    records.StudyFile,
    records.Settings,
    records.PlanLine,
    records.Cost,
    records.Config,
    records.Metrics,
    records.SplitCounts,
    records.Prediction,
    records.Environment,
    records.CellRecord,
)
HEAD = f"""\
# The files of a study

Generated from `lightning_ita/studies/records.py` by `python -m docs.schema`; a test compares the two.

This page lists the files that `ablate` and `work` write, and every field in them. (`train` writes the folder of one
cell.) A study's folder has

```
study.json                      what all cells share
plan.jsonl                      the planned cells
cells/NAME/config.yaml          one cell: its system, data and hyper-parameters
cells/NAME/metrics.json         its scores; a cell without this file is not finished
cells/NAME/predictions.valid.jsonl, predictions.test.jsonl
cells/NAME/environment.json     the code, packages and machine it was run with
cells/NAME/model/               the trained model, where --keep-models keeps it
failed/NAME.log                 why a cell failed: the reason in the first line, then the traceback
table.md, table.csv, cells.csv  the ablation table, for people and for programs; rewritten by each `ablate` and `work`
source.json                     where data and contexts are on this machine, for `work`
stale/                          results that `--rerun-stale` measured again, as they were before
report/                         what `report` writes
cache/, locks/                  data that cells share, and their locks; can be deleted while nothing runs
```

`lightning_ita.studies.schema` reads and writes each of them: `read_metrics(path)`, `write_metrics(path, metrics)` ...
These functions return the types below, in version {records.VERSION}, whatever version the file has. A file of a newer
version, or a field that is missing or malformed, is an error that names the file and the field. NaN and infinity are
not accepted as numbers. Fields that are not listed are ignored. A *map* is a JSON object whose keys are data.
"""
HISTORY = f"""\
## Versions

`version` is a whole number. A file without it has version 1. This release reads all versions up to {records.VERSION}.

* **2**: the split between train and test is `valid` everywhere: `valid` in `metrics.json` (before: `dev`), `valid/...`
  in its `history` and in the columns of tables (`valid_f1_mean` ...). `metrics.json` also has `types`, `options`,
  `tag_scheme` and `tokenizer`, with which a model can be loaded again, and `system` is now the system's name;
  `config.yaml` has `system` and its options. `plan.jsonl` is new. Predictions and failure logs are as before and have
  no version; in CSV files the version follows from the names of the columns.
* **1**: the files of all results up to 0.1.0.
"""
NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "anything"}


def words(kind: Any) -> str:
    """Describes a type in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        named = {
            records.Percent: "number from 0 to 100",
            records.Seconds: "number, seconds",
            records.View: "`T` or `I+T`",
            records.Split: "`train`, `valid` or `test`",
        }
        return named.get(kind) or words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(words(each) for each in arguments)
    if origin is list:
        return f"list of {words(arguments[0])}"
    if origin is dict:
        return f"map from {words(arguments[0])} to {words(arguments[1])}"
    return NAMES.get(kind) or f"object, see `{kind.__name__}`"


def fields(record: Any) -> list[str]:
    """Returns the lines of a record's table."""
    lines = ["| field | type | |", "| --- | --- | --- |"]
    for name, kind in get_type_hints(record, include_extras=True).items():
        optional = get_origin(kind) is NotRequired
        kind = get_args(kind)[0] if optional else kind
        infos = [each for each in kind.__metadata__ if isinstance(each, FieldInfo)]
        text = next(info.description for info in infos if info.description)
        # Without the description it may be one of the named types.
        rest = tuple(each for each in kind.__metadata__ if not (isinstance(each, FieldInfo) and each.description))
        base = Annotated[(kind.__origin__, *rest)] if rest else kind.__origin__  # type: ignore[valid-type]
        lines.append(f"| `{name}` | {words(base)} | {'Optional. ' if optional else ''}{text} |")
    return lines


def page() -> str:
    """Returns the page."""
    parts = [HEAD]
    for record in FILES:
        parts.append(
            "\n".join([f"## {record.__name__}", "", str(record.__doc__).replace("``", "`"), "", *fields(record)])
        )
    return "\n".join([*(part.rstrip() + "\n" for part in parts), HISTORY])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
