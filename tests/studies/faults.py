"""Kills the default study, made small, again and again, and compares what it ends with to an undisturbed one.

Then two processes share the study, and one of them is killed.

    python -m tests.studies.faults --kills 20 [arguments of the study, in place of the default one's]

Each kill is a SIGKILL at a random moment of a stage that is drawn in turn: reading the data, training, validation,
evaluation, writing a checkpoint, writing results. Where it really hit is what the process last said before it died.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lightning_ita.commands import ablate
from lightning_ita.demo import DemoConfig, write
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import cost, plan, resume, run, schema
from lightning_ita.studies.tables import ablation as table
from tests.conftest import write_tiny_encoder

# What is wrapped to know where a process is: owner, name, stage.
PLACES = [
    (plan, "read_corpora", "data"),
    (cost, "costs", "data"),
    (run, "run_cell", "set-up"),
    (run.pl.Trainer, "fit", "training loop"),
    (Tagger, "training_step", "training"),
    (Tagger, "validation_step", "validation"),
    (run, "evaluate", "evaluation"),
    (resume.WholeFiles, "save_checkpoint", "checkpoint"),
    (schema, "write_text", "results"),
    (table, "write_text", "results"),
]
# The stages to kill in, in turn: up to which of their calls to let pass, and how many seconds more at most.
STAGES = {
    "training": (12, 0.01),
    "checkpoint": (12, 0.005),
    "evaluation": (2, 0.01),
    "results": (10, 0.0),
    "validation": (4, 0.001),
    "data": (2, 0.1),
}
NAMES = ["elsewhere", "set-up", "training loop", *STAGES]
BACK = 128  # said with a stage: the process is in it again, after another within it
TIMES = ("seconds", "training_seconds")


def start(argv: list[str], log: Path, killed: bool) -> tuple[int, int]:
    """Forks a process that runs the command; returns its id, and the pipe on which it says where it is."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        run.run_cell = noted(run.run_cell, log.with_name("runs"))
        within = [0]
        for owner, name, stage in PLACES:
            setattr(owner, name, announced(getattr(owner, name), NAMES.index(stage), writer, within))
        if killed:
            resume.SECONDS_APART = resume.COSTS_APART = 0.0  # a checkpoint at every step
        status = ablate.main(argv)
    finally:
        sys.stdout.flush()
        os._exit(status)


