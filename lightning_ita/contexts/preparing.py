"""Preparing images and tweets for an engine in worker processes: reading files, decoding, making the model's input."""

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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_ita.contexts.tweets import Post
from lightning_ita.images.files import FileState, ImageError, decode, read_file
from lightning_ita.text import printable

Prepare = Callable[..., Any]
KILLED = "the process that opened it was killed: its decoder crashed, or there was too little memory"


@dataclass(frozen=True)
class Task:
    """An image to prepare, or a tweet, or both.

    Attributes:
        image: The image's id.
        path: Its file; ``None`` for engines that read the tweet alone.
        known: Digest of what the engine has read already under this id (see `state_of`); if the content is still the
            same, it is not prepared again.
        post: The tweet; ``None`` for engines that read the image alone.
    """

    image: str
    path: Path | None
    known: str | None = None
    post: Post | None = None


@dataclass(frozen=True)
class Ready:
    """An image after preparing: the engine's input, an error, or neither where the engine has read this content before.

    Attributes:
        image: Its id.
        state: Its file; ``None`` where that could not be read.
        input: The engine's input, pickled, so that the memory that waiting inputs take is known.
        error: Why there is no input.
    """

    image: str
    state: FileState | None = None
    input: bytes | None = None
    error: str | None = None


def state_of(task: Task) -> tuple[bytes | None, FileState]:
    """Returns the bytes of a task's file, if it has one, and the state of what is read.

    The digest is that of the file, that of the tweet's text, or, for both, the tweet's and the file's with a colon
    between. A tweet alone has the size of its text, and no time of modification.

    Raises:
        ImageError: The file cannot be read.
    """
    post = task.post
    if task.path is None:
        assert post is not None
        return None, FileState(len(post.text.encode()), 0, post.sha256)
    data, state = read_file(task.path)
    return data, state if post is None else replace(state, sha256=f"{post.sha256}:{state.sha256}")


def prepare_image(task: Task, prepare: Prepare) -> Ready:
    """Reads and decodes an image, if the engine reads images, and makes the engine's input of it and of the tweet."""
    try:
        data, state = state_of(task)
    except ImageError as error:
        return Ready(task.image, error=str(error))
    if state.sha256 == task.known:
        return Ready(task.image, state)
    try:
        seen: list[Any] = [] if data is None else [decode(data)]
        seen += [] if task.post is None else [task.post]
        return Ready(task.image, state, pickle.dumps(prepare(*seen), pickle.HIGHEST_PROTOCOL))
    except ImageError as error:
        return Ready(task.image, state, error=str(error))
    except Exception as error:
        return Ready(task.image, state, error=f"cannot be prepared: {describe(error)}")


def describe(error: BaseException) -> str:
    """Returns an exception as one printable line."""
    message = str(error).strip().split("\n")[0]
    return printable(f"{type(error).__name__}: {message}" if message else type(error).__name__)


class Preparers:
    """Worker processes that prepare images, in any order.

    If a worker is killed, by a crash of a decoder or for lack of memory, only the image it had opened gets an error.

    Args:
        prepare: Turns an image into the engine's input.
        workers: Processes; with 0 images are prepared in this one.
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
        """Returns the number of images that were submitted and not yet taken."""
        return len(self.tasks) + len(self.recovered)

    def give(self, task: Task) -> None:
        """Submits an image to be prepared."""
        future: Future[Ready]
        try:
            future = Future() if self.pool is None else self.pool.submit(_work, task)
            if self.pool is None:
                future.set_result(prepare_image(task, self.prepare))
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        self.tasks[future] = task
        future.add_done_callback(self.finished.put)

    def take(self) -> Ready:
        """Waits for a prepared image and returns it."""
        if not self.recovered:
            future = self.finished.get()
            task = self.tasks.pop(future)
            try:
                return future.result()
            except BrokenProcessPool:
                self._recover(task)
        return self.recovered.pop()

    def _recover(self, lost: Task) -> None:
        """Starts new workers, and tries the images that the old ones had not finished one at a time."""
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
                self.recovered.append(Ready(task.image, _state(task), error=KILLED))
                self._start()

    def _start(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()
        if self.workers:
            # Not forked: locks that threads of torch, OpenCV or ONNX Runtime hold would stay locked in the child.
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(self.workers, context, _enter, (self.prepare, os.getpid()))
            self.pool.submit(os.getpid).result()  # starts them now, before the progress bar starts a thread


_prepare: Prepare


def _enter(prepare: Prepare, parent: int) -> None:
    """Sets up a worker process: it computes with one thread, ignores Ctrl-C, and exits when its parent has ended."""
    global _prepare
    _prepare = prepare
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("torch", "cv2"):  # with several threads per worker there would be more threads than cores
        if name in sys.modules:
            set_threads = "set_num_threads" if name == "torch" else "setNumThreads"
            getattr(sys.modules[name], set_threads)(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _state(task: Task) -> FileState | None:
    try:
        return state_of(task)[1]
    except ImageError:
        return None


def _work(task: Task) -> Ready:
    return prepare_image(task, _prepare)
