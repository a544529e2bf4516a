"""Arguments that choose systems and their options: ``--systems``, ``--contexts``, ``--cva``, ``--SYSTEM.OPTION``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import docstring_parser
import jsonargparse

from lightning_ita.commands.cli import allow_bare_flags
from lightning_ita.models import MODELS
from lightning_ita.models.options import Options, from_values


def add_options(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--SYSTEM.OPTION`` for the options of every system, explained by their docstrings."""
    for name in MODELS:
        kind: type[Options] = MODELS[name]
        hints = get_type_hints(kind)
        about = _attributes(kind)
        group = parser.add_argument_group(f"options of the system {name}") if fields(kind) else None
        for field in fields(kind):
            # Several names are given as on the short form, separated by commas; in a file they may be a list.
            several = get_origin(hints[field.name]) is tuple
            assert group is not None
            group.add_argument(
                f"--{name}.{field.name}",
                type=str | list[str] if several else hints[field.name] | None,
                default=None,
                help=about.get(field.name, ""),
            )
        allow_bare_flags(parser, [f"{name}.{field.name}" for field in fields(kind) if hints[field.name] is bool])


def _attributes(kind: type) -> dict[str, str]:
    """Returns what the docstrings of a class and its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for entry in docstring_parser.parse(base.__doc__ or "").params:
            if entry.args[0] == "attribute":
                text = " ".join((entry.description or "").split())
                found[entry.arg_name] = text.replace("``", "").replace("`", "").replace("%", "%%")
    return found


def options_given(arguments: Any) -> dict[str, dict[str, Any]]:
    """Returns the options that were given, by system."""
    given = {}
    for name in MODELS:
        values = vars(arguments.get(name) or jsonargparse.Namespace())
        chosen = {option: value for option, value in values.items() if value is not None}
        if chosen:
            given[name] = _typed(MODELS[name], chosen)
    return given


def _typed(kind: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns names separated by commas into tuples, where an option holds several."""
    hints = get_type_hints(kind)
    return {
        name: tuple(_names(value)) if get_origin(hints[name]) is tuple and get_args(hints[name])[0] is str else value
        for name, value in values.items()
    }


def _names(value: str | Sequence[str]) -> list[str]:
    names = value.split(",") if isinstance(value, str) else value
    return [name.strip() for name in names if name.strip()]


def one_system(arguments: Any, contexts: tuple[str, ...], cva: str) -> Options:
    """Returns the system of a single run.

    Args:
        arguments: Parsed arguments, with ``system`` and the options of all systems.
        contexts: What ``--contexts`` says.
        cva: What ``--cva`` says.

    Raises:
        UserError: The system or a value is unknown, or CVA is asked for where there is one view.
    """
    from lightning_ita.studies.cell import short_form

    given = options_given(arguments)
    if arguments.system is None and not given:
        return short_form(contexts, cva)
    system = arguments.system or next(iter(given))
    known = {field.name for field in fields(MODELS[system])}
    short = {name: value for name, value in (("contexts", contexts), ("cva", cva)) if name in known}
    return from_values({"system": system, **short, **given.get(system, {})})
