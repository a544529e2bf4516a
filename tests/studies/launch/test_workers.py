from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lightning_ita.errors import DataError, UserError
from lightning_ita.studies.launch.workers import Report, run_workers


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


def finds_a_bad_line(report: Report) -> None:
    raise DataError("no tab", Path("train.txt"), 7)


def finds_no_room(report: Report) -> None:
    raise OSError(28, "No space left on device")


def test_a_killed_process_stops_no_other(tmp_path: Path) -> None:
    heard: list[str] = []
    run_workers(partial(first_comes_to_grief, tmp_path), 2, heard.append, tmp_path)
    assert sorted(heard) == ["began", "began", "ended"]


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (all_are_killed, r"all 2 processes were ended \(exit status -9\)"),
        (finds_a_bad_line, r"train.txt.*7.*no tab"),
        (finds_no_room, "runs/study: No space left on device; free some space"),
    ],
)
def test_what_befalls_the_processes_is_told(work: Callable[[Report], None], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        run_workers(work, 2, lambda *_: None, Path("runs/study"))
