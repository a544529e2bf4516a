"""One run on several devices: a process per device, which train one model together (distributed data parallel, DDP).

This process is the first of them, rank 0: it alone reports, logs and writes. The others are its helpers: they train on
their batches, score their share of each split, and end with it.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import distributed

import lightning_ita
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.studies.cell import Cell

# Seconds that helpers may take to end behind rank 0.
PATIENCE = 60.0
# How long a rank waits for the others, for example while they score longer tweets.
TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Share:
    """What a helper needs to run its share of a cell.

    Attributes:
        cell: The cell.
        folder: Where the results go.
        source: Where the data lie.
        corpus: The cell's corpus, with its control applied.
        test: Whether test is scored.
        threads: Threads of each process.
    """

    cell: Cell
    folder: Path
    source: Source
    corpus: Corpus
    test: bool
    threads: int


class Rank(LightningEnvironment):
    """Tells Lightning which of the processes this one is; they are there already, and joined.

    Args:
        rank: Its number, from 0.
    """

    def __init__(self, rank: int):
        super().__init__()
        self.rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        """Whether Lightning should start no process."""
        return True

    def local_rank(self) -> int:
        """Returns the number of this process, and of its device."""
        return self.rank


@contextmanager
def together(share: Share, place: Path) -> Iterator[None]:
    """Makes this process rank 0 of as many as the cell's recipe has devices; nothing happens where it is one.

    Args:
        share: What the helpers run.
        place: A folder of the run, for the files by which processes find each other.

    Raises:
        UserError: There are not so many devices, or a helper raised one.
        RuntimeError: A helper failed.
    """
    world = share.cell.recipe.devices
    if world == 1:
        yield
        return
    check_devices(world)
    meeting, order = place / "ranks", place / "ranks.pickle"
    for path in place.glob("ranks*"):
        path.unlink()
    order.write_bytes(pickle.dumps(share))
    threads = torch.get_num_threads()
    here = str(Path(lightning_ita.__file__).parents[1])
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    helpers = []
    try:
        for rank in range(1, world):
            with (place / f"ranks-{rank}.log").open("wb") as log:
                helpers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "lightning_ita.studies.ranks", str(order), str(rank)],
                        stdin=subprocess.PIPE,  # it ends with this process, whose death closes the pipe
                        stdout=log,
                        stderr=log,
                        env={**os.environ, "PYTHONPATH": paths},
                    )
                )
        torch.set_num_threads(share.threads)
        _await(helpers, place)
        join(meeting, 0, world)
        yield
        for helper in helpers:
            helper.wait(PATIENCE)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        for helper in helpers:
            _end(helper)  # what it said is written
        raise _error_of_helpers(place, error) from error
    finally:
        for helper in helpers:
            _end(helper)
        leave()
        torch.set_num_threads(threads)
        for path in place.glob("ranks*"):
            path.unlink()


def check_devices(world: int) -> None:
    """Checks that this process sees as many devices as a run needs; on CPUs processes share the cores.

    Raises:
        UserError: There are fewer.
    """
    if torch.cuda.is_available() and torch.cuda.device_count() < world:
        raise UserError(
            f"devices {world}: this process sees {torch.cuda.device_count()} GPUs; give fewer --devices, or more GPUs "
            "(with --launcher local fewer --jobs, with ray --cell-gpus, with slurm --slurm.gres)"
        )


def join(meeting: Path, rank: int, world: int) -> None:
    """Joins the processes of a run; each waits until all are there.

    Args:
        meeting: A file by which they find each other.
        rank: Number of this process.
        world: How many there are.
    """
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, whatever its name resolves to
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(rank)
    store = distributed.FileStore(str(meeting), world)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=TIMEOUT)


def leave() -> None:
    """Leaves the processes of a run."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def any_rank(flag: bool) -> bool:
    """Tells whether a flag holds in any of the processes of a run; waits for no GPU."""
    if not distributed.is_initialized():
        return flag
    flags = torch.tensor(int(flag))
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags)


def merged(part: dict[str, Any]) -> dict[str, Any]:
    """Returns the entries of all processes, in each of them; no key is in two."""
    if not distributed.is_initialized():
        return part
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, part)
    return {key: value for each in parts for key, value in each.items()}


def mean_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """Returns the mean of a tensor over the processes of a run."""
    if not distributed.is_initialized():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size() if total.is_floating_point() else total // distributed.get_world_size()


def barrier() -> None:
    """Waits until all processes of a run are here."""
    any_rank(False)


def _await(helpers: list[Any], place: Path) -> None:
    """Waits until all helpers are about to join.

    Raises:
        RuntimeError: One has failed before.
    """
    while len(list(place.glob("ranks-*.ready"))) < len(helpers):
        for rank, helper in enumerate(helpers, 1):
            if helper.poll() is not None:
                said = (place / f"ranks-{rank}.log").read_text(encoding="utf-8", errors="replace").strip()
                raise RuntimeError(f"process {rank} of the run ended (exit status {helper.returncode}): {said[-2000:]}")
        time.sleep(0.05)


def _error_of_helpers(place: Path, error: BaseException) -> BaseException:
    """Returns what a helper raised, which is why rank 0 lost it; or what rank 0 raised."""
    for path in sorted(place.glob("ranks-*.error.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["user"]:
            return UserError(said["text"])
        if not said["lost"]:
            return RuntimeError(f"{said['text']} (in another process of the run)\n{said['trace']}")
    return error


def _end(helper: Any) -> None:
    """Ends a helper that has not ended."""
    if helper.poll() is None:
        helper.kill()
    helper.wait()
    if helper.stdin is not None:
        helper.stdin.close()


def _end_with_parent() -> None:
    """Ends this process when the one that started it has ended."""
    sys.stdin.buffer.read()
    os._exit(1)


def main(order: str, rank: int) -> None:
    """Runs a helper's share.

    Args:
        order: Path of the pickled `Share`.
        rank: Its number.
    """
    from lightning_ita.studies.run import run_share

    place = Path(order).parent
    # Ctrl-C and SIGTERM reach all processes of a job; rank 0 decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        share: Share = pickle.loads(Path(order).read_bytes())
        torch.set_num_threads(share.threads)
        (place / f"ranks-{rank}.ready").touch()
        join(place / "ranks", rank, share.cell.recipe.devices)
        run_share(share, rank)
        leave()
    except Exception as error:
        said = {
            "text": str(error) or type(error).__name__,
            "user": isinstance(error, UserError),
            "lost": isinstance(error, distributed.DistError) or "onnection" in str(error),
            "trace": traceback.format_exc(),
        }
        (place / f"ranks-{rank}.error.json").write_text(json.dumps(said), encoding="utf-8")
        os._exit(1)
    os._exit(0)  # without waiting for threads of torch


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
