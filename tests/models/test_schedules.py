"""Recipes of the other systems' papers: their schedules and optimisers, and that older results do not notice them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.utils import parameters_to_vector

from lightning_ita.commands import ablate
from lightning_ita.data.datamodule import MNERDataModule, Twitter17DataModule
from lightning_ita.errors import UserError
from lightning_ita.models.optimization import make_schedule
from lightning_ita.models.presets import RECIPES
from lightning_ita.models.recipes import LATER, Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.process import quiet
from tests.conftest import write_corpus


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


class FirstStep(pl.Callback):
    """Measures how far the first step of the optimiser goes."""

    length: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.before = parameters_to_vector(pl_module.parameters()).detach()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        if self.length is None:
            self.length = (parameters_to_vector(pl_module.parameters()).detach() - self.before).norm().item()


@pytest.mark.parametrize(("clip", "largest"), [(None, 1e-3), (1e-4, 1e-4)])
def test_a_trainer_of_ones_own_follows_the_recipe(
    clip: float | None, largest: float, tiny_encoder: str, tmp_path: Path
) -> None:
    folder = write_corpus(tmp_path / "twitter17", train="IMGID:1\na\tB-PER\n\nIMGID:2\nb\tB-LOC\n")
    (folder / "twitter17.cap.x.jsonl").write_text('{"image": "1", "texts": ["a man"]}', encoding="utf-8")
    recipe = Recipe(
        optimizer="sgd", schedule="step", learning_rate=1.0, head_lr_factor=1.0, crf_lr_factor=1.0, weight_decay=0.0,
        gradient_clip=1e-3, epochs=30,
    )  # fmt: skip
    tagger = Tagger.create("ita", Twitter17DataModule().dataset.types, recipe, tiny_encoder, contexts=("cap",))
    step = FirstStep()
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, gradient_clip_val=clip,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, num_sanity_val_steps=0,
        callbacks=[step],
    )  # fmt: skip
    with quiet():
        trainer.fit(tagger, Twitter17DataModule(str(folder), batch_size=1))
    assert step.length == pytest.approx(largest, rel=1e-2)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.8**2)  # after the trainer's four epochs
    assert tagger.temperature == 2.0  # the one published for Twitter-17


def test_a_corpus_of_ones_own_has_no_published_temperature(tiny_encoder: str) -> None:
    tagger = Tagger.create("ita", ("PER",), Recipe(), tiny_encoder, contexts=("cap",), cva="token")
    for name, temperature in (("twitter17", 2.0), ("custom-twitter17", 4.0)):
        tagger.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        tagger.trainer.datamodule = MNERDataModule(name)  # type: ignore[attr-defined]
        assert tagger.temperature == temperature


def test_gradients_are_clipped_by_value_where_the_trainer_says_so(tiny_encoder: str) -> None:
    tagger = Tagger.create("bert-crf", ("PER",), Recipe(), tiny_encoder)
    for parameter in tagger.parameters():
        parameter.grad = torch.linspace(-9, 9, parameter.numel()).view_as(parameter)
    tagger.configure_gradient_clipping(tagger.make_optimizer(), 0.5, "value")
    grads = [parameter.grad for parameter in tagger.parameters() if parameter.numel() > 1]
    with pytest.raises(UserError, match=r"needs gradient_clip_val, the largest value: .* 1, is the largest norm"):
        tagger.configure_gradient_clipping(tagger.make_optimizer(), None, "value")  # the recipe's is a norm
    assert all(grad is not None and grad.abs().max() == 0.5 for grad in grads)
