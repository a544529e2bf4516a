"""``lightning-ita train``: one cell, trained and tested in both views."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning_ita.commands.cli import add_recipe, add_source, make_console, make_parser, parse, recipe_of, source_of
from lightning_ita.data import DATASETS
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.loggers import LOGGERS, tracking
from lightning_ita.studies.progress import RunProgress, StudyProgress
from lightning_ita.studies.run import METRICS, run_cell
from lightning_ita.studies.study import Result
from lightning_ita.studies.tables.ablation import rows_of, terminal

DESCRIPTION = """\
Trains one model and tests it in both views. A finished run is not run again.

examples:
  lightning-ita train
      ITA-Tag+Cap with token CVA, on the generated demo corpus
  lightning-ita train --dataset twitter17 --data-dir DATA --contexts cap --cva sequence --seed 3
      a run on real data; DATA/twitter17/train.txt ... and DATA/contexts/twitter17.cap.NAME.jsonl must be there
  lightning-ita train --contexts none --cva off --recipe.epochs 8
      BERT-CRF; every hyper-parameter is an argument
  lightning-ita train --print_config > run.yaml && lightning-ita train --config run.yaml
      the same run from a file; the config.yaml in a run's folder is such a file
  lightning-ita train --logger wandb
      tell Weights & Biases of it; WANDB_MODE=offline keeps it on disk, and so does a server that cannot be reached
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 0."""
    parser = make_parser("train", DESCRIPTION)
    parser.add_argument("--dataset", type=str, default="demo", help=f"One of {', '.join(DATASETS)}.")
    add_source(parser)
    parser.add_argument(
        "--contexts",
        type=str | list[str],
        default="tag,cap",
        help="tag, cap, ocr, separated by commas, or none.",
    )
    parser.add_argument("--cva", type=str, default="token", help="off, joint, token or sequence.")
    parser.add_argument("--seed", type=int, default=1, help="Seed of everything random.")
    add_recipe(parser)
    parser.add_argument(
        "--data",
        type=dict[str, str],
        default={},
        help="SHA-256 by file, as a run's config.yaml holds; checked if given.",
    )
    parser.add_argument("--out", type=str, default="runs/train", help="The run's folder is made in this one.")
    parser.add_argument("--keep-checkpoint", action="store_true", help="Keep the best epoch's weights, best.ckpt.")
    parser.add_argument(
        "--logger", type=str, default="none", help=f"Where the run is told as it goes: {' or '.join(LOGGERS)}."
    )
    arguments = parse(parser, argv)

    source = source_of(arguments)
    cell = Cell(
        dataset=arguments.dataset,
        contexts=arguments.contexts,
        cva=arguments.cva,
        encoder=arguments.encoder,
        seed=arguments.seed,
        recipe=recipe_of(arguments),
        data=dict(arguments.data),
    )
    datamodule = cell.datamodule(source)
    cell = cell.resolve(datamodule.corpus.digests)
    folder = Path(arguments.out) / cell.name
    console = make_console()
    for warning in datamodule.corpus.warnings:
        console.print(f"note: {warning}", markup=False, highlight=False)
    finished = (folder / METRICS).is_file()
    with tracking(arguments.logger, cell, Path(arguments.out), console) as tracker:
        if finished:
            metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        else:
            with StudyProgress([cell], [1.0], console) as progress:
                watch = RunProgress(partial(progress.within, cell))
                metrics = run_cell(
                    cell, folder, source, datamodule, [watch], arguments.keep_checkpoint, logger=tracker.logger
                )
        tracker.record(metrics, epochs=finished)
    console.print(terminal(rows_of([Result(cell, metrics)])))
    console.print(f"written: {folder}", soft_wrap=True, highlight=False)
    return 0
