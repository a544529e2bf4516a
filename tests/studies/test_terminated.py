"""A study that is told to end, as Slurm tells it, saves what it has and ends as the signal does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_ita.commands import ablate


def command(corpus: Path, encoder: str, out: Path, *further: str) -> list[str]:
    data = [f"--data-dir={corpus}", f"--encoder={encoder}", "--preset=small", "--recipe.epochs=25", "--contexts=none"]
    return [*data, f"--out={out}", *further]


@pytest.mark.parametrize(("jobs", "seeds"), [(1, "1"), (2, "1,2")])
def test_sigterm_saves_a_checkpoint_and_the_study_goes_on(
    corpus: Path, tiny_encoder: str, tmp_path: Path, jobs: int, seeds: str
) -> None:
    out = tmp_path / "out"
    arguments = command(corpus, tiny_encoder, out, f"--seeds={seeds}", f"--jobs={jobs}")
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.ablate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    parts = set()
    while process.poll() is None and len(parts) < jobs:
        parts = {path.parent for path in (out / "cells").glob(".*.part/epoch-*.ckpt")}
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, said = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGTERM
    assert said.splitlines()[-1] == "ended by SIGTERM; the same command goes on where it stopped"
    cells = len(seeds.split(","))
    assert (
        printed.splitlines()[0]
        == f"running {cells} of {cells} cells, {'2 at once' if jobs == 2 else 'one after the other'}"
    )
    assert "demo BERT-CRF, seed 1: epoch 1/25" in printed
    assert {path.parent for path in (out / "cells").glob(".*.part/state.ckpt")} == parts

    assert ablate.main(arguments) == 0
    for path in (out / "cells").glob("*/environment.json"):
        first, second = json.loads(path.read_text(encoding="utf-8"))["trained_on"]
        assert first["step"] == 0 < second["step"]
    if jobs == 1:
        undisturbed = tmp_path / "undisturbed"
        assert ablate.main(command(corpus, tiny_encoder, undisturbed, f"--seeds={seeds}", f"--jobs={jobs}")) == 0
        assert (undisturbed / "table.csv").read_bytes() == (out / "table.csv").read_bytes()


def test_a_cell_is_one_process_inside_a_slurm_allocation(
    corpus: Path, tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NTASKS": "4", "JOB_ID": "7", "JOB_NAME": "study", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setitem(os.environ, f"SLURM_{name}", value)
    arguments = command(corpus, tiny_encoder, tmp_path / "out", "--seeds=1", "--jobs=1", "--recipe.epochs=1")
    assert ablate.main(arguments) == 0


def test_a_folder_that_is_deleted_is_noticed_and_not_refused_later(
    corpus: Path, tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from lightning_ita.errors import UserError
    from lightning_ita.studies import run

    out = tmp_path / "out"
    arguments = command(corpus, tiny_encoder, out, "--seeds=1", "--jobs=1", "--recipe.epochs=1")
    score = run.score

    def deleting(*given: object) -> dict[str, float]:
        shutil.rmtree(out)
        return score(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "score", deleting)
    with pytest.raises(UserError, match="out was deleted or moved while cells of it ran"):
        ablate.main(arguments)
    monkeypatch.undo()
    shutil.rmtree(out / "cells", ignore_errors=True)
    assert ablate.main(arguments) == 0
