"""A study that is told to end, as Slurm tells it, saves what it has and ends as the signal does."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_ita.commands import ablate
from lightning_ita.studies.resume import read_checkpoint


def command(corpus: Path, encoder: str, out: Path, *further: str) -> list[str]:
    data = [f"--data-dir={corpus}", f"--encoder={encoder}", "--preset=small", "--recipe.epochs=25", "--contexts=none"]
    return [*data, f"--out={out}", *further]


def terminate(module: str, arguments: list[str], cells: Path, runs: int) -> tuple[str, set[Path]]:
    """Starts a command, sends it SIGTERM once so many runs have had an epoch; returns what it printed, and the runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    parts: set[Path] = set()
    while process.poll() is None and len(parts) < runs:
        parts = {path.parent for path in cells.glob(".*.part/epoch-*.ckpt")}
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, said = process.communicate(timeout=600)
    assert process.returncode == -signal.SIGTERM, said
    assert said.splitlines()[-1] == "ended by SIGTERM; the same command goes on where it stopped"
    assert {path.parent for path in cells.glob(".*.part/state.ckpt")} == parts
    return printed, parts


def steps(cells: Path) -> list[list[int]]:
    """Returns the steps at which the parts of each finished run began."""
    paths = sorted(cells.glob("[!.]*/environment.json"))
    return [[part["step"] for part in json.loads(path.read_text())["trained_on"]] for path in paths]


@pytest.mark.parametrize("jobs", [1, 2])
def test_sigterm_saves_a_checkpoint_and_the_study_goes_on(
    corpus: Path, tiny_encoder: str, tmp_path: Path, jobs: int
) -> None:
    out = tmp_path / "out"
    # Two processes do not begin at once: the first must still train when the second has.
    epochs, seeds = (60, "1,2") if jobs == 2 else (25, "1")
    options = [f"--recipe.epochs={epochs}", f"--seeds={seeds}", f"--jobs={jobs}"]
    arguments = command(corpus, tiny_encoder, out, *options)
    printed, parts = terminate("experiments.ablate", arguments, out / "cells", jobs)
    saved = sorted(read_checkpoint(part / "state.ckpt")["global_step"] for part in parts)
    shared = "2 at once" if jobs == 2 else "one after the other"
    assert re.fullmatch(rf"running {jobs} of {jobs} cells?, {shared}; about \d+ minutes?", printed.splitlines()[0])
    assert f"demo BERT-CRF, seed 1: epoch 1/{epochs}" in printed.splitlines()

    assert ablate.main(arguments) == 0
    assert sorted(steps(out / "cells")) == [[0, step] for step in saved]
    undisturbed = tmp_path / "undisturbed"
    assert ablate.main([*arguments, f"--out={undisturbed}"]) == 0
    assert (undisturbed / "table.csv").read_bytes() == (out / "table.csv").read_bytes()
    for path in (undisturbed / "cells").glob("*/predictions.*"):
        assert path.read_bytes() == (out / "cells" / path.parent.name / path.name).read_bytes()


def test_sigterm_leaves_trials_that_a_sweep_goes_on_with(corpus: Path, tiny_encoder: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from lightning_ita.commands import sweep

    space, out = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text("parameters: {recipe.learning_rate: {values: [1e-4, 2e-4, 3e-4]}}", encoding="utf-8")
    options = ["--cva=off", f"--space={space}", "--trials=2", "--jobs=2", "--top=0", "--pruner=none"]
    options += ["--recipe.epochs=60"]
    arguments = command(corpus, tiny_encoder, out, *options)
    printed, parts = terminate("sweeps.optuna", arguments, out / "trials", 2)
    assert printed.splitlines()[0] == "running 2 trials, 2 at once"
    assert "trial  0  epoch 1/60" in printed.splitlines()
    assert sweep.main(arguments) == 0
    assert not list((out / "trials").glob(".*"))
    with (out / "trials.csv").open(encoding="utf-8") as file:
        trials = list(csv.DictReader(file))
    assert [trial["state"] for trial in trials] == ["fail", "fail", "complete", "complete"]
    assert {f".{trial['cell']}.part" for trial in trials[2:]} == {part.name for part in parts}
    assert all(first == 0 < second for first, second in steps(out / "trials"))


def test_a_cell_is_one_process_inside_a_slurm_allocation(
    corpus: Path, tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NTASKS": "4", "JOB_ID": "7", "JOB_NAME": "study", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setitem(os.environ, f"SLURM_{name}", value)
    arguments = command(corpus, tiny_encoder, tmp_path / "out", "--seeds=1", "--jobs=1", "--recipe.epochs=1")
    assert ablate.main(arguments) == 0


def test_names_are_printed_as_text(
    corpus: Path, tiny_encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder, out = tmp_path / "[b] :smile:", tmp_path / "e_[/x]"
    shutil.copytree(tiny_encoder, encoder)
    arguments = command(corpus, str(encoder), out, "--seeds=1", "--jobs=1", "--recipe.epochs=1")
    assert ablate.main(arguments) == 0
    shown = capsys.readouterr().out
    assert f"written: {out}/table.md" in shown
    assert "[b] :smile:" in shown


def test_a_folder_that_is_deleted_is_noticed_and_not_refused_later(
    corpus: Path, tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_ita.errors import UserError
    from lightning_ita.studies import scoring

    out = tmp_path / "out"
    arguments = command(corpus, tiny_encoder, out, "--seeds=1", "--jobs=1", "--recipe.epochs=1")
    score = scoring.score

    def deleting(*given: object) -> dict[str, float]:
        shutil.rmtree(out)
        return score(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "score", deleting)
    with pytest.raises(UserError, match="out was deleted or moved while cells of it ran"):
        ablate.main(arguments)
    monkeypatch.undo()
    shutil.rmtree(out / "cells", ignore_errors=True)
    assert ablate.main(arguments) == 0
