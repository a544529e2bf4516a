"""Every study in ``experiments/`` runs, here with a tiny encoder on tiny corpora; those behind results are the same."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lightning_ita.commands import ablate
from lightning_ita.data import relations
from lightning_ita.demo import DemoConfig
from lightning_ita.studies.plan import read_plan
from tests.conftest import write_corpus

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "experiments").glob("*.yaml"))
# The studies whose results are committed, and the folder of each.
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
        for kind in ("tag", "cap", "ocr", "know"):
            path = folder / "contexts" / f"{name}.{kind}.some.jsonl"
            path.parent.mkdir(exist_ok=True)
            lines = [json.dumps({"image": image, "texts": [kind]}) for image in ("train0", "valid1", "test2")]
            path.write_text("\n".join(lines), encoding="utf-8")
    pictures = folder / "demo" / "images"
    pictures.mkdir()
    for number, image in enumerate(("train0", "valid1", "test2")):
        Image.new("RGB", (32, 32), (80 * number, 90, 200)).save(pictures / f"{image}.png")
    return folder


def test_there_are_studies() -> None:
    assert {path.stem for path in STUDIES} == {"demo", "paper", "twitter", "control", "systems", "knowledge"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_runs(
    path: Path,
    data: Path,
    tiny_encoder: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = yaml.safe_load(path.read_text(encoding="utf-8"))["dataset"].split(",")[0]
    small = [f"--data-dir={data}", f"--encoder={tiny_encoder}", "--recipe.epochs=1", "--recipe.precision=float32"]
    few = relations.made(DemoConfig(seed=7, train=8, valid=1, test=1))
    monkeypatch.setattr(relations, "relations", lambda file: few)
    if path.stem == "systems":
        small += [f"--vision.model={request.getfixturevalue('tiny_vision')}", "--umgf.width=16", "--umgf.layers=2"]
    out = tmp_path / "out"
    command = [f"--config={path}", *small, f"--dataset={dataset}", "--seeds=1", "--jobs=1", f"--out={out}"]
    assert ablate.main(command) == 0
    with (out / "cells.csv").open(encoding="utf-8") as file:
        assert {(row["dataset"], row["seed"], bool(row["test/T/f1"])) for row in csv.DictReader(file)} == {
            (dataset, "1", True)
        }


@pytest.mark.parametrize("name", MEASURED)
def test_a_study_behind_results_plans_their_runs(name: str, data: Path, tmp_path: Path) -> None:
    results, out = ROOT / "results" / MEASURED[name], tmp_path / "out"
    arguments = [f"--config={ROOT / 'experiments' / f'{name}.yaml'}", f"--data-dir={data}", "--plan", f"--out={out}"]
    assert ablate.main(arguments) == 0
    planned, measured = (
        json.loads((folder / "study.json").read_text(encoding="utf-8"))["settings"] for folder in (out, results)
    )
    if name == "demo":  # bfloat16 where the processor has it
        planned.pop("precision"), measured.pop("precision")
    assert planned == measured
    with (results / "cells.csv").open(encoding="utf-8") as file:
        runs = [(row["dataset"], row["system"], row["cva"], int(row["seed"])) for row in csv.DictReader(file)]
    cells = [(cell.dataset, cell.title, cell.cva, cell.seed) for cell in read_plan(out)]
    assert sorted(cells) == sorted(runs)


def test_the_papers_study_plans_its_rows(data: Path, tiny_encoder: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = f"--config={ROOT / 'experiments' / 'paper.yaml'}"
    assert ablate.main([config, f"--data-dir={data}", f"--encoder={tiny_encoder}", "--plan", f"--out={out}"]) == 0
    cells = read_plan(out)
    assert len(cells) == 3 * 9 * 5
    assert {(cell.recipe.learning_rate, cell.recipe.batch_size, cell.recipe.epochs) for cell in cells} == {
        (5e-6, 4, 10)
    }
