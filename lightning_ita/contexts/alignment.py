"""Reads images and tweets (the command ``align``): an engine reads what is new, and the store keeps the texts."""

from __future__ import annotations

import pickle
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.preparing import KILLED, Preparers, Ready, Task, describe, prepare_image
from lightning_ita.contexts.store import ContextStore, Entry, Known, StoredEngine
from lightning_ita.contexts.tweets import IMAGE, at_once, close, posts_of, reads
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
# Seconds that answers which were asked for before an interruption are waited for: clusters kill a job after 30.
PATIENCE = 20.0


@dataclass
class Progress:
    """How many of the images have been read.

    Attributes:
        total: Images wanted.
        before: Of them, those that the store had before.
        done: Those done by this call, errors included.
        errors: Errors among `done`, by reason.
        empty: Those among `done` in which nothing was found.
        elsewhere: Those that another process has read meanwhile.
        seconds: Time since this call started.
    """

    total: int
    before: int = 0
    done: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    elsewhere: int = 0
    seconds: float = 0.0


def find_tasks(
    images: Mapping[str, Sequence[Path]],
    known: Mapping[str, Known],
    retry_errors: bool = False,
    tweets: Mapping[str, Sequence[str]] | None = None,
    read: frozenset[str] = IMAGE,
) -> tuple[list[Task], list[Entry]]:
    """Returns what an engine still has to read.

    Args:
        images: Files by image id; an id without a file is a missing image, one with several is ambiguous. For engines
            that read the tweet alone, the ids count and not the files.
        known: The engine's entries in the store.
        retry_errors: Whether errors count as not done.
        tweets: Texts of tweets by image id, for engines that read them; several different ones are ambiguous.
        read: What the engine reads; see `lightning_ita.contexts.tweets`.

    Returns:
        Images and tweets to read, and errors that are known without reading. What is unchanged is in neither, nor what
        was read before from a file that is not among these: a store may hold images of several folders.
    """
    tasks, errors = [], []
    for image, paths in images.items():
        entry = known.get(image_id(image))
        done = entry is not None and not (entry.failed and retry_errors)
        unread = entry is not None and entry.size is None
        posts = posts_of(tweets or {}, image)
        reason = (no_one_file(paths) if "image" in read else None) or (
            _no_one_tweet(len(posts)) if "tweet" in read else None
        )
        if reason is not None:
            gone = "image" in read and not paths and entry is not None and not entry.failed
            if not (done and unread) and not gone:
                errors.append(Entry(image, error=reason))
            continue
        task = Task(
            image,
            paths[0] if "image" in read else None,
            entry.sha256 if entry is not None and done else None,
            posts[0] if "tweet" in read else None,
        )
        if entry is None or not done or _changed(task, entry):
            tasks.append(task)
    return tasks, errors


def no_one_file(paths: Sequence[Path]) -> str | None:
    """Returns why these are not the one file of an image; ``None`` where they are."""
    names = ", ".join(printable(path.name, 60) for path in paths)
    return None if len(paths) == 1 else f"several files have this id: {names}" if paths else "no file of this name"


def _no_one_tweet(number: int) -> str | None:
    return None if number == 1 else "tweets of different words have this image" if number else "no tweet has this image"


def _changed(task: Task, entry: Known) -> bool:
    """Tells whether what was read may have changed: the tweet's text, or size or time of the image's file."""
    digest = entry.sha256 or ""
    if task.path is None:
        return task.post is None or digest != task.post.sha256
    same_text = task.post is None or digest.startswith(f"{task.post.sha256}:")
    return not same_text or signature(task.path) != (entry.size, entry.modified)


