"""Teachers of cross-view alignment other than the model itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.models.options import CROSS_MODAL, VIEWS
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.models.teachers import DECAY, AveragedTeacher, FrozenTeacher
from lightning_ita.studies.process import quiet

RECIPE = Recipe(epochs=1, batch_size=8, temperature=2.0, accumulate=2)


@pytest.fixture(scope="module")
def data(corpus: Path, tiny_encoder: str) -> MNERDataModule:
    read = Demo().read(Source(str(corpus)), ("cap",), "repair")
    made = MNERDataModule("demo", batch_size=8, corpus=read, inputs=ita(tiny_encoder).inputs)
    made.setup()
    return made


def ita(encoder: str, cva: str = "token", **options: object) -> Tagger:
    torch.manual_seed(0)
    return Tagger.create("ita", Demo.types, RECIPE, encoder, contexts=("cap",), cva=cva, **options)


def trainer(steps: int) -> pl.Trainer:
    return pl.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accumulate_grad_batches=2, limit_val_batches=0, num_sanity_val_steps=0,
    )  # fmt: skip


class Steps(pl.Callback):
    """Keeps the weights after each step of the optimiser."""

    def __init__(self) -> None:
        self.weights: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        if trainer.global_step == len(self.weights) + 1:
            self.weights.append(pl_module.emission.weight.detach().clone())


def test_the_average_follows_the_steps_of_the_optimiser(tiny_encoder: str, data: MNERDataModule) -> None:
    tagger = ita(tiny_encoder, teacher="average")
    average, steps = tagger.emission.weight.detach().clone(), Steps()
    training = trainer(4)
    training.callbacks.append(steps)
    with quiet():
        training.fit(tagger, data)
    for number, weight in enumerate(steps.weights, start=1):
        decay = min(DECAY, (1 + number) / (10 + number))
        average = decay * average + (1 - decay) * weight
    assert len(steps.weights) == 4
    assert isinstance(tagger.teacher, AveragedTeacher)
    assert tagger.teacher.weights is not None
    torch.testing.assert_close(tagger.teacher.weights["emission.weight"], average)


def test_an_averaged_teacher_is_the_model_with_other_weights(tiny_encoder: str, data: MNERDataModule) -> None:
    tagger, other = ita(tiny_encoder, teacher="average"), ita(tiny_encoder)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.01 * torch.randn_like(weight)
    assert isinstance(tagger.teacher, AveragedTeacher)
    tagger.teacher.weights = {name: weight.detach() for name, weight in other.named_parameters()}
    batch = next(iter(data.train_dataloader()))
    tagger.train()
    found = tagger.teacher.chain(tagger, batch)
    assert all(module.training for module in tagger.modules())
    expected = other.eval()(batch, (CROSS_MODAL,))[CROSS_MODAL]
    torch.testing.assert_close(found.log_partition, expected.log_partition)
    assert not found.emissions.requires_grad
    # Its weights are no parameters of the model, and are not kept with it.
    assert tagger.state_dict().keys() == other.state_dict().keys()


def test_the_text_view_learns_from_a_frozen_teacher(tiny_encoder: str, data: MNERDataModule) -> None:
    student, teacher = ita(tiny_encoder, teacher="frozen").eval(), ita(tiny_encoder, cva="off")
    with torch.no_grad():
        teacher.emission.bias += torch.arange(len(teacher.emission.bias))
    student.learn_from(teacher)
    assert isinstance(student.teacher, FrozenTeacher)
    batch = next(iter(data.train_dataloader()))
    found = student.losses(batch).alignment
    target = teacher(batch, (CROSS_MODAL,))[CROSS_MODAL]
    expected = target.token_kl(student(batch, VIEWS)["T"], RECIPE.temperature)
    assert found is not None
    torch.testing.assert_close(found, expected)
    before = [weight.clone() for weight in teacher.parameters()]
    with quiet():
        trainer(2).fit(student, data)
    assert all(torch.equal(one, two) for one, two in zip(before, teacher.parameters(), strict=True))
    assert student.state_dict().keys() == teacher.state_dict().keys()


def test_a_student_may_be_trained_in_the_text_view_alone(tiny_encoder: str, data: MNERDataModule) -> None:
    student = ita(tiny_encoder, cva="sequence", teacher="frozen", text_only=True)
    assert student.trained_views == student.tested_views == ("T",)
    assert student.options.label == "ITA-Cap+CVA (sequence), frozen teacher, T alone"
    teacher = ita(tiny_encoder, cva="off")
    student.eval().learn_from(teacher)
    batch = next(iter(data.train_dataloader()))
    losses = student.losses(batch)
    assert losses.cross_modal is None
    assert losses.text is not None
    chain = student(batch, ("T",))["T"]
    expected = teacher(batch, (CROSS_MODAL,))[CROSS_MODAL].cross_entropy(chain)
    assert losses.alignment is not None
    torch.testing.assert_close(losses.alignment, expected)
    torch.testing.assert_close(student.loss(losses), (losses.text + RECIPE.cva_weight * expected).mean())
    with pytest.raises(UserError, match=r"ita\.text_only needs ita\.teacher frozen"):
        ita(tiny_encoder, text_only=True)


def test_a_frozen_teacher_must_be_there_and_fit(tiny_encoder: str, data: MNERDataModule) -> None:
    student = ita(tiny_encoder, teacher="frozen")
    with quiet(), pytest.raises(UserError, match="call learn_from with the trained teacher"):
        trainer(1).fit(student, data)
    with pytest.raises(UserError, match="has no frozen teacher"):
        ita(tiny_encoder).learn_from(student)
    other = Tagger.create("ita", ("PER",), RECIPE, tiny_encoder, contexts=("cap",), cva="off")
    with pytest.raises(UserError, match="it has another tags"):
        student.learn_from(other)
    reader = Tagger.create("ita", Demo.types, RECIPE, tiny_encoder, contexts=("ocr",), cva="off")
    with pytest.raises(UserError, match="it has another contexts"):
        student.learn_from(reader)
    alone = ita(tiny_encoder, teacher="frozen", text_only=True)
    with pytest.raises(UserError, match=r"was not trained in I\+T"):
        student.learn_from(alone)
    with pytest.raises(UserError, match="Did you mean 'frozen'"):
        ita(tiny_encoder, teacher="frosen")
