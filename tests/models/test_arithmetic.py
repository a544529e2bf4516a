"""The operations that plans expect of each system against those that torch counts in its passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lightning_ita.models import MODELS
from lightning_ita.models.arithmetic import Sizes
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.encoders.locating import encoder_shape
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.options import TwoViewOptions
from lightning_ita.models.recipes import Recipe
from lightning_ita.registry import resolve
from tests.conftest import write_tiny_encoder
from tests.systems import fusion_cases
from tests.systems.fusion_cases import CASES, Case, Post, batch_of, make, total_loss

# As MiniLM has six layers. Words are one sub-token, and tweets are of one length: what is padded is not expected.
WORDS, LAYERS, WIDTH = 22, 6, 96
POSTS = [Post(" ".join("abcdefghijklmnopqrstuvwxyz"[:WORDS]), "O " * WORDS, number) for number in (1, 2, 3, 2)]
# How far an expectation may be off, of a forward pass and of a training step: the last layer computes what words need
# alone, and no gradient is computed of what is seen.
FORWARD, TRAINING = 0.07, 0.09

SYSTEMS = {
    "bert-crf": Case(BertCRFOptions(), ()),
    "ita": Case(ITAOptions(contexts=("tag",)), ()),
    **CASES,
}
SYSTEMS["umgf"] = replace(CASES["umgf"], options=replace(CASES["umgf"].options, width=64, feed_forward=32))


@pytest.fixture(autouse=True)
def _lstms_are_products() -> Iterator[None]:
    """torch counts no LSTM of MKLDNN; one that is written in products is the same arithmetic."""
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    yield
    torch._C._set_mkldnn_enabled(before)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tiny_encoder(tmp_path_factory.mktemp("six-layers"), WIDTH, LAYERS)


def sizes(tagger: Any, batch: Any, encoder: str) -> Sizes:
    visual = getattr(batch, "visual", None)
    regions, channels = getattr(visual, "regions", torch.zeros(0, 0, 0)).shape[1:]
    cross_modal = batch.cross_modal if hasattr(batch, "cross_modal") else batch.text
    return Sizes(
        encoder_shape(encoder),
        WORDS,
        batch.text.input_ids.shape[1],
        cross_modal.input_ids.shape[1],
        regions,
        channels,
        fusion_cases.CROPS,
        len(POSTS),
    )


def counted(work: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


@pytest.mark.parametrize("both", [False, True], ids=["one view", "both views"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_expected_is_what_torch_counts(encoder: str, name: str, both: bool) -> None:
    case = SYSTEMS[name]
    if both and not isinstance(case.options, TwoViewOptions):
        pytest.skip("has one view")
    options = replace(case.options, cva="joint") if both else case.options
    if hasattr(options, "relation_batch"):
        options = replace(options, relation_batch=len(POSTS))
    tagger: Any = make(replace(case, options=options), encoder, Recipe(batch_size=len(POSTS), tag_scheme="BIO"))
    if hasattr(tagger, "relation_sample"):
        sample = batch_of(tagger, POSTS)
        tagger.relation_sample = lambda: (sample, torch.ones(len(POSTS), dtype=torch.bool))
    batch = batch_of(tagger, POSTS)
    passes, own = resolve(options.arithmetic), sizes(tagger, batch, encoder)
    views = options.tested_views if both else options.tested_views[-1:]
    found = counted(lambda: tagger.states(batch, views))
    assert len(POSTS) * passes(options, own, views, False) == pytest.approx(found, rel=FORWARD)
    tagger.train()
    found = counted(lambda: total_loss(tagger, batch).backward())
    expected = 3 * len(POSTS) * passes(options, own, options.trained_views, True)
    assert expected == pytest.approx(found, rel=TRAINING)


def test_every_system_is_here() -> None:
    assert {case.options.system for case in SYSTEMS.values()} == set(MODELS)
