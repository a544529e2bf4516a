"""Runs the cells of a study on a Ray cluster, whose nodes need not see the study's folder or the data.

This process, the driver, claims a cell, sends it as a task, and puts the finished folder in place: nothing else writes
the study. A cell whose node is lost is sent again, with the last checkpoint that came. If the driver is killed, Ray
ends its tasks, and the same command goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from rich.console import Console

from lightning_ita.errors import UserError
from lightning_ita.models.encoders.locating import locate_encoder
from lightning_ita.registry import require
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.keeping import keep_best
from lightning_ita.studies.launch.launcher import Launcher, Resources, Stop, Work
from lightning_ita.studies.launch.parcels import Bytes, Shipment, pack, unpack
from lightning_ita.studies.launch.ray_tasks import (
    MOST_LOSSES,
    PATIENCE,
    POLL,
    as_task,
    cannot_run,
    clear_nodes,
    connected,
    first_line,
    needs_of,
    no_node,
    reports_here,
    slots_of,
)
from lightning_ita.studies.plan import CACHE, CELLS
from lightning_ita.studies.progress import StudyProgress, describe
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.study import check_there, claim, collect, failure_log, part_of
from lightning_ita.studies.trained import with_own_model

if TYPE_CHECKING:
    from lightning_ita.studies.sweep.progress import SweepProgress
    from lightning_ita.studies.sweep.storage import Sweep

# Cells that wait at the cluster beside those that it can run at once, so that no node waits for this process.
AHEAD = 32


class RayCluster(Launcher):
    """Runs each cell as a task of a Ray cluster."""

    def run(self, work: Work, console: Console) -> None:
        """Runs the cells; see `Launcher.run`.

        Raises:
            UserError: Ray is not installed, there is no cluster, or its nodes have other code.
        """
        ray = require("ray", extra="ray")
        with connected(ray, self.resources.ray_address), work.shown(console) as progress:
            Dispatch(ray, work, self.resources, progress).run()

    def run_trials(self, sweep: Sweep, progress: SweepProgress) -> None:
        """Runs trials in tasks of a Ray cluster, each until none is left; see `Launcher.run_trials`.

        A worker whose node is lost is started again. Its trial is failed when its heartbeat has been missing for two
        minutes, and its values are tried again.

        Raises:
            UserError: The trials are not in a database that all nodes reach, or the nodes cannot run them.
        """
        ray = require("ray", extra="ray")
        if not sweep.elsewhere:
            raise UserError(
                f"--launcher ray: the nodes cannot reach the trials in {sweep.place}; give a database by its URL, for "
                "example --storage postgresql+psycopg://user:password@host/sweeps"
            )
        from lightning_ita.studies.launch.ray_search import Workers

        with connected(ray, self.resources.ray_address):
            Workers(ray, sweep, self.resources, progress).run()


class Dispatch:
    """Hands the cells of a study to a cluster, and puts what comes back in place.

    Args:
        ray: The module.
        work: The study.
        resources: What cells may use.
        progress: Where it is shown.
    """

    def __init__(self, ray: Any, work: Work, resources: Resources, progress: StudyProgress):
        from lightning_ita.studies.launch.ray_node import run_order

        self.ray, self.work, self.progress = ray, work, progress
        self.needs = needs_of(ray, resources, work.cells[0])
        self.threads, self.jobs = max(1, int(self.needs["CPU"])), resources.jobs
        self.task = as_task(ray, run_order, self.needs)
        self.reports = reports_here(ray)
        self.study = folder_name(work.cells)
        self.kept = {cell.name for cell in with_own_model(work.cells)} if work.keep_models != "none" else set[str]()
        self.stop = Stop()
        self.cache = Shipment.of(work.out / CACHE, ray.put)
        self.encoders: dict[str, Shipment] = {}
        self.corpora: dict[str, list[Any]] = {}
        self.parts: dict[str, list[Any]] = {}
        self.waiting, self.elsewhere = deque(work.left), deque[Cell]()
        self.running: dict[Any, tuple[Cell, FileLock]] = {}
        self.losses: Counter[str] = Counter()

    def run(self) -> None:
        """Runs all cells that are left.

        Raises:
            UserError: The nodes cannot run cells.
            KeyboardInterrupt: Ctrl-C was pressed.
            Terminated: SIGTERM came.
        """
        slots = slots_of(self.ray, self.needs)
        self.progress.begin(min(slots, self.jobs or slots, len(self.waiting)))
        if not slots:
            self.progress.say(no_node(self.needs))
        stop, until = self.stop, float("inf")
        try:
            with stop.noted():
                while self.waiting or self.elsewhere or self.running:
                    if stop.asked is not None and until == float("inf"):
                        until = time.monotonic() + PATIENCE
                        self.reports.stop.remote()
                    if stop.asked is not None and (not self.running or time.monotonic() > until):
                        break
                    if stop.asked is None:
                        self.submit()
                    self.receive()
                    self.listen()
        finally:
            for reference, (_, lock) in self.running.items():
                with suppress(self.ray.exceptions.RayError):
                    self.ray.cancel(reference, force=True)
                lock.release()
            self.ray.kill(self.reports)
        if stop.asked is not None:
            raise stop.asked
        from lightning_ita.studies.launch.ray_node import clear

        clear_nodes(self.ray, clear, self.study)

    def submit(self) -> None:
        """Sends as many cells as the cluster can run, and some more, so that a growing one sees what is wanted."""
        if not self.waiting and self.elsewhere:
            self.waiting, self.elsewhere = self.elsewhere, deque()
        most = 0 if not self.waiting else self.jobs or slots_of(self.ray, self.needs) + AHEAD
        while self.waiting and len(self.running) < most:
            cell = self.waiting.popleft()
            lock = claim(cell.name, self.work.out)
            try:
                lock.acquire()
            except Timeout:
                self.elsewhere.append(cell)  # another process runs it
                continue
            result = collect([cell], self.work.out)[0]
            if result.left:
                self.running[self.task.remote(self.order(cell), self.reports)] = cell, lock
            else:
                lock.release()
                self.progress.finished(result)

    def order(self, cell: Cell) -> Any:
        """Returns what a node needs to run a cell; what was sent before is not sent again."""
        from lightning_ita.studies.launch.ray_node import Order, corpus_name

        work, ray = self.work, self.ray
        corpus = corpus_name(cell)
        if corpus not in self.corpora:
            self.corpora[corpus] = [ray.put(cell.read(work.source))]
        if "encoder" in cell.data and cell.encoder not in self.encoders:
            self.encoders[cell.encoder] = Shipment.of(Path(locate_encoder(cell.encoder)), ray.put)
        part = part_of(work.out / CELLS / cell.name)
        if cell.name not in self.parts and part.is_dir():  # of an earlier command
            self.parts[cell.name] = [ray.put(pack(work.out, [f"{CELLS}/{part.name}"]))]
        return Order(
            cell=cell,
            study=self.study,
            corpus=self.corpora[corpus],
            cache=self.cache,
            encoder=self.encoders.get(cell.encoder) if "encoder" in cell.data else None,
            part=self.parts.get(cell.name, []),
            source=work.source,
            logger=work.logger,
            keep_model=cell.name in self.kept,
            threads=self.threads,
            code=code_digest(cell.dataset, cell.system),
        )

    def receive(self) -> None:
        """Takes the outcomes that are there; waits for one for `POLL` seconds."""
        if not self.running:
            time.sleep(POLL)
            return
        references = list(self.running)
        done, _ = self.ray.wait(references, num_returns=1, timeout=POLL)
        if done:
            done, _ = self.ray.wait(references, num_returns=len(references), timeout=0)
        for reference in done:
            cell, lock = self.running[reference]
            try:
                self.take(cell, reference)
            finally:
                del self.running[reference]
                lock.release()

    def take(self, cell: Cell, reference: Any) -> None:
        """Puts in place what became of a cell, or has it sent again.

        Raises:
            UserError: The node has no such program, or another version of it.
            OSError: The study's folder cannot be written.
        """
        errors = self.ray.exceptions
        try:
            outcome = self.ray.get(reference)
        except errors.RayTaskError as error:
            if not isinstance(error.cause, errors.RayError):
                raise UserError(cannot_run(error)) from error
            self.lost(cell, first_line(error.cause))
            return
        except errors.RayError as error:
            self.lost(cell, first_line(error))
            return
        if outcome.state == "refused":
            raise UserError(f"the node {outcome.node}: {outcome.reason}")
        if outcome.parcel is not None:
            put_in_place(outcome.parcel, self.work.out, cell)
            self.parts.pop(cell.name, None)  # what came is newer
        if outcome.state == "ended":
            if self.work.keep_models == "best":
                keep_best(self.work.cells, self.work.out, cell)
            self.progress.finished(collect([cell], self.work.out)[0])
        elif outcome.state == "hindered":
            self.lost(cell, f"{outcome.node}: {outcome.reason}")
        elif self.stop.asked is None:  # its node is being shut down
            self.lost(cell, f"{outcome.node}: its process was told to end")

    def lost(self, cell: Cell, reason: str) -> None:
        """Has a cell sent again that a node could not run to its end, unless that has happened too often."""
        self.losses[cell.name] += 1
        if self.losses[cell.name] < MOST_LOSSES:
            self.progress.say(f"{describe(cell)} was lost ({reason}); it is sent again")
            self.waiting.appendleft(cell)
            return
        reason = f"it was lost {MOST_LOSSES} times, at last: {reason}"
        schema.write_failure(failure_log(cell, self.work.out), reason, "")
        self.progress.finished(collect([cell], self.work.out)[0])

    def listen(self) -> None:
        """Shows how far the cells are, and keeps their newest checkpoints.

        Raises:
            UserError: The study's folder was deleted.
            OSError: The study's folder cannot be written.
        """
        try:
            said, checkpoints = self.ray.get(self.reports.drain.remote(), timeout=10)
        except self.ray.exceptions.RayError:  # lost with its node: Ray starts it again, and runs go on reporting
            return
        running = {cell.name: cell for cell, _ in self.running.values()}
        for name, (share, stage) in said.items():
            if name in running:
                self.progress.within(running[name], share, stage)
        for name, (reference,) in checkpoints.items():
            if name in running:
                with suppress(self.ray.exceptions.RayError):
                    parcel = self.ray.get(reference, timeout=PATIENCE)
                    put_in_place(parcel, self.work.out, running[name])
                    self.parts[name] = [self.ray.put(parcel)]  # the node's own copy goes with the node


def folder_name(cells: Sequence[Cell]) -> str:
    """Returns the name that a study's folder has on the nodes: the same for the same plan, wherever it lies."""
    return hashlib.sha256(repr([cell.name for cell in cells]).encode()).hexdigest()[:16]


def put_in_place(parcel: Bytes, out: Path, cell: Cell) -> None:
    """Puts files that came from a node into the study's folder: a cell's folder whole, or not at all.

    Args:
        parcel: A finished folder, a failure, a checkpoint, logs; see `lightning_ita.studies.launch.ray_node`.
        out: The study's folder.
        cell: The cell, which this process has claimed.

    Raises:
        UserError: The study's folder was deleted, or the parcel is damaged.
        OSError: The folder cannot be written.
    """
    check_there(out)
    folder, incoming = out / CELLS / cell.name, out / CELLS / f".{cell.name}.incoming"
    part = part_of(folder)
    unpack(parcel, incoming)
    came = incoming / CELLS / part.name
    if came.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        os.replace(came, part)
    for path in incoming.rglob("*"):
        name = path.relative_to(incoming)
        if path.is_file() and name.parts[0] != CELLS:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, out / name)
    came = incoming / CELLS / cell.name
    if came.is_dir():
        os.replace(came, folder)
    if folder.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(incoming)
