from __future__ import annotations

from pathlib import Path

import pytest

from lightning_ita.demo import DemoConfig, write


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "demo"
    write(DemoConfig(train=24, valid=12, test=12), folder)
    return folder
