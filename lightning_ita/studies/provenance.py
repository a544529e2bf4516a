"""The code and packages a result was made with: a digest of the code that decides it, and package versions."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Collection
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_ita.data import DATASETS
from lightning_ita.models import MODELS
from lightning_ita.models.options import Options
from lightning_ita.registry import not_installed

if TYPE_CHECKING:
    from lightning_ita.studies.cell import Cell

# The packages a result depends on.
PACKAGES = ("torch", "pytorch-lightning", "transformers", "tokenizers", "torchmetrics", "numpy")
# This project's package, and the folder it lies in.
ROOT_PACKAGE, ROOT = "lightning_ita", Path(__file__).parents[2]
# Modules that a run may import and that decide no result that its identity does not know of already.
DECIDING_NOTHING = (
    "lightning_ita.demo",  # makes data, whose digests are in the identity, less `DRAWING`; so do ...
    "lightning_ita.contexts.engines",
    "lightning_ita.models.kept",  # keeps a model when its result is there, and loads it again
    "lightning_ita.models.mentions",
    "lightning_ita.models.predicting",
    "lightning_ita.studies.environment",
    "lightning_ita.studies.keeping",
    "lightning_ita.models.presets",  # hyper-parameters, whose values are in the identity
    "lightning_ita.studies.loggers",
    "lightning_ita.studies.process",
    "lightning_ita.studies.progress",
    "lightning_ita.studies.watching",
    "lightning_ita.commands",
    "lightning_ita.invocation",  # how hints name commands
)
# What draws the pictures of a demo corpus: their digests in the identity are of what they show, not of pixels.
DRAWING = ("lightning_ita.demo.painting", "lightning_ita.demo.scenes")
# Packages whose module holds names alone: that a system or a data set was added changes no result of another.
NAMES_ALONE = ("lightning_ita", "lightning_ita.data", "lightning_ita.models")


def packages(options: Options) -> dict[str, str]:
    """Returns the installed versions of `PACKAGES`, and of what opens pictures and sees them, for systems that look.

    Raises:
        UserError: What brings the vision model is not installed.
    """
    vision = getattr(options, "vision", None)
    further = () if vision is None else ("pillow", getattr(vision, "package", None))
    try:
        return {package: version(package) for package in (*PACKAGES, *further) if package}
    except PackageNotFoundError as error:
        if vision is None or error.name != vision.package:
            raise
        raise not_installed(error.name, vision.extra) from None


def made_with(cell: Cell) -> dict[str, str]:
    """Returns what a run of a cell is made with here: the digest of its code, and the versions of its packages."""
    return {"code": code_digest(cell.dataset, cell.system), **packages(cell.options)}


@cache
def code_digest(dataset: str, system: str) -> str:
    """Digests the code that decides the result of a cell: the modules that its run imports, less `DECIDING_NOTHING`.

    Comments, docstrings and layout do not count.

    Args:
        dataset: The cell's data set, whose module is imported by name.
        system: The cell's system, whose modules are imported by name; another package's are digested too.

    Returns:
        A SHA-256 in hexadecimal, the same for every Python version.
    """
    modules = run_modules(dataset, system)
    text = repr([(name, _read(modules[name])[1]) for name in sorted(modules)])
    return hashlib.sha256(text.encode()).hexdigest()


def run_modules(dataset: str, system: str) -> dict[str, Path]:
    """Returns the modules, by name, that decide the result of a system on a data set.

    These are the modules of this project, and of the package that the system comes from, that the run imports,
    directly or not.
    """
    options = MODELS[system]
    named = [MODELS.path(system), DATASETS.path(dataset), options.tagger, options.inputs]
    waiting = ["lightning_ita.studies.run", *(path.partition(":")[0] for path in named)]
    # The relations that a gate learns from are drawn on every data set, if no file of them is given.
    drawn = DRAWING if "images" in options.needs and (dataset == "demo" or hasattr(options, "relations")) else ()
    waiting += drawn
    roots = {ROOT_PACKAGE, *(name.partition(".")[0] for name in waiting)}
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        if name in found or (_within(name, DECIDING_NOTHING) and not _within(name, drawn)):
            continue
        path = _source(name, roots)
        if path is None:
            continue
        found[name] = path
        waiting.append(name.rpartition(".")[0])  # importing a module runs its packages first
        waiting += _read(path)[0]
    return {name: path for name, path in found.items() if name not in NAMES_ALONE}


def _within(module: str, packages: Collection[str]) -> bool:
    """Tells whether a module is one of these, or in one of these packages."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _source(module: str, roots: Collection[str]) -> Path | None:
    """Returns the file of a module of one of the `roots`; ``None`` for other modules and for what is no module."""
    root = module.partition(".")[0]
    if root not in roots:
        return None
    if root == ROOT_PACKAGE:
        place = ROOT
    else:  # another package's; it has been imported, by the registry
        file = getattr(sys.modules.get(root), "__file__", None)
        if file is None:
            return None
        place = Path(file).parent if Path(file).name != "__init__.py" else Path(file).parents[1]
    path = place / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _read(path: Path) -> tuple[list[str], Any]:
    """Returns what a module may import, names in modules included, and its essence."""
    tree, imported = ast.parse(path.read_bytes()), list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return imported, _essence(tree)


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
