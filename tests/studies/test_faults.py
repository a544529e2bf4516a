"""A study that is killed again and again: a few kills here, twenty by ``python -m tests.studies.faults``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_study_that_is_killed_again_and_again_ends_as_if_it_were_not() -> None:
    # A process of its own, which forks: threads of this one would hang there.
    command = [sys.executable, "-m", "tests.studies.faults", "--kills=6", "--contexts=cap", "--seeds=1"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "predictions and metrics are those of the undisturbed study" in ended.stdout
