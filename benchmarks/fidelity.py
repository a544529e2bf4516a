"""Whether the fast settings lower F1: ``python -m benchmarks.fidelity --data-dir DATA``.

Method. BERT-CRF and ITA-Cap+CVA (token) are trained on Twitter-17 with equal hyper-parameters in two ways: by
`lightning_ita.studies.run.run_cell` with its usual settings (bfloat16 where the processor has it, both views in one
pass, batches of similar length, faster dropout, fused AdamW), and by the plain loop of `benchmarks.naive` (float32,
views padded together, random batches, torch's dropout and AdamW). Both choose the best epoch on the valid split. Every
run is kept in ``--out`` and not run again. F1 counts as not lowered if its mean over seeds is above that of the plain
loop, or below by at most one standard deviation (the larger of the two).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import naive
from lightning_ita.data.batching import EncodedTweet
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.source import Source
from lightning_ita.files import write_text
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagging import to_bio
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.process import keep_freed_memory
from lightning_ita.studies.run import make_datamodule, run_cell
from lightning_ita.studies.scoring import score
from lightning_ita.studies.study import METRICS
from lightning_ita.tags import bio_tags

ROWS: tuple[tuple[tuple[str, ...], str], ...] = (((), "off"), (("cap",), "token"))


def plain_f1(cell: Cell, source: Source) -> dict[str, float]:
    """Trains a cell with the plain loop in float32; returns test F1 by view, at the best epoch on valid."""
    corpus = cell.read(source)
    cell = cell.resolve(corpus.digests)
    datamodule = make_datamodule(cell, corpus)
    datamodule.setup()
    torch.manual_seed(cell.seed)
    views = (True, len(cell.tested_views) > 1)
    tagger = naive.NaiveTagger(cell.encoder, len(datamodule.inputs.tag_set), cell.recipe, alignment=views[1])
    optimizer = tagger.optimizer()
    train = datamodule.encoded["train"]
    schedule = naive.linear_schedule(optimizer, cell.recipe, len(train))
    best: tuple[float, dict[str, float]] = (-1.0, {})
    for _ in range(cell.recipe.epochs):
        tagger.fit_epoch(train, 0, views, optimizer, schedule)
        valid = statistics.mean(evaluate(tagger, datamodule, "valid", views).values())
        if valid > best[0]:
            best = valid, evaluate(tagger, datamodule, "test", views)
    return best[1]


def evaluate(
    tagger: naive.NaiveTagger, datamodule: MNERDataModule, split: str, views: tuple[bool, bool]
) -> dict[str, float]:
    """Returns F1 of the plain loop's predicted tags, by view."""
    names = bio_tags(datamodule.corpus.types)
    gold = {tweet.id: [names.index(tag) for tag in tweet.tags] for tweet in datamodule.corpus.splits[split]}
    tweets: Sequence[EncodedTweet] = datamodule.encoded[split]
    rows: dict[str, tuple[list, list]] = {
        view: ([], []) for view, there in zip(("T", "I+T"), views, strict=True) if there
    }
    for start in range(0, len(tweets), 16):
        part = tweets[start : start + 16]
        paths = tagger.tag(naive.collate(part, 0, *views))
        for index, (predicted, truth) in enumerate(rows.values()):
            for tweet, path in zip(part, paths[index * len(part) :], strict=False):
                bio = to_bio(datamodule.inputs.tag_set, torch.tensor([path]))[0].tolist()
                truth.append(gold[tweet.id])
                predicted.append(bio + [0] * (len(truth[-1]) - len(bio)))
    types, labels = datamodule.corpus.types, datamodule.labels
    return {view: score(predicted, truth, types, labels)["f1"] for view, (predicted, truth) in rows.items()}


def main(arguments: list[str] | None = None) -> None:
    """Runs the runs that are missing, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True, help="folder with twitter17/ and contexts/")
    parser.add_argument("--dataset", default="twitter17")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("runs/fidelity"), help="folder of the runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    source = Source(options.data_dir)
    lines = ["| row | view | plain loop, float32 | fast settings | difference | |", "|---|---|---|---|---|---|"]
    for contexts, cva in ROWS:
        cells = [
            Cell(options.dataset, short_form(contexts, cva), seed=seed, recipe=replace(Recipe(), precision="auto"))
            for seed in options.seeds
        ]
        results: list[list[dict[str, float]]] = [[], []]
        for cell in cells:
            path = options.out / f"{cell.name}-plain.json"
            if not path.is_file():
                write_text(path, json.dumps(plain_f1(cell, source)) + "\n")
            results[0].append(json.loads(path.read_text(encoding="utf-8")))
            folder = options.out / cell.name
            metrics: Any = (
                json.loads((folder / METRICS).read_text(encoding="utf-8"))
                if (folder / METRICS).is_file()
                else run_cell(cell, folder, source)
            )
            results[1].append({view: scores["f1"] for view, scores in metrics["test"].items()})
        for view in results[0][0]:
            columns = [[result[view] for result in way] for way in results]
            means = [statistics.mean(column) for column in columns]
            spread = max(statistics.stdev(column) if len(column) > 1 else 0.0 for column in columns)
            cells_of = [f"{m:.2f} ({', '.join(f'{f1:.2f}' for f1 in c)})" for m, c in zip(means, columns, strict=True)]
            difference = means[1] - means[0]
            verdict = (
                "within" if abs(difference) <= spread else f"{'above' if difference > 0 else '**below**'} by more than"
            )
            lines.append(
                f"| {cells[0].title}{'+CVA' if contexts else ''} | {view} | {' | '.join(cells_of)} | "
                f"{difference:+.2f} | {verdict} one standard deviation ({spread:.2f}) |"
            )
    table = "\n".join(lines)
    print(table)
    if options.output:
        options.output.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