def align(
    engine: Engine,
    images: Mapping[str, Sequence[Path]],
    store: ContextStore,
    workers: int = 0,
    batch_size: int | None = None,
    retry_errors: bool = False,
    watch: Callable[[Progress], None] = lambda progress: None,
    tweets: Mapping[str, Sequence[str]] | None = None,
) -> Progress:
    """Has an engine read all images, or tweets, that the store has no entry of, and stores what it returns.

    Readings are written batch by batch, or, from engines that wait for a server, one by one as they come: after an
    interruption at any moment, the next call continues where this one stopped. Several processes may work on one store:
    each takes the images in an order of its own, and leaves out what the others have done. At the end, the file of the
    store is opened again and checked to hold all entries.

    Args:
        engine: Reads the images.
        images: Files by image id; see `find_tasks`.
        store: Keeps the readings.
        workers: Processes that open and prepare images; with 0 this process does all of it.
        batch_size: Images the engine reads at once; its own choice if not given.
        retry_errors: Whether images that failed before are tried again.
        watch: Called with the progress after every batch.
        tweets: Texts of tweets by image id, for engines that read tweets.

    Raises:
        UserError: The store cannot be written, was deleted or changed meanwhile, or the engine fails on each of its
            first images.
    """
    with _cores_left_to(workers if engine.kind != "ocr" else 0):  # OCR engines take images nearly as they are
        run = _Run(engine, images, store, batch_size or engine.batch_size, retry_errors, watch, tweets)
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
        tweets: Mapping[str, Sequence[str]] | None,
    ):
        self.engine, self.store, self.batch_size, self.watch = engine, store, batch_size, watch
        self.stored = StoredEngine.of(engine)
        store.changed_elsewhere()
        self.reads = reads(engine)
        tasks, errors = find_tasks(images, store.known(self.stored), retry_errors, tweets, self.reads)
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
        if at_once(self.engine):
            return self._ask(at_once(self.engine))
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

    def _ask(self, threads: int) -> Progress:
        """Has the engine read one by one, several at a time, and writes each reading as it comes.

        Where this is interrupted, answers that were asked for are waited for a while, so that none is asked for again.
        """
        asked: dict[Future[list[Reading]], Ready] = {}
        try:
            while self.tasks or asked:
                while self.tasks and len(asked) < threads:
                    ready = prepare_image(self.tasks.popleft(), self.engine.prepare)
                    if ready.input is None:
                        self._not_ready(ready)
                    else:
                        future: Future[list[Reading]] = Future()
                        call = (future, self.engine.read, [pickle.loads(ready.input)])
                        # Unlike the threads of a pool, it does not keep the process from ending.
                        threading.Thread(target=_fulfil, args=call, daemon=True).start()
                        asked[future] = ready
                for future in wait(asked, return_when=FIRST_COMPLETED).done:
                    self._take([asked.pop(future)], future.result)
                self._write()
                self._pass_over()
        except BaseException:
            answered = [f for f in wait(asked, PATIENCE).done if f.exception() is None]
            close(self.engine)  # what comes later is not stored: nothing more is asked
            self.entries = [entry for entry in self.entries if entry.reading is not None]
            self.entries += [Entry(asked[f].image, asked[f].state, f.result()[0]) for f in answered]
            self._write(final=True)
            raise
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
        inputs = [ready.input for ready in batch if ready.input is not None]
        self._take(batch, lambda: self.engine.read([pickle.loads(each) for each in inputs]))

    def _take(self, batch: Sequence[Ready], read: Callable[[], list[Reading]]) -> None:
        try:
            pairs = list(zip(batch, read(), strict=True))
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
        noun = "images" if "image" in self.reads else "tweets"
        if not self.proven and self.failures == FIRST_FAILURES:
            raise UserError(
                f"{self.engine.kind}={self.engine.name} failed on each of the first {FIRST_FAILURES} {noun}; "
                f"nothing of this was stored. The last failure: {reason}"
            )

    def _write(self, final: bool = False) -> None:
        if self.failures and not (self.proven or final):
            return  # the engine may be at fault and not the images: see `_failed`
        if self.entries:
            self.store.write(self.stored, self.entries)
            self.progress.done += len(self.entries)
            self.progress.errors.update(entry.error for entry in self.entries if entry.error is not None)
            self.progress.empty += sum(entry.reading == Reading(()) for entry in self.entries)
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
        mine = {task.image: () if task.path is None else (task.path,) for task in self.tasks}
        texts = {task.image: () if task.post is None else (task.post.text,) for task in self.tasks}
        left, _ = find_tasks(mine, self.store.known(self.stored), self.retry_errors, texts, self.reads)
        self.progress.elsewhere += len(self.tasks) - len(left)
        self.tasks = deque(left)


def _fulfil(
    future: Future[list[Reading]], read: Callable[[Sequence[Any]], list[Reading]], inputs: Sequence[Any]
) -> None:
    try:
        future.set_result(read(inputs))
    except BaseException as error:
        future.set_exception(error)
