"""Ray in one process, one task after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import cached_property
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


class NodeDiedError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: BaseException):
        super().__init__(str(cause))
        self.cause = cause


class Reference:
    """What a task returns or raises; it runs when that is first asked for."""

    def __init__(self, make: Callable[[], Any]):
        self.make = make

    @cached_property
    def outcome(self) -> tuple[Any, BaseException | None]:
        try:
            return self.make(), None
        except RayError as error:
            return None, error

    def future(self) -> Future[Any]:
        future = Future[Any]()
        value, error = self.outcome
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
        return future


class Handle:
    """An actor: every method at once, in this process."""

    def __init__(self, actor: Any):
        self.actor = actor

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.actor, name)

        def remote(*arguments: Any) -> Reference:
            value = method(*arguments)
            return Reference(lambda: value)

        return SimpleNamespace(remote=remote)


class FakeRay:
    """Stands in for the module `ray`.

    Args:
        node: What a node has.
        lose: Called before a task runs, with the number of the task: raises what befalls it.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, NodeDiedError=NodeDiedError)
    util = SimpleNamespace(scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None))

    def __init__(self, node: Mapping[str, float], lose: Callable[[int], None] = lambda number: None):
        self.node, self.lose = node, lose
        self.numbers: Iterator[int] = itertools.count()
        self.options: list[Mapping[str, Any]] = []
        self.puts: list[Any] = []

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> Mapping[str, float]:
        return self.node

    def nodes(self) -> list[Any]:
        return [{"NodeID": str(alive), "Alive": alive, "Resources": self.node} for alive in (True, False)]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    def put(self, value: Any) -> Reference:
        self.puts.append(value)
        return Reference(lambda: value)

    def get(self, reference: Reference, timeout: float | None = None) -> Any:
        value, error = reference.outcome
        if error is not None:
            raise error
        return value

    def wait(self, references: list[Reference], num_returns: int = 1, timeout: float | None = None) -> Any:
        assert references[0].outcome
        return references[:1], references[1:]

    def cancel(self, reference: Reference, force: bool = False) -> None:
        pass

    def kill(self, handle: Any) -> None:
        pass

    def remote(self, thing: Any) -> Any:
        def options(**given: Any) -> Any:
            self.options.append(given)
            return SimpleNamespace(remote=lambda *arguments: self._start(thing, arguments))

        return SimpleNamespace(options=options)

    def _start(self, thing: Any, arguments: tuple[Any, ...]) -> Any:
        if isinstance(thing, type):
            return Handle(thing())
        number = next(self.numbers)

        def run() -> Any:
            self.lose(number)
            try:
                return thing(*arguments)
            except Exception as error:
                raise RayTaskError(error) from error

        return Reference(run)
