"""Trials of a sweep: each is one cell, trained on train and scored on valid, not on test."""

from __future__ import annotations

import json
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import optuna
import pytorch_lightning as pl
from filelock import BaseFileLock, Timeout
from numpy.random import SeedSequence
from optuna import Study, Trial, TrialPruned
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from pytorch_lightning.callbacks import Callback

from lightning_ita.data.corpus import Corpus
from lightning_ita.errors import NonFiniteLossError, Terminated, UserError
from lightning_ita.files import write_text
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.loggers import first_line
from lightning_ita.studies.names import OBJECTIVE
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.run import run_cell
from lightning_ita.studies.schema import read_metrics
from lightning_ita.studies.study import METRICS, part_of, set_folder_aside
from lightning_ita.studies.sweep.front import BY_VIEW
from lightning_ita.studies.sweep.grid import (
    COMBINATION,
    FINISHED,
    MOST_FAILURES,
    STOPPED,
    open_combinations,
    queue_missing,
    twin,
)
from lightning_ita.studies.sweep.grid import failures as failures_of
from lightning_ita.studies.sweep.storage import (
    FAILED,
    STARTUP_TRIALS,
    STORAGE_ERRORS,
    Sweep,
    open_study,
    storage_errors,
)
from lightning_ita.studies.sweep.values import with_values
from lightning_ita.studies.watching import RunProgress

# Takes the number of a trial, how much of it is done, and the stage in words.
Report = Callable[[int, float, str], None]
CorpusOf = Callable[[Cell], Corpus | None]
# The number that is reported where no trial is running: one has ended, or others are waited for.
NO_TRIAL = -1
# What a trial notes of itself: the digest of the code that it is run with; earlier versions noted none.
CODE = "code"


class Pruning(Callback):
    """Reports the objective to Optuna after each epoch, and ends the run where the pruner decides so."""

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


class _StoppedError(BaseException):
    """Ends a trial as a killed process would, so that it is taken up again; an `Exception` would mark it as failed."""

    def __init__(self, reason: BaseException):
        self.reason = reason


class _TwinError(Exception):
    """Ends a trial of a grid whose combination an earlier trial has."""


def run_trials(sweep: Sweep, report: Report = lambda *_: None, corpus_of: CorpusOf = lambda cell: None) -> None:
    """Runs trials until as many as asked for are finished; several processes may do so at once.

    A trial whose process was killed is failed, and its values are tried again: their cell goes on where it stopped,
    if `run_cell` can.

    Args:
        sweep: What is searched; see `open_study`.
        report: Told how far trials are.
        corpus_of: Returns the corpus of a cell, where it has been read already.

    Raises:
        UserError: Too many trials failed, or the storage did.
        OSError: The folder cannot be written.
        Terminated: The process was told to end (SIGTERM); the trial in hand goes on when the sweep does.
    """
    study = open_study(sweep)
    failures = 0
    with storage_errors(sweep):
        while True:
            report(NO_TRIAL, 0.0, "")
            with sweep.lock("turn") as turn:  # none counts or draws while another does
                _retry_killed(study, sweep)
                if sweep.method == "grid":
                    queue_missing(study, sweep.grid)  # what failed or was killed
                states = [trial.state for trial in study.get_trials(deepcopy=False)]
                left = unfinished(sweep, study)
                if not left:
                    return
                is_queued = sweep.method != "grid" or TrialState.WAITING in states
                if is_queued and states.count(TrialState.RUNNING) < left:
                    failures += not _run_one(study, sweep, len(states), turn, report, failures, corpus_of)
                    continue
            time.sleep(1)


def unfinished(sweep: Sweep, study: Study) -> int:
    """Returns how many trials are still to be finished; of a grid, without combinations that failed too often."""
    trials = study.get_trials(deepcopy=False)
    if sweep.method == "grid":
        return open_combinations(sweep.grid, trials)
    return max(0, sweep.trials - sum(trial.state in FINISHED for trial in trials))


def _retry_killed(study: Study, sweep: Sweep) -> None:
    """Marks trials as failed whose process ended while they ran, and queues those of this folder again.

    Those of a grid are left to `queue_missing`.
    """
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
        if sweep.method == "grid":
            values = trial.user_attrs.get(COMBINATION)
            if values is not None and failures_of(study.get_trials(deepcopy=False), values) >= MOST_FAILURES:
                _give_up(sweep, sweep.cell(values))
            continue
        # What ends a process on purpose, or fills the disk, is not the trial's fault.
        attempts = trial.user_attrs.get("attempt", 1) + (not trial.user_attrs.get(STOPPED, False))
        if trial.params and attempts <= MOST_FAILURES:
            study.enqueue_trial(trial.params, user_attrs={"attempt": attempts})
        elif trial.params.keys() == {parameter.name for parameter in sweep.space}:
            _give_up(sweep, sweep.cell(trial.params))


