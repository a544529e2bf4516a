"""Rows with controls: planned, told apart, trained once, tested with other images; reported beside their own rows."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_ita.commands import ablate
from lightning_ita.data.controls import Control
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.bga_mner import BGAMNEROptions
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.cost import costs
from lightning_ita.studies.plan import write_plan
from lightning_ita.studies.report.evidence import CONTROL, IMAGE, weigh
from lightning_ita.studies.report.plots import control_plot
from lightning_ita.studies.report.reading import read_split, read_study
from lightning_ita.studies.study import Result
from lightning_ita.studies.tables.ablation import conditions, rows_of
from tests.studies.studies import write_cell, write_study

AT_TEST = Control("other-image", at_test=True)


def test_a_control_is_part_of_what_a_cell_is() -> None:
    plain = Cell(options=ITAOptions(cva="off", contexts=("cap",)))
    controlled = replace(plain, control=AT_TEST)
    assert len({plain.identity, controlled.identity, replace(plain, control=Control("other-image")).identity}) == 3
    assert controlled.label == "ITA-Cap, other image at test"
    assert controlled.published_name is None
    assert "-other-image-at-test-" in controlled.name
    assert Cell.from_config(controlled.to_config()) == controlled
    assert controlled.uncontrolled == plain
    assert "control" not in plain.to_config()


def test_it_is_refused_where_nothing_of_images_is_read() -> None:
    with pytest.raises(UserError, match="reads nothing"):
        Cell(options=BertCRFOptions(), control=Control("no-image"))
    Cell(options=BGAMNEROptions(), control=Control("no-image"))  # in training it looks


@pytest.fixture
def study(corpus: Path, tiny_encoder: str, tmp_path: Path) -> list[str]:
    options = {"data-dir": corpus, "encoder": tiny_encoder, "out": tmp_path / "out", "preset": "small"}
    return [
        *[f"--{name}={value}" for name, value in options.items()],
        *("--recipe.epochs=1", "--contexts=cap", "--cva=off", "--seeds=1", "--jobs=1"),
    ]


def test_models_are_trained_once_and_tested_under_every_control_at_test(
    study: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    fit_start = Tagger.on_fit_start
    monkeypatch.setattr(Tagger, "on_fit_start", lambda self: (trained.append(1), fit_start(self))[1])
    controls = "--control=other-image-at-test,none,no-image-at-test,other-image"
    assert ablate.main([*study, controls, "--keep-models=all"]) == 0
    assert len(trained) == 3  # BERT-CRF, ITA-Cap, ITA-Cap with other images
    assert not list((tmp_path / "out").glob("cells/*/best.ckpt"))
    with (tmp_path / "out" / "cells.csv").open(encoding="utf-8") as file:
        cells = {(line["system"], line["control"]): line for line in csv.DictReader(file)}
    assert list(cells) == [
        ("BERT-CRF", "none"),
        ("ITA-Cap", "other-image-at-test"),
        ("ITA-Cap", "none"),
        ("ITA-Cap", "no-image-at-test"),
        ("ITA-Cap", "other-image"),
    ]
    own, other, none = (cells["ITA-Cap", name] for name in ("none", "other-image-at-test", "no-image-at-test"))
    for name in ("valid/T/f1", "valid/I+T/f1", "test/T/f1", "best_epoch", "training_seconds"):
        assert own[name] == other[name] == none[name]
    assert none["test/I+T/f1"] == none["test/T/f1"]  # without images the two views are the same
    folder, right, wrong = (
        next((tmp_path / "out" / "cells").glob(f"demo-ita-cap-off-{name}seed1-*"))
        for name in ("other-image-at-test-", "", "other-image-")
    )
    weights = [(each / "model" / "model.safetensors").read_bytes() for each in (right, wrong)]
    assert weights[0] != weights[1]
    assert not (folder / "model").exists()  # it is that of the row with the right images
    read = [
        [json.loads(line)["contexts"] for line in (each / "predictions.test.jsonl").read_text("utf-8").splitlines()]
        for each in (folder, right)
    ]
    assert read[0] != read[1]
    assert sorted(map(str, read[0])) == sorted(map(str, read[1]))  # the same contexts, at other tweets


def test_a_cell_that_tests_anothers_model_is_planned_without_training(corpus: Path, tiny_encoder: str) -> None:
    source = Source(str(corpus))
    own = Cell(options=ITAOptions(cva="off", contexts=("cap",)), encoder=tiny_encoder)
    read = {"demo": own.read(source)}
    first, second = costs([own, replace(own, control=AT_TEST)], read)
    (alone,) = costs([replace(own, control=AT_TEST)], read)
    assert alone == first
    assert (second.tweets, second.subtokens) == (0, 0)
    assert 0 < second.flop < first.flop / 2


def test_without_its_model_a_control_at_test_trains_the_same(study: list[str], tmp_path: Path) -> None:
    def predictions(name: str, out: str) -> bytes:
        folder = next((tmp_path / out / "cells").glob(f"*{name}*"))
        return (folder / "predictions.test.jsonl").read_bytes()

    assert ablate.main([*study, "--systems=ita", "--control=none,other-image-at-test"]) == 0
    assert ablate.main([*study, "--systems=ita", "--control=other-image-at-test", f"--out={tmp_path / 'alone'}"]) == 0
    assert predictions("other-image", "out") == predictions("other-image", "alone")


def test_a_report_compares_a_controlled_row_with_its_own(tmp_path: Path) -> None:
    planned = write_study(tmp_path, rates=rates)
    controls = [replace(AT_TEST, share=share) for share in (0.5, 1.0)]
    more = [replace(cell, control=control) for cell in planned if cell.contexts for control in controls]
    for cell in more:
        write_cell(tmp_path, cell, rates)
    write_plan(tmp_path, [*planned, *more])
    study = read_study(tmp_path)
    evidence = weigh(study, "twitter15", read_split(study, "twitter15", Source()), 100)
    found = {(v.first, v.against): v for v in evidence.verdicts if v.question == CONTROL and v.view == "I+T"}
    verdict = found["ITA-Cap, other image at test", "right images"]
    assert verdict.second == "ITA-Cap"
    assert verdict.comparison.difference < 0
    own = [verdict for verdict in evidence.verdicts if verdict.question == IMAGE]
    assert [(v.first, v.against, v.view) for v in own] == [
        ("ITA-Cap", "T", "I+T"),
        ("ITA-Cap+CVA (token)", "T", "I+T"),
    ]
    assert own[0].comparison.difference > 0
    svg = control_plot(evidence)
    assert "another image" in svg
    assert "ITA-Cap+CVA" in svg


def rates(cell: Cell, view: str) -> float:
    """Other images take away what the right ones gave."""
    share = 0.0 if cell.control is None else cell.control.share
    return 0.9 - 0.4 * share if view == "I+T" else 0.6


@pytest.mark.parametrize(("kind", "told"), [("know", True), ("cap", False)])
def test_tables_say_what_another_image_is_for_contexts_of_tweets(kind: str, told: bool) -> None:
    cells = [Cell("demo", short_form(kind, "off"), control=control) for control in (None, AT_TEST)]
    said = conditions(rows_of([Result(cell) for cell in cells]))
    assert ("for contexts read from tweets, its texts" in said) == told
    assert "another tweet" not in conditions(rows_of([Result(cells[0])]))
