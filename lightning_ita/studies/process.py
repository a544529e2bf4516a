"""How a process that trains behaves: what it prints, how it is interrupted, what it does with freed memory."""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from pytorch_lightning.utilities.exceptions import SIGTERMException
from transformers.utils import logging as transformers_logging

from lightning_ita.errors import Terminated


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what Lightning and transformers say of themselves; results and errors are ours to report."""
    names = ("pytorch_lightning", "lightning_fabric", "transformers")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # One process and small batches: workers would only cost start-up time.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # Where a GPU is there and is not used, the user chose so.
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            # `Checkpoints` has the sampler leave out the batches that a resumed run has done.
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            # The batch normalisation of a vision model that is trained keeps its statistics.
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            # Scores over all processes are logged as they are; they are the same in each.
            warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
            # Processes of a run on CPUs, which share the cores.
            warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified.*")
            # Its successor is not in the oldest torch that we take.
            warnings.filterwarnings("ignore", message=".*`broadcast_buffers` is deprecated.*")
            # A login node of Slurm: a cell is one process, in a job of Slurm's or not.
            warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
            # pytorch-lightning 2.6.6 against torch 2.15.
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        if progress_bar:
            transformers_logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def interruptions() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM through, which Lightning turns into silent exits; in training, `Checkpoints` saves first.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        Terminated: SIGTERM came.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        raise Terminated from None
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored


@cache
def set_imports_aside() -> None:
    """Takes what is in memory now, most of it imported modules, out of garbage collection, once per process.

    The collection at the end of every run then takes milliseconds instead of half a second. At the end of the process
    they are put back: triton, which comes with torch for GPUs, otherwise lists them as leaks on the terminal.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory for the next step.

    Otherwise it goes back to the system and is zeroed again for the gradients of every step: a fifth of a step with
    MiniLM on two cores where its word embeddings are trained. Elsewhere than on glibc nothing is done.
    """
    trim_threshold, mmap_threshold = -1, -3  # of mallopt(3)
    with suppress(OSError, AttributeError):
        glibc = ctypes.CDLL("libc.so.6")
        for option in (mmap_threshold, trim_threshold):
            glibc.mallopt(option, 2**30)


def return_freed_memory() -> None:
    """Has glibc give back what `keep_freed_memory` made it keep."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
