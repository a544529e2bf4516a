"""Reads images (the command ``align``): an engine reads new images in batches; the store keeps the texts."""

from __future__ import annotations

import pickle
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.preparing import KILLED, Preparers, Ready, Task, describe
from lightning_ita.contexts.store import ContextStore, Entry, Known, StoredEngine
from lightning_ita.errors import UserError
from lightning_ita.images.files import FileState, signature
from lightning_ita.images.ids import image_id
from lightning_ita.text import printable

# Prepared images that wait for the engine take at most about this many bytes; a batch takes at most half of it.
WAITING_BYTES = 2**28
# Errors and unchanged files that are collected before they are written, while no batch is full.
WRITE_EVERY = 64
# If an engine fails on each of its first images, the engine is broken and not the images.
FIRST_FAILURES = 10


@dataclass
class Progress:
    """How many of the images have been read.

    Attributes:
        total: Images wanted.
        before: Of them, those that the store had before.
        done: Those done by this call, errors included.
        errors: Errors among `done`, by reason.
        elsewhere: Those that another process has read meanwhile.
        seconds: Time since this call started.
    """

    total: int
    before: int = 0
    done: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0
    seconds: float = 0.0


def find_tasks(
    images: Mapping[str, Sequence[Path]], known: Mapping[str, Known], retry_errors: bool = False
) -> tuple[list[Task], list[Entry]]:
    """Returns what an engine still has to read.

    Args:
        images: Files by image id; an id without a file is a missing image, one with several is ambiguous.
        known: The engine's entries in the store.
        retry_errors: Whether errors count as not done.

    Returns:
        Images to read, and errors that are known without reading. An image whose file is unchanged is in neither.
    """
    tasks, errors = [], []
    for image, paths in images.items():
        entry = known.get(image_id(image))
        done = entry is not None and not (entry.failed and retry_errors)
        unread = entry is not None and entry.size is None
        if len(paths) != 1:
            if not (done and unread):
                names = ", ".join(printable(path.name, 60) for path in paths)
                several = f"several files have this id: {names}"
                errors.append(Entry(image, error=several if paths else "no file of this name"))
            continue
        if entry is not None and done and signature(paths[0]) == (entry.size, entry.modified):
            continue
        tasks.append(Task(image, paths[0], entry.sha256 if entry is not None and done else None))
    return tasks, errors


