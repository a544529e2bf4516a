"""What a result was made with: a digest of the code that decides it, and the versions of the packages below."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning_ita.data import DATASETS

# The packages a result depends on.
PACKAGES = ("torch", "pytorch-lightning", "transformers", "tokenizers", "torchmetrics", "numpy")
# The packages of this project, and the folder they lie in.
OWN, ROOT = ("lightning_ita",), Path(__file__).parents[2]


def packages() -> dict[str, str]:
    """Returns the installed versions of `PACKAGES`."""
    return {package: version(package) for package in PACKAGES}


@cache
def code_digest(dataset: str) -> str:
    """Digests the code that decides the result of a cell: all modules of this project that its run imports.

    Comments, docstrings and layout do not count, and neither do modules that only make data (the engines behind the
    contexts; the demo corpus, for other data sets), because a cell's identity holds the digests of its data.

    Args:
        dataset: The cell's data set, whose module is imported by name.

    Returns:
        A SHA-256 in hexadecimal, the same for every Python version.
    """
    modules = run_modules(dataset)
    text = repr([(name, _essence(ast.parse(modules[name].read_bytes()))) for name in sorted(modules)])
    return hashlib.sha256(text.encode()).hexdigest()


def run_modules(dataset: str) -> dict[str, Path]:
    """Returns the modules of this project, by name, that the run of a cell on `dataset` imports, directly or not."""
    found: dict[str, Path] = {}
    waiting = ["lightning_ita.studies.run", DATASETS.entries[dataset].partition(":")[0]]
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting.append(name.rpartition(".")[0])  # importing a module runs its packages first
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _source(module: str) -> Path | None:
    """Returns the file of a module of this project; ``None`` for other modules and for what is no module."""
    if module.partition(".")[0] not in OWN:
        return None
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _essence(node: Any) -> Any:
    """Returns what a syntax tree means: no strings that stand as statements, no fields that are empty.

    Newer versions of Python add fields; those are empty in code that older ones can read.
    """
    if isinstance(node, list):
        return [_essence(child) for child in node if not _is_docstring(child)]
    if isinstance(node, ast.AST):
        fields = [(name, _essence(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [(name, value) for name, value in fields if value not in (None, [])]
    return node


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