def _run_one(
    study: Study, sweep: Sweep, number: int, turn: BaseFileLock, report: Report, failures: int, corpus_of: CorpusOf
) -> bool:
    """Runs one trial; releases `turn` once its values are drawn.

    Args:
        study: The sweep in its storage.
        sweep: What is searched.
        number: The trial's.
        turn: The lock under which values are drawn.
        report: Told how far the trial is.
        failures: How many trials have failed in this process.
        corpus_of: Returns the corpus of a cell, where it has been read already.

    Returns:
        Whether it did not fail; a trial of a grid whose combination another one has is not run, and has not failed.

    Raises:
        UserError: It failed after too many others, or can never run.
    """

    def objective(trial: Trial) -> float:
        with sweep.lock(f"trial-{trial.number}"):
            if sweep.method == "grid":
                _check_twin(study, trial)
            values = {parameter.name: parameter.suggest(trial) for parameter in sweep.space}
            turn.release()
            try:
                return _score(trial, sweep, sweep.cell(values), report, corpus_of)
            except (KeyboardInterrupt, Terminated, OSError) as error:
                with suppress(Exception):  # on a full disk, the storage fails too
                    trial.set_user_attr(STOPPED, True)
                raise _StoppedError(error) from None

    study.sampler = _sampler(sweep, number)
    try:
        study.optimize(objective, n_trials=1)
    except UpdateFinishedTrialError:
        pass  # this machine was silent for so long that another took the trial over
    except _TwinError:
        pass
    except _StoppedError as stopped:
        raise stopped.reason from None
    except (UserError, *STORAGE_ERRORS):
        raise
    except Exception as error:
        if failures + 1 >= MOST_FAILURES:
            raise UserError(
                f"{failures + 1} trials failed, the last of them with: {first_line(error)}; see {sweep.out / FAILED}"
            ) from error
        return False
    return True


def _sampler(sweep: Sweep, number: int) -> BaseSampler:
    """Returns what chooses the values of the trial `number`; those of a grid are in the queue already."""
    # Each trial its own: a sweep that goes on must not draw the same again.
    seed = int(SeedSequence([sweep.base.seed, number]).generate_state(1)[0])
    if sweep.method != "bayes":
        return RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # multivariate, constant_liar: before 5.0
        return TPESampler(
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            constant_liar=True,  # values under trial count as bad, so that workers do not try the same
            seed=seed,
        )


def _check_twin(study: Study, trial: Trial) -> None:
    """Ends a trial of a grid that has no combination of its own, as happens where several machines start together.

    Raises:
        _TwinError: An earlier trial has its combination, or it did not come from the queue.
    """
    if COMBINATION not in trial.user_attrs:  # the last of the queue went to another machine
        reason = "the queue was empty"
    elif (other := twin(study.get_trials(deepcopy=False), trial.number)) is not None:
        reason = f"trial {other} has the same values"
    else:
        return
    trial.set_user_attr(STOPPED, True)
    trial.set_user_attr("failure", f"not run: {reason}")
    raise _TwinError(reason)


def _score(trial: Trial, sweep: Sweep, cell: Cell, report: Report, corpus_of: CorpusOf) -> float:
    """Trains a trial's cell, or reads what this code has left of it, and returns the objective in its best epoch."""
    folder, pruning = sweep.folder(cell), Pruning(trial)
    trial.set_user_attr(CODE, code_digest(cell.dataset, cell.system))
    try:
        with sweep.lock(cell.name):  # two trials may have drawn the same values
            set_folder_aside(cell, folder, sweep.out)
            if not (folder / METRICS).is_file():
                watch = RunProgress(lambda share, stage: report(trial.number, share, stage))
                _train_shared_teacher(sweep, cell, watch, corpus_of)
                run_cell(cell, folder, sweep.source, corpus_of(cell), callbacks=[watch, pruning], test=False)
            metrics = read_metrics(folder / METRICS)
    except (TrialPruned, NonFiniteLossError) as error:
        trial.set_user_attr("failure", first_line(error))
        _give_up(sweep, cell)
        raise TrialPruned(str(error)) from None
    except OSError:
        raise
    except Exception as error:
        trial.set_user_attr("failure", first_line(error))
        write_text(sweep.out / FAILED / f"trial-{trial.number}.log", traceback.format_exc())
        _give_up(sweep, cell)
        raise
    for epoch, scores in enumerate(metrics["history"], 1):  # those of an earlier attempt, or of a run that was there
        pruning.tell(epoch, scores[OBJECTIVE])
    trial.set_user_attr("cell", cell.name)
    trial.set_user_attr(BY_VIEW, {view: scores["f1"] for view, scores in metrics["valid"].items()})
    trial.set_user_attr("seconds", metrics["seconds"])
    return float(max(epoch[OBJECTIVE] for epoch in metrics["history"]))


def _train_shared_teacher(sweep: Sweep, cell: Cell, watch: RunProgress, corpus_of: CorpusOf) -> None:
    """Trains the frozen teacher of a trial where other trials will look for it, if it is theirs as well."""
    if cell.teacher is None or not sweep.shares_teacher:
        return  # the run trains its own, and removes it
    there = sweep.folder(cell.teacher)
    with sweep.lock(cell.teacher.name):  # others wait for it
        set_folder_aside(cell.teacher, there, sweep.out)
        if not (there / METRICS).is_file():
            corpus = corpus_of(cell)
            run_cell(cell.teacher, there, sweep.source, corpus, callbacks=[watch], keep_checkpoint=True, test=False)


def _give_up(sweep: Sweep, cell: Cell) -> None:
    """Removes the checkpoints of a cell that no trial will go on with."""
    with suppress(Timeout), sweep.lock(cell.name).acquire(timeout=0):  # another trial may run the same values
        shutil.rmtree(part_of(sweep.folder(cell)), ignore_errors=True)


def is_stale(sweep: Sweep, trial: FrozenTrial) -> bool:
    """Tells whether a trial was finished with another version of the code, or with one that was not recorded."""
    if trial.state not in FINISHED:
        return False
    cell = with_values(sweep.base, trial.params)
    return trial.user_attrs.get(CODE) != code_digest(cell.dataset, cell.system)


def ranking(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the completed trials, the best first, each set of values once."""
    best = sorted((t for t in trials if t.state == TrialState.COMPLETE), key=lambda t: (-(t.value or 0.0), t.number))
    return list({json.dumps(t.params, sort_keys=True): t for t in reversed(best)}.values())[::-1]
