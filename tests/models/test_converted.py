"""Weights that are converted to bfloat16 once."""

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lightning_ita.data.batching import TwoViewBatch
from lightning_ita.models import predicting
from lightning_ita.models.converted import converted
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger

POSTS = ["Jordan in Chicago", "rain", "Lyon and Ann Lee were at the station of Rome tonight"]


@pytest.fixture
def tagger(tiny_encoder: str) -> Tagger:
    torch.manual_seed(0)
    recipe = Recipe(precision="bfloat16")
    return Tagger.create("ita", ["PER", "LOC"], recipe, tiny_encoder, contexts=("cap",), cva="token").eval()


def batch(tagger: Tagger) -> TwoViewBatch:
    posts = enumerate(POSTS)
    ready = {i: predicting._prepare(tagger, i, post, None, None, "T", "whole", None) for i, post in posts}
    return tagger.inputs.collate(predicting._read(tagger, ready))


def scores(tagger: Tagger, model: Tagger) -> torch.Tensor:
    """Returns the emissions of posts by `model`, which shares the inputs of `tagger`."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        read = batch(tagger)
        return model.emissions(model.states(read, ("T",)), read, ("T",))


def test_the_numbers_are_those_of_weights_that_autocast_converts(tagger: Tagger) -> None:
    twin = converted(tagger)
    linear = [module for module in twin.encoder.modules() if type(module) is nn.Linear]
    assert linear
    assert all(module.weight.dtype == torch.bfloat16 for module in linear)
    assert all(weight.dtype == torch.float32 for weight in tagger.parameters())
    torch.testing.assert_close(scores(tagger, twin), scores(tagger, tagger), rtol=0, atol=0)


def _load(tagger: Tagger) -> None:
    tagger.load_state_dict({name: value + 0.5 for name, value in tagger.state_dict().items()})


def _replace(tagger: Tagger) -> None:
    for module in tagger.encoder.modules():
        if type(module) is nn.Linear:
            module.weight = nn.Parameter(module.weight.detach() + 0.5)


def _step(tagger: Tagger) -> None:
    with torch.no_grad():
        for weight in tagger.parameters():
            weight.add_(0.5)


def _train(tagger: Tagger) -> None:
    optimizer = tagger.make_optimizer()  # fused: torch does not count its steps as changes
    tagger.loss(tagger.losses(batch(tagger))).backward()
    optimizer.step()


def _scale(tagger: Tagger) -> None:
    for weight in tagger.encoder.parameters():
        weight.data.mul_(1.5)


def _assign(tagger: Tagger) -> None:
    for weight in tagger.encoder.parameters():
        weight.data = weight.data + 0.5


def _other(tagger: Tagger) -> None:
    torch.manual_seed(1)
    tagger.encoder = Tagger.create("ita", ["PER", "LOC"], tagger.recipe, tagger.encoder_name).eval().encoder
    _step(tagger)


@pytest.mark.parametrize("change", [_load, _replace, _step, _train, _scale, _assign, _other])
def test_changed_weights_are_converted_again(tagger: Tagger, change: Callable[[Tagger], None]) -> None:
    before = scores(tagger, converted(tagger))
    change(tagger)
    after = scores(tagger, converted(tagger))
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, scores(tagger, tagger), rtol=0, atol=0)


def test_a_compiled_encoder_is_left_as_it_is(tagger: Tagger) -> None:
    tagger.encoder.compile()
    assert converted(tagger) is tagger


def test_weights_are_converted_once(tagger: Tagger) -> None:
    assert converted(tagger).encoder is converted(tagger).encoder


def test_the_converted_weights_go_with_the_model(tagger: Tagger) -> None:
    twin = weakref.ref(converted(tagger).encoder)
    assert twin() is not None
    del tagger.encoder
    gc.collect()
    assert twin() is None


def test_predict_converts_under_bfloat16_only(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "_fast_precision", lambda: "bfloat16")
    expected = tagger.predict(POSTS)
    calls: list[Tagger] = []
    monkeypatch.setattr(predicting, "converted", lambda model: calls.append(model) or model)
    assert tagger.predict(POSTS) == expected
    assert calls
    calls.clear()
    monkeypatch.setattr(predicting, "_fast_precision", lambda: "float32")
    tagger.predict(POSTS)
    assert not calls
