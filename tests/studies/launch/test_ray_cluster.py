"""The driver of a Ray cluster, with the runs of the nodes in this process: losses, refusals, signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

pytest.importorskip("ray")

from lightning_ita.commands import ablate
from lightning_ita.errors import Terminated, UserError
from lightning_ita.studies.launch import parcels, ray_cluster, ray_node
from lightning_ita.studies.launch.parcels import Shipment, pack, unpack
from lightning_ita.studies.launch.reports import Reports
from lightning_ita.studies.plan import read_plan
from lightning_ita.studies.study import claim
from tests.studies.launch.fake_ray import FakeRay, Handle, NodeDiedError, RayError


@pytest.fixture
def study(corpus: Path, tiny_encoder: str) -> list[str]:
    options = ["--preset=small", "--contexts=none", "--seeds=1,2", "--recipe.epochs=1", "--launcher=ray"]
    return [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", *options]


def cells(out: Path) -> set[str]:
    return {path.name for path in (out / "cells").iterdir()}


def fail_once(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> list[int]:
    """Has the first run on a node end with an error; returns a list that has an element per run."""
    attempt, calls = ray_node.attempt, []

    def failing(*arguments: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise error
        attempt(*arguments, **options)

    monkeypatch.setattr(ray_node, "attempt", failing)
    return calls


def test_a_study_on_a_cluster_is_that_of_this_machine(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path, tiny_encoder: str
) -> None:
    ray = cluster()
    local, out = tmp_path / "local", tmp_path / "out"
    assert ablate.main([*study, f"--out={local}", "--launcher=local", "--jobs=1"]) == 0
    assert ablate.main([*study, f"--out={out}", "--cell-cpus=0.5"]) == 0
    assert (ray.options[0]["num_cpus"], ray.options[0]["num_gpus"], ray.options[0]["max_retries"]) == (0.5, 0.0, 0)
    for name in ("table.csv", "table.md", "plan.jsonl"):
        assert (out / name).read_bytes() == (local / name).read_bytes()
    assert cells(out) == cells(local)
    for path in (local / "cells").glob("*/[cp]*"):
        assert path.read_bytes() == (out / path.relative_to(local)).read_bytes()
    # One corpus for both cells; nothing of a run stays on its node.
    assert sum(type(value).__name__ == "Corpus" for value in ray.puts) == 1
    assert not list((tmp_path / "node").iterdir())


@pytest.mark.parametrize("home", [False, True])
def test_an_encoder_that_is_on_no_node_comes_along(
    home: bool,
    study: list[str],
    cluster: Callable[..., FakeRay],
    tmp_path: Path,
    tiny_encoder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, out = tmp_path / "mine" / "encoder", tmp_path / "out"
    named = "~/encoder" if home else str(encoder)  # as in a file, where no shell writes it out
    monkeypatch.setenv("HOME", str(encoder.parent))
    shutil.copytree(tiny_encoder, encoder)

    def leave(number: int) -> None:
        if number == 0:
            encoder.rename(tmp_path / "elsewhere")

    cluster(leave)
    assert ablate.main([*study, "--seeds=1", f"--encoder={named}", "--keep-models=all", f"--out={out}"]) == 0
    (metrics,) = (out / "cells").glob("*/metrics.json")
    assert json.loads(metrics.read_text())["tokenizer"] == named
    assert f"encoder: {named}" in metrics.with_name("config.yaml").read_text()
    assert not [path for path in out.rglob("*.*") if str(tmp_path / "node") in path.read_text(errors="replace")]
    assert not list((tmp_path / "node").iterdir())


def test_a_row_that_tests_the_model_of_another_keeps_none(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path
) -> None:
    cluster()
    out = tmp_path / "out"
    rows = ["--contexts=cap", "--cva=off", "--systems=ita", "--seeds=1", "--control=none,other-image-at-test"]
    assert ablate.main([*study, *rows, "--keep-models=all", f"--out={out}"]) == 0
    assert {path.name: (path / "model").is_dir() for path in (out / "cells").iterdir()} == {
        name: "other-image" not in name for name in cells(out)
    }
    assert len(cells(out)) == 2


def test_a_lost_cell_is_sent_again(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(number: int) -> None:
        if number in (0, 2):
            raise NodeDiedError("its node is dead")

    cluster(lose)
    assert ablate.main([*study, f"--out={tmp_path / 'out'}"]) == 0
    assert len(cells(tmp_path / "out")) == 2
    said = capsys.readouterr().out
    assert said.count(" was lost (NodeDiedError: its node is dead); it is sent again") == 2


def test_a_cell_is_sent_again_where_a_node_ends_its_process_and_the_driver_has_not_asked(
    study: list[str],
    cluster: Callable[..., FakeRay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster()
    fail_once(monkeypatch, Terminated())
    assert ablate.main([*study, "--seeds=1", f"--out={tmp_path / 'out'}"]) == 0
    assert "its process was told to end); it is sent again" in capsys.readouterr().out


def test_the_training_of_a_teacher_is_sent_home_before_it_ends(
    cluster: Callable[..., FakeRay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster()
    monkeypatch.setattr(ray_node, "SECONDS_APART", 0.0)
    reports = Reports()
    lost, other = tmp_path / "lost", tmp_path / "other"
    watch = ray_node.Watching("cell", lost, Handle(reports))
    watch._send()
    assert not reports.drain()[1]
    state = Path("cells", ".cell.part", ".teacher.part", "state.ckpt")
    (lost / state).parent.mkdir(parents=True)
    (lost / state).write_bytes(b"half of it")
    watch._send()
    ((reference,),) = reports.drain()[1].values()
    ray_node._take_part(ray_node.fetched(reference), other, other / "cells" / "cell")
    assert (other / state).read_bytes() == b"half of it"
    (other / state).write_bytes(b"more of it")  # is newer
    ray_node._take_part(ray_node.fetched(reference), other, other / "cells" / "cell")
    assert (other / state).read_bytes() == b"more of it"


def test_a_cell_that_is_lost_again_and_again_has_failed(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(number: int) -> None:
        if number != 1:
            raise RayError("its worker died")

    cluster(lose)
    out = tmp_path / "out"
    assert ablate.main([*study, f"--out={out}"]) == 1
    assert "failed: it was lost 5 times, at last: RayError: its worker died" in capsys.readouterr().out
    assert len(cells(out)) == 1
    cluster()
    assert ablate.main([*study, f"--out={out}", "--retry-failed"]) == 0


def test_what_fails_on_a_node_is_noted_here(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_ita.studies import scoring

    def fail(*_: object) -> None:
        raise ValueError("no luck")

    cluster()
    monkeypatch.setattr(scoring, "score", fail)
    assert ablate.main([*study, f"--out={tmp_path / 'out'}"]) == 1
    assert {path.read_text().partition("\n")[0] for path in (tmp_path / "out" / "failed").iterdir()} == {"no luck"}
    # What was trained is kept, as it is on one machine.
    assert all(name.startswith(".") for name in cells(tmp_path / "out"))


def test_a_node_with_other_code_is_refused(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster()
    monkeypatch.setattr(ray_node, "code_digest", lambda *_: "0" * 64)
    with pytest.raises(UserError, match="has other code of lightning_ita than the driver; install the same version"):
        ablate.main([*study, f"--out={tmp_path / 'out'}"])


def test_a_node_without_the_program_is_named(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'lightning_ita'")

    cluster()
    monkeypatch.setattr(ray_node, "run_order", missing)
    with pytest.raises(UserError, match=r"cannot run cells: No module.*is lightning-ita installed"):
        ablate.main([*study, f"--out={tmp_path / 'out'}"])


def test_a_full_disk_of_a_node_is_a_loss(
    study: list[str],
    cluster: Callable[..., FakeRay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster()
    calls = fail_once(monkeypatch, OSError(28, "No space left on device"))
    assert ablate.main([*study, "--seeds=1", f"--out={tmp_path / 'out'}"]) == 0
    assert len(calls) == 2
    assert "No space left on device" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
@pytest.mark.usefixtures("terminable")
def test_a_signal_ends_the_driver_when_all_is_in_place(
    number: int,
    expected: type[BaseException],
    study: list[str],
    cluster: Callable[..., FakeRay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lose(task: int) -> None:
        if task == 0:
            os.kill(os.getpid(), number)

    cluster(lose)
    out = tmp_path / "out"
    with pytest.raises(expected):
        ablate.main([*study, f"--out={out}"])
    assert len(cells(out)) == 1  # the one in hand; the other was sent, and not begun
    monkeypatch.setattr(ray_node, "attempt", _only_the_second(out))
    cluster()
    assert ablate.main([*study, f"--out={out}"]) == 0
    assert len(cells(out)) == 2


def _only_the_second(out: Path) -> Callable[..., None]:
    first, attempt = cells(out), ray_node.attempt

    def run(cell: Any, *arguments: Any, **options: Any) -> None:
        assert cell.name not in first
        attempt(cell, *arguments, **options)

    return run


def test_a_cell_that_another_process_runs_is_left_to_it(
    study: list[str], cluster: Callable[..., FakeRay], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert ablate.main([*study, f"--out={out}", "--plan"]) == 0
    lock = claim(read_plan(out)[0].name, out)
    lock.acquire()
    ran: list[int] = []

    def other(number: int) -> None:
        ran.append(number)
        lock.release()

    cluster(other)
    assert ablate.main([*study, f"--out={out}"]) == 0
    assert ran == [0, 1, 2]  # the two cells, and what clears the node


def test_there_is_no_cluster(study: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match=r"auto: no Ray cluster could be reached there \(ConnectionError: "):
        ablate.main([*study, f"--out={tmp_path / 'out'}"])


def test_slots_are_counted_node_by_node() -> None:
    ray = FakeRay({"CPU": 3.0, "GPU": 1.0, "memory": 100.0})
    for needs, slots in (({"CPU": 2.0, "GPU": 0.0}, 1), ({"CPU": 0.5, "GPU": 0.25}, 4), ({"CPU": 1.0, "TPU": 1.0}, 0)):
        assert ray_cluster.slots_of(ray, needs) == slots


def test_a_node_keeps_what_another_driver_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_node, "scratch", lambda: tmp_path)
    for name in ("locks", "cache", "left", "busy"):
        (tmp_path / "study" / name).mkdir(parents=True)
    lock = FileLock(tmp_path / "study" / "locks" / "busy.lock")
    with lock:
        ray_node.clear("study")
        assert {path.name for path in (tmp_path / "study").iterdir()} == {"locks", "cache", "busy"}
    ray_node.clear("study")
    assert not list(tmp_path.iterdir())


def test_a_parcel_holds_what_was_packed(tmp_path: Path) -> None:
    (tmp_path / "from" / "deep").mkdir(parents=True)
    (tmp_path / "from" / "deep" / "bytes").write_bytes(bytes(range(256)))
    (tmp_path / "from" / "other").touch()
    unpack(pack(tmp_path / "from", ["deep"]), tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["deep"]
    assert (tmp_path / "to" / "deep" / "bytes").read_bytes() == bytes(range(256))
    with pytest.raises(UserError, match=r"what came for .*to is damaged"):
        unpack(np.zeros(1000, np.uint8) + 7, tmp_path / "to")


def test_a_shipment_is_fetched_once(tmp_path: Path) -> None:
    (tmp_path / "from" / "deep").mkdir(parents=True)
    (tmp_path / "from" / "deep" / "bytes").write_bytes(bytes(range(256)))
    shipment = Shipment.of(tmp_path / "from", lambda content: content)
    fetched: list[parcels.Bytes] = []

    def get(content: parcels.Bytes) -> parcels.Bytes:
        fetched.append(content)
        return content

    for _ in range(2):
        shipment.fetch(tmp_path / "to", get)
    assert len(fetched) == 1
    assert (tmp_path / "to" / "deep" / "bytes").read_bytes() == bytes(range(256))
    shutil.rmtree(tmp_path / "to")
    replace(shipment, files=()).fetch(tmp_path / "to", get)
    assert not list((tmp_path / "to").iterdir())
