"""Runs the trials of a sweep on a Ray cluster: its workers meet in a database, and each has a folder of its node."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import Any

from lightning_ita.errors import UserError
from lightning_ita.studies.launch.launcher import Resources, Stop
from lightning_ita.studies.launch.ray_node import Search, clear_search, corpus_name, run_search
from lightning_ita.studies.launch.ray_tasks import (
    MOST_LOSSES,
    PATIENCE,
    POLL,
    as_task,
    cannot_run,
    clear_nodes,
    first_line,
    needs_of,
    no_node,
    reports_here,
    slots_of,
)
from lightning_ita.studies.provenance import code_digest
from lightning_ita.studies.sweep.progress import SweepProgress
from lightning_ita.studies.sweep.storage import Sweep, open_study
from lightning_ita.studies.sweep.trials import unfinished
from lightning_ita.studies.sweep.values import corners


class Workers:
    """Keeps tasks of a cluster at the trials of a sweep until as many as asked for are finished.

    Args:
        ray: The module.
        sweep: The sweep.
        resources: What trials may use.
        progress: Where it is shown.
    """

    def __init__(self, ray: Any, sweep: Sweep, resources: Resources, progress: SweepProgress):
        self.ray, self.sweep, self.progress, self.study = ray, sweep, progress, open_study(sweep)
        needs = needs_of(ray, resources, sweep.base)
        slots = slots_of(ray, needs)
        if not slots:
            progress.say(no_node(needs))
        self.jobs = min(resources.jobs or max(1, slots), sweep.trials)
        corpora: dict[str, list[Any]] = {}
        for values in corners(sweep.space):
            cell = sweep.cell(values)
            if corpus_name(cell) not in corpora:
                corpora[corpus_name(cell)] = [ray.put(cell.read(sweep.source))]
        search = Search(
            sweep,
            hashlib.sha256(f"{sweep.storage} {sweep.name}".encode()).hexdigest()[:16],
            corpora,
            max(1, int(needs["CPU"])),
            code_digest(sweep.base.dataset, sweep.base.system),
        )
        self.reports = reports_here(ray)
        task = as_task(ray, run_search, needs)
        self.start = lambda: task.remote(search, self.reports)
        self.folder = search.study
        self.losses = 0
        self.stop = Stop()

    def run(self) -> None:
        """Runs all trials that are left.

        Raises:
            UserError: The nodes cannot run them, or are lost again and again.
            KeyboardInterrupt: Ctrl-C was pressed.
            Terminated: SIGTERM came.
        """
        self.progress.begin(self.jobs)
        running = [self.start() for _ in range(self.jobs)]
        stop, until = self.stop, float("inf")
        try:
            with stop.noted():
                while running and time.monotonic() < until:
                    if stop.asked is not None:
                        until = min(until, time.monotonic() + PATIENCE)
                        self.reports.stop.remote()
                    done, running = self.ray.wait(running, num_returns=1, timeout=POLL)
                    for reference in done:
                        if not self._ended(reference) and stop.asked is None and unfinished(self.sweep, self.study):
                            running.append(self.start())
                    self._listen()
        finally:
            for reference in running:
                with suppress(self.ray.exceptions.RayError):
                    self.ray.cancel(reference, force=True)
            self.ray.kill(self.reports)
        if stop.asked is not None:
            raise stop.asked
        clear_nodes(self.ray, clear_search, self.folder)

    def _ended(self, reference: Any) -> bool:
        """Tells whether a worker has come to its end; if not, its node or process was lost.

        Raises:
            UserError: Its node cannot run trials, or workers were lost too often.
        """
        errors = self.ray.exceptions
        try:
            outcome = self.ray.get(reference)
        except errors.RayError as error:
            if isinstance(error, errors.RayTaskError) and not isinstance(error.cause, errors.RayError):
                raise UserError(cannot_run(error)) from error
            reason = first_line(error)
        else:
            if outcome.state == "refused":
                raise UserError(f"the node {outcome.node}: {outcome.reason}")
            if outcome.state == "ended" or self.stop.asked is not None:
                return True
            reason = f"{outcome.node}: its process was told to end"
        self.losses += 1
        if self.losses >= MOST_LOSSES * self.jobs:
            raise UserError(f"workers were lost {self.losses} times, at last: {reason}")
        self.progress.say(f"a worker was lost: {reason}; another one is started")
        return False

    def _listen(self) -> None:
        try:
            said, _ = self.ray.get(self.reports.drain.remote(), timeout=10)
        except self.ray.exceptions.RayError:
            return
        for number, (share, stage) in said.items():
            self.progress.note(int(number), share, stage)
