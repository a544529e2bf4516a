from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from lightning_ita.errors import terminate


@pytest.fixture
def terminable() -> Iterator[None]:
    """Has SIGTERM end this process as the commands do."""
    before = signal.signal(signal.SIGTERM, terminate)
    yield
    assert signal.getsignal(signal.SIGTERM) is terminate
    signal.signal(signal.SIGTERM, before)
