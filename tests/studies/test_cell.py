from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_ita.errors import UserError
from lightning_ita.models import presets
from lightning_ita.models.encoders import EncoderShape
from lightning_ita.models.presets import RECIPES, describe, preset_for
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form

DIGESTS = {"train": "a", "valid": "b", "test": "c", "cap": "d", "tag": "e", "ocr": "f"}


def test_identity_covers_what_the_result_depends_on() -> None:
    cell = Cell("twitter17", short_form("cap", "token")).resolve(DIGESTS)
    others = [
        replace(cell, seed=2),
        replace(cell, encoder="bert-base-cased"),
        replace(cell, options=short_form("cap", "sequence")),
        replace(cell, options=short_form("tag", "token")),
        replace(cell, recipe=replace(cell.recipe, temperature=3.0)),
        replace(cell, recipe=replace(cell.recipe, epochs=1)),
        replace(cell, data={**cell.data, "test": "other"}),
    ]
    assert len({other.identity for other in [cell, *others]}) == len(others) + 1


def test_identity_leaves_out_what_plays_no_part() -> None:
    off = Cell("twitter17", short_form("cap", "off"))
    for part in ({"temperature": 3.0}, {"cva_weight": 0.0}, {"cross_modal_weight": 1.0}):
        assert replace(off, recipe=replace(off.recipe, **part)).identity == off.identity
    assert (
        Cell(options=short_form("tag,cap", "token")).identity == Cell(options=short_form("cap,tag", "token")).identity
    )


def test_the_published_temperature_is_filled_in() -> None:
    for dataset, temperature in (("twitter15", 4.0), ("twitter17", 2.0), ("snap", 4.0)):
        assert Cell(dataset).resolve(DIGESTS).recipe.temperature == temperature
    assert Cell("twitter17", recipe=Recipe(temperature=7.0)).resolve(DIGESTS).recipe.temperature == 7.0


def test_changed_data_is_not_mixed_in() -> None:
    cell = Cell("twitter17", short_form("cap", "token")).resolve(DIGESTS)
    with pytest.raises(UserError, match="twitter17: cap changed since this cell was planned"):
        cell.resolve({**DIGESTS, "cap": "other"})


def test_an_encoder_that_changed_under_its_name_is_another(tiny_encoder: str, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path / "bert")
    cell = Cell("twitter17", short_form("cap", "token"), encoder=str(tmp_path / "bert")).resolve(DIGESTS)
    config = json.loads((tmp_path / "bert" / "config.json").read_text(encoding="utf-8"))
    other = tmp_path / "other"
    shutil.copytree(tiny_encoder, other)
    (other / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.5}), encoding="utf-8")
    assert Cell(encoder=str(other)).resolve(DIGESTS).data["encoder"] != cell.data["encoder"]
    with pytest.raises(UserError, match="twitter17: encoder changed since this cell was planned"):
        replace(cell, encoder=str(other)).resolve(DIGESTS)
    shutil.copy(other / "config.json", tmp_path / "bert")  # by the same process, as in a notebook
    with pytest.raises(UserError, match="twitter17: encoder changed since this cell was planned"):
        cell.resolve(DIGESTS)
    assert "encoder" not in Cell().resolve(DIGESTS).data


def test_the_papers_recipe() -> None:
    paper = RECIPES["paper"]
    assert (paper.learning_rate, paper.batch_size, paper.epochs, paper.warmup) == (5e-6, 4, 10, 0.0)
    assert paper.learning_rate * paper.crf_lr_factor == pytest.approx(0.05)
    assert paper.gradient_clip == 5.0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dataset": "twiter15"}, "unknown dataset 'twiter15'. Did you mean 'twitter15'"),
        ({"seed": 2**32}, "seed 4294967296: expected a whole number from 0 to 4294967295"),
    ],
)
def test_mistakes_are_said(options: dict[str, object], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        Cell(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("contexts", "cva", "expected"),
    [
        ("cap", "tokens", "unknown cva 'tokens'. Did you mean 'token'"),
        ("none", "token", "no contexts"),
        ("tag,tag", "token", "named twice"),
    ],
)
def test_mistakes_in_options_are_said(contexts: str, cva: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        short_form(contexts, cva)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(value: float) -> None:
    with pytest.raises(UserError, match=r"temperature must be (greater than 0|a finite number)"):
        Recipe(temperature=value)


def test_a_recipe_is_said_in_one_line() -> None:
    decided = replace(RECIPES["demo"], precision="float32", temperature=1.0)
    assert describe(decided) == (
        "recipe demo: learning rate 0.0002 (emission layer ×30, CRF ×500), batches of 8 tweets, epochs 2"
    )
    assert describe(replace(decided, epochs=9)).startswith("recipe of its own: learning rate 0.0002")
    assert "batches of 512 sub-tokens" in describe(Recipe(token_budget=512))
    assert "batches of 16 tweets, 8 of them per step, epochs 3" in describe(Recipe(accumulate=4, devices=2))


def test_the_recipe_is_chosen_by_the_size_of_the_encoder(tiny_encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preset_for("minilm", "demo") == preset_for(tiny_encoder, "demo") == "demo"
    assert preset_for("minilm", "demo,twitter17") == preset_for(tiny_encoder, "twitter15") == "small"
    # Layers, width and feed-forward width of BERT-base and of XLM-R-large.
    for sizes, expected in (((12, 768, 3072), "base"), ((24, 1024, 4096), "paper")):
        monkeypatch.setattr(presets, "encoder_shape", lambda _, s=sizes: EncoderShape(*s, 30_000, 512))
        assert preset_for("a-hub/id", "demo") == preset_for("a-hub/id", "twitter17") == expected
