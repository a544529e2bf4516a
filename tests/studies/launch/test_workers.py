from __future__ import annotations

import io
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch
from rich.console import Console

from lightning_ita.data.source import Source
from lightning_ita.errors import DataError, Terminated, UserError
from lightning_ita.models.encoders.locating import EncoderShape
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.launch import local, workers
from lightning_ita.studies.launch.launcher import Resources, Work
from lightning_ita.studies.launch.local import default_jobs, run_jobs
from lightning_ita.studies.launch.workers import Report, groups_of, run_workers
from lightning_ita.studies.study import Result


def first_comes_to_grief(place: Path, report: Report) -> None:
    report("began")
    try:
        (place / "first").touch(exist_ok=False)
    except FileExistsError:
        report("ended")
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def all_are_killed(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def all_are_told_to_end(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


def says_its_gpu(report: Report) -> None:
    report(os.environ["CUDA_VISIBLE_DEVICES"])


def first_is_told_to_end(place: Path, report: Report) -> None:
    try:
        (place / "first").touch(exist_ok=False)
    except FileExistsError:
        report("ended")
        return
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    except Terminated:
        (place / "saved").touch()
        raise


def saves_at_the_end(place: Path, report: Report) -> None:
    try:
        report("began")
        time.sleep(600)
    except Terminated:
        report("saving " * 20_000)  # more than a pipe holds
        time.sleep(0.2)
        (place / str(os.getpid())).touch()
        raise


def does_not_end(report: Report) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    report("began")
    time.sleep(600)


def finds_a_bad_line(report: Report) -> None:
    raise DataError("no tab", Path("train.txt"), 7)


def finds_no_room(report: Report) -> None:
    raise OSError(28, "No space left on device")


def test_a_killed_process_stops_no_other(tmp_path: Path) -> None:
    heard: list[str] = []
    run_workers(partial(first_comes_to_grief, tmp_path), 2, heard.append, tmp_path)
    assert sorted(heard) == ["began", "began", "ended"]


def test_a_process_that_is_told_to_end_saves_and_stops_no_other(tmp_path: Path) -> None:
    heard: list[str] = []
    run_workers(partial(first_is_told_to_end, tmp_path), 2, heard.append, tmp_path)
    assert heard == ["ended"]
    assert (tmp_path / "saved").exists()


class TellsUs:
    """Tells this process to end when two others have begun, and before it the server that forked them, as Slurm may."""

    def __init__(self, server: bool = False):
        self.began, self.server = 0, server

    def __call__(self, message: str) -> None:
        self.began += message == "began"
        if self.began == 2:
            if self.server:
                os.kill(forkserver._forkserver._forkserver_pid, signal.SIGTERM)  # type: ignore[attr-defined]
                time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("server", [False, True])
@pytest.mark.usefixtures("terminable")
def test_processes_save_before_this_one_ends(server: bool, tmp_path: Path) -> None:
    with pytest.raises(Terminated):
        run_workers(partial(saves_at_the_end, tmp_path), 2, TellsUs(server), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("terminable")
def test_a_process_that_does_not_end_is_not_waited_for_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    with pytest.raises(Terminated):
        run_workers(does_not_end, 2, TellsUs(), tmp_path)
    for process in multiprocessing.active_children():
        process.join(60)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (all_are_told_to_end, r"all 2 processes were ended \(exit status -15\); the same command goes on"),
        (all_are_killed, r"all 2 processes were ended \(exit status -9\)"),
        (finds_a_bad_line, r"train.txt.*7.*no tab"),
        (finds_no_room, "runs/study: No space left on device; free some space"),
    ],
)
def test_what_befalls_the_processes_is_told(work: Callable[[Report], None], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        run_workers(work, 2, lambda *_: None, Path("runs/study"))


@pytest.mark.parametrize(
    ("named", "count", "jobs", "expected"),
    [
        (None, 2, 2, ["0", "1"]),
        ("3,GPU-5f,7", 3, 2, ["3", "GPU-5f"]),
        ("0,1", 1, 2, ["0", "0"]),  # torch sees one of them
        (None, 2, 3, ["0", "0", "1"]),
    ],
)
def test_each_process_sees_its_own_gpu(
    named: str | None, count: int, jobs: int, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    seen: list[str] = []
    run_workers(says_its_gpu, jobs, seen.append, tmp_path)
    assert sorted(seen) == expected


def test_the_last_cell_of_a_study_has_the_threads_that_it_would_have_had_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = torch.get_num_threads(), list[int]()
    monkeypatch.setattr(local, "run_reporting", lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(4)
    try:
        run_jobs([Cell()], tmp_path, Source(), 2, progress=None)  # type: ignore[arg-type]
        assert (seen, torch.get_num_threads()) == ([2], 4)
        work = Work([Result(Cell())], None, tmp_path, Source())
        local.Local(Resources(jobs=8)).run(work, Console(file=io.StringIO()))  # no core is idle for cells there are not
        assert (seen, torch.get_num_threads()) == ([2, 4], 4)
    finally:
        torch.set_num_threads(before)


def test_as_many_cells_run_at_once_as_there_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = EncoderShape(2, 32, 64, 100, 512)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert default_jobs(shape, 14) == 8
    assert default_jobs(shape, 3) == 3
    assert default_jobs(shape, 14, devices=3) == 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert default_jobs(shape, 14) == 3


def test_gpus_are_grouped_for_cells_that_need_several() -> None:
    gpus = ["0", "1", "GPU-5f", "3", "4"]
    assert groups_of(gpus, 1) == gpus
    assert groups_of(gpus, 2) == ["0,1", "GPU-5f,3"]
    assert groups_of(gpus[:1], 2) == ["0"]  # the run says that they are too few
    assert groups_of([], 2) == []
