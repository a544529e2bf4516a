"""Files of a study: of both versions, of a newer one, and damaged ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from docs import schema as documentation
from lightning_ita.errors import UserError
from lightning_ita.studies import schema
from lightning_ita.studies.records import VERSION

RESULTS = Path(__file__).parents[2] / "results"
SCORES = {"precision": 50.0, "recall": 40.0, "f1": 44.4444} | {
    f"PER/{name}": 1.0 for name in ("precision", "recall", "f1")
}
FIRST: dict[str, Any] = {
    "system": "ITA-Cap",
    "test": {"T": SCORES, "I+T": SCORES},
    "dev": {"T": SCORES, "I+T": SCORES},
    "best_epoch": 1,
    "history": [{"dev/T/f1": 40.0, "dev/f1": 41.5, "train/text": 3.5}],
    "splits": {"test": {"tweets": 3, "mentions": 4}},
    "contexts": {"cap": "blip2"},
    "release": "UMT",
    "warnings": [],
    "training_seconds": 3,
    "seconds": 4.5,
}
CONFIG: dict[str, Any] = {
    "dataset": "twitter15",
    "system": "ita",
    "options": {"contexts": ["cap"], "cva": "off"},
    "encoder": "minilm",
    "seed": 1,
    "recipe": {"learning_rate": 0.1, "epochs": 2, "temperature": None, "compile": False, "labels": "repair"},
    "data": {"train": "ab"},
}


def written(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_metrics_of_version_1_are_read_as_version_2(tmp_path: Path) -> None:
    metrics = schema.read_metrics(written(tmp_path / "metrics.json", FIRST))
    assert metrics["version"] == VERSION
    assert metrics["valid"] == FIRST["dev"]
    assert "dev" not in metrics
    assert metrics["history"] == [{"valid/T/f1": 40.0, "valid/f1": 41.5, "train/text": 3.5}]
    assert (metrics["system"], metrics["types"]) == ("ita", ["PER"])
    schema.write_metrics(tmp_path / "again.json", metrics)
    assert json.loads((tmp_path / "again.json").read_text())["version"] == VERSION
    assert schema.read_metrics(tmp_path / "again.json") == metrics


def changed(path: str, value: Any) -> str:
    """Returns metrics with another value at a path; ``...`` removes the field."""
    metrics = json.loads(json.dumps(FIRST))
    *above, last = path.split("|")
    record = metrics
    for name in above:
        record = record[int(name) if isinstance(record, list) else name]
    if value is ...:
        del record[last]
    else:
        record[last] = value
    return json.dumps(metrics)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (changed("test|T|f1", float("nan")), "NaN is not JSON"),
        (changed("test|T|f1", 101), "test.T.f1: Input should be less than or equal to 100, not 101"),
        (changed("test|T|f1", "44"), "test.T.f1: Input should be a valid number, not '44'"),
        (changed("test|T|PER/recall", ...), "test.T: PER/recall missing"),
        (changed("test|both", SCORES), "test.both"),
        (changed("seconds", -1), "seconds: Input should be greater than or equal to 0"),
        (changed("seconds", float("inf")), "Infinity is not JSON"),
        (changed("seconds", -1).replace("-1", "1e999"), "seconds: Input should be a finite number, not inf"),
        (changed("best_epoch", True), "best_epoch: Input should be a valid integer, not True"),
        (changed("best_epoch", 10**300), "best_epoch"),
        (changed("history", ...), "history: Field required"),
        (changed("history", [None]), "history.0"),
        (changed("warnings", "a warning"), "warnings: Input should be a valid list"),
        (changed("version", 3), "version 3, and this program reads up to 2"),
        (changed("version", "2"), "version: Input should be a valid integer"),
        ("[]", "its content: "),
        ("", "not JSON"),
        ('{"version": 1', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"seconds": ' + "1" * 10_000 + "}", "a number has too many digits"),
        ('{"system": "\\ud800"}', "half a character"),
        ('{"seconds": 1, "seconds": 2}', "a key occurs twice"),
    ],
)
def test_damaged_metrics_are_an_error_that_names_file_and_field(tmp_path: Path, content: str, expected: str) -> None:
    path = written(tmp_path / "metrics.json", content)
    with pytest.raises(UserError, match=expected) as raised:
        schema.read_metrics(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value)) < len(str(path)) + 500


def test_nan_is_never_written(tmp_path: Path) -> None:
    metrics = schema.read_metrics(written(tmp_path / "metrics.json", FIRST))
    metrics["history"][0]["train/text"] = float("nan")
    with pytest.raises(UserError, match="finite"):
        schema.write_metrics(tmp_path / "metrics.json", metrics)
    assert schema.read_metrics(tmp_path / "metrics.json")["seconds"] == 4.5


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", 2**40)
    expected = {
        "pipe": "not a regular file",
        "link": "not a regular file",
        ".": "not a regular file",
        "gone": "No such file",
    }
    expected |= {"loop": "symbolic links", "large": "larger than 16 MiB", "a\0b": "null"}
    for name, reason in expected.items():
        with pytest.raises(UserError, match=reason):
            schema.read_metrics(tmp_path / name)


def test_a_configuration_comes_back(tmp_path: Path) -> None:
    shared = ["cap"]
    schema.write_config(tmp_path / "config.yaml", {**CONFIG, "options": {"contexts": shared, "more": shared}})
    assert schema.read_config(tmp_path / "config.yaml")["options"] == {"contexts": ["cap"], "more": ["cap"]}
    assert "&" not in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\n".join(["a0: &a0 [x, x]", *(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]" for i in range(60))]), "aliases"),
        ("[" * 20_000, "nested too deeply"),
        ("a: 1\n" * 100_000, "larger than"),
        ("seed: " + "1" * 10_000, "not YAML"),
        ("seed: !!int ''", "not YAML"),
        ("seed: !!python/object/apply:os.system [ls]", "not YAML"),
        ("seed: 2026-99-99", "not YAML"),
        ("dataset: demo", "encoder: Field required"),
        (json.dumps({**CONFIG, "seed": 2**32}), "seed: Input should be less than"),
        (json.dumps({**CONFIG, "recipe": {"epochs": [1]}}), "recipe.epochs"),
        ("{? {a: b} : c}", "not YAML"),
        ("", "its content"),
    ],
)
def test_damaged_configurations_are_an_error(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        schema.read_config(written(tmp_path / "config.yaml", content))


def test_predictions_come_back_and_damaged_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.test.jsonl"
    line: Any = {"tweet": "1", "words": ["a\u2028", "b"], "gold": ["O", "O"], "T": ["O", "O"], "I+T": ["B-PER", "O"]}
    schema.write_predictions(path, [line, line])
    assert schema.read_predictions(path) == [line, line]
    cases = {
        json.dumps({**line, "T": ["O"]}): "line 2: damaged: not as many words as tags .2 gold, 2 words, 1 T",
        json.dumps({**line, "gold": None}): "line 2: damaged: gold: Input should be a valid list",
        json.dumps({**line, "version": 7}): "line 2: version 7",
        '{"tweet": ': "line 2: damaged: not JSON",
        "[]": "line 2: damaged",
    }
    for second, expected in cases.items():
        with pytest.raises(UserError, match=expected):
            schema.read_predictions(written(path, json.dumps(line) + "\n" + second))
    os.truncate(path, 2**40)
    with pytest.raises(UserError, match="larger than 1024 MiB"):
        schema.read_predictions(path)
    with pytest.raises(UserError, match="holds no tweet"):
        schema.read_predictions(written(path, "\n\n"))


def test_plans_come_back(tmp_path: Path) -> None:
    line: Any = {"version": VERSION, "name": "twitter15-ita-cap-off-seed1-01", "identity": "01", "config": CONFIG}
    lines = [line, {**line, "cost": {"tweets": 1, "subtokens": 2, "flop": 1e15}}]
    schema.write_plan(tmp_path / "plan.jsonl", lines)
    assert schema.read_plan(tmp_path / "plan.jsonl") == lines
    with pytest.raises(UserError, match=r"line 1: damaged: name: .* not '\.\./\.\./secret'"):
        schema.read_plan(written(tmp_path / "plan.jsonl", json.dumps({**line, "name": "../../secret"})))
    with pytest.raises(UserError, match=r"line 1: damaged: config\.seed"):
        schema.read_plan(written(tmp_path / "plan.jsonl", json.dumps({**line, "config": {**CONFIG, "seed": "1"}})))


def test_study_and_environment_come_back(tmp_path: Path) -> None:
    study: Any = {"version": VERSION, "settings": {"encoder": "minilm", "labels": "repair", "precision": "float32"}}
    study |= {"data": {"demo": {"train": "ab"}}}
    schema.write_study_file(tmp_path / "study.json", study)
    assert schema.read_study_file(tmp_path / "study.json") == study
    environment: Any = {"version": VERSION, "lightning_ita": "0.1.0", "packages": {"torch": "2.15.0"}}
    environment |= {"processor": "a processor", "threads": 1, "accelerator": None, "finished": "2026-01-02T03:04:05Z"}
    schema.write_environment(tmp_path / "environment.json", environment)
    assert schema.read_environment(tmp_path / "environment.json") == environment


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("the loss became nan\n\nTraceback ...", "the loss became nan"),
        ("", "its log is empty"),
        ("\n\n", "its log is empty"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("x" * 10_000, "x" * 299 + "…"),
    ],
)
def test_a_failure_is_told_in_one_line(tmp_path: Path, content: str, expected: str) -> None:
    assert schema.read_failure(written(tmp_path / "a.log", content)) == expected


def test_a_failure_with_any_text_is_noted(tmp_path: Path) -> None:
    schema.write_failure(tmp_path / "a.log", "two\nlines \ud800", "Traceback \ud800")
    assert schema.read_failure(tmp_path / "a.log") == "two\\nlines \\ud800"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/cells.csv")), ids=lambda path: path.parent.name)
def test_committed_cells_are_read_under_both_names_of_a_split(path: Path, tmp_path: Path) -> None:
    records = schema.read_cells(path)
    assert all("valid/T/f1" in record["scores"] and "test/T/f1" in record["scores"] for record in records)
    assert {record["stale"] for record in records} <= {False, True}
    first = path.read_text(encoding="utf-8").replace("valid/", "dev/")
    assert schema.read_cells(written(tmp_path / "cells.csv", first)) == records


def test_a_damaged_table_names_its_line(tmp_path: Path) -> None:
    text = next(RESULTS.glob("*/cells.csv")).read_text(encoding="utf-8").splitlines()
    with pytest.raises(UserError, match="line 3: damaged: seed: "):
        schema.read_cells(written(tmp_path / "cells.csv", "\n".join([*text[:2], text[2].replace(",1,", ",one,", 1)])))


def test_the_page_is_that_of_the_types() -> None:
    assert documentation.PAGE.read_text(encoding="utf-8") == documentation.page(), "run python -m docs.schema"