def announced(function: Callable[..., Any], stage: int, pipe: int, within: list[int]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        within.append(stage)
        os.write(pipe, bytes([stage]))
        try:
            return function(*args, **kwargs)
        finally:
            within.pop()
            os.write(pipe, bytes([BACK + within[-1]]))

    return wrapper


def noted(run_cell: Callable[..., Any], path: Path) -> Callable[..., Any]:
    def wrapper(cell: Any, folder: Path, *args: Any, **kwargs: Any) -> Any:
        metrics = run_cell(cell, folder, *args, **kwargs)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {folder}\n")
        return metrics

    return wrapper


def kill(pid: int, pipe: int, stage: str, calls: int, delay: float) -> str | None:
    """Kills a process in a stage; returns where it hit, or None where the process ended first."""
    last = b"\0"
    while calls:
        said = os.read(pipe, 1)
        if not said:
            break
        last = said
        calls -= said == bytes([NAMES.index(stage)])
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)  # it is not waited for yet, so the id is still its own
    while said := os.read(pipe, 4096):
        last = said
    os.close(pipe)
    _, status = os.waitpid(pid, 0)
    return NAMES[last[-1] % BACK] if os.WIFSIGNALED(status) else None


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Identifies the results that are there, by the file that holds them."""
    paths = sorted((out / "cells").glob("[!.]*/metrics.json"))
    return {path.parent.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def assert_same(out: Path, undisturbed: Path) -> None:
    """Compares two finished studies: all but times must be the same, byte by byte."""
    for name in ("table.md", "table.csv", "study.json"):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name
    lines = []
    for place in (out, undisturbed):
        with (place / "cells.csv").open(encoding="utf-8", newline="") as file:
            lines.append([{k: v for k, v in line.items() if k not in TIMES} for line in csv.DictReader(file)])
    assert lines[0] == lines[1], "cells.csv"
    names = [sorted(path.name for path in (place / "cells").iterdir()) for place in (out, undisturbed)]
    assert names[0] == names[1], "cells, or something that a kill left"
    for cell in names[0]:
        folders = [place / "cells" / cell for place in (out, undisturbed)]
        files = [sorted(path.name for path in folder.iterdir()) for folder in folders]
        assert files[0] == files[1], cell
        for name in ("config.yaml", "predictions.valid.jsonl", "predictions.test.jsonl"):
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), f"{cell}/{name}"
        metrics = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders]
        assert [{k: v for k, v in m.items() if k not in TIMES} for m in metrics[:1]] == [
            {k: v for k, v in m.items() if k not in TIMES} for m in metrics[1:]
        ], f"{cell}/metrics.json"


def main(argv: list[str]) -> int:
    """Runs the test; returns 0 where nothing differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.studies.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments, options = parser.parse_known_args(argv)  # the others are the study's
    draw = random.Random(arguments.seed)
    torch.set_num_threads(1)  # forked threads would hang
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write(DemoConfig(train=24, valid=12, test=12), place / "demo")
        encoder = write_tiny_encoder(place / "encoder")
        command = ["--preset=small", "--recipe.batch_size=4", "--recipe.epochs=2", "--jobs=1", *options]
        command += [f"--data-dir={place / 'demo'}", f"--encoder={encoder}"]
        out, undisturbed, log = place / "killed", place / "undisturbed", place / "log"

        pid, pipe = start([*command, f"--out={undisturbed}"], log, killed=False)
        assert kill_never(pid, pipe) == 0, log.read_text(encoding="utf-8")
        hits: Counter[str] = Counter()
        kept: dict[str, tuple[int, int]] = {}
        stages = list(STAGES)
        for number in range(arguments.kills):
            stage = stages[number % len(stages)]
            calls, delay = STAGES[stage]
            pid, pipe = start([*command, f"--out={out}"], log, killed=True)
            hit = kill(pid, pipe, stage, draw.randint(1, calls), draw.uniform(0, delay))
            now = finished(out)
            assert kept.items() <= now.items(), "a finished cell was lost or run again"
            kept = now
            print(f"kill {number + 1:>2}: aimed at {stage:<10} hit {hit or 'nothing':<13} {len(kept)} cells finished")
            hits[hit or "nothing"] += 1
        pid, pipe = start([*command, f"--out={out}"], log, killed=True)
        assert kill_never(pid, pipe) == 0, log.read_text(encoding="utf-8")
        assert kept.items() <= finished(out).items(), "a finished cell was lost or run again"
        assert_same(out, undisturbed)
        resumed = [
            len(json.loads(path.read_text(encoding="utf-8"))["trained_on"]) - 1
            for path in (out / "cells").glob("*/environment.json")
        ]
        print(f"hits: {dict(hits)}; {sum(resumed)} times a run went on from a checkpoint, in {len(resumed)} cells")
        print("tables, predictions and metrics are those of the undisturbed study")
        share(command, place, undisturbed, log)
        for line in sorted(set(log.read_text(encoding="utf-8").splitlines())):
            if "starts again" in line or "Error" in line:
                print(line)
    return 0


def share(command: list[str], place: Path, undisturbed: Path, log: Path) -> None:
    """Has two processes run one study, and kills one of them in training; the other must finish it, no cell twice."""
    out, runs = place / "shared", log.with_name("runs")
    first = start([*command, f"--out={out}"], log, killed=True)
    second = start([*command, f"--out={out}"], log, killed=True)
    hit = kill(*first, "training", calls=15, delay=0.0)
    assert kill_never(*second) == 0, log.read_text(encoding="utf-8")
    ran = [line.split() for line in runs.read_text(encoding="utf-8").splitlines() if str(out) in line]
    assert len(ran) == len({folder for _, folder in ran}), f"a cell was run twice: {ran}"
    assert_same(out, undisturbed)
    by = Counter(pid for pid, _ in ran)
    print(f"two processes: {by[str(first[0])]} cells by the one killed in {hit}, {by[str(second[0])]} by the other")


def kill_never(pid: int, pipe: int) -> int:
    """Waits for a process; returns its exit status."""
    while os.read(pipe, 4096):
        pass
    os.close(pipe)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
