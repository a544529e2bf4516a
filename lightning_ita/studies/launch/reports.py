"""Messages between the runs on a cluster and their driver: progress from the runs, requests to stop from the driver."""

from __future__ import annotations

from typing import Any


class Reports:
    """An actor beside the driver, to which the runs on the nodes report; it imports nothing heavy."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[float, str]] = {}
        self.checkpoints: dict[str, list[Any]] = {}
        self.stopping = False

    def note(self, name: str, share: float, stage: str) -> bool:
        """Notes how far a cell is; returns whether its run should save its state and end."""
        self.said[name] = share, stage
        return self.stopping

    def checkpoint(self, name: str, reference: list[Any]) -> None:
        """Notes the newest checkpoint of a cell: a list with the reference to it."""
        self.checkpoints[name] = reference

    def drain(self) -> tuple[dict[str, tuple[float, str]], dict[str, list[Any]]]:
        """Returns what was said since the last call."""
        drained = self.said, self.checkpoints
        self.said, self.checkpoints = {}, {}
        return drained

    def stop(self) -> None:
        """Asks all runs to save their state and end."""
        self.stopping = True

    def asked_to_stop(self) -> bool:
        """Returns whether runs should end."""
        return self.stopping
