"""Directives whose text is made when the site is built: options of commands, published numbers, recipes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import Any
from unittest.mock import patch

import jsonargparse
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lightning_ita.commands import COMMANDS
from lightning_ita.data import DATASETS
from lightning_ita.models.presets import NO_CLIPPING, RECIPES
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.published import published


class _Found(Exception):  # noqa: N818, no error
    """Carries a command's parser out of the command."""


def parser_of(command: str) -> jsonargparse.ArgumentParser:
    """Returns the parser that a command makes, before it has parsed anything."""

    def stop(parser: jsonargparse.ArgumentParser, *_: Any, defaults: bool = True, **__: Any) -> jsonargparse.Namespace:
        if not defaults:
            return jsonargparse.Namespace()
        raise _Found(parser)

    with patch.object(jsonargparse.ArgumentParser, "parse_args", stop):
        try:
            COMMANDS[command](["--help"])
        except _Found as found:
            return found.args[0]
    raise AssertionError(f"{command} parses no arguments")


def options_of(parser: jsonargparse.ArgumentParser) -> Iterator[tuple[str, str, str, str]]:
    """Yields a parser's arguments: their group (``recipe``, ``umt`` ...), how they are written, help, default."""
    for action in parser._actions:
        if action.dest in ("help", "config", "print_config") or action.help == "==SUPPRESS==":
            continue
        if action.option_strings and action.option_strings[0] in ("--recipe", "--vision"):
            continue  # a file for all values of a group
        written = action.option_strings[0] if action.option_strings else (action.metavar or action.dest.upper())
        if action.option_strings and action.nargs != 0:
            value = action.metavar or _values(action) or action.dest.split(".")[-1].upper()
            written += f" {value if isinstance(value, str) else ' '.join(value)}"
        group = action.dest.rpartition(".")[0]
        default = action.default
        shown = "" if default in (None, [], "==SUPPRESS==") or action.nargs == 0 else _spelled(default)
        yield group, written, action.help or "", shown


def _values(action: Any) -> str:
    """Returns the values that an argument may have, where there are few."""
    choices = action.choices
    if not choices:
        kind = getattr(action, "_typehint", None)
        choices = getattr(kind, "__args__", ()) if "Literal" in str(kind) else ()
        if kind is bool:
            choices = ("true", "false")
    return "{" + ",".join(map(str, choices)) + "}" if choices else ""


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "–" if value >= NO_CLIPPING else f"{value:g}"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def listed_examples(text: str) -> nodes.definition_list:
    """Returns the examples of a command, each with the indented lines that explain it."""
    listed = nodes.definition_list(classes=["options"])
    for command, told in re.findall(r"^(\S.*)\n((?:[ ].*\n?)*)", text, flags=re.MULTILINE):
        explained = nodes.paragraph("", "", *with_code(" ".join(told.split())))
        listed += nodes.definition_list_item(
            "", nodes.term("", "", nodes.literal("", command)), nodes.definition("", explained)
        )
    return listed


def with_code(text: str) -> list[nodes.Node]:
    """Returns a text in which options, and what stands in backquotes, are code."""
    parts = re.split(r"`([^`]+)`|(?<![\w-])(--[a-z][\w.-]*\w)", text)
    found: list[nodes.Node] = []
    for index, part in enumerate(parts):
        if part:
            found.append(nodes.literal("", part) if index % 3 else nodes.Text(part))
    return found


class CommandDirective(SphinxDirective):
    """A command: what it does, examples, and every option, from its parser."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Returns the text."""
        parser = parser_of(self.arguments[0])
        about, _, examples = (parser.description or "").partition("\nexamples:\n")
        found = self.parse_text_to_nodes(about.strip())
        if examples:
            found += [nodes.rubric("", "Examples"), listed_examples(textwrap.dedent(examples).strip())]
        groups: dict[str, list[tuple[str, str, str]]] = {}
        for group, *option in options_of(parser):
            groups.setdefault(group.split(".")[0], []).append(tuple(option))  # type: ignore[arg-type]
        return found + [node for group, options in groups.items() for node in self.table(group, options)]

    def table(self, group: str, options: list[tuple[str, str, str]]) -> list[nodes.Node]:
        """Returns a group's heading and its options, as a list of definitions."""
        titles = {"": "Options", "recipe": "Hyper-parameters", "vision": "Vision model"}
        title = titles.get(group, f"Options of {group}")
        found: list[nodes.Node] = [nodes.rubric("", title)]
        listed = nodes.definition_list(classes=["options"])
        for written, text, default in options:
            term = nodes.term("", "", nodes.literal("", written))
            if default:
                term += [nodes.Text("  "), nodes.inline("", f"default: {default}", classes=["default"])]
            definition = nodes.definition("", nodes.paragraph("", "", *with_code(text)))
            listed += nodes.definition_list_item("", term, definition)
        return [*found, listed]


class PublishedDirective(SphinxDirective):
    """The numbers that others published, with their sources, from ``published.csv``."""

    def run(self) -> list[nodes.Node]:
        """Returns a table per data set."""
        lines = []
        for dataset in DATASETS:
            numbers = published(dataset)
            if numbers:
                lines += [f"## {dataset}", "", "| system | encoder | F1 | source |", "| --- | --- | --- | --- |"]
                lines += [f"| {n.system} | {n.encoder or 'not stated'} | {n.f1} | {n.source} |" for n in numbers] + [""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class RecipesDirective(SphinxDirective):
    """The presets: a column per recipe, a row per hyper-parameter."""

    def run(self) -> list[nodes.Node]:
        """Returns the table."""
        lines = [f"| | {' | '.join(RECIPES)} |", f"| --- |{' --- |' * len(RECIPES)}"]
        for field in fields(Recipe):
            values = [_spelled(getattr(recipe, field.name)) for recipe in RECIPES.values()]
            lines.append(f"| `{field.name}` | {' | '.join('–' if value == 'None' else value for value in values)} |")
        return self.parse_text_to_nodes("\n".join(lines))


def readable(_: Sphinx, name: str, source: list[str]) -> None:
    """Keeps a mean and its deviation on one line of a table, and gives a page without a title its file's name.

    Pages without a title are those that benchmarks write.
    """
    if name.startswith("notebooks/"):
        return
    source[0] = re.sub(r"^\|.*", lambda row: row[0].replace(" ± ", "\u00a0±\u00a0"), source[0], flags=re.MULTILINE)
    if name.startswith(("results/", "benchmarks/")) and not source[0].lstrip().startswith("# "):
        source[0] = f"# {name.rpartition('/')[2].replace('-', ' ').capitalize()}\n\n{source[0]}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directives."""
    app.connect("source-read", readable)
    app.add_directive("command", CommandDirective)
    app.add_directive("published", PublishedDirective)
    app.add_directive("recipes", RecipesDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
