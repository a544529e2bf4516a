"""Every study in ``experiments/`` runs, here with a tiny encoder on tiny corpora; those behind results are the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lightning_ita.commands import ablate
from tests.conftest import write_corpus

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "experiments").glob("*.yaml"))
# The studies whose results are committed, the folder of each, and how many cells it has.
MEASURED = {
    "demo": "demo-minilm-tag+cap",
    "twitter": "twitter-minilm-tag+cap+ocr",
    "control": "twitter-minilm-cap-joint",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    for name in ("demo", "twitter15", "twitter17", "snap"):
        write_corpus(folder / name)
        for kind in ("tag", "cap", "ocr"):
            path = folder / "contexts" / f"{name}.{kind}.some.jsonl"
            path.parent.mkdir(exist_ok=True)
            lines = [json.dumps({"image": image, "texts": [kind]}) for image in ("train0", "valid1", "test2")]
            path.write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_there_are_studies() -> None:
    assert {path.stem for path in STUDIES} == {"demo", "paper", "twitter", "control"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_runs(path: Path, data: Path, tiny_encoder: str, tmp_path: Path) -> None:
    small = [f"--data-dir={data}", f"--encoder={tiny_encoder}", "--recipe.epochs=1", "--recipe.precision=float32"]
    out = tmp_path / "out"
    assert ablate.main([f"--config={path}", *small, "--seeds=1", "--jobs=1", f"--out={out}"]) == 0
    with (out / "cells.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"1"}
    if path.stem in MEASURED:
        with (ROOT / "results" / MEASURED[path.stem] / "cells.csv").open(encoding="utf-8") as file:
            measured = list(csv.DictReader(file))
        first = [row for row in measured if row["seed"] == "1"]
        named = ("dataset", "system", "contexts", "cva")
        assert {tuple(row[name] for name in named) for row in rows} == {
            tuple(row[name] for name in named) for row in first
        }


@pytest.mark.parametrize("name", MEASURED)
def test_a_study_behind_results_has_their_hyper_parameters(name: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [f"--config={ROOT / 'experiments' / f'{name}.yaml'}", f"--data-dir={data}", "--plan", f"--out={out}"]
    assert ablate.main(arguments) == 0
    planned, measured = (
        json.loads((folder / "study.json").read_text(encoding="utf-8"))["settings"]
        for folder in (out, ROOT / "results" / MEASURED[name])
    )
    if name == "demo":  # bfloat16 where the processor has it
        planned.pop("precision"), measured.pop("precision")
    assert planned == measured
    cells = (out / "plan.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(cells) == len((ROOT / "results" / MEASURED[name] / "cells.csv").read_text().splitlines()) - 1
