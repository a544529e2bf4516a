"""What holds for every system that joins pictures to word states; each test is of a fault in published code."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_ita.images.visual import Pixels
from lightning_ita.models.blocks.relation import RelationLoss
from lightning_ita.models.ocsga import OCSGAOptions
from lightning_ita.models.options import CROSS_MODAL, TEXT, TwoViewOptions, from_values, to_values
from lightning_ita.models.tagger import Tagger
from lightning_ita.models.visual_options import PictureOptions
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.published import counterpart
from tests.systems.fusion_cases import CASES, POSTS, RECIPE, Case, batch_of, emissions, make, total_loss

SEEING = {name: case for name, case in CASES.items() if case.sees}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(params=SEEING)
def seeing(request: pytest.FixtureRequest) -> Case:
    return SEEING[request.param]


@pytest.mark.parametrize(("name", "cva"), [(name, mode) for name, case in CASES.items() for mode in case.modes])
def test_every_parameter_is_in_the_optimiser_and_gets_a_gradient(tiny_encoder: str, name: str, cva: str) -> None:
    case = CASES[name]
    mode: dict[str, Any] = {"cva": cva} if len(case.modes) > 1 else {}
    tagger = make(case, tiny_encoder, **mode).train()
    loss = total_loss(tagger, batch_of(tagger))
    loss.backward()
    assert loss.isfinite()
    optimised = [id(each) for group in tagger.make_optimizer().param_groups for each in group["params"]]
    assert sorted(optimised) == sorted(map(id, tagger.parameters()))
    sizes = {
        name: 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
        for name, parameter in tagger.named_parameters()
    }
    # The encoder's own keys have biases, which no softmax depends on.
    useless = [name for name, size in sizes.items() if size < 1e-7 and not name.endswith("self.key.bias")]
    assert useless == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if isinstance(case.options, PictureOptions)])
def test_a_vision_model_that_is_trained_learns_with_every_system(
    tiny_encoder: str, tiny_vision: str, name: str
) -> None:
    case = CASES[name]
    vision = replace(case.options.vision, model=tiny_vision, finetune=True)
    tagger: Any = make(case, tiny_encoder, vision=vision).train()
    batch = batch_of(tagger)
    size = tagger.vision.net.size

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(256, (*shape, 3, size, size), dtype=torch.uint8)

    seen = batch.visual
    batch.visual = Pixels(seen.crop_mask, seen.present, pixels(len(seen.present)), pixels(*seen.crop_mask.shape))
    if isinstance(tagger, RelationLoss):
        tagger.relation_sample = lambda: (batch, torch.tensor([True, False, False, True]))
    total_loss(tagger, batch).backward()
    encoder = {id(parameter) for parameter in tagger.parameter_groups()["encoder"]}
    trained = [each for each in tagger.vision.parameters() if each.requires_grad]
    assert trained
    assert all(id(each) in encoder and each.grad.abs().max() > 0 for each in trained)


def test_layers_learn_more_slowly_than_the_emission_layer(tiny_encoder: str, case: Case) -> None:
    def rates(tagger: Tagger) -> set[tuple[str, float]]:
        group = {id(each): group["lr"] for group in tagger.make_optimizer().param_groups for each in group["params"]}
        parts = {name.partition(".")[0]: group[id(parameter)] for name, parameter in tagger.named_parameters()}
        return {
            (tagger.part_groups.get(part, "layers"), rate / tagger.recipe.learning_rate) for part, rate in parts.items()
        }

    rest = {("encoder", 1.0), ("head", 30.0), ("crf", 500.0)}
    assert rates(make(case, tiny_encoder)) == {*rest, ("layers", 3.0)}
    assert rates(make(case, tiny_encoder, layer_lr_factor=7.0)) == {*rest, ("layers", 7.0)}
    one = replace(RECIPE, head_lr_factor=1.0, crf_lr_factor=1.0)
    assert rates(make(case, tiny_encoder, one)) == {(group, 1.0) for group in ("encoder", "layers", "head", "crf")}


def test_a_tweet_is_read_the_same_in_any_batch(tiny_encoder: str, case: Case) -> None:
    tagger = make(case, tiny_encoder)
    order = (2, 0, 3, 1)
    for view in (TEXT, CROSS_MODAL):
        together = emissions(tagger, batch_of(tagger), view)
        permuted = emissions(tagger, batch_of(tagger, [POSTS[row] for row in order]), view)
        for place, row in enumerate(order):
            torch.testing.assert_close(permuted[place], together[row])
            torch.testing.assert_close(emissions(tagger, batch_of(tagger, [POSTS[row]]), view)[0], together[row])


def test_what_stands_at_padding_changes_nothing(tiny_encoder: str, case: Case) -> None:
    tagger = make(case, tiny_encoder)
    batch, garbage = batch_of(tagger), batch_of(tagger)
    garbage.text.input_ids[garbage.text.attention_mask == 0] = 17
    visual = garbage.visual
    if hasattr(visual, "regions"):
        visual.regions[~visual.present] = 7.0
        visual.crops[~visual.crop_mask] = 7.0
    else:
        visual.ids[~visual.subtokens] = 7
    for view in (TEXT, CROSS_MODAL):
        for left, right in zip(emissions(tagger, batch, view), emissions(tagger, garbage, view), strict=True):
            torch.testing.assert_close(left, right)


def test_another_picture_changes_what_is_seen_and_never_the_text_view(tiny_encoder: str, seeing: Case) -> None:
    tagger = make(seeing, tiny_encoder)
    before = batch_of(tagger)
    after = batch_of(
        tagger, [replace(post, picture=number) for post, number in zip(POSTS, (3, 1, 2, None), strict=True)]
    )
    for left, right in zip(emissions(tagger, before, CROSS_MODAL), emissions(tagger, after, CROSS_MODAL), strict=True):
        assert (left - right).abs().max() > 1e-4
    for left, right in zip(emissions(tagger, before, TEXT), emissions(tagger, after, TEXT), strict=True):
        assert torch.equal(left, right)


def test_without_picture_both_views_are_one(tiny_encoder: str, case: Case) -> None:
    tagger = make(case, tiny_encoder)
    batch = batch_of(tagger)
    text, seen = emissions(tagger, batch, TEXT), emissions(tagger, batch, CROSS_MODAL)
    for post, left, right in zip(POSTS, text, seen, strict=True):
        same = torch.allclose(left, right, atol=1e-5)  # not bit by bit: RpBERT adds zeros in another order
        assert same is (post.picture is None or not case.sees)


def test_the_order_of_what_is_seen_changes_nothing(tiny_encoder: str, seeing: Case) -> None:
    tagger = make(seeing, tiny_encoder)
    batch, permuted = batch_of(tagger), batch_of(tagger)
    for name in seeing.unordered:
        setattr(permuted.visual, name, getattr(permuted.visual, name).roll(1, 1))
    for left, right in zip(
        emissions(tagger, batch, CROSS_MODAL), emissions(tagger, permuted, CROSS_MODAL), strict=True
    ):
        torch.testing.assert_close(left, right)


def test_hidden_pictures_are_absent_ones(tiny_encoder: str, seeing: Case) -> None:
    tagger = make(seeing, tiny_encoder, image_dropout=0.5)
    assert torch.equal(tagger.states(batch_of(tagger), (CROSS_MODAL,)), tagger.states(batch_of(tagger), (CROSS_MODAL,)))
    posts = [replace(POSTS[0], picture=1)] * 64
    batch = batch_of(tagger, posts)
    text, seen = emissions(tagger, batch, TEXT)[0], emissions(tagger, batch, CROSS_MODAL)[0]
    tagger.training = True  # its parts stay in evaluation mode
    hidden = [bool(torch.allclose(row, text, atol=1e-5)) for row in emissions(tagger, batch, CROSS_MODAL)]
    shown = [bool(torch.allclose(row, seen, atol=1e-5)) for row in emissions(tagger, batch, CROSS_MODAL)]
    assert 16 < sum(hidden) < 48
    assert 16 < sum(shown) < 48


def test_a_kept_model_says_the_same(tiny_encoder: str, case: Case, tmp_path: Path) -> None:
    tagger = make(case, tiny_encoder)
    tagger.save_pretrained(tmp_path / "model")
    loaded = Tagger.from_pretrained(tmp_path / "model")
    assert loaded.options == tagger.options
    batch = batch_of(tagger)
    for view in (TEXT, CROSS_MODAL):
        for left, right in zip(emissions(tagger, batch, view), emissions(loaded, batch, view), strict=True):
            assert torch.equal(left, right)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.modes) > 1])
@pytest.mark.parametrize("teacher", ["average", "frozen", "text_only"])
def test_every_system_learns_from_every_teacher(tiny_encoder: str, name: str, teacher: str) -> None:
    case = CASES[name]
    text_only = teacher == "text_only"
    student = make(case, tiny_encoder, cva="token", teacher="frozen" if text_only else teacher, text_only=text_only)
    if student.teacher is None:
        student.learn_from(make(case, tiny_encoder))
    student.train()
    batch = batch_of(student)
    losses = student.losses(batch)
    assert losses.alignment is not None
    loss = student.loss(losses) + sum(term.mean() for term in student.auxiliary(batch).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert student.training
    assert student.crf.transitions.grad.abs().sum() > 0
    if text_only:
        assert losses.cross_modal is None


def test_every_option_is_part_of_the_identity(case: Case) -> None:
    options = case.options
    if isinstance(options, TwoViewOptions):  # so that all options have an effect
        options = replace(options, cva="token", teacher="frozen")
    first = Cell(options=options, recipe=RECIPE)
    known = {first.identity}
    for field in fields(options):
        value = getattr(options, field.name)
        for other in others(field.name, value):
            known.add(Cell(options=replace(options, **{field.name: other}), recipe=RECIPE).identity)
    assert len(known) == 1 + len(fields(options))
    assert from_values(to_values(options)) == options


def others(name: str, value: Any) -> list[Any]:
    """Returns another value of an option."""
    named = {
        "cva": "sequence",
        "teacher": "average",
        "variant": {"encoder": "lstm", "lstm": "encoder"}.get(value),
        "kind": "cap",
    }
    named |= {"gate": "input", "relations": "textimage-data.csv"}
    if name in named:
        return [named[name]]
    if name == "vision":
        return [replace(value, crops=value.crops + 1)]
    if value is None:
        return [1]
    return [not value] if isinstance(value, bool) else [value * 2 if isinstance(value, int) else value + 0.25]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.modes) > 1])
def test_rows_are_named_by_what_they_are(name: str) -> None:
    options = CASES[name].options
    modes = [replace(options, cva=cva) for cva in ("off", "joint", "token", "sequence")]
    title = options.title
    assert [row.label for row in modes] == [
        title,
        f"{title}, joint",
        f"{title}+CVA (token)",
        f"{title}+CVA (sequence)",
    ]
    assert len({row.slug for row in modes}) == 4
    assert all(letter.isalnum() or letter in "-.+" for row in modes for letter in row.slug)
    hidden = replace(options, image_dropout=0.25)
    assert hidden.label == f"{title}, image dropout 0.25"
    assert hidden.published_name is None


def test_ocsga_says_which_kind_it_reads() -> None:
    options = OCSGAOptions(variant="lstm", kind="know")
    assert (options.title, options.slug) == ("OCSGA (LSTM, Know)", "ocsga-lstm-know-off")
    found = [counterpart("twitter15", OCSGAOptions(kind=kind).title, "bert") for kind in ("tag", "know")]
    assert [number is not None for number in found] == [True, False]
