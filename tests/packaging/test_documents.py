"""What CONTRIBUTING.md, CITATION.cff and the README say of the code, held against the code."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lightning_ita import __version__
from lightning_ita.commands import COMMANDS
from tests.conftest import write_corpus

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# Trains the system of CONTRIBUTING.md on its data set, with tags by its engine.
SCRIPT = """
import sys
from lightning_ita.commands import COMMANDS
from lightning_ita.contexts.engines import make_engine
from PIL import Image

data, encoder, picture = sys.argv[1:]
engine = make_engine("tag", "colour")
print(engine.read([engine.prepare(Image.open(picture))])[0].texts)
arguments = ["--dataset=headlines", f"--data-dir={data}", f"--encoder={encoder}", "--preset=small"]
options = ["--system=bert-bilstm-crf", "--bert-bilstm-crf.width=8", "--recipe.epochs=1", f"--out={data}/runs"]
sys.exit(COMMANDS["train"]([*arguments, *options]))
"""


PAGES = ["CONTRIBUTING.md", "README.md", "results/README.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    shown = "".join(re.split(r"```.*?```", text, flags=re.DOTALL)).replace("/NAME.py`", "/`")
    paths = re.findall(r"`((?:lightning_ita|tests|benchmarks|experiments|sweeps|docs|results)/[\w./+-]*)`", shown)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", shown) if "://" not in link]
    assert paths + links or name.startswith("docs/")
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert missing + [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_the_six_modules_have_what_is_said() -> None:
    steps = re.findall(r"^\d\. `(lightning_ita/[\w/]+\.py)` \(([^)]+)\)", CONTRIBUTING, flags=re.MULTILINE)
    assert len(steps) == 6
    for path, names in steps:
        defined = {node.name for node in ast.parse((ROOT / path).read_bytes()).body if hasattr(node, "name")}
        assert set(re.findall(r"`(\w+)`", names)) <= defined


def test_the_floors_are_those_of_the_test() -> None:
    from tests.test_floors import FLOORS

    table = CONTRIBUTING[CONTRIBUTING.index("| floor |") : CONTRIBUTING.index("From an image")]
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    named = [{*first.split(", "), *re.findall(r"`(\w+)`", rest)} for first, rest in rows]
    assert len(rows) == len(FLOORS)
    assert all(set(rooms) <= names for rooms, names in zip(FLOORS[::-1], named, strict=True))


def test_the_readme_has_the_commands_of_study_and_tests() -> None:
    shown = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line.partition("  #")[0].strip() for block in shown for line in block.splitlines()]
    assert "pip install uv && uv run pytest" in commands
    assert "pip install uv && uv run python -m experiments.ablate --contexts tag,cap" in commands


def test_the_readme_is_read_in_two_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 900


@pytest.mark.parametrize("name", ["README.md", "docs/start.md"])
def test_the_table_shown_is_the_one_measured(name: str) -> None:
    measured = (ROOT / "results" / "demo-minilm-tag+cap" / "table.md").read_text(encoding="utf-8")
    table = re.findall(r"^\|.*\|$", measured, flags=re.MULTILINE)
    assert "\n".join(table) in (ROOT / name).read_text(encoding="utf-8")


def test_commands_in_the_pages_exist() -> None:
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in PAGES)
    modules = set(re.findall(r"python -m ((?:experiments|sweeps|benchmarks|lightning_ita|docs)[\w.]*)", text))
    modules.discard("benchmarks.NAME")
    modules.discard("experiments.NAME")
    assert [module for module in modules if not (ROOT / f"{module.replace('.', '/')}.py").is_file()] == []
    programs = set(re.findall(r"lightning-ita (\w+)", text))
    assert programs - {"NAME"} <= set(COMMANDS)


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == __version__
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("git") is None, reason="the diffs are applied by git")
def test_the_examples_of_contributing_work(tmp_path: Path, tiny_encoder: str) -> None:
    shutil.copytree(ROOT / "lightning_ita", tmp_path / "lightning_ita", ignore=shutil.ignore_patterns("__pycache__"))
    diffs = re.findall(r"```diff\n(.*?)```", CONTRIBUTING, flags=re.DOTALL)
    assert len(diffs) == 3
    for diff in diffs:
        subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff, text=True, check=True)
    write_corpus(tmp_path / "data" / "headlines")
    Image.new("RGB", (8, 8), (10, 200, 30)).save(tmp_path / "green.png")
    command = [sys.executable, "-c", SCRIPT, "data", tiny_encoder, "green.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "('green',)" in done.stdout
    assert "BERT-BiLSTM-CRF" in done.stdout
    (config,) = (tmp_path / "data" / "runs").glob("*/config.yaml")
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["bert-bilstm-crf"] == {"width": 8}
