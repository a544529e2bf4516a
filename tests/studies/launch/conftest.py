from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_ita.commands import ablate
from tests.studies.launch.fake_ray import FakeRay
from tests.studies.studies import results


@pytest.fixture(scope="module")
def expected(study: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables and predictions of a module's study on this machine, undisturbed."""
    out = tmp_path_factory.mktemp("local") / "out"
    assert ablate.main([*study, f"--out={out}", "--jobs=1"]) == 0
    return results(out)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., FakeRay]:
    """Returns a function that makes a cluster whose nodes are this process; see `FakeRay`."""
    pytest.importorskip("ray")
    from lightning_ita.studies.launch import ray_cluster, ray_node

    def make(lose: Callable[[int], None] = lambda number: None) -> FakeRay:
        ray = FakeRay({"CPU": 2.0, "memory": 2.0**35}, lose)
        monkeypatch.setattr(ray_cluster, "require", lambda *_, **__: ray)
        monkeypatch.setattr(ray_node.ray, "put", ray.put)
        for name in ("get", "wait"):  # they would give a run's processors away
            monkeypatch.delattr(ray_node.ray, name, raising=False)
        monkeypatch.setattr(ray_node, "scratch", lambda: tmp_path / "node")
        return ray

    return make
