"""Runs the cells of a study on a Ray cluster, whose nodes need not see the study's folder or the data.

This process, the driver, claims a cell, sends it as a task, and puts the finished folder in place: nothing else writes
the study. A cell whose node is lost is sent again, with the last checkpoint that came. If the driver is killed, Ray
ends its tasks, and the same command goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from lightning_ita.errors import UserError
from lightning_ita.models.encoders.locating import encoder_shape
from lightning_ita.registry import require
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.keeping import keep_best
from lightning_ita.studies.launch.launcher import Launcher, Resources, Stop, Work, bytes_per_process
from lightning_ita.studies.launch.parcels import Bytes, Shipment, pack, unpack
from lightning_ita.studies.launch.reports import Reports
from lightning_ita.studies.plan import CACHE, CELLS, STUDY
from lightning_ita.studies.progress import StudyProgress
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.study import check_there, claim, collect, failure_log, part_of
from lightning_ita.text import printable

# Seconds between two looks at what the nodes report, and seconds that runs may take to save their state at the end.
POLL, PATIENCE = 0.25, 60.0
# A cell whose process or node was lost so often has failed: perhaps it needs more memory than there is.
MOST_LOSSES = 5
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


@contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:
    """Connects this process to a cluster, if it is not yet.

    Raises:
        UserError: There is none at this address.
    """
    if ray.is_initialized():
        yield
        return
    # Ray's own handler would end this process before it has saved anything.
    handler = signal.getsignal(signal.SIGTERM)
    new = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **new)
    except Exception as error:  # Ray raises many kinds, this one itself among them
        raise UserError(
            f"--ray-address {address}: no Ray cluster could be reached there ({first_line(error)}); `ray start --head` "
            "starts one on this machine, and --ray-address local one that ends with the command"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


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
        devices = work.cells[0].recipe.devices
        gpus = resources.gpus if resources.gpus is not None else float(devices * ("GPU" in ray.cluster_resources()))
        cpus = float(devices) if resources.cpus is None else resources.cpus
        memory = devices * bytes_per_process(encoder_shape(work.cells[0].encoder))
        self.needs = {"CPU": cpus, "GPU": gpus, "memory": float(memory)}
        self.threads, self.jobs = max(1, int(cpus)), resources.jobs
        self.task = ray.remote(run_order).options(num_cpus=cpus, num_gpus=gpus, memory=memory, max_retries=0)
        on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        here = on(ray.get_runtime_context().get_node_id(), soft=True)
        self.reports = ray.remote(Reports).options(num_cpus=0, scheduling_strategy=here).remote()
        self.study = hashlib.sha256((work.out / STUDY).read_bytes()).hexdigest()[:16]
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
        slots = self.slots()
        self.progress.begin(min(slots, self.jobs or slots, len(self.waiting)))
        if not slots:
            needs = ", ".join(f"{amount:g} {name}" for name, amount in self.needs.items() if amount)
            self.progress.say(f"no node of the cluster has what a cell needs ({needs}): waiting for one")
        stop, until = Stop(), float("inf")
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
        self.clear()

    def clear(self) -> None:
        """Has the nodes remove what they keep of the study; those that do not answer soon are left alone."""
        from lightning_ita.studies.launch.ray_node import clear

        on = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        used = [node["NodeID"] for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        task = self.ray.remote(clear)
        tasks = [
            task.options(num_cpus=0, max_retries=0, scheduling_strategy=on(node, soft=False)).remote(self.study)
            for node in used
        ]
        self.ray.wait(tasks, num_returns=len(tasks), timeout=PATIENCE)

    def slots(self) -> int:
        """Returns how many cells the nodes of the cluster can run at once."""
        wanted = {name: amount for name, amount in self.needs.items() if amount}
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in nodes)

    def submit(self) -> None:
        """Sends as many cells as the cluster can run, and some more, so that a growing one sees what is wanted."""
        if not self.waiting and self.elsewhere:
            self.waiting, self.elsewhere = self.elsewhere, deque()
        most = 0 if not self.waiting else self.jobs or self.slots() + AHEAD
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
        from lightning_ita.studies.launch.ray_node import Order

        work, ray = self.work, self.ray
        corpus = hashlib.sha256(
            repr((cell.dataset, sorted(cell.data.items()), cell.recipe.labels)).encode()
        ).hexdigest()
        if corpus not in self.corpora:
            self.corpora[corpus] = [ray.put(cell.read(work.source))]
        if "encoder" in cell.data and cell.encoder not in self.encoders:
            self.encoders[cell.encoder] = Shipment.of(Path(cell.encoder), ray.put)
        part = part_of(work.out / CELLS / cell.name)
        if cell.name not in self.parts and part.is_dir():  # of an earlier command
            self.parts[cell.name] = [ray.put(pack(work.out, [f"{CELLS}/{part.name}"]))]
        return Order(
            cell=cell,
            study=self.study,
            corpus=(corpus, self.corpora[corpus]),
            cache=self.cache,
            encoder=self.encoders.get(cell.encoder) if "encoder" in cell.data else None,
            part=self.parts.get(cell.name, []),
            source=work.source,
            logger=work.logger,
            keep_model=work.keep_models != "none",
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
        """
        errors = self.ray.exceptions
        try:
            outcome = self.ray.get(reference)
        except errors.RayTaskError as error:
            if not isinstance(error.cause, errors.RayError):
                reason = printable(str(error).strip().splitlines()[-1])
                raise UserError(
                    f"a node of the cluster cannot run cells: {reason}; is lightning-ita installed there, in the same "
                    "version as here?"
                ) from error
            self.lost(cell, first_line(error.cause))
            return
        except errors.RayError as error:
            self.lost(cell, first_line(error))
            return
        if outcome.state == "refused":
            if "code" in outcome.reason:
                raise UserError(f"the node {outcome.node}: {outcome.reason}; install the same version on all nodes")
            self.lost(cell, f"{outcome.node}: {outcome.reason}")
            return
        if outcome.parcel is not None:
            put_in_place(outcome.parcel, self.work.out, cell)
        if outcome.state == "ended":
            self.parts.pop(cell.name, None)
            if self.work.keep_models == "best":
                keep_best(self.work.cells, self.work.out, cell)
            self.progress.finished(collect([cell], self.work.out)[0])

    def lost(self, cell: Cell, reason: str) -> None:
        """Has a cell sent again whose node or process was lost, unless that has happened too often."""
        self.losses[cell.name] += 1
        if self.losses[cell.name] < MOST_LOSSES:
            self.progress.within(cell, 0.0, "its node was lost")
            self.waiting.appendleft(cell)
            return
        reason = f"its node or process was lost {MOST_LOSSES} times, at last: {reason}"
        schema.write_failure(failure_log(cell, self.work.out), reason, "")
        self.progress.finished(collect([cell], self.work.out)[0])

    def listen(self) -> None:
        """Shows how far the cells are, and keeps their newest checkpoints."""
        try:
            said, checkpoints = self.ray.get(self.reports.drain.remote(), timeout=10)
        except self.ray.exceptions.RayError:
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


def first_line(error: BaseException) -> str:
    """Returns what kind of error it is, and the first line of what it says."""
    return printable(f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
