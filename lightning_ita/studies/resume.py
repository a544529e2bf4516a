"""Checkpoints: a run that was stopped goes on from its last one, and ends with the result of an undisturbed run.

Its batches depend on seed and epoch (`LengthBatchSampler`), its dropout on seed, epoch and step (`StepSeeds`); all else
it depends on is in the checkpoint: weights, AdamW's moments, the schedule, the best epoch and what was logged.

Lightning's `ModelCheckpoint` could not carry a part of this. Its `train_time_interval` is a fixed time, not a share of
what a checkpoint costs; it saves after any batch, also where gradients are accumulated and so lost; and it removes the
last best weights as soon as it has better ones, while the state on disk still names those: a kill in between would
leave a state without its weights. Nor does it keep the sums that Lightning logs over an epoch, without which the
history of a resumed run differs. What would be left to it is a comparison of two times.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightning_ita.data.batching import processes
from lightning_ita.errors import Terminated
from lightning_ita.studies.ranks import any_rank, mean_over_ranks

# A checkpoint is written when so many seconds, and so many times the seconds that writing the last one took, have been
# trained since: a kill costs little, and checkpoints cost at most 2 % of the time, however large the model.
SECONDS_APART, COSTS_APART = 30.0, 50.0
STATE = "state.ckpt"

logger = logging.getLogger(__name__)


class StepSeeds(Callback):
    """Seeds every random generator before each training step, by run, epoch and step.

    So dropout is the same whatever ran before in the process: a resumed run draws what it would have drawn, and no
    state of a generator needs to be kept. Of a run on several devices, each draws its own.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, step: int) -> None:
        """Seeds the step."""
        rank = f" {trainer.global_rank}" if trainer.global_rank else ""
        digest = hashlib.sha256(f"{self.seed} {trainer.current_epoch} {step}{rank}".encode()).digest()
        pl.seed_everything(int.from_bytes(digest[:4]), verbose=False)


class History(Callback):
    """Keeps what was logged at the end of every epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes one epoch: losses, and F1 on the valid split."""
        self.epochs.append({name: round(value.item(), 6) for name, value in sorted(trainer.callback_metrics.items())})

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint holds of it."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where a checkpoint ended."""
        self.epochs = state_dict["epochs"]


