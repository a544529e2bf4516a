"""Trials of a sweep: each is one cell, trained on train and scored on valid; test is not looked at."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
import pytorch_lightning as pl
import sqlalchemy.exc
from filelock import BaseFileLock, FileLock, Timeout
from numpy.random import SeedSequence
from optuna import Study, Trial, TrialPruned
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from pytorch_lightning.callbacks import Callback

from lightning_ita.data.source import Source
from lightning_ita.errors import INTERRUPTED, NonFiniteLossError, UserError
from lightning_ita.files import write_text
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.loggers import first_line
from lightning_ita.studies.names import OBJECTIVE
from lightning_ita.studies.plan import LOCKS
from lightning_ita.studies.run import run_cell
from lightning_ita.studies.study import METRICS, part_of
from lightning_ita.studies.sweep.space import RECIPE, Parameter, defaults, with_values
from lightning_ita.studies.watching import RunProgress

Pruner = Literal["median", "halving", "none"]
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
TRIALS, FAILED = "trials", "failed"
# So many trials are drawn blindly, and run whole, before TPE and the pruner judge by them.
STARTUP_TRIALS = 5
# A sweep gives up after this many failed trials; one that is killed this often is not tried again.
MOST_FAILURES = 3
# How often workers of a database say that they live, in seconds; silent for twice as long, their trial has failed.
HEARTBEAT = 60
# Told the number of a trial, how much of it is done, and the stage in words.
Report = Callable[[int, float, str], None]
# The number that is told where no trial is in hand: one has ended, or others are waited for.
NO_TRIAL = -1


@dataclass(frozen=True)
class Sweep:
    """A search for hyper-parameters, as every worker needs it.

    Attributes:
        name: Its name in the storage.
        storage: URL of a database, or path of a journal.
        out: Its folder.
        base: The cell whose parameters are searched; its seed is that of every trial.
        digests: SHA-256 by split and kind of context.
        source: Where the data lie.
        space: What is searched.
        trials: How many trials are to be finished, pruned ones included.
        pruner: What ends bad trials early.
    """

    name: str
    storage: str
    out: Path
    base: Cell
    digests: Mapping[str, str]
    source: Source
    space: tuple[Parameter, ...]
    trials: int
    pruner: Pruner

    @property
    def elsewhere(self) -> bool:
        """Whether workers of other machines, which do not share the folder, may take part."""
        return "://" in self.storage and not self.storage.startswith("sqlite:")

    @property
    def place(self) -> str:
        """The storage, without a password."""
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", self.storage)

    def settings(self) -> dict[str, Any]:
        """Returns what all trials share, which must not change while the sweep goes on."""
        searched = {p.name for p in self.space}
        config = self.base.to_config()
        base = {name: value for name, value in config.items() if name != "recipe" and name not in searched}
        base |= {RECIPE + name: value for name, value in config["recipe"].items() if RECIPE + name not in searched}
        base |= {parameter.name: vars(parameter) for parameter in self.space}
        settings: dict[str, Any] = json.loads(json.dumps(base | {"data": self.digests, "pruner": self.pruner}))
        return settings

    def cell(self, values: Mapping[str, Any]) -> Cell:
        """Returns the cell of a trial."""
        return with_values(self.base, values).resolve(self.digests)

    def folder(self, cell: Cell) -> Path:
        """Returns where the results of a trial's cell are."""
        return self.out / TRIALS / cell.name

    def lock(self, name: str) -> FileLock:
        """Returns a lock among the processes of the folder, which ends with the process that holds it."""
        return FileLock(self.out / LOCKS / f"{name}.lock")


def open_study(sweep: Sweep) -> Study:
    """Opens the storage, and makes or continues the sweep in it; its first trial has the recipe's own values.

    Raises:
        UserError: The storage cannot be opened, or holds another sweep under this name.
    """
    optuna.logging.set_verbosity(logging.ERROR)
    pruners: dict[str, BasePruner] = {
        # From the second epoch on, if it is not the last: learning rates that end best may start slowly.
        "median": MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=min(2, sweep.base.recipe.epochs - 1)),
        "halving": SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        "none": NopPruner(),
    }
    try:
        study = optuna.create_study(
            study_name=sweep.name,
            storage=_storage(sweep),
            pruner=pruners[sweep.pruner],
            direction="maximize",
            load_if_exists=True,
        )
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError, OSError) as error:
        driver = "; PostgreSQL's: pip install 'psycopg[binary]'" if isinstance(error, ImportError) else ""
        raise UserError(f"--storage {sweep.place} cannot be opened: {first_line(error)}{driver}") from None
    known, settings = study.user_attrs.get("settings"), sweep.settings()
    if known is None:
        study.set_user_attr("settings", settings)
        study.enqueue_trial(defaults(sweep.base, sweep.space))  # what is found is at least as good as these
    elif known != settings:
        changed = [
            f"{name} ({known.get(name)} there, {settings.get(name)} now)"
            for name in known | settings
            if known.get(name) != settings.get(name)
        ]
        raise UserError(
            f"{sweep.place} holds another sweep {sweep.name!r}: it differs in {'; '.join(changed)}. "
            "Choose another --out or --name."
        )
    return study


def _storage(sweep: Sweep) -> BaseStorage:
    if "://" not in sweep.storage:
        return JournalStorage(JournalFileBackend(sweep.storage))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats, since 2.9
        if sweep.elsewhere:
            return RDBStorage(sweep.storage, {"pool_pre_ping": True}, heartbeat_interval=HEARTBEAT)
        return RDBStorage(sweep.storage, {"connect_args": {"timeout": 60}})


