from __future__ import annotations

from pathlib import Path

import pytest

from lightning_ita.demo import DemoConfig, write

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def tiny_run(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that make a run of the demo corpus take a second."""
    corpus = tmp_path_factory.mktemp("data") / "demo"
    write(DemoConfig(train=24, valid=12, test=12), corpus)
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=small"]
