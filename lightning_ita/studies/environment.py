"""What a result was produced with: machine, versions, memory, times."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import cast

import torch

import lightning_ita
from lightning_ita.studies.records import VERSION, Environment
from lightning_ita.studies.resume import Checkpoints


def environment(started: float, checkpoints: Checkpoints) -> Environment:
    """Returns what a result was produced with, besides its cell.

    Args:
        started: When the process that finished it began with it.
        checkpoints: Of its run.
    """
    cuda = torch.cuda.is_available()
    made_with = dict(checkpoints.made_with)
    memory = peak_memory_mib()
    content = {
        "version": VERSION,
        "lightning_ita": lightning_ita.__version__,
        "code": made_with.pop("code"),
        "python": platform.python_version(),
        "packages": made_with,
        "system": platform.system(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if cuda else None,
        "trained_on": checkpoints.devices,
        **({} if memory is None else {"peak_memory_mib": memory}),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return cast(Environment, content)


def peak_memory_mib() -> int | None:
    """Returns the most memory this process has held, in MiB; ``None`` on Windows, which does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def device(count: int = 1) -> str:
    """Returns what a run is computed on: the accelerators, or the processor and the threads of each process."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{processor()}, {torch.get_num_threads()}"
    return name if count == 1 else f"{count} devices: {name}"


def processor() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} × {os.cpu_count()}"
