"""The watcher of a Slurm array, with submitit's local executor in place of Slurm; what a task does when told to end."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit")

import submitit
from rich.console import Console

from lightning_ita.commands import ablate
from lightning_ita.errors import Terminated, UserError
from lightning_ita.studies.launch import slurm
from lightning_ita.studies.launch.launcher import Resources
from lightning_ita.studies.launch.slurm import Array, Slurm
from lightning_ita.studies.launch.slurm_node import Task
from lightning_ita.studies.launch.slurm_options import note, parameters

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def study(corpus: Path, tiny_encoder: str) -> list[str]:
    options = ["--preset=small", "--contexts=none", "--seeds=1,2", "--recipe.epochs=1", "--launcher=slurm"]
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", *options]


class Here:
    """Tasks as processes of this machine: submitit's local executor, and what squeue and scancel would say and do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.jobs: list[Any] = []
        self.submitted: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.queued: list[str] = []  # what squeue says before anything is submitted
        monkeypatch.setattr(slurm, "make_executor", self.executor)
        monkeypatch.setattr(slurm, "slurm", self.slurm)
        monkeypatch.setattr(slurm, "POLL", 0.1)
        monkeypatch.setattr(slurm, "ASK", 0.1)
        monkeypatch.setattr(slurm, "SETTLING", 0.1)

    def executor(self, module: Any, folder: Path, values: dict[str, Any]) -> Any:
        self.submitted.append(values)
        here, executor = self, submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=5)

        class Executor:
            def map_array(self, *arguments: Any) -> Any:
                here.jobs = executor.map_array(*arguments)
                return here.jobs

        return Executor()

    def slurm(self, command: str, *arguments: str) -> str:
        self.asked.append(command)
        if command == "squeue":
            if self.queued:
                return self.queued.pop(0)
            lines = [f"{job.job_id}|RUNNING|None" for job in self.jobs if not job.done()]
            return "\n".join(lines)
        for job in self.jobs:
            if "--state=PENDING" not in arguments:
                job.cancel()
        return ""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(monkeypatch)


def cells(out: Path) -> set[str]:
    return {path.name for path in (out / "cells").iterdir()}


def test_a_study_on_slurm_is_that_of_this_machine(study: list[str], here: Here, tmp_path: Path) -> None:
    local, out = tmp_path / "local", tmp_path / "out"
    assert ablate.main([*study, f"--out={local}", "--launcher=local", "--jobs=1"]) == 0
    options = ["--jobs=1", "--slurm.partition=gpu", "--slurm.time=12:00:00", "--cell-cpus=2"]
    assert ablate.main([*study, f"--out={out}", *options]) == 0
    (values,) = here.submitted
    assert (values["partition"], values["time"], values["cpus_per_task"]) == ("gpu", "12:00:00", 2)
    for name in ("table.csv", "table.md", "plan.jsonl"):
        assert (out / name).read_bytes() == (local / name).read_bytes()
    for path in (local / "cells").glob("*/predictions.*"):
        assert path.read_bytes() == (out / path.relative_to(local)).read_bytes()
    assert cells(out) == cells(local)
    assert not (out / "slurm").exists()


