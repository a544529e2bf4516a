"""Worker processes that share the cores and the GPUs, and report how far they are."""

from __future__ import annotations

import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from lightning_ita.devices import bound_kernel_cache
from lightning_ita.errors import Terminated, UserError, terminate, what_happened

Report = Callable[..., None]
# How long processes that are told to end may take to save what they have, in seconds.
PATIENCE = 60.0


def run_workers(
    work: Callable[[Report], None],
    jobs: int,
    heard: Report,
    place: Path,
    devices: int = 1,
    most: int | None = None,
) -> None:
    """Runs `work` in `jobs` processes that share the cores and the GPUs, each until it finds nothing more to do.

    Args:
        work: What each process does; it is given a function that takes what it has to report. Can be pickled.
        jobs: Processes that the cores are shared out to.
        heard: Called in this process with whatever a process reports.
        place: Where the processes write, for errors that do not tell.
        devices: GPUs that each process uses.
        most: How many of them there is work for; one alone runs `work` in this process. The cores of those that are not
            started are not given to the others: threads decide the last bits of a sum.

    Raises:
        UserError: A process raised one, or could not write, or all of them were killed.
        Terminated: This process was told to end (SIGTERM), and so were the others; their current state is saved.
    """
    bound_kernel_cache()
    all_threads = torch.get_num_threads()
    threads = max(1, all_threads // jobs)
    jobs = min(jobs, most or jobs)
    if jobs == 1:
        torch.set_num_threads(threads)
        try:
            work(heard)
        finally:
            torch.set_num_threads(all_threads)
        return
    context = _context()
    gpus = groups_of(visible_gpus(), devices)
    # One pipe per process: a process that is killed while it reports leaves a shared queue locked.
    workers: dict[Connection, Any] = {}
    try:
        for number in range(jobs):
            reports, sender = context.Pipe(duplex=False)
            gpu = gpus[number % len(gpus)] if gpus else None
            workers[reports] = context.Process(target=_work, args=(work, threads, gpu, sender, place), daemon=True)
            workers[reports].start()
            sender.close()
        for message in _messages(list(workers)):
            if isinstance(message, UserError):
                raise message
            heard(*message)
    except KeyboardInterrupt:
        for worker in workers.values():
            worker.terminate()  # Python waits for them when this process ends
        raise
    except BaseException:
        _end(workers)
        raise
    for worker in workers.values():
        worker.join()
    killed = [worker.exitcode for worker in workers.values() if worker.exitcode]
    if len(killed) == jobs:
        remedy = "the same command goes on" if -signal.SIGTERM in killed else "perhaps for lack of memory; try --jobs 1"
        raise UserError(f"all {jobs} processes were ended (exit status {killed[0]}); {remedy}")


def _messages(pipes: list[Connection], patience: float | None = None) -> Iterator[Any]:
    """Yields what processes report until all of them have ended, or for so many seconds."""
    end = None if patience is None else time.monotonic() + patience
    while pipes and (end is None or time.monotonic() < end):
        ready: list[Any] = multiprocessing.connection.wait(pipes, None if end is None else end - time.monotonic())
        for pipe in ready:
            try:
                yield pipe.recv()
            except (EOFError, OSError):  # the process ended, perhaps while it reported
                pipes.remove(pipe)


def _end(workers: Mapping[Connection, Any]) -> None:
    """Tells processes to end, and waits until they have saved what they have; for `PATIENCE` seconds at most.

    It waits for the ends of their pipes: their exit status comes from the server that forked them, which Slurm's
    SIGTERM has ended before them.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    if in_main_thread:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process ends as soon as they have
    try:
        for worker in workers.values():
            worker.terminate()
        pipes = list(workers)
        for _ in _messages(pipes, PATIENCE):
            pass  # read, so that no process waits to be heard
        for pipe in pipes:
            workers[pipe].kill()
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)


def _context() -> Any:
    """How processes start: not forked from this one, whose threads of torch would hang.

    On Linux they are forked from a server that has imported everything and computed nothing: what imports leave in
    memory, a third of a GiB, is there once, not once per process. The server keeps the environment it began with.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_ita.studies.run"])
    return context


def visible_gpus() -> list[str]:
    """Returns the name of each GPU that this process may use, as ``CUDA_VISIBLE_DEVICES`` names it."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def groups_of(gpus: list[str], devices: int) -> list[str]:
    """Returns GPUs in groups of so many, as ``CUDA_VISIBLE_DEVICES`` names them; one group where they are too few."""
    starts = range(0, max(1, len(gpus) - devices + 1), devices)
    return [",".join(gpus[start : start + devices]) for start in starts] if gpus else []


def _work(work: Callable[[Report], None], threads: int, gpu: str | None, reports: Connection, place: Path) -> None:
    torch.set_num_threads(threads)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when this process first uses CUDA

    def send(message: object) -> None:
        try:
            reports.send(message)
        except OSError:
            os._exit(1)  # the command was killed; what is not finished is taken up by its next run

    signal.signal(signal.SIGTERM, terminate)
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
