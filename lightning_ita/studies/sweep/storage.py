"""What a sweep searches, and the storage in which its processes record their trials."""

from __future__ import annotations

import json
import logging
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy.exc
from filelock import FileLock
from optuna import Study
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend

from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.models.options import VIEWS, to_values
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.loggers import arguments_of, first_line
from lightning_ita.studies.plan import LOCKS
from lightning_ita.studies.sweep.grid import MOST_FAILURES, queue_missing
from lightning_ita.studies.sweep.space import SHORT, Method, Parameter, long_name
from lightning_ita.studies.sweep.values import combinations, corners, defaults, with_values

Pruner = Literal["median", "halving", "none"]
TRIALS, FAILED = "trials", "failed"
# Begins the name under which the settings of a sweep have what a name of an encoder or a model stood for.
CONTENT = "content of "
# So many trials are drawn at random, and run to their end, before TPE and the pruner use them.
STARTUP_TRIALS = 5
# Seconds between heartbeats of workers that share a database; after twice as long without one, their trial has failed.
HEARTBEAT = 60
# How often, and how many seconds apart, a database is opened that other processes are setting up.
OPENINGS, OPENING_APART = 10, 0.5
# What Optuna raises where its storage fails.
STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, StorageInternalError)


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
        method: How values are chosen.
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
    method: Method = "bayes"

    @property
    def elsewhere(self) -> bool:
        """Whether workers of other machines, which do not share the folder, may take part."""
        return "://" in self.storage and not self.storage.startswith("sqlite:")

    @property
    def place(self) -> str:
        """The storage, without a password."""
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", self.storage)

    @property
    def views(self) -> tuple[str, ...]:
        """The views in which trials are scored."""
        cells = [with_values(self.base, values) for values in corners(self.space)]
        return tuple(view for view in VIEWS if any(view in cell.tested_views for cell in cells))

    @cached_property
    def shares_teacher(self) -> bool:
        """Whether one frozen teacher serves all trials: no parameter that is searched changes it."""
        try:
            cells = [self.cell({parameter.name: end}) for parameter in self.space for end in parameter.ends]
        except UserError:  # some values need others
            return False
        teachers = {None if cell.teacher is None else cell.teacher.name for cell in cells}
        return len(teachers) == 1 and None not in teachers

    @property
    def grid(self) -> tuple[dict[str, Any], ...]:
        """The combinations that a grid search runs: the first `trials` in the order of the sweep file."""
        return tuple(islice(combinations(self.space), self.trials))

    def settings(self) -> dict[str, Any]:
        """Returns what all trials share, which must not change while the sweep goes on."""
        base = arguments_of(self.base) | {parameter.name: vars(parameter) for parameter in self.space}
        for name in (*SHORT, "label", *(long_name(p.name) for p in self.space if p.name in SHORT)):
            if name not in {parameter.name for parameter in self.space}:
                base.pop(name, None)
        own = {"data": self.digests, **self._content(), "pruner": self.pruner, "method": self.method}
        settings: dict[str, Any] = json.loads(json.dumps(base | own))
        return settings

    def _content(self) -> dict[str, list[str]]:
        """Returns SHA-256 of what trials read beside the data set: an encoder's folder, a vision model's ..."""
        options = {with_values(self.base, values).options for values in corners(self.space)}
        digests = [self.base.resolve(self.digests).data, *(each.digests() for each in options)]
        named = sorted({name for each in digests for name in each} - set(self.digests))
        return {CONTENT + name: sorted({each[name] for each in digests if name in each}) for name in named}

    def cell(self, values: Mapping[str, Any]) -> Cell:
        """Returns the cell of a trial."""
        return with_values(self.base, values).resolve(self.digests)

    def folder(self, cell: Cell) -> Path:
        """Returns where the results of a trial's cell are."""
        return self.out / TRIALS / cell.name

    def lock(self, name: str) -> FileLock:
        """Returns a lock among the processes of the folder, which ends with the process that holds it."""
        return FileLock(self.out / LOCKS / f"{name}.lock")


@contextmanager
def storage_errors(sweep: Sweep) -> Iterator[None]:
    """Turns an error of the storage in the body into one that names the storage.

    Raises:
        UserError: It failed.
    """
    try:
        yield
    except STORAGE_ERRORS as error:
        raise UserError(
            f"{sweep.place} cannot be read or written any more: {first_line(error.__cause__ or error)}; was it deleted "
            "or moved while the sweep ran?"
        ) from None


def open_study(sweep: Sweep) -> Study:
    """Opens the storage, and makes or continues the sweep in it.

    The first trial has the recipe's own values; of a grid, all combinations are queued.

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
    with sweep.lock("storage"):  # of several processes that start together, one sets it up
        try:
            study = _open(sweep, pruners[sweep.pruner])
        except (*STORAGE_ERRORS, ImportError, ValueError, OSError) as error:
            driver = "; PostgreSQL's: pip install 'psycopg[binary]'" if isinstance(error, ImportError) else ""
            raise UserError(f"--storage {sweep.place} cannot be opened: {first_line(error)}{driver}") from None
        known, settings = study.user_attrs.get("settings"), sweep.settings()
        if known is None:
            study.set_user_attr("settings", settings)
            if sweep.method != "grid":
                study.enqueue_trial(defaults(sweep.base, sweep.space))  # what is found is at least as good as these
            known = settings
    # What earlier versions did not write; options and method are those that they always used.
    default = to_values(type(sweep.base.options)())
    options = {f"{sweep.base.system}.{name}": value for name, value in default.items()}
    content = {name: value for name, value in settings.items() if name.startswith(CONTENT)}
    known = {"method": "bayes", **content, **{n: value for n, value in options.items() if n in settings}, **known}
    changed = [
        f"{name} ({known.get(name)} there, {settings.get(name)} now)"
        for name in known | settings
        if known.get(name) != settings.get(name)
    ]
    if changed:
        raise UserError(
            f"{sweep.place} holds another sweep {sweep.name!r}: it differs in {'; '.join(changed)}. "
            "Choose another --out or --name."
        )
    if sweep.method == "grid":
        with sweep.lock("turn"):
            queue_missing(study, sweep.grid)
    return study


def _open(sweep: Sweep, pruner: BasePruner) -> Study:
    """Opens the storage; tries again while a process that does not share the folder sets up the same database."""
    for left in reversed(range(OPENINGS)):
        try:
            return optuna.create_study(
                study_name=sweep.name,
                storage=_storage(sweep),
                pruner=pruner,
                direction="maximize",
                load_if_exists=True,
            )
        except STORAGE_ERRORS as error:
            setting_up = isinstance(error, sqlalchemy.exc.IntegrityError) or "already exists" in str(error)
            if not setting_up or not left:
                raise
            time.sleep(OPENING_APART)
    raise AssertionError


def _storage(sweep: Sweep) -> BaseStorage:
    if "://" not in sweep.storage:
        return JournalStorage(JournalFileBackend(sweep.storage))
    url = sweep.storage.replace("{", "{{").replace("}", "}}")  # Optuna fills templates in it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # heartbeats, since 2.9
        if sweep.elsewhere:
            # What a lost machine tried another one tries again.
            retry = RetryHeartbeatStaleTrialCallback(max_retry=MOST_FAILURES - 1)
            return RDBStorage(
                url, {"pool_pre_ping": True}, heartbeat_interval=HEARTBEAT, heartbeat_stale_trial_callback=retry
            )
        return RDBStorage(url, {"connect_args": {"timeout": 60}})
