"""Options of a Slurm array: how they reach sbatch, and whether an array that is at work was submitted with them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_ita.files import write_text
from lightning_ita.registry import require

# The file in the folder of an array that says which options it was submitted with.
NOTE = "options.json"


def note(folder: Path, options: Mapping[str, str]) -> None:
    """Notes the options, by name, that an array was submitted with."""
    write_text(folder / NOTE, json.dumps(options))


def differing(folder: Path, options: Mapping[str, str]) -> str | None:
    """Says which options an array was submitted with that are others now, as it keeps them; ``None`` if none are."""
    try:
        noted = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an earlier version of this program, or removed meanwhile
        return None
    differences = [
        f"{name} {noted.get(name, 'not given')} (here {options.get(name, 'not given')})"
        for name in {**noted, **options}
        if noted.get(name) != options.get(name)
    ]
    if not differences:
        return None
    return (
        f"it was submitted with other options, and keeps them: {', '.join(differences)}; to change them, add --cancel "
        "to the command, and then give it again without"
    )


def parameters(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Returns the parameters of submitit's executor for options of sbatch.

    What submitit knows by name is passed as such; other options of sbatch go into the file as they are.
    """
    known = set(require("submitit", extra="slurm").SlurmExecutor._valid_parameters())
    # No time limit but the partition's, and the job may be put back into the queue.
    values: dict[str, Any] = {"job_name": name, "time": None, "wckey": None, "additional_parameters": {"requeue": True}}
    for key, value in given.items():
        if key in ("setup", "teardown"):
            values[key] = [value]
        elif key == "srun_args":
            values[key] = shlex.split(value)
        elif key in known:
            values[key] = True if value in ("true", "True", "") else int(value) if value.isdecimal() else value
        else:
            values["additional_parameters"][key] = True if value in ("true", "True", "") else value
    if "cpus_per_task" in values:  # since 22.05 srun does not take it over from the job
        values["srun_args"] = [*values.get("srun_args", []), f"--cpus-per-task={values['cpus_per_task']}"]
    return values
