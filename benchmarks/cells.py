"""What thousands of cells cost the machine that plans and collects them: ``python -m benchmarks.cells``.

Plans a study of ``--cells`` cells on the demo corpus, writes the results of all cells as runs write them (config.yaml,
metrics.json, environment.json; the scores are made up), and measures the commands a user gives: the plan, a dry run,
and the tables of the finished study. Seconds of the whole command, and the most memory that it held.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.plan import CELLS, PLAN, read_plan
from lightning_ita.studies.provenance import code_digest, packages
from lightning_ita.studies.records import Environment, Metrics
from lightning_ita.studies.study import CONFIG, ENVIRONMENT, METRICS

ROWS = 7  # of the default study
TYPES = ("PER", "LOC", "ORG", "MISC")


def scores(rng: random.Random) -> dict[str, float]:
    """Makes up the scores of one view."""
    names = ["", *(f"{kind}/" for kind in TYPES)]
    return {
        f"{name}{measure}": round(rng.uniform(60, 90), 4) for name in names for measure in ("precision", "recall", "f1")
    }


def write_results(cell: Cell, folder: Path, epochs: int = 10) -> None:
    """Writes the folder of a finished cell, with scores that are made up."""
    rng = random.Random(cell.name)
    views = cell.tested_views
    epoch = {
        "train/text": 1.0,
        "valid/agreement": 80.0,
        "valid/f1": 75.0,
        **{f"valid/{view}/f1": 75.0 for view in views},
    }
    counts = {"tweets": 1000, "mentions": 1500, "text_subtokens": 20000, "cross_modal_subtokens": 30000, "words_cut": 0}
    metrics: dict[str, Any] = {
        "system": cell.system,
        "label": cell.label,
        "types": list(TYPES),
        "tag_scheme": cell.recipe.tag_scheme,
        "tokenizer": cell.encoder,
        "test": {view: scores(rng) for view in views},
        "valid": {view: scores(rng) for view in views},
        "best_epoch": epochs,
        "history": [epoch] * epochs,
        "splits": dict.fromkeys(("train", "valid", "test"), counts),
        "contexts": {kind: f"demo.{kind}" for kind in cell.contexts},
        "release": "unknown",
        "warnings": [],
        "training_seconds": 100.0,
        "seconds": 110.0,
    }
    environment: dict[str, Any] = {
        "lightning_ita": "0",
        "code": code_digest(cell.dataset, cell.system),
        "packages": packages(cell.options),
        "processor": "made up",
        "threads": 1,
        "accelerator": None,
        "finished": "2026-01-01T00:00:00Z",
    }
    folder.mkdir(parents=True)
    schema.write_config(folder / CONFIG, cell.to_config())
    schema.write_metrics(folder / METRICS, cast(Metrics, metrics))
    schema.write_environment(folder / ENVIRONMENT, cast(Environment, environment))


def timed(command: list[str]) -> tuple[float, float]:
    """Runs a command; returns the seconds it took, and the most memory it held in MiB.

    Raises:
        SystemExit: The command failed.
    """
    script = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); print(done.stderr, file=sys.stderr); "
    script += "sys.exit(done.returncode)"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - started, int(done.stdout) / 2**10


def main(arguments: list[str] | None = None) -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cells", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[14, 497, 5005], help="multiples of 7: seeds of 7 rows")
    parser.add_argument("--keep", type=Path, help="folder to leave the last study in")
    options = parser.parse_args(arguments)
    print("| cells | plan.jsonl, MiB | plan, s | dry run, s | tables, s | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    for cells in options.cells:
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "study"
            seeds = ",".join(map(str, range(1, cells // ROWS + 1)))
            command = [
                sys.executable,
                "-m",
                "experiments.ablate",
                "--contexts=tag,cap",
                f"--seeds={seeds}",
                f"--out={out}",
            ]
            planned, memory = timed([*command, "--plan"])
            for cell in read_plan(out):
                write_results(cell, out / CELLS / cell.name)
            dry, dry_memory = timed([*command, "--dry-run"])
            tables, table_memory = timed(command)
            size = (out / PLAN).stat().st_size / 2**20
            print(
                f"| {cells} | {size:.1f} | {planned:.1f} | {dry:.1f} | {tables:.1f} | "
                f"{max(memory, dry_memory, table_memory):.0f} |",
                flush=True,
            )
            if options.keep and cells == options.cells[-1]:
                shutil.copytree(out, options.keep)


if __name__ == "__main__":
    main()
