"""Runs the cells of a study as an array job of Slurm, by submitit; its nodes share the study's folder.

Each task of the array is a worker, as `lightning-ita work` is one: it claims cells until none is left. The array goes
on without this process, which only watches it. Whoever starts the command again watches the same array: it is found by
its name, which stands for the study's folder.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from rich.console import Console

from lightning_ita.errors import UserError
from lightning_ita.registry import require
from lightning_ita.studies.launch.launcher import Launcher, Work, last_line
from lightning_ita.studies.launch.slurm_node import Task, run_left
from lightning_ita.studies.launch.slurm_options import differing, note, parameters
from lightning_ita.studies.launch.workers import Report
from lightning_ita.studies.plan import LOCKS
from lightning_ita.studies.study import collect, ended

if TYPE_CHECKING:
    from lightning_ita.studies.sweep.progress import SweepProgress
    from lightning_ita.studies.sweep.storage import Sweep

# The folder within a study's where submitit keeps its files, and tasks their logs.
FOLDER = "slurm"
# Seconds between two looks at what tasks report, and between two questions to Slurm, which serves many users.
POLL, ASK = 1.0, 10.0
# How often in a row Slurm may fail to answer: while its controller starts again, jobs go on.
MOST_SILENCE = 60
# Slurm's own bound (MaxArraySize) where nobody has raised it.
MOST_TASKS = 1000
# Trials of a sweep at once: each is drawn without knowing what those beside it will have found.
TRIALS_AT_ONCE = 8
# Seconds that tasks may take to end when nothing is left to do, and that their last results may take to be seen here.
PATIENCE, SETTLING = 60.0, 15.0


class Slurm(Launcher):
    """Runs cells in an array job of Slurm."""

    def run(self, work: Work, console: Console) -> None:
        """Runs the cells; see `Launcher.run`.

        Raises:
            UserError: Slurm or submitit is not there, Slurm refuses the job, or its tasks ended before the cells did.
        """
        by_name, out = {cell.name: cell for cell in work.cells}, work.out
        open_ = {cell.name for cell in work.left}
        job = partial(run_left, out.resolve(), work.source, work.logger, work.keep_models)
        with work.shown(console) as progress:

            def heard(name: str, share: float, stage: str) -> None:
                if name in open_:
                    progress.within(by_name[name], share, stage)

            def left() -> int:
                for name in sorted(open_ & ended(out)):
                    open_.discard(name)
                    progress.finished(collect([by_name[name]], out)[0])
                return len(open_)

            progress.begin(processes=self._count(len(open_)))
            try:
                told = {"--logger": work.logger, "--keep-models": work.keep_models}
                count, devices = self._count(len(open_)), work.cells[0].recipe.devices
                self._share(job, count, heard, out, left, progress.say, devices, told)
            except KeyboardInterrupt:
                progress.progress.stop()
                _leave(Array(out), console)
                raise

    def run_trials(self, sweep: Sweep, progress: SweepProgress) -> None:
        """Runs trials in an array job, whose tasks share the sweep's folder and storage; see `Launcher.run_trials`."""
        from lightning_ita.studies.launch.slurm_node import search
        from lightning_ita.studies.sweep.storage import open_study
        from lightning_ita.studies.sweep.trials import unfinished

        study, console = open_study(sweep), progress.console
        count = min(self.resources.jobs or TRIALS_AT_ONCE, sweep.trials)
        progress.begin(count)

        def left() -> int:
            progress.tell_ended()
            return unfinished(sweep, study)

        try:
            self._share(
                partial(search, replace(sweep, out=sweep.out.resolve())),
                count,
                progress.note,
                sweep.out,
                left,
                partial(_say, console),
                sweep.base.recipe.devices,
            )
        except KeyboardInterrupt:
            progress.progress.stop()
            _leave(Array(sweep.out), console)
            raise

    def cancel(self, out: Path, console: Console) -> None:
        """Cancels the array of a study; see `Launcher.cancel`."""
        array = Array(out)
        tasks = array.tasks()
        if tasks:
            array.cancel()
        _say(
            console,
            f"cancelled {len(tasks)} task{'' if len(tasks) == 1 else 's'} of the job {array.name}; runs save their "
            "state, and the same command without --cancel goes on"
            if tasks
            else f"there is no job {array.name} to cancel",
        )

    def _count(self, most: int) -> int:
        return min(self.resources.jobs or most, most, MOST_TASKS)

    def _share(
        self,
        job: Callable[..., None],
        count: int,
        heard: Report,
        out: Path,
        left: Callable[[], int],
        say: Callable[[str], None],
        devices: int = 1,
        told: Mapping[str, str] | None = None,
    ) -> None:
        """Submits an array, or finds the one that is at work, and watches it until nothing is left."""
        submitit = require("submitit", extra="slurm")
        array = Array(out)
        options = {**self.resources.given(), **(told or {})}
        submitted = False
        while left():
            with _turn(out):
                tasks = array.tasks()
                if tasks:
                    say(f"the job {array.name} is at work already ({_counted(tasks)}): watching it")
                    if others := differing(array.folder, options):
                        say(f"note: {others}")
                elif submitted:
                    raise UserError(array.gone(left()))
                else:
                    number = array.submit(submitit, job, count, self.resources.slurm, self._asked(devices))
                    note(array.folder, options)
                    submitted = True
                    say(f"submitted {count} task{'' if count == 1 else 's'} as the job {number}, {array.name}")
            array.watch(heard, left, say)
        array.finish()

    def _asked(self, devices: int) -> dict[str, str]:
        """Returns what a task is given where ``--slurm.*`` says nothing of it."""
        asked = {}
        if devices > 1 and not any("gres" in name or "gpu" in name for name in self.resources.slurm):
            asked["gpus_per_node"] = str(devices)
        if self.resources.cpus is not None:
            asked["cpus_per_task"] = f"{self.resources.cpus:g}"
        if self.resources.gpus:
            asked["gpus_per_node"] = f"{self.resources.gpus:g}"
        return asked


