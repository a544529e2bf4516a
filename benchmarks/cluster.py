"""What a cluster adds to the time of a study: ``python -m benchmarks.cluster``.

Measures on a Ray cluster on this machine, which ends with the command (extra ``ray``):

- start-up, to the first training step of a cell, of ITA with captions: in a process that Ray starts for it, from when
  the driver begins, imports included; and in one that has run a cell before (warm), from the end of that one. In
  seconds, and in seconds of a processor, which other work on the machine hardly changes;
- dispatch: cells per second that the driver hands out and puts in place, with tasks that return the folder of a
  finished cell at once.

From these and ``--seconds``, what a cell takes besides, it counts how long studies take on more nodes: every node runs
one cell after the other, its first one cold, and the driver serves one at a time. ``python -m benchmarks.cells``
measures what planning and collecting take.
"""

from __future__ import annotations

import argparse
import heapq
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from rich.console import Console

from benchmarks.cells import write_results
from lightning_ita.data.source import Source
from lightning_ita.models.presets import RECIPES
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.launch.launcher import Resources, Work
from lightning_ita.studies.plan import CACHE, CELLS, Study, open_folder, plan, read_corpora
from lightning_ita.studies.study import collect

STUDIES, NODES = (14, 500, 5000), (1, 2, 4, 8, 16, 32, 64, 128, 256)


def make_work(out: Path, source: Source, dataset: str, encoder: str, seeds: int, recipe: Recipe) -> Work:
    """Plans a study of one row in a folder."""
    study = Study((dataset,), (short_form("cap", "token"),), encoder, tuple(range(1, seeds + 1)), recipe)
    corpora = read_corpora(study, source)
    cells = plan(study, corpora)
    open_folder(out, study, corpora, cells, source)
    return Work(collect(cells, out), None, out, replace(source, cache_dir=str(out / CACHE)))


class Moment(NamedTuple):
    """When something was so.

    Attributes:
        clock: Seconds, the same for all processes of this machine.
        processor: Seconds of a processor that the process has used.
    """

    clock: float
    processor: float

    @classmethod
    def now(cls) -> Moment:
        """Returns this moment in this process."""
        return cls(time.monotonic(), time.process_time())

    def since(self, other: Moment) -> Moment:
        """Returns the seconds between two moments."""
        return Moment(self.clock - other.clock, self.processor - other.processor)


class Start(NamedTuple):
    """The start of a cell in a process.

    Attributes:
        process: Number of the process.
        step: When it came to its first training step.
        end: When the process was done with it.
    """

    process: int
    step: Moment
    end: Moment


def pretend(order: Any, reports: Any) -> Any:
    """Returns the folder of a finished cell as a node does, without running it."""
    from lightning_ita.studies.launch.parcels import pack
    from lightning_ita.studies.launch.ray_node import Outcome

    with tempfile.TemporaryDirectory() as place:
        write_results(order.cell, Path(place) / CELLS / order.cell.name)
        return Outcome("ended", pack(Path(place), [CELLS]))


def start(order: Any, reports: Any) -> Any:
    """Runs a cell as a node does, as far as its first training step, and pretends the rest."""
    from lightning_ita.errors import Terminated
    from lightning_ita.studies.launch import ray_node

    steps = []

    def stop(*_: object) -> None:
        steps.append(Moment.now())
        raise Terminated

    with patch.object(ray_node.Watching, "on_train_batch_start", stop):
        outcome = ray_node.run_order(order, reports)
    if not steps:
        return outcome  # why it did not start, for the driver to tell
    return replace(pretend(order, reports), node=Start(os.getpid(), steps[0], Moment.now()))


def dispatch(ray: Any, work: Work, task: Callable[[Any, Any], Any]) -> tuple[float, list[Any]]:
    """Runs a study by Ray's driver; returns seconds, and the outcomes in the order in which they came."""
    from lightning_ita.studies.launch.ray_cluster import Dispatch
    from lightning_ita.studies.launch.ray_tasks import as_task

    outcomes: list[Any] = []
    with work.shown(Console(file=io.StringIO())) as progress:
        driver = Dispatch(ray, work, Resources(cpus=1.0), progress)
        driver.needs["memory"] = 2.0**28  # many cells on one machine: what they hold is not the question here
        driver.task = as_task(ray, task, driver.needs)
        take = driver.take

        def noted(cell: Cell, reference: Any) -> None:
            outcomes.append(ray.get(reference))
            take(cell, reference)

        driver.take = noted  # type: ignore[method-assign]
        started = time.monotonic()
        driver.run()
    return time.monotonic() - started, outcomes


