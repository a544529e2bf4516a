"""What a study will take."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch

from lightning_ita.data.demo import generated
from lightning_ita.demo import DemoConfig
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.encoders.locating import EncoderShape, encoder_shape
from lightning_ita.models.options import from_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.cost import SHARE_OF_MATMUL, Cost, cost, flop_per_second


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is measured by the time that passes")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_rate_is_of_an_idle_machine(threads: int, monkeypatch: pytest.MonkeyPatch, shape: EncoderShape) -> None:
    # Other programs stretch the time that passes; a product takes 2 s of processor time, whatever they do.
    passed = count()
    products: list[int] = []
    monkeypatch.setattr(time, "perf_counter", lambda: next(passed) * 0.1)
    matmul = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: (products.append(1), matmul(a, b))[1])
    monkeypatch.setattr(time, "thread_time", lambda: 2.0 * len(products))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rate = flop_per_second(shape, "float32")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert rate == pytest.approx(threads * SHARE_OF_MATMUL * 2 * 1024 * shape.hidden * shape.feed_forward / 2)


@pytest.fixture
def shape() -> EncoderShape:
    return EncoderShape(layers=1, hidden=8, feed_forward=16, vocabulary=10, max_length=32)


def cell_cost(system: str, encoder: str, vision: str, **options: Any) -> Cost:
    values = from_values({"system": system, **options})
    if "images" in values.needs:
        values = replace(values, vision=replace(values.vision, model=vision))  # type: ignore[attr-defined, call-arg]
    corpus = generated(DemoConfig(train=24, valid=6, test=9), values.kinds)
    return cost(Cell("demo", values, encoder, recipe=Recipe(batch_size=4, epochs=5)), corpus)


def test_a_cell_is_trained_on_and_tagged_as_often_as_it_is(tiny_encoder: str, tiny_vision: str) -> None:
    found = cell_cost("bert-crf", tiny_encoder, tiny_vision)
    corpus = generated(DemoConfig(train=24, valid=6, test=9), ())
    inputs = BertCRFOptions().make_inputs(corpus.types, Recipe(), tiny_encoder)
    shape = encoder_shape(tiny_encoder)
    flop = 0.0
    for split, times in (("train", 3 * 5), ("valid", 5 + 1), ("test", 1)):
        lengths = [inputs.lengths(read)[0] for read in inputs.read(corpus.splits[split], corpus)]
        mean = sum(lengths) / len(lengths)
        flop += times * 2 * (shape.layer_weights + 2 * shape.layers * mean * shape.hidden) * sum(lengths)
        if split == "train":
            assert (found.tweets, found.subtokens) == (5 * 24, 5 * sum(lengths))
    assert found.flop == pytest.approx(flop)


def test_what_systems_have_beside_the_encoder_costs_something(tiny_encoder: str, tiny_vision: str) -> None:
    def flop(system: str, **options: Any) -> float:
        return cell_cost(system, tiny_encoder, tiny_vision, **options).flop

    text = flop("bert-crf")
    assert text < flop("ocsga") < flop("ocsga", cva="joint")
    assert text < flop("umt") < flop("umt", cva="joint")
    assert text < flop("umgf", layers=2) < flop("umgf", layers=3)
    # A batch of four tweets, and eight of relation data.
    for system in ("riva", "rpbert"):
        without, once, twice = (
            flop(system, **given) for given in ({"relation_weight": 0.0}, {"relation_batch": 8}, {"relation_batch": 16})
        )
        assert text < without < once
        assert twice - once == pytest.approx(once - without)
    # Two passes over tweet and regions, where BERT-CRF has one over the tweet.
    assert flop("rpbert", relation_weight=0.0, lstm_layers=0) > 2 * text
    assert flop("bga-mner") > 3 * text
