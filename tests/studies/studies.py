"""Studies written by hand, so that reports are tested without training anything."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from lightning_ita.data import DATASETS
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.plan import write_plan
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.records import VERSION
from lightning_ita.studies.scoring import score
from lightning_ita.tags import bio_tags

RECIPE = Recipe(precision="float32")
TWEETS = 120
# How often a model gets a mention right, by training mode (None: BERT-CRF) and view.
Rates = Callable[[Cell, str], float]


def usual_rates(cell: Cell, view: str) -> float:
    """Contexts help the I+T view; CVA carries half of that to the text view."""
    if view == "I+T":
        return 0.9
    return 0.75 if cell.cva == "token" else 0.6


def gold_of(tweet: int, types: Sequence[str]) -> list[str]:
    kind = types[tweet % len(types)]
    return ["O", f"B-{kind}", f"I-{kind}", "O", f"B-{types[0]}", "O"]


def words_of(tweet: int) -> list[str]:
    return ["RT", "<script>alert(1)</script>", f"Jordan{tweet}", "&", "Nike", "http://t.co/x"]


def write_cell(
    out: Path, cell: Cell, rates: Rates = usual_rates, with_words: bool = True, tweets: int = TWEETS
) -> Path:
    """Writes the folder of a finished cell."""
    types = DATASETS[cell.dataset].types
    names = bio_tags(types)
    views = cell.tested_views
    generator = random.Random(f"{cell.cva}{cell.contexts}{cell.seed}")
    gold = [gold_of(tweet, types) for tweet in range(tweets)]
    lines, predicted = [], {view: [] for view in views}
    for tweet, tags in enumerate(gold):
        line = {"tweet": f"id{tweet}", "gold": tags}
        if with_words:
            line |= {"words": words_of(tweet)}
            if cell.contexts:
                said = "says" if cell.control is None else "says of another"
                line |= {"contexts": {kind: [f"{kind} {said}"] * (tweet % 4) for kind in cell.contexts if tweet % 4}}
        for view in views:
            found = list(tags)
            for start, end in ((1, 3), (4, 5)):
                if generator.random() > rates(cell, view):
                    found[start:end] = [f"{tag[:2]}{types[(tweet + 1) % len(types)]}" for tag in found[start:end]]
                    if found[start] == tags[start]:
                        found[start:end] = ["O"] * (end - start)
            line[view] = found
            predicted[view].append([names.index(tag) for tag in found])
        lines.append(json.dumps(line))
    ids = [[names.index(tag) for tag in tags] for tags in gold]
    scores = {view: score(tags, ids, types, "repair") for view, tags in predicted.items()}
    epochs = [{"valid/f1": 60.0, **{f"valid/{view}/f1": 60.0 + epoch for view in views}} for epoch in range(3)]
    metrics = {
        "version": VERSION,
        "system": cell.system,
        "types": list(types),
        "test": scores,
        "valid": scores,
        "best_epoch": 3,
        "history": epochs,
        "splits": {"test": {"mentions": 2 * tweets}},
        "contexts": dict.fromkeys(cell.contexts, "blip2"),
        "release": "UMT",
        "warnings": [f"{cell.dataset}: a warning"],
        "training_seconds": 90.0,
        "seconds": 100.0,
    }
    environment = {
        "lightning_ita": "0.1.0",
        "code": code_digest(cell.dataset, cell.system),
        "packages": {"torch": "2.15.0"},
        "processor": "a processor",
        "accelerator": None,
        "threads": 1,
        "finished": "2026-01-02T03:04:05Z",
    }
    folder = out / "cells" / cell.name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(cell.to_config()), encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    (folder / "predictions.test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_study(
    out: Path,
    datasets: Sequence[str] = ("twitter15",),
    kinds: Sequence[str] = ("cap",),
    modes: Sequence[str] = ("off", "token"),
    seeds: Sequence[int] = (1, 2, 3),
    missing: Sequence[tuple[str, int]] = (),
    rates: Rates = usual_rates,
    with_words: bool = True,
    tweets: int = TWEETS,
) -> list[Cell]:
    """Writes a study: BERT-CRF, and each context in each mode; `missing` names mode and seed of cells to leave out."""
    digests = {name: name * 4 for name in ("train", "valid", "test", *kinds)}
    rows = [((), "off"), *(((kind,), mode) for kind in kinds for mode in modes)]
    cells = [
        Cell(dataset, short_form(contexts, cva), "minilm", seed, RECIPE).resolve(digests)
        for dataset in datasets
        for contexts, cva in rows
        for seed in seeds
    ]
    finished = [cell for cell in cells if not cell.contexts or (cell.cva, cell.seed) not in missing]
    write_cells(out, finished, dict.fromkeys(datasets, digests), rates, with_words, tweets)
    write_plan(out, cells)
    return cells


def write_cells(
    out: Path,
    cells: Sequence[Cell],
    data: Mapping[str, Mapping[str, str]],
    rates: Rates = usual_rates,
    with_words: bool = True,
    tweets: int = TWEETS,
) -> None:
    """Writes a study whose cells are all finished."""
    settings = {"encoder": "minilm", **asdict(RECIPE)}
    for name in ("cells", "failed"):
        (out / name).mkdir(parents=True)
    (out / "study.json").write_text(json.dumps({"settings": settings, "data": data}))
    write_plan(out, cells)
    for cell in cells:
        write_cell(out, cell, rates, with_words, tweets)


def first_version(out: Path) -> None:
    """Rewrites a study as version 1 wrote it: `dev` for `valid`, no plan, no systems but BERT-CRF and ITA."""
    (out / "plan.jsonl").unlink()
    for folder in (out / "cells").iterdir():
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        metrics["dev"] = metrics.pop("valid")
        metrics["history"] = [
            {k.replace("valid/", "dev/"): v for k, v in epoch.items()} for epoch in metrics["history"]
        ]
        del metrics["version"], metrics["types"]
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        options = config.pop(config.pop("system"), {"contexts": [], "cva": "off"})
        for later in ("teacher", "text_only", "view_parameters"):
            options.pop(later, None)
        metrics["system"] = "ITA-Cap" if options["contexts"] else "BERT-CRF"
        (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, **options}), encoding="utf-8")


def latex_with_booktabs() -> bool:
    """Tells whether LaTeX is there with the packages that the tables need."""
    find = shutil.which("kpsewhich")
    if shutil.which("pdflatex") is None or find is None:
        return False
    found = subprocess.run([find, "booktabs.sty", "graphicx.sty"], capture_output=True, text=True, check=False)
    return len(found.stdout.split()) == 2


def results(out: Path) -> dict[str, bytes]:
    """The tables and predictions of a finished study, as files."""
    paths = [out / "table.csv", out / "table.md", *sorted((out / "cells").glob("*/predictions.*"))]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}
