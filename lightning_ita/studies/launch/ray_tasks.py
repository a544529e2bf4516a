"""What drivers of a Ray cluster share: the connection, the resources of a run, and the reasons of failures."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning_ita.errors import UserError
from lightning_ita.models.encoders.locating import encoder_shape
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.launch.launcher import Resources, bytes_per_process, last_line
from lightning_ita.studies.launch.reports import Reports
from lightning_ita.text import printable

# Seconds between two looks at what the nodes report, and seconds that runs may take to save their state at the end.
POLL, PATIENCE = 0.25, 60.0
# A cell or worker whose process or node was lost so often has failed: perhaps it needs more memory than there is.
MOST_LOSSES = 5


@contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:
    """Connects this process to a cluster, if it is not yet.

    Raises:
        UserError: There is none at this address.
    """
    if ray.is_initialized():
        yield
        return
    # Ray's own handler would end this process before it has saved anything.
    handler = signal.getsignal(signal.SIGTERM)
    new = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **new)
    except Exception as error:  # Ray raises many kinds, this one itself among them
        raise UserError(
            f"--ray-address {address}: no Ray cluster could be reached there ({first_line(error)}); `ray start --head` "
            "starts one on this machine, and --ray-address local one that ends with the command"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def needs_of(ray: Any, resources: Resources, cell: Cell) -> dict[str, float]:
    """Returns what the run of a cell takes of a node, as Ray names it."""
    devices = cell.recipe.devices
    gpus = resources.gpus if resources.gpus is not None else float(devices * ("GPU" in ray.cluster_resources()))
    cpus = float(devices) if resources.cpus is None else resources.cpus
    return {"CPU": cpus, "GPU": gpus, "memory": float(devices * bytes_per_process(encoder_shape(cell.encoder)))}


def as_task(ray: Any, function: Any, needs: Mapping[str, float]) -> Any:
    """Returns a function as Ray's task, which is given what it needs and not tried again by Ray."""
    return ray.remote(function).options(
        num_cpus=needs["CPU"], num_gpus=needs["GPU"], memory=int(needs["memory"]), max_retries=0
    )


def reports_here(ray: Any) -> Any:
    """Starts `Reports` beside this process; elsewhere, where its node is lost."""
    on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    here = on(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(Reports).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


def slots_of(ray: Any, needs: Mapping[str, float]) -> int:
    """Returns how many runs the nodes of the cluster can hold at once."""
    wanted = {name: amount for name, amount in needs.items() if amount}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in nodes)


def no_node(needs: Mapping[str, float]) -> str:
    """Says that no node has what a run needs."""
    listed = ", ".join(f"{amount:g} {name}" for name, amount in needs.items() if amount)
    remedy = "--cell-cpus and --cell-gpus ask for less, a smaller encoder for less memory"
    return f"no node of the cluster has what a cell needs ({listed}): waiting for one; {remedy}"


def clear_nodes(ray: Any, clear: Any, study: str) -> None:
    """Has the nodes remove what they keep of a study; those that do not answer soon are left alone.

    Args:
        ray: The module.
        clear: Removes the folder of this name on the node it is called on.
        study: Name of the study's folder on the nodes.
    """
    on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    used = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    task = ray.remote(clear)
    tasks = [
        task.options(num_cpus=0, max_retries=0, scheduling_strategy=on(node, soft=False)).remote(study) for node in used
    ]
    ray.wait(tasks, num_returns=len(tasks), timeout=PATIENCE)


def cannot_run(error: BaseException) -> str:
    """Says that a node has no program, or another one."""
    remedy = "is lightning-ita installed there, in the same version as here?"
    return f"a node of the cluster cannot run cells: {last_line(str(error))}; {remedy}"


def first_line(error: BaseException) -> str:
    """Returns what kind of error it is, and the first line of what it says."""
    return printable(f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
