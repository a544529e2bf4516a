"""PyTorch Lightning's loggers by name. A run never depends on W&B: the server may be unreachable."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from lightning_ita.errors import UserError
from lightning_ita.models import MODELS
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.names import OBJECTIVE, check_logger
from lightning_ita.studies.sweep.space import NAMES
from lightning_ita.studies.sweep.values import has_value
from lightning_ita.text import quoted

# How long a run waits for a server that does not answer, in seconds, before it starts and after it ended. W&B's own
# settings; those of the user's environment win.
PATIENCE = {"WANDB_INIT_TIMEOUT": "30", "WANDB_FINISH_TIMEOUT": "60"}
Say = Callable[[str], None]


def say(text: str) -> None:
    """Prints a warning to standard error, apart from tables."""
    print(text, file=sys.stderr)


class ForgivingLogger(WandbLogger):
    """A W&B logger that, if W&B fails, prints a warning and stops logging instead of ending the run."""

    failed = False
    say: Say

    @contextmanager
    def forgiving(self) -> Iterator[None]:
        """Context in which a failure of W&B prints one warning and stops further logging."""
        try:
            yield
        except Exception as error:
            if not self.failed:
                self.say(f"warning: W&B failed ({first_line(error)}); the run goes on without it")
            self.failed = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs, as long as that works."""
        with self.forgiving():
            if not self.failed:
                super().log_metrics(metrics, step)


class Tracker:
    """Logs the results of one run; does nothing without a logger.

    Args:
        logger: One of Lightning's loggers; ``None`` where the run is not tracked.
    """

    def __init__(self, logger: Logger | None = None):
        self.logger = logger

    def record(self, metrics: Mapping[str, Any], epochs: bool = False) -> None:
        """Logs the scores of a finished run: test in every view, and the best epoch's score on valid.

        Args:
            metrics: What `run_cell` returned.
            epochs: Whether to log the epochs as well, for a run that had finished before.
        """
        if self.logger is None:
            return
        if epochs:
            for epoch, values in enumerate(metrics["history"], start=1):
                self.logger.log_metrics({**values, "epoch": epoch}, step=None if self._wandb else epoch)
        test = {f"test/{view}/{name}": value for view, of in metrics["test"].items() for name, value in of.items()}
        # The chosen epoch's, not the last one's.
        best = {OBJECTIVE: max(epoch[OBJECTIVE] for epoch in metrics["history"]), "best_epoch": metrics["best_epoch"]}
        if self._wandb is None:
            self.logger.log_metrics(test | best, step=metrics["best_epoch"])
            self.logger.save()
            return
        rows = [
            [split, view, *scores.values()] for split in ("valid", "test") for view, scores in metrics[split].items()
        ]
        with self._wandb.forgiving():
            names = list(next(iter(metrics["test"].values())))
            self._wandb.log_table("scores", ["split", "view", *names], rows)
            self._wandb.experiment.summary.update(test | best)

    @property
    def _wandb(self) -> ForgivingLogger | None:
        return self.logger if isinstance(self.logger, ForgivingLogger) else None


@contextmanager
def tracking(name: str, cell: Cell, out: Path, say: Say = say) -> Iterator[Tracker]:
    """Opens a logger for a cell, and closes it: as failed where the body raises.

    Args:
        name: One of `LOGGERS`.
        cell: What is run, with its data and defaults resolved.
        out: The folder in which the logger keeps its files: ``wandb/``, ``logs/`` or ``mlruns/`` there.
        say: Called with a warning if W&B cannot be reached.

    Raises:
        UserError: The logger is unknown, or its package is not installed.
    """
    check_logger(name)
    logger = None if name == "none" else _open(name, cell, out, say)
    status = "failed"
    try:
        yield Tracker(logger)
        status = "success"
    finally:
        if isinstance(logger, ForgivingLogger):
            with logger.forgiving():
                logger.experiment.finish(exit_code=status == "failed")
        elif logger is not None:
            logger.finalize(status)


def _open(name: str, cell: Cell, out: Path, say: Say) -> Logger | None:
    out.mkdir(parents=True, exist_ok=True)
    if name == "wandb":
        return _open_wandb(cell, out, say)
    logger: Logger
    if name == "csv":
        logger = CSVLogger(out, "logs", cell.name)
    elif name == "tensorboard":
        logger = TensorBoardLogger(out, "logs", cell.name, default_hp_metric=False)
    else:
        address = os.environ.get("MLFLOW_TRACKING_URI", f"file:{out / 'mlruns'}")
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "lightning_ita")
        logger = MLFlowLogger(experiment, cell.name, address)
    logger.log_hyperparams(arguments_of(cell))
    return logger


def _open_wandb(cell: Cell, out: Path, say: Say) -> ForgivingLogger | None:
    import wandb

    for variable, seconds in PATIENCE.items():
        os.environ.setdefault(variable, seconds)
    for mode in (None, "offline"):
        logger = ForgivingLogger(
            name=cell.name,
            save_dir=out,
            project=os.environ.get("WANDB_PROJECT", "lightning_ita"),
            mode=mode,
            settings=wandb.Settings(console="off"),  # what is printed is for the terminal
        )
        logger.say = say
        try:
            config = logger.experiment.config
        except wandb.Error as error:
            then = "kept on disk; `wandb sync` sends it later" if mode is None else "not tracked"
            say(f"warning: W&B: {first_line(error)}; this run is {then}")
            continue
        try:
            check_agent(cell, dict(config))
        except UserError:
            logger.experiment.finish(exit_code=1)
            raise
        # What an agent has set is locked, and the same.
        config.update({key: value for key, value in arguments_of(cell).items() if key not in config})
        return logger
    return None


def check_agent(cell: Cell, given: Mapping[str, Any]) -> None:
    """Checks that a cell has the values that W&B's agent drew for its run, and that W&B shows.

    Raises:
        UserError: It has others: the command of the sweep file does not pass them on.
    """
    own = arguments_of(cell)
    for name, value in given.items():
        is_parameter = name in NAMES or name.partition(".")[0] in MODELS
        same = has_value(cell, name, value) if is_parameter else str(own.get(name, value)) == str(value)
        if not same:
            raise UserError(
                f"{name}: W&B's agent gave {quoted(value)}, and this run has {quoted(own.get(name))}; in the sweep "
                "file's command, pass values on as ${args} (${args_no_boolean_flags} leaves out what is false)"
            )


def arguments_of(cell: Cell) -> dict[str, Any]:
    """Returns a cell's values under the names of the arguments of ``experiments.train``, as sweeps name them."""
    config = cell.to_config()
    recipe = {f"recipe.{name}": value for name, value in config.pop("recipe").items()}
    own = {f"{cell.system}.{name}": value for name, value in config.pop(cell.system, {}).items()}
    short = {"contexts": ",".join(cell.contexts) or "none", "cva": cell.cva}
    return config | recipe | own | short | {"label": cell.label}


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its kind."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
