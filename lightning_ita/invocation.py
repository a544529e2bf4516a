"""Command lines for hints and help, written as they work for the user who started this process."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "lightning-ita"
# The modules that a checkout offers beside the installed program: ``python -m experiments.NAME``, except for these.
MODULES = {"sweep": "sweeps.optuna"}
# The folders those modules lie in.
FOLDERS = ("experiments", "sweeps")


def spelled(command: str, *arguments: object) -> str:
    """Returns a command line that starts one of our commands the way this process was started.

    In a checkout that is ``python -m experiments.report X``, where the package is installed ``lightning-ita report X``,
    and either with ``uv run`` in front where uv started this process. In a notebook, or wherever else no command runs,
    it is ``lightning-ita report X``.

    Args:
        command: The command's name, for example ``report``.
        arguments: Its arguments; those that a shell would split or expand are quoted.
    """
    started = Path(sys.argv[0]) if sys.argv else Path()
    if started.suffix == ".py" and started.parent.name in FOLDERS:
        program = f"{_reachable('python', sys.executable)} -m {MODULES.get(command, f'experiments.{command}')}"
    else:
        own = started.stem == PROGRAM
        program = f"{_reachable(PROGRAM, str(started)) if own else PROGRAM} {command}"
    return " ".join([program, *(shlex.quote(str(argument)) for argument in arguments)])


def _reachable(name: str, path: str) -> str:
    """Returns a program's name where the shell finds it by that name, else its path.

    Args:
        name: For example ``python``.
        path: The program that is running.
    """
    if "UV_RUN_RECURSION_DEPTH" in os.environ:  # uv sets it in what it runs, and puts the environment on the path
        return f"uv run {name}"
    found = shutil.which(name)
    # Not resolved: an environment's python is a link to the one it was made from, and another program.
    if found and Path(found).absolute() == Path(path).absolute():
        return name
    place, here = Path(path), Path.cwd()
    return shlex.quote(str(place.relative_to(here) if place.is_relative_to(here) else place))
