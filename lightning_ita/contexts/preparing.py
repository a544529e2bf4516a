"""Images made ready for an engine in worker processes: read, opened, turned into the model's input."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from lightning_ita.images.files import FileState, ImageError, decode, read_file

Prepare = Callable[[Image], Any]
KILLED = "the process that opened it was killed: a crash in its decoder, or too little memory"


@dataclass(frozen=True)
class Task:
    """An image to make ready.

    Attributes:
        image: Its id.
        path: Its file.
        known: SHA-256 of what the engine has read already under this id; the same content is not made ready again.
    """

    image: str
    path: Path
    known: str | None = None


@dataclass(frozen=True)
class Ready:
    """What became of an image on its way to the engine: ready, known already, or an error.

    Attributes:
        image: Its id.
        state: Its file; ``None`` where that could not be read.
        input: The engine's input, pickled: results wait as bytes, whose number is known.
        error: Why there is no input.
    """

    image: str
    state: FileState | None = None
    input: bytes | None = None
    error: str | None = None


def make_ready(task: Task, prepare: Prepare) -> Ready:
    """Reads and opens an image and makes it an engine's input."""
    try:
        data, state = read_file(task.path)
    except ImageError as error:
        return Ready(task.image, error=str(error))
    if state.sha256 == task.known:
        return Ready(task.image, state)
    try:
        return Ready(task.image, state, pickle.dumps(prepare(decode(data)), pickle.HIGHEST_PROTOCOL))
    except ImageError as error:
        return Ready(task.image, state, error=str(error))
    except Exception as error:
        return Ready(task.image, state, error=f"cannot be prepared: {describe(error)}")


def describe(error: BaseException) -> str:
    """Returns an exception in one line."""
    message = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


class Preparers:
    """Worker processes that make images ready, in any order.

    A worker that is killed, by a decoder's crash or for lack of memory, costs the image that killed it and no other.

    Args:
        prepare: What the engine does to an image.
        workers: Processes; with 0 images are made ready in this one.
    """

    def __init__(self, prepare: Prepare, workers: int):
        self.prepare = prepare
        self.workers = workers
        self.tasks: dict[Future[Ready], Task] = {}
        self.finished: queue.SimpleQueue[Future[Ready]] = queue.SimpleQueue()
        self.recovered: list[Ready] = []
        self.pool: ProcessPoolExecutor | None = None
        self._start()

    def __enter__(self) -> Preparers:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        """Returns the number of images that were given and not yet taken."""
        return len(self.tasks) + len(self.recovered)

    def give(self, task: Task) -> None:
        """Takes an image to make ready."""
        future: Future[Ready]
        try:
            future = Future() if self.pool is None else self.pool.submit(_work, task)
            if self.pool is None:
                future.set_result(make_ready(task, self.prepare))
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        self.tasks[future] = task
        future.add_done_callback(self.finished.put)

    def take(self) -> Ready:
        """Returns an image that is ready; waits for one."""
        if not self.recovered:
            future = self.finished.get()
            task = self.tasks.pop(future)
            try:
                return future.result()
            except BrokenProcessPool:
                self._recover(task)
        return self.recovered.pop()

    def _recover(self, lost: Task) -> None:
        """Starts new workers, and tries each image that may have killed the old ones alone."""
        suspects = [lost]
        while self.tasks:
            future = self.finished.get()
            task = self.tasks.pop(future)
            try:
                self.recovered.append(future.result())
            except BrokenProcessPool:
                suspects.append(task)
        self._start()
        for task in suspects:
            assert self.pool is not None
            try:
                self.recovered.append(self.pool.submit(_work, task).result())
            except BrokenProcessPool:
                self.recovered.append(Ready(task.image, _state(task.path), error=KILLED))
                self._start()

    def _start(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()
        if self.workers:
            # Not forked: the locks of torch's, OpenCV's and ONNX's threads would stay closed in the child for ever.
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(self.workers, context, _enter, (self.prepare, os.getpid()))
            self.pool.submit(os.getpid).result()  # starts them now, before a progress bar adds its thread


_prepare: Prepare


def _enter(prepare: Prepare, parent: int) -> None:
    """Makes a process a worker: one thread, deaf to Ctrl-C, gone with its parent."""
    global _prepare
    _prepare = prepare
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("torch", "cv2"):  # whose threads would only get in each other's way
        if name in sys.modules:
            set_threads = "set_num_threads" if name == "torch" else "setNumThreads"
            getattr(sys.modules[name], set_threads)(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _state(path: Path) -> FileState | None:
    try:
        return read_file(path)[1]
    except ImageError:
        return None


def _work(task: Task) -> Ready:
    return make_ready(task, _prepare)