def align(
    engine: Engine,
    images: Mapping[str, Sequence[Path]],
    store: ContextStore,
    workers: int = 0,
    batch_size: int | None = None,
    retry_errors: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Has an engine read all images that the store has no entry of, and stores what it returns.

    Readings are written batch by batch: after an interruption at any moment, the next call continues where this one
    stopped. Several processes may work on one store: each takes the images in an order of its own, and leaves out what
    the others have done. At the end, the file of the store is opened again and checked to hold all entries.

    Args:
        engine: Reads the images.
        images: Files by image id; see `find_tasks`.
        store: Keeps the readings.
        workers: Processes that open and prepare images; with 0 this process does all of it.
        batch_size: Images the engine reads at once; its own choice if not given.
        retry_errors: Whether images that failed before are tried again.
        watch: Called with the progress after every batch.

    Raises:
        UserError: The store cannot be written, was deleted or changed meanwhile, or the engine fails on each of its
            first images.
    """
    with _cores_left_to(workers if engine.kind != "ocr" else 0):  # OCR engines take images nearly as they are
        run = _Run(engine, images, store, batch_size or engine.batch_size, retry_errors, watch)
        progress = run.run(workers)
    store.check_kept(run.stored, images.keys())
    return progress


@contextmanager
def _cores_left_to(workers: int) -> Iterator[None]:
    """Limits torch's threads to the cores without workers: two threads on one core wait for each other all the time."""
    torch = sys.modules.get("torch")
    if torch is None or torch.cuda.is_available() or not workers:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - workers))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Run:
    def __init__(
        self,
        engine: Engine,
        images: Mapping[str, Sequence[Path]],
        store: ContextStore,
        batch_size: int,
        retry_errors: bool,
        watch: Callable[[Progress], None],
    ):
        self.engine, self.store, self.batch_size, self.watch = engine, store, batch_size, watch
        self.stored = StoredEngine.of(engine)
        store.changed_elsewhere()
        tasks, errors = find_tasks(images, store.known(self.stored), retry_errors)
        # Each process in another order, so that several on one store rarely read the same image.
        random.Random().shuffle(tasks)
        self.tasks = deque(tasks)
        self.progress = Progress(len(images), len(images) - len(tasks) - len(errors))
        self.entries = list(errors)  # to be written
        self.unchanged: dict[str, FileState] = {}
        self.retry_errors = retry_errors
        self.started = time.monotonic()
        self.proven = False
        self.failures = 0
        self.bytes = 0
        self.sized = 0

    def run(self, workers: int) -> Progress:
        if not self.tasks:
            self._write()
            return self.progress
        with Preparers(self.engine.prepare, min(workers, len(self.tasks))) as preparers:
            batch: list[Ready] = []
            waiting = 0
            while self.tasks or len(preparers) or batch:
                while self.tasks and len(preparers) < self._window(workers):
                    preparers.give(self.tasks.popleft())
                if len(preparers):
                    ready = preparers.take()
                    if ready.input is not None:
                        batch.append(ready)
                        waiting += len(ready.input)
                        self.bytes += len(ready.input)
                        self.sized += 1
                    else:
                        self._not_ready(ready)
                full = len(batch) >= self.batch_size or waiting >= WAITING_BYTES / 2
                if full or (batch and not self.tasks and not len(preparers)):
                    self._read(batch)
                    batch, waiting = [], 0
                    self._write()
                    self._pass_over()
                elif len(self.entries) + len(self.unchanged) >= WRITE_EVERY:
                    self._write()
        self._write(final=True)
        return self.progress

    def _window(self, workers: int) -> int:
        """Returns how many images to prepare at a time: enough for the next batch, as far as they fit into memory."""
        if not workers:
            return 1
        fitting = WAITING_BYTES / 2 // (self.bytes / self.sized + 1) if self.sized else workers
        return int(max(workers, min(workers + self.batch_size, fitting)))

    def _not_ready(self, ready: Ready) -> None:
        if ready.error is None:
            assert ready.state is not None
            self.unchanged[ready.image] = ready.state
            self.progress.done += 1
            return
        self.entries.append(Entry(ready.image, ready.state, error=ready.error))
        if ready.error == KILLED:
            self._failed(KILLED)

    def _read(self, batch: Sequence[Ready]) -> None:
        """Has the engine read a batch; if that fails, image by image, so that only the image at fault gets an error."""
        try:
            readings = self.engine.read([pickle.loads(ready.input) for ready in batch if ready.input is not None])
            pairs = list(zip(batch, readings, strict=True))
        except UserError:
            raise
        except Exception as error:
            if len(batch) > 1:
                for ready in batch:
                    self._read([ready])
                return
            self.entries.append(Entry(batch[0].image, batch[0].state, error=f"engine failed: {describe(error)}"))
            self._failed(describe(error))
            return
        self.proven = True
        self.entries += [Entry(ready.image, ready.state, reading) for ready, reading in pairs]

    def _failed(self, reason: str) -> None:
        self.failures += 1
        if not self.proven and self.failures == FIRST_FAILURES:
            raise UserError(
                f"{self.engine.kind}={self.engine.name} failed on each of the first {FIRST_FAILURES} images; "
                f"nothing of this was stored. The last failure: {reason}"
            )

    def _write(self, final: bool = False) -> None:
        if self.failures and not (self.proven or final):
            return  # the engine may be at fault and not the images: see `_failed`
        if self.entries:
            self.store.write(self.stored, self.entries)
            self.progress.done += len(self.entries)
            self.progress.errors.update(entry.error for entry in self.entries if entry.error is not None)
            self.entries = []
        if self.unchanged:
            self.store.same_file(self.stored, self.unchanged)
            self.unchanged = {}
        self.progress.seconds = time.monotonic() - self.started
        self.watch(self.progress)

    def _pass_over(self) -> None:
        """Removes the tasks that another process has done meanwhile."""
        if not self.tasks or not self.store.changed_elsewhere():
            return
        mine = {task.image: (task.path,) for task in self.tasks}
        left, _ = find_tasks(mine, self.store.known(self.stored), self.retry_errors)
        self.progress.elsewhere += len(self.tasks) - len(left)
        self.tasks = deque(left)
