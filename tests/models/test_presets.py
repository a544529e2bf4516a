"""The recipes of papers: with each, its system is made as in the paper, and trained for two steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.ocsga import OCSGAOptions
from lightning_ita.models.optimization import make_schedule
from lightning_ita.models.options import Options
from lightning_ita.models.presets import RECIPES
from lightning_ita.models.rpbert import RpBERTOptions
from lightning_ita.models.umgf import UMGFOptions
from lightning_ita.models.umt import UMTOptions
from tests.systems.fusion_cases import Case, batch_of, make, total_loss

# By preset: the system as in its paper, and the learning rates of encoder, layers, emission layer and CRF.
FAITHFUL: dict[str, tuple[Options, tuple[float, ...]]] = {
    "paper": (ITAOptions(contexts=("tag",), cva="token"), (5e-6, 5e-6, 5e-6, 5e-2)),
    "ocsga": (OCSGAOptions(variant="lstm", dropout=0.6, layer_lr_factor=1.0), (0.05,) * 4),
    "umt": (UMTOptions(), (5e-5,) * 4),
    "umgf": (UMGFOptions(dropout=0.4), (1e-4,) * 4),
    "rpbert": (RpBERTOptions(layer_lr_factor=100.0), (1e-5, 1e-3, 1e-3, 1e-3)),
}


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_system_learns_by_the_recipe_of_its_paper(tiny_encoder: str, name: str) -> None:
    options, rates = FAITHFUL[name]
    recipe = RECIPES[name]
    tagger: Any = make(Case(options, ()), tiny_encoder, recipe).train()
    optimizer = tagger.make_optimizer()
    schedule = make_schedule(optimizer, recipe, steps=5)
    group_of = {id(each): group["initial_lr"] for group in optimizer.param_groups for each in group["params"]}
    groups = tagger.parameter_groups()
    for group, rate in zip(("encoder", "layers", "head", "crf"), rates, strict=True):
        assert all(group_of[id(each)] == pytest.approx(rate) for each in groups[group])
    before = {each: parameter.clone() for each, parameter in tagger.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        loss = total_loss(tagger, batch_of(tagger))
        loss.backward()
        assert loss.isfinite()
        torch.nn.utils.clip_grad_norm_(tagger.parameters(), recipe.gradient_clip)
        optimizer.step()
        schedule.step()
    moved = [each for each, parameter in tagger.named_parameters() if not torch.equal(parameter, before[each])]
    assert len(moved) > 0.9 * len(before)


def test_every_recipe_of_a_paper_is_here() -> None:
    assert set(FAITHFUL) == set(RECIPES) - {"small", "demo", "base"}
