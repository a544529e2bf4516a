from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from lightning_ita.errors import Terminated


def raise_terminated(*_: object) -> None:
    raise Terminated


@pytest.fixture
def terminable() -> Iterator[None]:
    """Has SIGTERM end this process as the commands do."""
    before = signal.signal(signal.SIGTERM, raise_terminated)
    yield
    assert signal.getsignal(signal.SIGTERM) is raise_terminated
    signal.signal(signal.SIGTERM, before)
