"""Reports whose types, tweets, engines and folders are named to do harm, and studies that are answered at once."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_ita.commands import report
from tests.studies.studies import write_study
from tests.studies.test_tables import shown

TYPES = {"PER": "$x|^2$", "LOC": "<b>[/x]", "ORG": "=1+1", "OTHER": "![](http://x/y.png) 人"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study whose entity types, release, warnings and folder are code for somebody."""
    study = tmp_path / "e_[x] :x: <i>$y$"
    write_study(study, seeds=(1, 2), tweets=12)
    for path in study.glob("cells/*/*.json*"):
        text = path.read_text(encoding="utf-8")
        for type_, name in TYPES.items():
            text = (
                text.replace(f'-{type_}"', f'-{name}"')
                .replace(f'"{type_}/', f'"{name}/')
                .replace(f'"{type_}"', f'"{name}"')
            )
        path.write_text(text, encoding="utf-8")
    for path in study.glob("cells/*/metrics.json"):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        metrics["release"] = "\x1b[2J<script>alert(1)</script>"
        metrics["warnings"] = ["[red]a[/red] :smile: <img src=x>", "# heading"]
        metrics["contexts"] = dict.fromkeys(metrics["contexts"], "![](http://x/y.png)")
        path.write_text(json.dumps(metrics), encoding="utf-8")
    return study


def test_names_are_text_in_every_file(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(study), "--resamples=100"]) == 0
    printed, out = capsys.readouterr().out, study / "report"
    assert "\x1b" not in printed
    assert "note: [red]a[/red] :smile: <img src=x>" in printed
    assert f"written: {out / 'report.html'}" in printed

    markdown = (out / "report.md").read_text(encoding="utf-8")
    text = shown(markdown, {"h1", "h2", "h3"})
    assert text.startswith("e_[x] :x: <i>$y$")
    for name in TYPES.values():
        assert f"{name} F1" in text
    assert "release: \\x1b[2J<script>alert(1)</script>" in text
    assert "contexts: cap from ![](http://x/y.png)" in text
    assert "- \\# heading\n" in markdown

    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert ">$x|^2$</text>" in page  # a tick of a plot
    with (out / "types.csv").open(encoding="utf-8", newline="") as file:
        assert {line["type"] for line in csv.DictReader(file)} == {"'=1+1", *TYPES.values()} - {"=1+1"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["--resamples=x"], 2), (["nowhere"], 2), (["nowhere", "--resamples=5"], 2)],
)
def test_arguments_and_a_wrong_folder_are_answered_at_once(arguments: list[str], status: int, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from lightning_ita.commands import report\n"
        "from lightning_ita.commands.cli import guard\n"
        "try:\n"
        "    guard(report.main)\n"
        "finally:\n"
        "    heavy = {'torch', 'scipy', 'matplotlib', 'pytorch_lightning', 'transformers'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
