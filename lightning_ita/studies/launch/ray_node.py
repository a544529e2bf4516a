"""What runs on the nodes of a Ray cluster: a cell, in a folder of the node that nobody else needs to see.

A task gets its corpus and files from Ray's object store, which brings them to a node once, and returns the finished
folder of the cell as bytes. Ray keeps the process for the next task: modules and corpora are there already.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ray
import torch
from filelock import FileLock, Timeout

from lightning_ita.data.corpus import Corpus
from lightning_ita.data.source import Source
from lightning_ita.errors import Terminated, UserError, terminate, what_happened
from lightning_ita.models.encoders.locating import folder_digest
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.keeping import MODEL
from lightning_ita.studies.launch.parcels import Bytes, Shipment, pack, unpack
from lightning_ita.studies.plan import CACHE, CELLS, FAILED, LOCKS
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.resume import STATE
from lightning_ita.studies.study import CONFIG, METRICS, attempt, collect, part_of
from lightning_ita.studies.watching import RunProgress

if TYPE_CHECKING:
    from lightning_ita.studies.sweep.storage import Sweep

# Seconds between two reports of a run; seconds that a cell waits for a process of the node that still has its folder.
REPORTS_APART, PATIENCE = 0.5, 120.0
# A checkpoint is sent to the driver when so many seconds, and so many times the seconds that sending the last one took,
# have passed since: a lost node costs minutes of work, and sending at most 2 % of the time.
SECONDS_APART, COSTS_APART = 60.0, 50.0
# Corpora that a process keeps for its next cells: as many as the default study has of each data set.
MOST_CORPORA = 4


@dataclass(frozen=True)
class Order:
    """A cell to run, with all it needs. References to objects stand in lists, so that they are fetched where used.

    Attributes:
        cell: The cell.
        study: Name of the study's folder on a node.
        corpus: The reference to the cell's corpus.
        cache: Files that the cells of the study share: sub-tokens of words, features of pictures.
        encoder: The files of the encoder, if it is a folder.
        part: The reference to the last checkpoint that the driver has, if any.
        source: Where the data lie on the driver's machine: systems that train on pixels need them there on every node.
        logger: Logger that records the run.
        keep_model: Whether the model stays.
        threads: Threads of the process.
        code: Digest of the driver's code.
    """

    cell: Cell
    study: str
    corpus: list[Any]
    cache: Shipment
    encoder: Shipment | None
    part: list[Any]
    source: Source
    logger: str
    keep_model: bool
    threads: int
    code: str


@dataclass(frozen=True)
class Outcome:
    """What became of an order.

    Attributes:
        state: The cell has ended (finished or failed), was stopped (a checkpoint may be in the parcel), was hindered
            here and may be run elsewhere, or this node can run none.
        parcel: The files to put into the study's folder.
        reason: What hinders the node.
        node: The node's name.
    """

    state: Literal["ended", "stopped", "hindered", "refused"]
    parcel: Bytes | None = None
    reason: str = ""
    node: str = ""


def run_order(order: Order, reports: Any) -> Outcome:
    """Runs a cell in this process.

    Args:
        order: The cell, and what it needs.
        reports: Ray's handle of `lightning_ita.studies.launch.reports.Reports`.
    """
    node = platform.node()
    if (outcome := not_begun(order.cell, order.code, reports)) is not None:
        return outcome
    torch.set_num_threads(order.threads)
    study = scratch() / order.study
    place = study / order.cell.name
    try:
        (study / LOCKS).mkdir(parents=True, exist_ok=True)
        # The process of a driver that was killed may still be at it.
        with FileLock(study / LOCKS / f"{order.cell.name}.lock", timeout=PATIENCE):
            with terminable():
                stopped = _run(order, study, place, Watching(order.cell.name, place, reports))
            # From here on SIGTERM ends the process: what is in the folder is whole, and is sent another time.
            parcel = pack(place, [path.name for path in place.iterdir()])
            if not stopped:
                done = place.with_name(f".{place.name}.done")
                shutil.rmtree(done, ignore_errors=True)
                os.replace(place, done)  # never half a result under the cell's name
                shutil.rmtree(done)
            return Outcome("stopped" if stopped else "ended", parcel, node=node)
    except Terminated:  # before training
        return Outcome("stopped", node=node)
    except UserError as error:
        return Outcome("hindered", node=node, reason=str(error))
    except OSError as error:
        return Outcome("hindered", node=node, reason=what_happened(error, place))


def _run(order: Order, study: Path, place: Path, watch: Watching) -> bool:
    """Runs the cell of an order in the folder `place`; returns whether it was stopped before its end."""
    cell, folder = order.cell, place / CELLS / order.cell.name
    shutil.rmtree(place / FAILED, ignore_errors=True)
    for name in (CELLS, FAILED):
        (place / name).mkdir(parents=True, exist_ok=True)
    if order.part:
        _take_part(fetched(order.part[0]), place, folder)
    order.cache.fetch(study / CACHE, fetched)
    if order.encoder is not None and not _is_here(cell):
        there = study / CACHE / cell.data["encoder"][:16] / Path(cell.encoder).name
        order.encoder.fetch(there, fetched)
        cell = replace(cell, encoder=str(there))
    if (result := collect([cell], place)[0]).metrics is not None:  # of a driver that was killed before it had it
        if not result.stale and (not order.keep_model or (folder / MODEL).is_dir()):
            return False
        shutil.rmtree(folder)
    source = replace(order.source, cache_dir=str(study / CACHE))
    corpus = corpus_of(order.corpus[0])
    try:
        attempt(cell, place, source, [watch], order.logger, order.keep_model, corpus)
    except Terminated:
        return True
    if cell is not order.cell and (folder / METRICS).is_file():
        _name_encoder(folder, order.cell.encoder)
    return False


def _is_here(cell: Cell) -> bool:
    """Tells whether the folder of a cell's encoder is on this node, with the same content."""
    with suppress(UserError):  # there is no such folder, or it cannot be read here
        return folder_digest(cell.encoder) == cell.data["encoder"]
    return False