class Checkpoints(Callback):
    """Keeps the weights of the best epoch and, now and then, the state of the run.

    At any moment `folder` holds the last state with the weights that it names as best, so that a run can be killed
    while it writes.

    On SIGTERM, as Slurm sends it, the run ends after the step in hand, with its state saved. On several devices, all
    processes save at the same step, as soon as one wants to; Lightning has the first of them write.

    Args:
        folder: Where the files lie.
        made_with: What the run is made with; a state made with something else is not taken up.
        device: What it runs on, for the record.
        cell: Identity of the cell that is run; the state of another one is not taken up.

    Attributes:
        best_epoch: The epoch with the greatest ``valid/f1``, counted from 0.
        devices: What each part of the run was run on: the step it began at, and the device.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, str], device: str, cell: str):
        self.folder = folder
        self.cell = cell
        self.made_with = dict(made_with)
        self.device = device
        self.best_f1, self.best_epoch = -1.0, -1
        self.devices: list[dict[str, Any]] = []
        self._batches = 0  # of the epoch in hand, that are behind a resumed run ...
        self._logged: dict[str, dict[str, torch.Tensor]] = {}  # ... and what they logged
        self._epoch_of_state = -1  # the best one, as the state on disk names it
        self._terminated = False
        self._seconds, self._started = 0.0, time.monotonic()
        self._saved, self._cost = self._started, 0.0

    @property
    def best(self) -> Path:
        """The weights of the best epoch."""
        return _weights(self.folder, self.best_epoch)

    @property
    def seconds(self) -> float:
        """Seconds that the run took until now, without what was lost when it was killed."""
        return self._seconds + time.monotonic() - self._started

    def resumable(self) -> Path | None:
        """Returns the state to go on from; where there is none that can be used, the folder is emptied and says why.

        Raises:
            OSError: The folder cannot be written.
        """
        path = self.folder / STATE
        if path.exists():
            try:
                state = read_checkpoint(path)["callbacks"][self.state_key]
                if state["best_epoch"] >= 0:
                    read_checkpoint(_weights(self.folder, state["best_epoch"]))
                reason = "was made with other code or packages"
                if state["made_with"] == self.made_with:
                    if state["cell"] == self.cell:
                        return path
                    reason = "is of a run with other settings, seed or data"
            except Exception as error:  # a damaged file fails in whatever part of it is read first
                reason = f"is damaged ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
            logger.warning("%s %s; the run starts again from its first step", path, reason)
        for file in self.folder.glob("*.ckpt*"):
            file.unlink()
        return None

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint holds of it."""
        return {
            "made_with": self.made_with,
            "cell": self.cell,
            "best_f1": self.best_f1,
            "best_epoch": self.best_epoch,
            "devices": self.devices,
            "seconds": self.seconds,
            "batches": self._batches,
            "logged": self._logged,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where a checkpoint ended."""
        self.best_f1, self.best_epoch = state_dict["best_f1"], state_dict["best_epoch"]
        self.devices = state_dict["devices"]
        self._seconds = state_dict["seconds"]
        self._batches, self._logged = state_dict["batches"], state_dict["logged"]
        self._epoch_of_state = self.best_epoch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes the device and SIGTERM, and leaves out the batches that are behind a resumed run."""
        if threading.current_thread() is threading.main_thread():
            # In place of Lightning's handler, which calls that of the process in the middle of a step, and ends a
            # validation, whose epoch is then lost. After training Lightning restores the process's own.
            signal.signal(signal.SIGTERM, self._note_termination)
        self.devices.append({"step": trainer.global_step, "device": self.device})
        trainer.train_dataloader.batch_sampler.skip = self._batches  # type: ignore[union-attr]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, step: int
    ) -> None:
        """Adds what was logged before a resumed run; saves the state if it is time.

        Raises:
            Terminated: SIGTERM came; the state is saved.
        """
        # Lightning keeps sums over the epoch here, and leaves them out of its checkpoints.
        results = trainer.fit_loop.epoch_loop._results
        for name, sums in self._logged.items():
            for sum_, value in sums.items():
                setattr(results[name], sum_, value.to(pl_module.device) + getattr(results[name], sum_))
        self._logged = {}
        # Gradients that are being accumulated are in no checkpoint; after the last step the epoch's end saves.
        whole = (step + 1) % trainer.accumulate_grad_batches == 0 and step + 1 < trainer.num_training_batches
        if whole and self._due():
            self._batches = step + 1
            self._logged = {
                name: {sum_: mean_over_ranks(value) for sum_, value in result.metric_state.items()}
                for name, result in results.items()
            }
            self._save(trainer)
            self._logged = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the weights if the epoch is the best one; saves the state if it is time.

        Raises:
            Terminated: SIGTERM came; the state is saved.
        """
        f1 = trainer.callback_metrics["valid/f1"].item()
        if f1 > self.best_f1:
            self.best_f1, self.best_epoch = f1, trainer.current_epoch
            trainer.save_checkpoint(self.best, weights_only=True)
            self._remove_weights()
        self._batches = 0
        if self._due():
            self._save(trainer)

    def _note_termination(self, *_: object) -> None:
        self._terminated = True

    def _due(self) -> bool:
        late = time.monotonic() - self._saved >= max(SECONDS_APART, COSTS_APART * self._cost)
        return any_rank(self._terminated or late)

    def _save(self, trainer: pl.Trainer) -> None:
        self._terminated = any_rank(self._terminated)
        started = time.monotonic()
        trainer.save_checkpoint(self.folder / STATE)
        self._epoch_of_state = self.best_epoch
        self._remove_weights()
        self._saved = time.monotonic()
        self._cost = self._saved - started
        if self._terminated:
            raise Terminated

    def _remove_weights(self) -> None:
        """Removes weights that are neither the best nor those that the state on disk names as best."""
        kept = {self.best, _weights(self.folder, self._epoch_of_state)}
        if processes()[0]:
            return
        for path in set(self.folder.glob(_weights(self.folder, "*").name)) - kept:
            path.unlink()


def _weights(folder: Path, epoch: int | str) -> Path:
    return folder / f"epoch-{epoch}.ckpt"


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints that appear whole or not at all, without a second copy of them in memory."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            OSError: The disk is full, or the folder cannot be written; what stood at `path` is untouched.
        """
        path = Path(path)
        temporary = path.with_suffix(f"{path.suffix}.part")  # one name, so that a kill leaves one file at most
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            cause = error.__context__
            if isinstance(error, RuntimeError) and isinstance(cause, OSError):  # torch hides why it cannot write
                raise OSError(cause.errno, cause.strerror, str(path)) from None
            raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint: tensors and plain values; nothing in it is run.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: Its content is not what was written (its CRC-32 differs).
        Exception: It is damaged otherwise, or holds something else than tensors and plain values.
    """
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:
            raise ValueError("CRC-32 differs")
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    return checkpoint