def startups(begun: float, starts: Sequence[Start]) -> tuple[Moment, Moment]:
    """Returns what start-up takes, as medians: of the first cell of each process, and of the next ones.

    Args:
        begun: When the driver began, in seconds of `Moment.clock`.
        starts: All cells.

    Raises:
        SystemExit: No process had two cells.
    """
    before: dict[int, Moment] = {}
    cold, warm = [], []
    for each in sorted(starts, key=lambda start: start.step):
        if each.process in before:
            warm.append(each.step.since(before[each.process]))
        else:
            cold.append(each.step.since(Moment(begun, 0.0)))  # the processor time of imports included
        before[each.process] = each.end
    if not warm:
        sys.exit("no process ran two cells; give more --cells")
    first, next_ = (Moment(*map(statistics.median, zip(*times, strict=True))) for times in (cold, warm))
    return first, next_


def simulate(cells: int, nodes: int, seconds: float, cold: float, warm: float, rate: float) -> float:
    """Returns the seconds that a study takes.

    Args:
        cells: Cells of the study.
        nodes: Nodes, each of which runs one cell at a time.
        seconds: What a cell takes from its first step to its end.
        cold: Start-up of the first cell of a node, in seconds.
        warm: Start-up of the others.
        rate: Cells per second that the driver serves.
    """
    free = [(0.0, cold)] * min(nodes, cells)  # when a node is free, and what its next cell takes to start
    driver = ended = 0.0
    for _ in range(cells):
        ready, startup = heapq.heappop(free)
        driver = max(driver, ready) + 1 / rate
        end = driver + startup + seconds
        ended = max(ended, end)
        heapq.heappush(free, (end, warm))
    return ended


def said(seconds: float) -> str:
    """Writes a time with two digits."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.0f} s"


def measure(options: argparse.Namespace) -> tuple[Moment, Moment, float]:
    """Returns start-up of a cell in a new process and in a warm one, and cells per second of the driver."""
    import ray

    source, recipe = Source(options.data_dir), replace(RECIPES["small"], epochs=1)
    ray.init("local", num_cpus=options.cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with tempfile.TemporaryDirectory() as place:
            work = make_work(Path(place) / "a", source, options.dataset, options.encoder, options.cells, recipe)
            begun = time.monotonic()
            _, outcomes = dispatch(ray, work, start)
            if failed := [outcome for outcome in outcomes if not isinstance(outcome.node, Start)]:
                sys.exit(f"a cell did not start: {failed[0].reason or failed[0].state}")
            cold, warm = startups(begun, [outcome.node for outcome in outcomes])
            cells = options.pretended
            work = make_work(Path(place) / "b", source, options.dataset, options.encoder, cells, recipe)
            seconds, _ = dispatch(ray, work, pretend)
    finally:
        ray.shutdown()
    return cold, warm, cells / seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="demo", help="the corpus of the cells whose start-up is measured")
    parser.add_argument("--data-dir", help="where it lies")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--cells", type=int, default=8, help="cells whose start-up is measured")
    parser.add_argument("--pretended", type=int, default=200, help="cells by which the rate of the driver is measured")
    parser.add_argument("--cpus", type=int, default=1, help="cells at once, each in a process of its own")
    parser.add_argument("--seconds", type=float, default=600.0, help="what a cell takes besides start-up")
    parser.add_argument(
        "--measured",
        type=float,
        nargs=3,
        metavar=("COLD", "WARM", "RATE"),
        help="start-up in seconds and cells per second, measured before",
    )
    options = parser.parse_args(arguments)
    if options.cells <= options.cpus:
        parser.error("--cells must be more than --cpus: the first cell of each process is cold")
    if options.measured:
        cold, warm, rate = options.measured
    else:
        *both, rate = measure(options)
        cold, warm = (each.clock for each in both)
        print("| start-up of a cell | seconds | seconds of a processor |")
        print("|---|---|---|")
        for name, each in zip(("new process", "warm process"), both, strict=True):
            print(f"| {name} | {each.clock:.2f} | {each.processor:.2f} |")
        print(f"\nThe driver serves {rate:.1f} cells per second.\n")
    print("| cells | " + " | ".join(f"{nodes} node{'' if nodes == 1 else 's'}" for nodes in NODES) + " |")
    print("|---|" + "---|" * len(NODES))
    for cells in STUDIES:
        times = [simulate(cells, nodes, options.seconds, cold, warm, rate) for nodes in NODES]
        print(f"| {cells} | " + " | ".join(map(said, times)) + " |")


if __name__ == "__main__":
    main()
