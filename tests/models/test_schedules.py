"""Recipes of the other systems' papers: their schedules and optimisers, and that older results do not notice them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from lightning_ita.commands import ablate
from lightning_ita.errors import UserError
from lightning_ita.models.optimization import make_schedule
from lightning_ita.models.presets import RECIPES
from lightning_ita.models.recipes import LATER, Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.cell import Cell


def rates(recipe: Recipe, steps: int) -> list[float]:
    """The factor on the learning rate at each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(optimizer, recipe, steps)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ("constant", [1] * 10),
        ("step", [1, 1, 1, 1, 0.8, 0.8, 0.8, 0.8, 0.64, 0.64]),
        ("inverse", [1, 1, 1 / 1.05, 1 / 1.05, 1 / 1.1, 1 / 1.1, 1 / 1.15, 1 / 1.15, 1 / 1.2, 1 / 1.2]),
    ],
)
def test_a_schedule_falls_as_it_says(schedule: str, expected: list[float]) -> None:
    assert rates(Recipe(epochs=5, schedule=schedule), 10) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["linear", "constant", "step", "inverse"])
def test_every_schedule_warms_up(schedule: str) -> None:
    found = rates(Recipe(epochs=5, warmup=0.4, schedule=schedule), 10)  # type: ignore[arg-type]
    assert found[:4] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert found[5] <= found[4] <= 1


def test_the_optimiser_is_the_recipes(tiny_encoder: str) -> None:
    for name, kind in (("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        recipe = Recipe(optimizer=name, learning_rate=0.5, weight_decay=0.25)  # type: ignore[arg-type]
        made = Tagger.create("bert-crf", ("PER",), recipe, tiny_encoder).make_optimizer()
        assert type(made) is kind
        assert [group["lr"] for group in made.param_groups] == [0.5, 15.0, 250.0]
        assert [group["weight_decay"] for group in made.param_groups] == [0.25, 0.25, 0.0]


def test_what_came_later_is_in_no_identity_that_does_without() -> None:
    assert {field.name: field.default for field in fields(Recipe) if field.name in LATER} == LATER
    assert not LATER.keys() & Recipe().recorded().keys()
    assert "temperature" in Recipe().recorded()
    recipes = [Recipe(), Recipe(optimizer="sgd"), Recipe(schedule="step"), Recipe(schedule="constant")]
    assert len({Cell(recipe=recipe).identity for recipe in recipes}) == 4


def test_a_study_of_another_optimiser_is_another_study(corpus: Path, tiny_encoder: str, tmp_path: Path) -> None:
    for first, then in (("adamw", "sgd"), ("sgd", "adamw")):
        command = [
            f"--data-dir={corpus}",
            f"--encoder={tiny_encoder}",
            "--preset=small",
            "--systems=bert-crf",
            "--plan",
        ]
        command += [f"--out={tmp_path / first}", "--seeds=1"]
        assert ablate.main([*command, f"--recipe.optimizer={first}"]) == 0
        assert ablate.main([*command, f"--recipe.optimizer={first}"]) == 0
        with pytest.raises(UserError, match=rf"optimizer \({first} there, {then} now\)"):
            ablate.main([*command, f"--recipe.optimizer={then}"])


@pytest.mark.parametrize("name", ["ocsga", "umt", "umgf"])
def test_a_papers_recipe_has_one_learning_rate(name: str) -> None:
    recipe = RECIPES[name]
    assert (recipe.head_lr_factor, recipe.crf_lr_factor) == (1, 1)
    assert recipe.tag_scheme == "BIO"
    assert recipe != replace(recipe, **vars(RECIPES["small"]))
