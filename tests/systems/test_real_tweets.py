"""Every system on real tweets with their real pictures: they are read, trained on for a step, and tagged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_ita.data import relations
from lightning_ita.data.corpus import SPLITS
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig
from lightning_ita.models import MODELS
from lightning_ita.models.options import CROSS_MODAL, from_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.run import make_datamodule
from tests.conftest import SHARED
from tests.systems.fusion_cases import total_loss

pytest.importorskip("timm")
TWEETS = SHARED / "tweets-with-images"
# What makes a system small, or reads the context that the test makes up.
OPTIONS: dict[str, dict[str, Any]] = {
    "ita": {"contexts": ("tag",), "cva": "token"},
    "umgf": {"layers": 2, "width": 16, "heads": 2, "feed_forward": 8},
    "riva": {"gate_width": 6, "lstm_width": 5},
    "rpbert": {"lstm_layers": 1, "lstm_width": 6},
}


@pytest.mark.skipif(not TWEETS.is_dir(), reason="needs the tweets with images")
@pytest.mark.parametrize("name", list(MODELS))
def test_a_system_reads_learns_and_tags(
    name: str, tiny_encoder: str, tiny_vision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = relations.made(DemoConfig(seed=7, train=8, valid=1, test=4))
    monkeypatch.setattr(relations, "relations", lambda file: few)
    options: Any = from_values({"system": name, **OPTIONS.get(name, {})})
    if "images" in options.needs:
        options = replace(options, vision=replace(options.vision, model=tiny_vision))
    images = sorted((TWEETS / "images").iterdir())
    tags = tmp_path / "tags.jsonl"
    lines = [json.dumps({"image": image.stem, "texts": ["man", "stadium"]}) for image in images]
    tags.write_text("\n".join(lines), encoding="utf-8")
    cell = Cell("custom", options, tiny_encoder, recipe=Recipe(temperature=2.0, batch_size=4))
    corpus = cell.read(Source(str(TWEETS), {"tag": str(tags)}))
    datamodule = make_datamodule(cell, corpus)
    datamodule.setup()
    torch.manual_seed(0)
    tagger: Any = options.make_tagger(corpus.types, cell.recipe, tiny_encoder)
    tagger.inputs = datamodule.inputs
    assert all(datamodule.summary(split).counts.get("without_picture", 0) == 0 for split in SPLITS)

    optimizer = tagger.make_optimizer()
    before = {each: value.clone() for each, value in tagger.state_dict().items()}
    loss = total_loss(tagger.train(), next(iter(datamodule.train_dataloader())))
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert any(not torch.equal(value, before[each]) for each, value in tagger.state_dict().items())

    tweets = [tweet for split in SPLITS for tweet in corpus.splits[split]]
    posts = [list(tweet.words) for tweet in tweets]
    assert len(posts) == 30
    contexts = [{kind: ["man", "stadium"] for kind in options.kinds} for _ in tweets]
    shown = [corpus.pictures[tweet.image or ""].path for tweet in tweets] if options.of_pictures else None
    for view in options.tested_views:
        given = {"images": shown} if view == CROSS_MODAL or not options.of_pictures else {}
        tagged = tagger.predict(posts, contexts, view, **given)
        assert [len(each.tags) for each in tagged] == [len(post) for post in posts]
