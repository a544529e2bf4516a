from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Edit = Callable[..., str]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test asks the Hub or finds what this machine's cache has of it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))


@pytest.fixture
def edited(tiny_encoder: str, tmp_path: Path) -> Edit:
    """Copies the tiny encoder with other values in its config.json; ``None`` removes one."""

    def edit(**values: Any) -> str:
        folder = tmp_path / "edited"
        shutil.copytree(tiny_encoder, folder)
        config = json.loads((folder / "config.json").read_text()) | values
        (folder / "config.json").write_text(json.dumps({key: each for key, each in config.items() if each is not None}))
        return str(folder)

    return edit
