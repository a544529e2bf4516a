"""Processes that share a task among themselves and report how far they are."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from lightning_ita.devices import bound_kernel_cache
from lightning_ita.errors import Terminated, UserError, what_happened

Report = Callable[..., None]
# How long processes that are told to end may take to save what they have, in seconds.
PATIENCE = 60.0


def run_workers(work: Callable[[Report], None], jobs: int, heard: Report, place: Path) -> None:
    """Runs `work` in `jobs` processes that share the cores, each until it finds nothing more to do.

    Args:
        work: What each process does; it is given a function that takes what it has to report. Can be pickled.
        jobs: Processes; with one, `work` runs in this process.
        heard: Called in this process with whatever a process reports.
        place: Where the processes write, for errors that do not tell.

    Raises:
        UserError: A process raised one, or could not write, or all of them were killed.
    """
    bound_kernel_cache()
    if jobs == 1:
        work(heard)
        return
    context = _context()
    threads = max(1, torch.get_num_threads() // jobs)
    # A pipe each: a process that is killed while it reports leaves a shared queue locked.
    workers: dict[Any, Any] = {}
    for _ in range(jobs):
        reports, sender = context.Pipe(duplex=False)
        workers[reports] = context.Process(target=_work, args=(work, threads, sender, place), daemon=True)
        workers[reports].start()
        sender.close()
    open_pipes: list[Any] = list(workers)
    try:
        while open_pipes:
            ready: list[Any] = multiprocessing.connection.wait(open_pipes)
            for pipe in ready:
                try:
                    message = pipe.recv()
                except (EOFError, OSError):  # the process ended, perhaps while it reported
                    open_pipes.remove(pipe)
                    continue
                if isinstance(message, UserError):
                    raise message
                heard(*message)
        for worker in workers.values():
            worker.join()
    finally:
        for worker in workers.values():
            worker.terminate()  # SIGTERM: a run saves a checkpoint at the end of its step
        patience = time.monotonic() + PATIENCE
        for worker in workers.values():
            worker.join(max(patience - time.monotonic(), 0))
    killed = [worker.exitcode for worker in workers.values() if worker.exitcode]
    if len(killed) == jobs:
        raise UserError(
            f"all {jobs} processes were ended (exit status {killed[0]}), perhaps for lack of memory; try --jobs 1"
        )


def _context() -> Any:
    """How processes start: not forked from this one, whose threads of torch would hang.

    On Linux they are forked from a server that has imported everything and computed nothing: what imports leave in
    memory, a third of a GiB, is there once and not once a process. The server keeps the environment it began with.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_ita.studies.run"])
    return context


def _work(work: Callable[[Report], None], threads: int, reports: Connection, place: Path) -> None:
    torch.set_num_threads(threads)

    def send(message: object) -> None:
        try:
            reports.send(message)
        except OSError:
            os._exit(1)  # the command was killed; what is not finished is taken up by its next run

    try:
        work(lambda *message: send(message))
    except UserError as error:
        send(UserError(str(error)))  # others of its kind need more than their text to be unpickled
    except OSError as error:
        send(UserError(what_happened(error, place)))
    except KeyboardInterrupt:
        pass  # the parent was interrupted as well, and says so
    except Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # so that the parent sees how it ended
