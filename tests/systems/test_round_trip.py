"""Every system is trained, kept, moved, and loaded in another process elsewhere: what it says stays the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_ita.data import relations
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, write
from lightning_ita.models import MODELS
from lightning_ita.models.options import from_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.run import run_cell

pytest.importorskip("timm")
ROOT = Path(__file__).parents[2]
OUTSIDE = {
    "bilstm": "tests.systems.outside:BiLSTMOptions",
    "captioned": "tests.systems.outside:CaptionOptions",
    "looking": "tests.systems.looking:LookingOptions",
}
# What makes each system small; systems that look at pictures get a small vision model, too.
OPTIONS: dict[str, dict[str, Any]] = {
    "bert-crf": {},
    "ita": {"contexts": ("cap",), "cva": "token"},
    "ocsga": {"objects": 3, "cva": "joint"},
    "umt": {"cva": "sequence"},
    "umgf": {"layers": 2, "width": 16, "heads": 2, "feed_forward": 8},
    "riva": {"gate_width": 6, "lstm_width": 5},
    "rpbert": {"lstm_layers": 1, "lstm_width": 6},
    "bga-mner": {},
    "bilstm": {},
    "captioned": {},
    "looking": {"cva": "token"},
}
ELSEWHERE = f"""
import json, sys
from lightning_ita import Tagger
from lightning_ita.models import MODELS
for name, place in {OUTSIDE!r}.items():
    MODELS.add(name, place)
posts, contexts, images = json.load(open(sys.argv[1]))
for folder in sys.argv[2:]:
    tagger = Tagger.from_pretrained(folder)
    given = [{{kind: texts[kind] for kind in tagger.inputs.kinds if kind in texts}} for texts in contexts]
    shown = images if "images" in tagger.options.needs else None
    tagged = {{view: tagger.predict(posts, given, view, shown) for view in tagger.tested_views}}
    print(json.dumps({{view: [post.to_dict() for post in said] for view, said in tagged.items()}}))
"""


@pytest.fixture(scope="module")
def few_relations() -> Iterator[None]:
    """Gates learn from the pictures of 20 tweets, not of 800."""
    few = relations.made(DemoConfig(seed=5, train=12, valid=1, test=8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relations, "relations", lambda file: few)
        yield


@pytest.fixture(scope="module")
def said(
    tiny_encoder: str, tiny_vision: str, few_relations: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Any, Any, Any]]]:
    """What each system said in its run, when it was loaded, and in another process, by view and post."""
    place = tmp_path_factory.mktemp("round-trip")
    config = DemoConfig(train=16, valid=8, test=8, rate_missing=0.2, rate_unreadable=0)
    data = write(config, place / "demo", images=True)
    encoder = shutil.copytree(tiny_encoder, place / "encoder")
    for name, where in OUTSIDE.items():
        MODELS.add(name, where)
    source = Source(str(data), image_dir=str(data))
    mine = place / "of" / "mine" / "relations.csv"  # its content is `few_relations`
    mine.parent.mkdir(parents=True)
    mine.touch()
    runs, loaded, folders = {}, {}, []
    given: dict[str, Any] = {}
    for name, options in OPTIONS.items():
        needs = MODELS[name].needs
        vision = {"vision": {"model": tiny_vision, "crops": 2}} if "images" in needs else {}
        learned = {"relations": str(mine)} if name == "rpbert" else {}
        values = from_values({"system": name, **options, **vision, **learned})
        cell = Cell("demo", values, str(encoder), recipe=Recipe(learning_rate=5e-3, epochs=2, temperature=2.0))
        folder = place / "cells" / name
        metrics = run_cell(cell, folder, source, keep_model=True)
        gated = ["relation/accuracy", "relation/majority"] if name in ("riva", "rpbert") else []
        assert sorted(metrics.get("further", {})) == gated
        lines = [json.loads(line) for line in (folder / "predictions.test.jsonl").read_text("utf-8").splitlines()]
        folders.append(shutil.move(folder / "model", place / f"moved-{name}"))
        assert "of/mine" not in (folders[-1] / "config.json").read_text("utf-8")
        tagger = Tagger.from_pretrained(folders[-1])
        runs[name] = {view: [line[view] for line in lines] for view in tagger.tested_views}
        corpus = cell.read(source)
        given["posts"] = [list(tweet.words) for tweet in corpus.splits["test"]]
        contexts = [corpus.texts(tweet) for tweet in corpus.splits["test"]]
        for whole, texts in zip(given.setdefault("contexts", [{} for _ in contexts]), contexts, strict=True):
            whole.update(texts)
        shown = None
        if "images" in needs:
            pictures = [corpus.pictures.get(tweet.image or "") for tweet in corpus.splits["test"]]
            given["images"] = [None if picture is None else str(picture.path) for picture in pictures]
            shown = given["images"]
        loaded[name] = {
            view: tagger.predict(given["posts"], contexts, view, shown)  # type: ignore[arg-type]
            for view in tagger.tested_views
        }
    shutil.rmtree(encoder)
    shutil.rmtree(place / "cells")
    shutil.rmtree(mine.parent)
    assert {image is None for image in given["images"]} == {True, False}
    posts = place / "posts.json"
    posts.write_text(json.dumps([given[name] for name in ("posts", "contexts", "images")]), encoding="utf-8")
    threads = str(torch.get_num_threads())  # they decide the last digits of sums
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(posts), *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "HOME": str(place),
            "OMP_NUM_THREADS": threads,
        },
    )
    assert done.returncode == 0, done.stderr
    elsewhere = dict(zip(OPTIONS, map(json.loads, done.stdout.splitlines()), strict=True))
    yield {name: (runs[name], loaded[name], elsewhere[name]) for name in OPTIONS}
    for name in OUTSIDE:
        del MODELS.entries[name]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_kept_model_says_the_same_elsewhere(said: dict[str, tuple[Any, Any, Any]], name: str) -> None:
    """The tags are those of its run; mentions and probabilities are the same in both processes, to the last digit."""
    run, loaded, elsewhere = said[name]
    assert {view: [post.tags for post in posts] for view, posts in loaded.items()} == run
    assert {view: [post.to_dict() for post in posts] for view, posts in loaded.items()} == elsewhere


def test_every_system_is_here(said: dict[str, tuple[Any, Any, Any]]) -> None:
    assert set(OPTIONS) == set(MODELS)
    mentions = [m for *_, here in said.values() for posts in here.values() for post in posts for m in post["mentions"]]
    probabilities = [mention["probability"] for mention in mentions]
    assert len(set(probabilities)) > 50
    assert any(here["T"] != here["I+T"] for *_, here in said.values() if len(here) == 2)
