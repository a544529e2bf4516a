from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from lightning_ita.errors import terminate


@pytest.fixture
def terminable() -> Iterator[None]:
    """Has SIGTERM end this process as the commands do."""

    def handler(*_: object) -> None:
        terminate()  # an object of its own, so that one that others leave is seen

    before = signal.signal(signal.SIGTERM, handler)
    yield
    assert signal.getsignal(signal.SIGTERM) is handler
    signal.signal(signal.SIGTERM, before)