class Pruning(Callback):
    """Tells a trial the objective after each epoch, and ends the run where the pruner finds it hopeless."""

    def __init__(self, trial: Trial):
        self.trial = trial
        self.told: set[int] = set()

    def tell(self, epoch: int, value: float) -> None:
        """Notes the objective after an epoch, once."""
        if epoch not in self.told:
            self.told.add(epoch)
            self.trial.report(value, epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reports one epoch.

        Raises:
            TrialPruned: The trial is worse than others were after as many epochs.
        """
        epoch = trainer.current_epoch + 1
        self.tell(epoch, trainer.callback_metrics[OBJECTIVE].item())
        if epoch < (trainer.max_epochs or 0) and self.trial.should_prune():
            raise TrialPruned(f"pruned after epoch {epoch}")


def run_trials(sweep: Sweep, report: Report = lambda *_: None) -> None:
    """Runs trials until as many as asked for are finished; several processes may do so at once.

    A trial whose process was killed is failed, and its values are tried again: their cell goes on where it stopped,
    if `run_cell` can.

    Args:
        sweep: What is searched; see `open_study`.
        report: Told how far trials are.

    Raises:
        UserError: Too many trials failed.
        OSError: The folder cannot be written.
    """
    study = open_study(sweep)
    failures = 0
    while True:
        report(NO_TRIAL, 0.0, "")
        turn = sweep.lock("turn")
        with turn:  # none counts or draws while another does
            _retry_killed(study, sweep)
            states = [trial.state for trial in study.get_trials(deepcopy=False)]
            finished = sum(state in FINISHED for state in states)
            if finished >= sweep.trials:
                return
            if finished + states.count(TrialState.RUNNING) < sweep.trials:
                try:
                    _run_one(study, sweep, len(states), turn, report)
                except UpdateFinishedTrialError:
                    pass  # this machine was silent for so long that another took the trial over
                except (UserError, OSError):
                    raise
                except Exception as error:
                    failures += 1
                    if failures == MOST_FAILURES:
                        raise UserError(
                            f"{failures} trials failed, the last of them with: {first_line(error)}; "
                            f"see {sweep.out / FAILED}"
                        ) from error
                continue
        time.sleep(1)


def _retry_killed(study: Study, sweep: Sweep) -> None:
    """Fails the trials whose process has ended without a word, and queues those of this folder again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)  # of other machines, by their heartbeats, where there are any
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        lock = sweep.lock(f"trial-{trial.number}")
        if sweep.elsewhere and not Path(lock.lock_file).exists():
            continue  # of another machine
        try:
            with lock.acquire(timeout=0):
                study.tell(trial.number, state=TrialState.FAIL)
        except (Timeout, ValueError, UpdateFinishedTrialError):
            continue  # at work, or ended since it was listed
        attempts = trial.user_attrs.get("attempt", 1)
        if trial.params and attempts < MOST_FAILURES:
            study.enqueue_trial(trial.params, user_attrs={"attempt": attempts + 1})


def _run_one(study: Study, sweep: Sweep, number: int, turn: BaseFileLock, report: Report) -> None:
    """Runs one trial; gives the turn away once its values are drawn."""

    def objective(trial: Trial) -> float:
        with sweep.lock(f"trial-{trial.number}"):
            values = {parameter.name: parameter.suggest(trial) for parameter in sweep.space}
            turn.release()
            try:
                return _score(trial, sweep, sweep.cell(values), report)
            except KeyboardInterrupt:
                raise SystemExit(INTERRUPTED) from None  # leaves the trial as a killed process would: it is tried again

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # multivariate, constant_liar: before 5.0
        study.sampler = TPESampler(
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            constant_liar=True,  # values under trial count as bad, so that workers do not try the same
            # Each trial its own: a sweep that goes on must not draw the same again.
            seed=int(SeedSequence([sweep.base.seed, number]).generate_state(1)[0]),
        )
    study.optimize(objective, n_trials=1)


def _score(trial: Trial, sweep: Sweep, cell: Cell, report: Report) -> float:
    """Trains a trial's cell, or reads what is there of it, and returns the objective in its best epoch."""
    folder, pruning = sweep.folder(cell), Pruning(trial)
    try:
        with sweep.lock(cell.name):  # two trials may have drawn the same values
            if not (folder / METRICS).is_file():
                watch = RunProgress(lambda share, stage: report(trial.number, share, stage))
                run_cell(cell, folder, sweep.source, callbacks=[watch, pruning], test=False)
            metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (TrialPruned, NonFiniteLossError) as error:
        trial.set_user_attr("failure", first_line(error))
        shutil.rmtree(part_of(folder), ignore_errors=True)  # with a checkpoint, large
        raise TrialPruned(str(error)) from None
    except OSError:
        raise
    except Exception as error:
        trial.set_user_attr("failure", first_line(error))
        write_text(sweep.out / FAILED / f"trial-{trial.number}.log", traceback.format_exc())
        raise
    for epoch, scores in enumerate(metrics["history"], 1):  # those of an earlier attempt, or of a run that was there
        pruning.tell(epoch, scores[OBJECTIVE])
    trial.set_user_attr("cell", cell.name)
    trial.set_user_attr("seconds", metrics["seconds"])
    return float(max(epoch[OBJECTIVE] for epoch in metrics["history"]))


def ranking(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the completed trials, the best first, each set of values once."""
    best = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=lambda t: (-(t.value or 0.0), t.number))
    return list({json.dumps(t.params, sort_keys=True): t for t in reversed(best)}.values())[::-1]
