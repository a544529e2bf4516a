from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def tiny_run(tiny_encoder: str, corpus: Path) -> list[str]:
    """Arguments that make a run of the demo corpus take a second."""
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=small"]
