"""Which models a study keeps, what their cards say, and that keeping changes no identity and no result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load

from lightning_ita.commands import ablate, sweep, train, work
from lightning_ita.errors import UserError
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.keeping import best_of_rows, valid_f1
from lightning_ita.studies.plan import read_plan
from lightning_ita.studies.schema import read_metrics
from tests.studies.studies import write_study


@pytest.fixture(scope="module")
def options(corpus: Path, tiny_encoder: str) -> list[str]:
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=small", "--recipe.epochs=1"]


@pytest.fixture(scope="module")
def study(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT-CRF and ITA-Cap with two seeds, the better model of each kept."""
    out = tmp_path_factory.mktemp("study")
    command = [*options, f"--out={out}", "--contexts=cap", "--cva=joint", "--jobs=1", "--recipe.learning_rate=0.005"]
    assert ablate.main([*command, "--keep-models=best"]) == 0
    return out


def models(out: Path) -> set[str]:
    return {path.parent.name for path in (out / "cells").glob("*/model")}


def test_of_each_row_the_seed_best_on_valid_is_kept(study: Path) -> None:
    rows: dict[str, dict[str, float]] = {}
    for cell in read_plan(study):
        f1 = valid_f1(cell, read_metrics(study / "cells" / cell.name / "metrics.json"))
        rows.setdefault(cell.label, {})[cell.name] = f1
    assert {len(row) for row in rows.values()} == {2}
    assert models(study) == {max(row, key=row.__getitem__) for row in rows.values()}
    assert not list(study.glob("cells/*/.model*"))


def test_of_equal_seeds_every_order_of_the_cells_chooses_the_same(tmp_path: Path) -> None:
    cells = write_study(tmp_path, seeds=(1, 2, 3), rates=lambda *_: 1.0)
    for order in (cells, cells[::-1], cells[4:] + cells[:4]):
        assert [cell.seed for cell in best_of_rows(order, tmp_path)] == [1, 1, 1]


def test_identities_and_predictions_are_as_without(study: Path, options: list[str], tmp_path: Path) -> None:
    other = tmp_path / "plain"
    command = [*options, f"--out={other}", "--contexts=cap", "--cva=joint", "--jobs=1", "--recipe.learning_rate=0.005"]
    assert ablate.main([*command, "--seeds=1"]) == 0
    names = {path.name for path in (other / "cells").iterdir()}
    assert len(names) == 2
    assert not models(other)
    for name in names:
        for file in ("config.yaml", "predictions.test.jsonl", "predictions.valid.jsonl"):
            assert (study / "cells" / name / file).read_bytes() == (other / "cells" / name / file).read_bytes()


def test_the_card_has_what_the_hub_reads(study: Path) -> None:
    path = next(study.glob("cells/*ita-cap-joint*/model/README.md"))
    metrics = read_metrics(path.parents[1] / "metrics.json")
    metadata = metadata_load(path)
    assert metadata is not None
    assert metadata["pipeline_tag"] == "token-classification"
    assert "license" not in metadata
    (model,) = metadata["model-index"]
    values = {
        (result["dataset"]["config"], metric["type"]): metric["value"]
        for result in model["results"]
        for metric in result["metrics"]
    }
    assert values["I+T", "f1"] == pytest.approx(metrics["test"]["I+T"]["f1"], abs=0.01)
    assert len(values) == 6
    card = ModelCard.load(path)
    assert len(card.data.eval_results) == 6
    for word in ("| **all** |", " to ", "SHA-256", "How to use", "Limits", "lightning-ita predict", "PER"):
        assert word in card.text
    assert re.search(
        r"F1 on valid: T [\d.]+, I\+T [\d.]+\. The epoch \(\d\) was chosen by the mean of T and I\+T", card.text
    )
    config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    assert config["training"]["identity"] in path.parents[1].name


def test_old_cells_say_how_to_get_a_model_and_train_adds_it(
    study: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "old"
    command = [*options, f"--out={out}", "--systems=bert-crf", "--contexts=none", "--seeds=1"]
    assert ablate.main(command) == 0
    capsys.readouterr()
    assert ablate.main([*command, "--keep-models=all"]) == 0
    (hint,) = [line for line in capsys.readouterr().out.splitlines() if "no model of" in line]
    assert "--keep-models best" in hint
    name = next((out / "cells").iterdir()).name
    before = (out / "cells" / name / "metrics.json").read_bytes()
    config = f"--config={out / 'cells' / name / 'config.yaml'}"
    assert train.main([config, options[0], "--keep-models=best", f"--out={out / 'cells'}"]) == 0
    said = capsys.readouterr().out
    assert "running it again" in said
    assert "scores otherwise" not in said
    assert models(out) == {name}
    assert (out / "cells" / name / "metrics.json").read_bytes() == before
    assert [path.name for path in (out / "cells").iterdir()] == [name]
    Tagger.from_pretrained(out / "cells" / name / "model")


def test_workers_keep_models_too(options: list[str], tmp_path: Path) -> None:
    out = tmp_path / "planned"
    command = [*options, f"--out={out}", "--systems=bert-crf", "--contexts=none", "--plan"]
    assert ablate.main(command) == 0
    assert work.main([str(out), "--keep-models=all"]) == 0
    assert len(models(out)) == 2
    assert work.main([str(out), "--keep-models=best"]) == 0
    assert len(models(out)) == 1


def test_a_sweep_keeps_its_winner(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    space = tmp_path / "space.yaml"
    space.write_text("parameters: {recipe.learning_rate: {values: [0.0001, 0.005]}}", encoding="utf-8")
    trials = ["--trials=2", "--top=2", "--seeds=2,3", "--jobs=1", "--contexts=cap", "--keep-models=best"]
    assert sweep.main([*options, f"--space={space}", *trials, f"--out={tmp_path / 'sweep'}"]) == 0
    (kept,) = models(tmp_path / "sweep" / "winners")
    assert kept in capsys.readouterr().out


@pytest.mark.parametrize("command", [ablate, train, sweep])
def test_another_choice_is_an_error(command: object) -> None:
    with pytest.raises(UserError, match=r"unknown models to keep 'bets'\. Did you mean 'best'"):
        command.main(["--keep-models=bets"])  # type: ignore[attr-defined]