def _take_part(parcel: Bytes, place: Path, folder: Path) -> None:
    """Takes the driver's checkpoint, where this node has none that is newer."""
    incoming, part = folder.with_name(f".{folder.name}.incoming"), part_of(folder)
    unpack(parcel, incoming)
    sent = incoming / CELLS / part.name
    if _written(sent) > _written(part):
        shutil.rmtree(part, ignore_errors=True)
        os.replace(sent, part)
    shutil.rmtree(incoming)


def _written(part: Path) -> float:
    """Returns when the last state was written of a run, or of the teacher that it trains before; 0 if there is none."""
    return max((path.stat().st_mtime for name in (STATE, METRICS) for path in part.rglob(name)), default=0.0)


def _name_encoder(folder: Path, encoder: str) -> None:
    """Names the encoder's folder as the driver knows it, not as it lay on this node."""
    schema.write_config(folder / CONFIG, {**schema.read_config(folder / CONFIG), "encoder": encoder})
    metrics = schema.read_metrics(folder / METRICS)
    metrics["tokenizer"] = encoder
    schema.write_metrics(folder / METRICS, metrics)


@dataclass(frozen=True)
class Search:
    """Trials to run, with all that they need.

    Attributes:
        sweep: The sweep; its folder on the node is another.
        study: Name of that folder.
        corpora: References to the corpora of its cells, by name; see `corpus_name`.
        threads: Threads of the process.
        code: Digest of the driver's code.
    """

    sweep: Sweep
    study: str
    corpora: Mapping[str, list[Any]]
    threads: int
    code: str


def run_search(search: Search, reports: Any) -> Outcome:
    """Runs trials in this process until as many as asked for are finished.

    Args:
        search: The sweep, and what it needs.
        reports: Ray's handle of `lightning_ita.studies.launch.reports.Reports`.
    """
    from lightning_ita.studies.sweep.trials import run_trials

    node, out = platform.node(), scratch() / search.study
    if (outcome := not_begun(search.sweep.base, search.code, reports)) is not None:
        return outcome
    torch.set_num_threads(search.threads)
    source = replace(search.sweep.source, cache_dir=str(out / CACHE))
    telling = Telling(reports)

    def corpus(cell: Cell) -> Corpus:
        return corpus_of(search.corpora[corpus_name(cell)][0])

    try:
        for folder in (FAILED, LOCKS):
            (out / folder).mkdir(parents=True, exist_ok=True)
        with terminable():
            run_trials(
                replace(search.sweep, out=out, source=source),
                lambda number, share, stage: telling.tell(str(number), share, stage),
                corpus,
            )
    except Terminated:
        return Outcome("stopped", node=node)
    except UserError as error:
        return Outcome("refused", node=node, reason=str(error))
    except OSError as error:
        return Outcome("refused", node=node, reason=what_happened(error, out))
    return Outcome("ended", node=node)


def not_begun(cell: Cell, code: str, reports: Any) -> Outcome | None:
    """Returns why nothing is run: the driver wants runs to end, or has other code; ``None`` where neither is so.

    Args:
        cell: The cell to run, or the one that trials vary.
        code: Digest of the driver's code.
        reports: Ray's handle of the driver's `Reports`.
    """
    if asked_to_stop(reports):
        return Outcome("stopped", node=platform.node())
    if code_digest(cell.dataset, cell.system) != code:
        reason = "it has other code of lightning_ita than the driver; install the same version on all nodes"
        return Outcome("refused", node=platform.node(), reason=reason)
    return None