class Array:
    """The array job of a study's folder.

    Args:
        out: The folder.
    """

    def __init__(self, out: Path):
        self.out = out.resolve()
        self.folder = self.out / FOLDER
        self.name = f"ita-{re.sub('[^A-Za-z0-9.-]', '_', out.name)}-{hashlib.sha256(bytes(self.out)).hexdigest()[:8]}"
        self._silent = 0
        self._known: dict[str, str] = {}

    def tasks(self) -> dict[str, str]:
        """Returns what Slurm has of the array that has not ended: state and, where one waits, the reason, by task.

        Raises:
            UserError: There is no Slurm here, or it does not answer.
        """
        said = slurm("squeue", "--noheader", "--array", "--format=%i|%T|%r", "--name", self.name, "--user", user())
        rows = [line.split("|") for line in said.splitlines() if line.count("|") == 2]
        return {task: state if reason in ("None", "") else f"{state} ({reason})" for task, state, reason in rows}

    def submit(
        self,
        submitit: Any,
        job: Callable[..., None],
        count: int,
        given: Mapping[str, str],
        asked: Mapping[str, str],
    ) -> str:
        """Submits the array.

        Args:
            submitit: The module.
            job: What each task does.
            count: Tasks.
            given: Options of sbatch, or of submitit.
            asked: The same, where `given` says nothing.

        Returns:
            Its number.

        Raises:
            UserError: Slurm refuses it.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            executor = make_executor(submitit, self.folder, parameters(self.name, {**asked, **given}))
            jobs = executor.map_array(Task(job, self.folder, count), range(count))
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError, OSError) as error:
            raise UserError(f"Slurm refuses the job: {last_line(str(error))}; see --slurm.* in --help") from None
        except subprocess.CalledProcessError as error:
            raise UserError(f"Slurm refuses the job: {last_line(str(error.stderr))}; see --slurm.* in --help") from None
        return str(jobs[0].job_id).partition("_")[0]

    def watch(self, heard: Report, left: Callable[[], int], say: Callable[[str], None]) -> None:
        """Shows how far the tasks are, until nothing is left to do or none of them is.

        Raises:
            UserError: Slurm does not answer for long.
        """
        asked, seen, before = time.monotonic(), dict[Path, int](), ""
        while left():
            self._listen(heard, seen)
            if time.monotonic() - asked >= ASK:
                asked = time.monotonic()
                tasks = self._ask()
                if tasks == {}:
                    until = asked + SETTLING
                    while left() and time.monotonic() < until:
                        time.sleep(POLL)
                    return
                if tasks is not None and (now := _counted(tasks)) != before:
                    before = now
                    say(f"job {self.name}: {now}")
            time.sleep(POLL)

    def cancel(self) -> None:
        """Cancels all tasks: those that run get SIGTERM and save their state."""
        slurm("scancel", "--name", self.name, "--user", user())

    def finish(self) -> None:
        """Cancels tasks that have not begun, waits for those that end, and removes their files."""
        with suppress(UserError):
            slurm("scancel", "--state=PENDING", "--name", self.name, "--user", user())
            until = time.monotonic() + PATIENCE
            while self.tasks() and time.monotonic() < until:
                time.sleep(POLL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def gone(self, left: int) -> str:
        """Says that all tasks have ended though not all is done, with the last words of one."""
        logs = sorted(self.folder.glob("*_log.err"), key=lambda path: path.stat().st_mtime)
        words = [last_line(log.read_text(encoding="utf-8", errors="replace")) for log in logs]
        said = f"; the last one said: {words[-1]}" if words else ""
        return (
            f"all tasks of the job {self.name} have ended with {left} of its runs left{said}; their logs are in "
            f"{self.folder}. Perhaps they need more (--slurm.mem, --slurm.time); the same command submits the rest"
        )

    def _ask(self) -> dict[str, str] | None:
        """Returns `tasks`, or ``None`` where Slurm does not answer, which it may now and then."""
        try:
            tasks = self.tasks()
        except UserError:
            self._silent += 1
            if self._silent > MOST_SILENCE:
                raise
            return None
        self._silent = 0
        return tasks

    def _listen(self, heard: Report, seen: dict[Path, int]) -> None:
        """Passes on what tasks have reported since the last call."""
        for path in self.folder.glob("*.progress.json"):
            try:
                written = path.stat().st_mtime_ns
                if seen.get(path) == written:
                    continue
                reports = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):  # it was removed meanwhile, or a network file system shows a part of it
                continue
            seen[path] = written
            for what in reports:
                heard(*what)


def make_executor(submitit: Any, folder: Path, values: Mapping[str, Any]) -> Any:
    """Returns submitit's executor for Slurm."""
    executor = submitit.SlurmExecutor(folder)
    executor.update_parameters(**values)
    return executor


