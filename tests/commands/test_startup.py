"""What commands answer before anything heavy is imported; ``python -m benchmarks.startup`` measures how soon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.startup import cases
from lightning_ita.commands import ablate

HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "torchvision", "transformers", "scipy", "matplotlib", "optuna")
SCRIPT = """
import contextlib, json, sys
from lightning_ita.commands import COMMANDS
from lightning_ita.errors import UserError

calls, heavy = json.loads(sys.argv[1])
sys.argv = ["lightning-ita"]
for command, *arguments in calls:
    with contextlib.suppress(SystemExit, UserError):
        COMMANDS[command](arguments)
    imported = [name for name in heavy if name in sys.modules]
    if imported:
        sys.exit(f"{command} {' '.join(arguments)} imports {', '.join(imported)}")
"""


def run(calls: list[list[str]]) -> str:
    command = [sys.executable, "-c", SCRIPT, json.dumps([calls, HEAVY])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_wrong_arguments_and_missing_folders_are_answered_at_once() -> None:
    run([[case.command, *case.arguments] for case in cases(None)])


def test_a_finished_study_prints_its_table_at_once(corpus: Path, tiny_encoder: str, tmp_path: Path) -> None:
    arguments = [f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=demo", f"--out={tmp_path / 'study'}"]
    arguments += ["--contexts=cap", "--cva=off", "--seeds=1", "--recipe.epochs=1"]
    assert ablate.main([*arguments, "--jobs=1"]) == 0
    assert "BERT-CRF" in run([["ablate", *arguments]])