def corpus_name(cell: Cell) -> str:
    """Names the corpus of a cell, by what it is read from."""
    return hashlib.sha256(repr((cell.dataset, sorted(cell.data.items()), cell.recipe.labels)).encode()).hexdigest()


def scratch() -> Path:
    """Returns the folder on this node in which cells run; in ``TMPDIR``, if that is set."""
    return Path(tempfile.gettempdir()) / f"lightning-ita-{getpass.getuser()}"


def clear(study: str) -> None:
    """Removes what this node keeps of a study that has ended, unless another driver's runs are at it."""
    place = scratch() / study
    busy = set[str]()
    with ExitStack() as held:
        for lock in (place / LOCKS).glob("*.lock"):
            try:
                held.enter_context(FileLock(lock, timeout=0))
            except Timeout:
                busy.add(lock.name.removesuffix(".lock"))
        if not busy:
            shutil.rmtree(place, ignore_errors=True)
        for folder in place.glob("*"):
            if folder.name not in (LOCKS, CACHE, *busy):
                shutil.rmtree(folder, ignore_errors=True)


def clear_search(study: str) -> None:
    """Removes what this node keeps of a sweep that has ended, unless another driver's workers are at it."""
    place = scratch() / study
    try:
        for lock in (place / LOCKS).glob("*.lock"):
            with FileLock(lock, timeout=0):
                pass
    except Timeout:
        return
    shutil.rmtree(place, ignore_errors=True)


def fetched(reference: Any) -> Any:
    """Returns what a reference stands for, and keeps this task's processors meanwhile.

    In the main thread, `ray.get` and `ray.wait` give them to another task, which stays when they return: a node would
    run two cells on the processors of one.

    Raises:
        RayError: It was lost, or the call that was to give it has failed.
    """
    return reference.future().result()


@lru_cache(MOST_CORPORA)
def corpus_of(reference: Any) -> Corpus:
    """Returns a corpus, which is kept for the next cells of this process."""
    corpus: Corpus = fetched(reference)
    return corpus


@contextmanager
def terminable() -> Iterator[None]:
    """Lets SIGTERM end the run with its state saved."""
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def asked_to_stop(reports: Any) -> bool:
    """Tells whether the driver wants runs to end; not where it does not answer."""
    try:
        return bool(fetched(reports.asked_to_stop.remote()))
    except ray.exceptions.RayError:
        return False


class Telling:
    """Tells the driver how far runs are, and ends the run in hand where the driver asks for it.

    Args:
        reports: Ray's handle of the driver's `Reports`.
    """

    def __init__(self, reports: Any):
        self.reports = reports
        self._told = 0.0
        self._answer: Future[bool] | None = None

    def tell(self, name: str, share: float, stage: str) -> None:
        """Tells how far a run is, now and then."""
        if self._answer is not None and self._answer.done():
            answer, self._answer = self._answer, None
            with suppress(ray.exceptions.RayError):
                if answer.result():
                    os.kill(os.getpid(), signal.SIGTERM)  # as Slurm does: `Checkpoints` saves, and ends the run
        if self._answer is None and time.monotonic() - self._told >= REPORTS_APART:
            self._told = time.monotonic()
            self._answer = self.reports.note.remote(name, share, stage).future()


class Watching(RunProgress):
    """Tells the driver how far a run is, sends it checkpoints, and ends the run where the driver asks for it.

    Args:
        name: The cell's name.
        place: Folder of its run.
        reports: Ray's handle of the driver's `Reports`.
    """

    def __init__(self, name: str, place: Path, reports: Any):
        super().__init__(self._tell)
        self.name, self.place, self.reports = name, place, reports
        self.part = part_of(place / CELLS / name)
        self._telling = Telling(reports)
        self._sent, self._cost, self._held = time.monotonic(), 0.0, None
        self._seen = _written(self.part)

    def on_train_batch_end(self, *given: Any) -> None:
        """Reports a training step; sends the last checkpoint if it is time."""
        super().on_train_batch_end(*given)
        self._send()

    def _tell(self, share: float, stage: str) -> None:
        self._telling.tell(self.name, share, stage)

    def _send(self) -> None:
        started = time.monotonic()
        if started - self._sent < max(SECONDS_APART, COSTS_APART * self._cost) or _written(self.part) == self._seen:
            return
        self._seen = _written(self.part)
        # Held until the next one: what a process has put is there as long as it refers to it.
        self._held = ray.put(pack(self.place, [f"{CELLS}/{self.part.name}"]))
        self.reports.checkpoint.remote(self.name, [self._held])
        self._sent = time.monotonic()
        self._cost = self._sent - started
