"""Nothing in the library imports what lies above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "lightning_ita"

# From bottom to top. The rooms of one line do not import each other, but for those of the ground floor.
FLOORS = (
    ("tags", "errors", "files", "registry", "devices", "text", "invocation", "checks"),
    ("crf", "metrics", "statistics", "images"),
    ("contexts", "demo"),
    ("data",),
    ("models",),
    ("studies", "posts"),
    ("commands",),
)
RANK = {room: rank for rank, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str | None:
    """Returns the room of a module: the name after the package's; ``None`` for the package itself, and for others."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or None if package == PACKAGE else None


def imports(source: str, package: bool = False) -> Iterator[tuple[int, str]]:
    """Yields line and module of every import in a source text, those in functions and for type checkers included.

    For the package itself those for type checkers are left out: they say what its lazy names are.
    """
    tree = ast.parse(source)
    told = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    skipped = {id(child) for node in told for child in ast.walk(node)} if package else set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports here are absolute"
            if node.module == PACKAGE:  # from lightning_ita import crf
                yield from ((node.lineno, f"{PACKAGE}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def climbs(module: str, imported: str) -> bool:
    """Tells whether a module imports one of a room above its own, or of another room on its floor."""
    room, other = room_of(module), room_of(imported)
    if other is None or room == other or other.startswith("__"):
        return False
    if room is None:
        return True  # the package's own names come by strings, when they are used
    return RANK[other] > RANK[room] or (RANK[other] == RANK[room] > 0)


def modules() -> dict[str, Path]:
    """Returns the library's files by module name."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(module) for module in modules()} - {None}
    assert rooms <= set(RANK)


def test_no_module_imports_one_above_it() -> None:
    violations = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for module, path in modules().items()
        for line, imported in imports(path.read_text(encoding="utf-8"), module == PACKAGE)
        if climbs(module, imported)
    ]
    assert violations == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("lightning_ita.data.views", "import lightning_ita.models.ita", True),
        ("lightning_ita.data.views", "def f():\n    from lightning_ita.studies.cell import Cell", True),
        ("lightning_ita.data.views", "from lightning_ita import models", True),
        ("lightning_ita.contexts.store", "from lightning_ita.demo import write", True),
        ("lightning_ita", "from lightning_ita.crf import LinearChainCRF", True),
        ("lightning_ita.models.ita", "from lightning_ita.data.views import View\nimport torch", False),
        ("lightning_ita.studies.run", "from lightning_ita import __version__", False),
        ("lightning_ita.files", "from lightning_ita.errors import DataError", False),
    ],
)
def test_a_climb_is_found(module: str, source: str, found: bool) -> None:
    assert any(climbs(module, imported) for _, imported in imports(source)) is found
