"""Tests that need a GPU; without one they are skipped."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    # cuDNN's recurrent layers round float32 to 10 bits otherwise, as torch allows by default.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
