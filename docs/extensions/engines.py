"""The directive ``engines``: every engine that ``align`` knows, with its options and their defaults."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lightning_ita.contexts.engines import ENGINES

# What an engine takes that is no option.
NO_OPTIONS = ("model", "tweets")


class Option(NamedTuple):
    """An option of an engine.

    Attributes:
        name: Its name.
        default: Its default; empty where there is none.
        text: What it does.
    """

    name: str
    default: str
    text: str


def options_of(path: str) -> list[Option]:
    """Returns the options of an engine from its source, so that no package of models need be installed.

    Args:
        path: Module and class, with a colon between.
    """
    module, _, name = path.partition(":")
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    while not any(isinstance(node, ast.FunctionDef) and node.name == "__init__" for node in classes[name].body):
        name = next(base.id for base in classes[name].bases if isinstance(base, ast.Name) and base.id in classes)
    (init,) = (n for n in classes[name].body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    told = _arguments(inspect.cleandoc(ast.get_docstring(classes[name]) or ""))
    pairs = zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    return [
        Option(each.arg, _spelled(default, constants), told[each.arg])
        for each, default in pairs
        if each.arg not in NO_OPTIONS
    ]


def _arguments(docstring: str) -> dict[str, str]:
    """Returns what a docstring in Google's style says of each argument."""
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", f"{docstring}\n", flags=re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*\n(?:     .*\n)*)", section[1] if section else "", flags=re.MULTILINE)
    return {name: " ".join(text.replace("``", "`").split()) for name, text in entries}


def _spelled(default: ast.expr | None, constants: Mapping[str, ast.expr]) -> str:
    if isinstance(default, ast.Name):
        default = constants[default.id]
    value = None if default is None else ast.literal_eval(default)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class EnginesDirective(SphinxDirective):
    """The options of every engine, as ``--options`` takes them."""

    def run(self) -> list[nodes.Node]:
        """Returns a list of definitions per engine."""
        found: list[nodes.Node] = []
        for kind, engines in ENGINES.items():
            for name in engines.own:
                listed = nodes.definition_list(classes=["options"])
                for option in options_of(engines.path(name)):
                    term = nodes.term("", "", nodes.literal("", f"{kind}.{option.name}"))
                    if option.default:
                        term += [nodes.Text("  "), nodes.inline("", f"default: {option.default}", classes=["default"])]
                    definition = nodes.definition("", *self.parse_text_to_nodes(option.text))
                    listed += nodes.definition_list_item("", term, definition)
                found += [nodes.rubric("", "", nodes.literal("", f"{kind}={name}")), listed]
        return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("engines", EnginesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