def slurm(*command: str) -> str:
    """Runs a command of Slurm; returns what it says.

    Raises:
        UserError: There is none here, or it fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        raise UserError(
            f"there is no Slurm on this machine ({command[0]} is not found); start the command on a login node, or "
            "choose another --launcher"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"Slurm does not answer: {command[0]} took more than two minutes") from None
    if done.returncode:
        raise UserError(f"Slurm does not answer: {command[0]}: {last_line(done.stderr)}")
    return done.stdout


def user() -> str:
    """Returns the user's name."""
    return getpass.getuser()


@contextmanager
def _turn(out: Path) -> Iterator[None]:
    """Holds a lock, so that of two commands that start at once one submits and the other finds its job.

    Raises:
        UserError: Another command has held it for long.
    """
    try:
        with FileLock(out / LOCKS / "slurm.lock", timeout=PATIENCE):
            yield
    except Timeout:
        raise UserError(f"another command submits the jobs of {out} at this moment; try again") from None


def _counted(tasks: Mapping[str, str]) -> str:
    """Says how many tasks are in which state."""
    return ", ".join(f"{count} {state}" for state, count in Counter(tasks.values()).items())


def _leave(array: Array, console: Console) -> None:
    """Asks, where somebody can answer, whether the jobs should end with the command; else they go on."""
    answer = ""
    if console.is_terminal and sys.stdin.isatty():
        with suppress(KeyboardInterrupt, EOFError):
            answer = console.input(f"cancel the job {array.name}, too? It saves its state. \\[y/N] ")
    if answer.strip().lower() in ("y", "yes"):
        array.cancel()
        _say(console, f"cancelled the job {array.name}")
    else:
        _say(console, f"the job {array.name} goes on; the same command watches it, and with --cancel cancels it")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
