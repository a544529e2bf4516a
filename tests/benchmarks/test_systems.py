"""The benchmark of the systems: its tables, and to which part of a step it counts time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import systems
from lightning_ita.data import relations
from lightning_ita.demo import DemoConfig

NAMES = [systems.REFERENCE, "OCSGA", "RpBERT", "BGA-MNER"]


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_the_tables_have_every_system(
    tiny_encoder: str,
    tiny_vision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = relations.made(DemoConfig(seed=5, train=12, valid=1, test=4))
    monkeypatch.setattr(relations, "relations", lambda file: few)
    monkeypatch.setattr(systems, "take_turn", systems.measure)  # in this process, which has few relations
    monkeypatch.setattr(systems, "WARM_UP", 0)
    monkeypatch.setattr(systems, "PROFILED", 1)
    small = ["--rounds=1", "--steps=2", "--batch-size=4", "--threads=1", f"--encoder={tiny_encoder}"]
    output = tmp_path / "costs.md"
    systems.main([*small, f"--vision={tiny_vision}", f"--output={output}", "--systems", *NAMES[1:]])
    written = output.read_text(encoding="utf-8")
    assert written == capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written.splitlines() if line.startswith("|")]
    costs, shares = rows[: 2 + len(NAMES)], rows[2 + len(NAMES) :]
    assert costs[0] == list(systems.HEADER)
    assert [row[0] for row in costs[2:]] == [row[0] for row in shares[2:]] == NAMES
    assert len({len(row) for row in costs}) == len({len(row) for row in shares}) == 1
    column = {name: dict(zip(costs[0], row, strict=True)) for name, row in zip(NAMES, costs[2:], strict=True)}
    assert column[systems.REFERENCE][f"× {systems.REFERENCE}"] == "1.00"
    assert column[systems.REFERENCE]["features"] == column["OCSGA"]["features"] == "–"
    assert column["RpBERT"]["features"].endswith("%")
    assert "≤ 8 ×: " in column["BGA-MNER"]["goals"]
    for row in shares[2:]:
        percents = dict(zip(shares[0][1:], (int(share.rstrip("%")) for share in row[1:]), strict=True))
        assert 96 <= sum(percents.values()) <= 104
        assert percents["encoder"] > 0
        assert (percents["further losses"] > 0) == (row[0] in ("RpBERT", "BGA-MNER"))


def test_a_backward_pass_belongs_to_the_part_that_it_continues() -> None:
    large, small = torch.randn(400, 400, requires_grad=True), torch.randn(4, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        with systems.part("encoder"):
            states = torch.randn(400, 400)
            for _ in range(8):
                states = (states @ large).tanh()
        with systems.part("further losses"), systems.part("encoder"):
            further = small.exp().sum()
        with systems.part("CRF"):
            loss = states.sum() + further
        loss.backward()
    shares = systems.shares_of(profiler.events())
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["encoder"] > 0.7
    assert 0 < shares["further losses"] < 0.2
    assert 0 < shares["CRF"] < 0.2
    assert shares["optimiser"] == 0
