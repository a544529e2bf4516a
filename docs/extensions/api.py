"""Directives for the API: Griffe reads modules without importing them, so that this takes seconds and no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

PACKAGE = "lightning_ita"
ROOT = Path(__file__).resolve().parents[2]
WIDEST = 100
# Code stays as it is: spans of it, and indented blocks.
CODE = re.compile(r"(``.+?``|`[^`\n]+`|^(?: {4,}).*$)", re.MULTILINE)


@cache
def _package() -> Any:
    return griffe.load(PACKAGE, search_paths=[str(ROOT)], docstring_parser="google")


def found(name: str) -> Any:
    """Returns what a dotted name stands for: a module, a class, a function."""
    thing = _package()
    for part in name.split(".")[1:]:
        thing = thing.members[part]
        if thing.is_alias:  # Griffe's own look-up goes round in circles where a package imports from itself
            thing = found(thing.target_path)
    return thing


def modules_of(name: str) -> list[str]:
    """Returns the names of a module and of all modules in it."""
    members = [each for each in found(name).members.values() if not each.is_alias and each.is_module]
    return [name, *(inner for each in sorted(members, key=str) for inner in modules_of(each.path))]


def public(thing: Any) -> Iterator[Any]:
    """Yields what a module or class defines for others: classes, functions, and values that have a docstring."""
    for name, member in thing.members.items():
        if name.startswith("_") or member.is_alias or member.is_module:
            continue
        if member.has_docstring or member.is_class:
            yield member


def described(thing: Any, level: int = 0) -> Iterator[str]:
    """Yields the description of a class, function or value as Markdown, its members' included.

    Args:
        thing: The class, function or value.
        level: Of its heading; 0 for none: every page has the headings of all pages, which takes time for thousands.
    """
    if level:
        yield f"{'#' * level} {thing.name}\n"
    yield f"```python\n{signature(thing)}\n```\n"
    if thing.has_docstring:
        yield from sections(thing)
    members = list(public(thing)) if thing.is_class else []
    if members:
        yield ":::::{container} members"
        for member in members:
            yield from described(member)
        yield ":::::\n"


def signature(thing: Any) -> str:
    """Returns the lines that define something, without its body."""
    if thing.is_attribute:
        wanted = "" if thing.annotation is None else f": {thing.annotation}"
        if "property" in thing.labels:
            return f"property {thing.name}{wanted}"
        value = str(thing.value) if thing.value is not None else ""
        return f"{thing.name}{wanted}" + (f" = {value}" if 0 < len(value) < WIDEST - len(thing.name) else "")
    given = [_parameter(each) for each in thing.parameters if each.name not in ("self", "cls")]
    before = "class " if thing.is_class else "def "
    after = f" -> {thing.returns}" if thing.is_function and thing.returns is not None else ""
    line = f"{before}{thing.name}({', '.join(given)}){after}"
    if len(line) > WIDEST:
        line = f"{before}{thing.name}(\n" + "".join(f"    {each},\n" for each in given) + f"){after}"
    bases = ", ".join(map(str, thing.bases)) if thing.is_class else ""
    return f"{line}  # {bases}" if bases else line


def _parameter(parameter: Any) -> str:
    stars = {"variadic positional": "*", "variadic keyword": "**"}.get(str(parameter.kind.value), "")
    text = stars + parameter.name + (f": {parameter.annotation}" if parameter.annotation is not None else "")
    if parameter.default is None or stars:
        return text
    return text + (f" = {parameter.default}" if parameter.annotation is not None else f"={parameter.default}")


def sections(thing: Any) -> Iterator[str]:
    """Yields the parts of a docstring in Google's style as Markdown."""
    for section in thing.docstring.parsed:
        kind = section.kind.value
        if kind == "text":
            yield f"{plain(section.value)}\n"
        elif kind in ("parameters", "attributes", "other parameters"):
            yield from (f"- `{each.name}`: {_inside(each.description)}" for each in section.value)
            yield ""
        elif kind in ("returns", "yields"):
            text = " ".join(_inside(each.description) for each in section.value)
            yield f"*{kind.capitalize()}:* {text}\n"
        elif kind == "raises":
            yield from (f"*Raises* `{each.annotation}`: {_inside(each.description)}\n" for each in section.value)
        elif kind == "examples":
            for of, text in section.value:
                yield f"```pycon\n{text}\n```\n" if of.value == "examples" else f"{plain(text)}\n"
        elif kind == "admonition":
            yield f"*{section.title or section.value.kind.capitalize()}.* {plain(section.value.contents)}\n"
        else:
            raise ValueError(f"{thing.path}: a section of the kind {kind!r} in a docstring")


def plain(text: str) -> str:
    """Writes a docstring's text as Markdown: roles as code, and nothing in it as markup that was not meant."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    parts = CODE.split(text)
    return "".join(p if n % 2 else p.replace("<", "&lt;").replace("$", r"\$") for n, p in enumerate(parts))


def _inside(text: str) -> str:
    return plain(text.strip()).replace("\n", "\n  ")


class PackageDirective(SphinxDirective):
    """The API of packages or modules: every module of them, from the docstrings."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Returns a section per module."""
        lines: list[str] = []
        for name in (inner for package in self.arguments[0].split() for inner in modules_of(package)):
            module = found(name)
            self.env.note_dependency(str(module.filepath))
            members = list(public(module))
            lines += [f"## {name}\n", *sections(module)]
            lines += [line for member in members for line in described(member, 3)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class NamesDirective(SphinxDirective):
    """The names that the package itself offers (``__all__``), each from where it is defined."""

    def run(self) -> list[nodes.Node]:
        """Returns a section per name."""
        lines: list[str] = []
        places = {alias.name: alias.target_path for alias in _package().members.values() if alias.is_alias}
        for name in sorted(map(str, _package().exports)):
            lines += described(found(places[name]), 2)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directives."""
    app.add_directive("package", PackageDirective)
    app.add_directive("names", NamesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
