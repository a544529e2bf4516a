"""Weights & Biases as a sink: what it is told of a run. No run depends on it: it may be absent, offline or down."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from rich.console import Console

from lightning_ita.errors import UserError, unknown
from lightning_ita.studies.cell import Cell

LOGGERS = ("none", "wandb")
# How long a run waits for a server that does not answer, in seconds, before it starts and after it ended. W&B's own
# settings; those of the user's environment win.
PATIENCE = {"WANDB_INIT_TIMEOUT": "30", "WANDB_FINISH_TIMEOUT": "60"}
# What the best epoch is chosen by, and what a sweep must name.
OBJECTIVE = "dev/f1"


class ForgivingLogger(WandbLogger):
    """A W&B logger that gives up, and says so, where W&B fails, instead of ending the run."""

    failed = False
    console: Console

    @contextmanager
    def forgiving(self) -> Iterator[None]:
        """Where W&B fails in what stands below, says so once and tells it no more epochs."""
        try:
            yield
        except Exception as error:
            if not self.failed:
                text = f"warning: W&B failed ({first_line(error)}); the run goes on without it"
                self.console.print(text, markup=False, soft_wrap=True)
            self.failed = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs, as long as that works."""
        with self.forgiving():
            if not self.failed:
                super().log_metrics(metrics, step)


class Tracker:
    """What is told of one run; with no logger, nothing.

    Args:
        logger: Lightning's logger for W&B; ``None`` where the run is not tracked.
    """

    def __init__(self, logger: ForgivingLogger | None = None):
        self.logger = logger

    def record(self, metrics: Mapping[str, Any], epochs: bool = False) -> None:
        """Tells the scores of a finished run: a table of every split and view, and test in the run's summary.

        Args:
            metrics: What `run_cell` returned.
            epochs: Whether the epochs are told too: those of a run that had finished before.
        """
        if self.logger is None:
            return
        if epochs:
            for epoch, values in enumerate(metrics["history"], start=1):
                self.logger.log_metrics({**values, "epoch": epoch})
        rows = [[split, view, *scores.values()] for split in ("dev", "test") for view, scores in metrics[split].items()]
        test = {f"test/{view}/{name}": value for view, of in metrics["test"].items() for name, value in of.items()}
        # The chosen epoch's, not the last one's.
        best = {OBJECTIVE: max(epoch[OBJECTIVE] for epoch in metrics["history"]), "best_epoch": metrics["best_epoch"]}
        with self.logger.forgiving():
            names = list(next(iter(metrics["test"].values())))
            self.logger.log_table("scores", ["split", "view", *names], rows)
            self.logger.experiment.summary.update(test | best)


@contextmanager
def tracking(name: str, cell: Cell, out: Path, console: Console) -> Iterator[Tracker]:
    """Opens a run of W&B for a cell, and closes it: as failed where the body raises.

    Args:
        name: One of `LOGGERS`.
        cell: What is run, with its data and defaults resolved.
        out: The folder in which W&B keeps its own, ``wandb/``.
        console: Where to say that W&B cannot be reached.

    Raises:
        UserError: The logger is unknown, or W&B is not installed.
    """
    if name not in LOGGERS:
        raise unknown("logger", name, LOGGERS)
    if name == "none":
        yield Tracker()
        return
    logger = _open(cell, out, console)
    if logger is None:
        yield Tracker()
        return
    status = 1
    try:
        yield Tracker(logger)
        status = 0
    finally:
        with logger.forgiving():
            logger.experiment.finish(exit_code=status)


def _open(cell: Cell, out: Path, console: Console) -> ForgivingLogger | None:
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            f"--logger wandb needs the package wandb, which cannot be imported ({error}); "
            "`pip install lightning_ita[sweeps]` brings it"
        ) from None
    for variable, seconds in PATIENCE.items():
        os.environ.setdefault(variable, seconds)
    out.mkdir(parents=True, exist_ok=True)
    for mode in (None, "offline"):
        logger = ForgivingLogger(
            name=cell.name,
            save_dir=out,
            project=os.environ.get("WANDB_PROJECT", "lightning_ita"),
            mode=mode,
            settings=wandb.Settings(console="off"),  # what is printed is for the terminal
        )
        logger.console = console
        try:
            config = logger.experiment.config
        except wandb.Error as error:
            then = "kept on disk; `wandb sync` sends it later" if mode is None else "not tracked"
            console.print(f"warning: W&B: {first_line(error)}; this run is {then}", markup=False, soft_wrap=True)
            continue
        # What an agent has set is locked, and the same.
        config.update({key: value for key, value in arguments_of(cell).items() if key not in config})
        return logger
    return None


def arguments_of(cell: Cell) -> dict[str, Any]:
    """Returns a cell's values under the names of the arguments of ``experiments.train``, as sweeps name them."""
    config = cell.to_config()
    recipe = {f"recipe.{name}": value for name, value in config.pop("recipe").items()}
    return config | recipe | {"contexts": ",".join(cell.contexts) or "none", "system": cell.system}


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its kind."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