def test_a_job_that_is_at_work_is_watched_and_not_submitted_again(
    study: list[str], here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert ablate.main([*study, f"--out={out}", "--plan"]) == 0
    started = time.monotonic()

    class Queue(list[str]):
        def __bool__(self) -> bool:
            return True

        def pop(self, _: Any = 0) -> str:
            """Runs the study elsewhere at the second question."""
            if time.monotonic() - started < 600 and here.asked.count("squeue") == 2:
                from lightning_ita.commands import work

                assert work.main([str(out)]) == 0
            return "" if here.asked.count("squeue") > 2 else "7_0|RUNNING|None\n7_1|PENDING|Resources"

    here.queued = Queue()
    Array(out).folder.mkdir()
    note(Array(out).folder, {"--jobs": "2", "--slurm.mem": "16G", "--logger": "none", "--keep-models": "none"})
    assert ablate.main([*study, f"--out={out}", "--jobs=2", "--slurm.mem=32G", "--keep-models=best"]) == 0
    assert not here.submitted
    said = capsys.readouterr().out
    assert "is at work already (1 RUNNING, 1 PENDING (Resources)): watching it" in said
    others = "--slurm.mem 16G (here 32G), --keep-models none (here best);"
    assert f"note: it was submitted with other options, and keeps them: {others}" in said
    assert len(cells(out)) == 2


def test_tasks_that_end_too_early_are_told_with_their_last_words(
    study: list[str], here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(array: Array, *_: Any) -> str:
        array.folder.mkdir()
        (array.folder / "7_0_log.err").write_text("starting\nslurmstepd: error: Detected 1 oom-kill event\n")
        return "7"

    monkeypatch.setattr(Array, "submit", submit)
    with pytest.raises(
        UserError, match=r"ended with 2 of its runs left; the last one said: slurmstepd: error: Detected 1"
    ):
        ablate.main([*study, f"--out={tmp_path / 'out'}"])


def test_ctrl_c_leaves_the_job_to_itself(
    study: list[str], here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Array, "watch", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        ablate.main([*study, "--seeds=1", f"--out={out}"])
    assert "scancel" not in here.asked
    assert "goes on; the same command watches it, and with --cancel cancels it" in capsys.readouterr().out
    options = json.loads((out / "slurm" / "options.json").read_text(encoding="utf-8"))
    assert options == {"--logger": "none", "--keep-models": "none"}
    for job in here.jobs:
        job.wait()
    monkeypatch.undo()
    assert len(cells(out)) == 1  # it was not lost


@pytest.mark.parametrize(("answer", "cancelled"), [("y", True), ("", False)])
def test_ctrl_c_in_a_terminal_asks(answer: str, cancelled: bool, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    console = Console(force_terminal=True)
    monkeypatch.setattr(console, "input", lambda _: answer)
    slurm._leave(Array(Path("study")), console)
    assert ("scancel" in here.asked) == cancelled


def test_cancel_ends_the_job_and_the_command(
    study: list[str], here: Here, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here.queued = ["7_0|RUNNING|None\n7_1|PENDING|Resources"]
    assert ablate.main([*study, f"--out={tmp_path / 'out'}", "--cancel"]) == 0
    assert here.asked == ["squeue", "scancel"]
    assert "cancelled 2 tasks of the job ita-out-" in capsys.readouterr().out
    with pytest.raises(UserError, match="with this --launcher nothing runs but while its command does"):
        ablate.main([*study, f"--out={tmp_path / 'out'}", "--launcher=local", "--cancel"])


def saves_at(number: int, share: float) -> Callable[..., None]:
    def job(report: Callable[..., None], start: float) -> None:
        assert start == share
        report("cell", 0.5, "epoch 1/2")
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        except Terminated:
            report("cell", None, "")
            raise

    return job


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A task's environment, which notes that the task is put back into the queue."""
    requeued: list[int] = []

    class Environment:
        def _usr_sig(self) -> int:
            return signal.SIGUSR2

        def _requeue(self, countdown: int) -> None:
            requeued.append(countdown)

    numbers = (signal.SIGTERM, signal.SIGCONT, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(submitit, "JobEnvironment", Environment)
    yield requeued
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR2, True), (signal.SIGTERM, False)])
def test_a_task_saves_its_run_and_goes_back_into_the_queue_at_its_time_limit(
    number: int, again: bool, environment: list[int], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        Task(saves_at(number, 0.25), tmp_path, 4)(1)
    assert ended.value.code == 143
    assert bool(environment) == again
    assert json.loads((tmp_path / "1.progress.json").read_text()) == [["cell", 0.5, "epoch 1/2"]]


def test_a_task_that_gets_nowhere_does_not_go_round_for_ever(environment: list[int], tmp_path: Path) -> None:
    def job(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(60)

    with pytest.raises(SystemExit):
        Task(job, tmp_path, 1)(0)
    assert not environment


def test_options_reach_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With programs of Slurm's names that only note what they are given."""
    script = tmp_path / "bin" / "sbatch"
    script.parent.mkdir()
    for name in ("sbatch", "srun"):
        path = script.with_name(name)
        path.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/given.sh\necho "Submitted batch job 7"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    array = Array(tmp_path / "study")
    given = {"partition": "gpu", "time": "1:00:00", "gres": "gpu:a100:1", "mem": "16G", "licenses": "x:1"}
    given |= {"setup": "module load cuda", "signal_delay_s": "120", "exclusive": "true"}
    assert array.submit(submitit, print, 3, given, {"cpus_per_task": "4", "mem": "1G"}) == "7"
    said = (tmp_path / "given.sh").read_text()
    for line in (
        f"--job-name={array.name}",
        "--array=0-2%3",
        "--partition=gpu",
        "--time=1:00:00",
        "--gres=gpu:a100:1",
        "--mem=16G",
        "--licenses=x:1",
        "--signal=USR2@120",
        "--cpus-per-task=4",
    ):
        assert f"#SBATCH {line}" in said.replace("'", "").splitlines()
    for line in ("#SBATCH --requeue", "#SBATCH --exclusive", "module load cuda"):
        assert line in said.splitlines()
    assert "--cpus-per-task=4 " in said.splitlines()[-1]
    assert "--time" not in "".join(f"--{name}" for name, value in parameters("x", {}).items() if value is not None)


def test_what_slurm_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sbatch", "srun", "squeue"):
        path = tmp_path / name
        path.write_text("#!/bin/sh\necho 'error: invalid partition specified: gpux' >&2\nexit 1\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UserError, match=r"Slurm refuses the job: .*invalid partition specified: gpux"):
        Array(tmp_path / "study").submit(submitit, print, 2, {"partition": "gpux"}, {})
    with pytest.raises(UserError, match=r"Slurm does not answer: squeue: error: invalid partition"):
        Array(tmp_path / "study").tasks()


def test_a_machine_without_slurm_says_so(study: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(UserError, match=r"no Slurm on this machine \(squeue is not found\); start .* on a login node"):
        Slurm(Resources()).cancel(tmp_path, Console())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--slurm.array=0-3"], r"--slurm.array is set by this command: --jobs says how many tasks there are"),
        (["--slurm.ntasks-per-node=2"], r"--slurm.ntasks-per-node is set by this command: a task is one process"),
        (
            ["--cell-cpus=2", "--slurm.cpus-per-task=4"],
            r"--cell-cpus 2 and --slurm.cpus-per-task 4 both say how many processors a task has: leave one",
        ),
        (
            ["--cell-gpus=2", "--slurm.gres=gpu:a100:1"],
            r"--cell-gpus 2 and --slurm.gres gpu:a100:1 both say how many GPUs a task has",
        ),
        (["--cell-gpus=0.5"], r"--cell-gpus 0.5: Slurm gives whole ones"),
        (["--launcher=local", "--slurm.time=60"], r"--slurm.time is for --launcher slurm, not local"),
    ],
)
def test_what_slurm_cannot_take_is_refused_at_once(options: list[str], expected: str, study: list[str]) -> None:
    with pytest.raises(UserError, match=expected):
        ablate.main([*study, *options])
