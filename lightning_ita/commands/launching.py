"""Arguments that say where cells run: ``--launcher``, ``--jobs``, and what a cell may use."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import jsonargparse

from lightning_ita.errors import UserError
from lightning_ita.studies.launch import LAUNCHERS

if TYPE_CHECKING:  # launchers import torch
    from lightning_ita.studies.launch.launcher import Launcher

# Options of sbatch that are not the user's to set, and why.
OURS = {
    **dict.fromkeys(("nodes", "ntasks", "ntasks_per_node"), "a task is one process on one node"),
    **dict.fromkeys(("array", "map_count"), "--jobs says how many tasks there are"),
    **dict.fromkeys(("output", "error", "open_mode"), "logs are in the study's folder slurm/"),
    **dict.fromkeys(("job_name", "signal"), "by the name it finds the job again; --slurm.signal_delay_s is free"),
}
# Options of sbatch that say the same as one of this command.
SAME = {"cell_cpus": ("cpus_per_task",), "cell_gpus": ("gpus", "gpus_per_node", "gpus_per_task", "gres")}


def add_launcher(parser: jsonargparse.ArgumentParser, what: str = "Cells") -> None:
    """Adds ``--launcher`` and its options.

    Args:
        parser: The command's parser.
        what: What is run: cells, or trials of a sweep.
    """
    parser.add_argument(
        "--launcher",
        type=str,
        default="local",
        help=f"Where {what.lower()} run: {', '.join(LAUNCHERS)}; see docs/cluster.md.",
    )
    parser.add_argument(
        "--jobs",
        type=int | None,
        help=f"{what} to run at once, or tasks on Slurm; by default, on one machine, one per GPU, or as many as cores "
        "and memory hold.",
    )
    parser.add_argument(
        "--cell-cpus",
        type=float | None,
        help="Processors per cell on a cluster, and its threads; by default, on Ray, 1 per device of the cell.",
    )
    parser.add_argument(
        "--cell-gpus",
        type=float | None,
        help="GPUs per cell on a cluster; 0.5 lets two cells share one; by default, on Ray, 1 per device of the cell "
        "where there are any.",
    )
    parser.add_argument(
        "--ray-address",
        type=str,
        default="auto",
        help="Ray's cluster: auto (the one that this machine is part of), HOST:PORT, ray://HOST:PORT, or local (one "
        "that ends with the command).",
    )
    parser.add_argument(
        "--slurm",
        type=dict[str, str] | None,
        help="Options of Slurm's sbatch for each task: --slurm.partition gpu --slurm.time 4:00:00 --slurm.gres gpu:1 "
        "--slurm.cpus_per_task 4 --slurm.mem 16G ...; --slurm.setup 'module load cuda' is a command before each task.",
    )
    parser.add_argument(
        "--cancel",
        action="store_true",
        help="With --launcher slurm: cancel the jobs of this study that wait or run, and end. They save their state.",
    )


def check_launcher(arguments: Any) -> None:
    """Checks the arguments of `add_launcher`, without heavy imports.

    Raises:
        UserError: The launcher is unknown, or a number is out of its range.
    """
    LAUNCHERS.check(arguments.launcher)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs {arguments.jobs}: expected 1 or more")
    for name, least in (("cell_cpus", "more than 0"), ("cell_gpus", "0 or more")):
        value = getattr(arguments, name)
        if value is not None and (value < 0 or (value == 0 and name == "cell_cpus")):
            raise UserError(f"--{name.replace('_', '-')} {value:g}: expected {least}")
        if value is not None and arguments.launcher == "local":
            raise UserError(
                f"--{name.replace('_', '-')} is for a cluster; on this machine --jobs shares out what is there"
            )
        if value is not None and arguments.launcher == "slurm" and value != int(value):
            raise UserError(f"--{name.replace('_', '-')} {value:g}: Slurm gives whole ones; expected a whole number")
    if arguments.slurm and arguments.launcher != "slurm":
        raise UserError(f"--slurm.{next(iter(arguments.slurm))} is for --launcher slurm, not {arguments.launcher}")
    for name in arguments.slurm or {}:
        if name.replace("-", "_") in OURS:
            raise UserError(f"--slurm.{name} is set by this command: {OURS[name.replace('-', '_')]}")
    for (ours, theirs), (name, said) in product(SAME.items(), (arguments.slurm or {}).items()):
        value, plain = getattr(arguments, ours), name.replace("-", "_")
        if value is None or plain not in theirs or (plain == "gres" and "gpu" not in said):
            continue
        if said != f"{value:g}":
            raise UserError(
                f"--{ours.replace('_', '-')} {value:g} and --slurm.{name} {said} both say how many "
                f"{'processors' if ours == 'cell_cpus' else 'GPUs'} a task has: leave one of them out"
            )


def launcher_of(arguments: Any) -> Launcher:
    """Returns the launcher that was asked for."""
    from lightning_ita.studies.launch.launcher import Resources

    slurm = {name.replace("-", "_"): value for name, value in (arguments.slurm or {}).items()}
    resources = Resources(arguments.jobs, arguments.cell_cpus, arguments.cell_gpus, arguments.ray_address, slurm)
    launcher: Launcher = LAUNCHERS[arguments.launcher](resources)
    return launcher
