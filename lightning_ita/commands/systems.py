"""Arguments that choose systems and their options: ``--systems``, ``--contexts``, ``--cva``, ``--SYSTEM.OPTION``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, cast, get_args, get_origin, get_type_hints

import docstring_parser
import jsonargparse

from lightning_ita.commands.cli import allow_bare_flags
from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.errors import UserError
from lightning_ita.models import MODELS
from lightning_ita.models.options import Options, from_values, group_of
from lightning_ita.studies.sweep.space import SHORT


def add_options(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--SYSTEM.OPTION`` for the options of every system, explained by their docstrings.

    A group of options that systems share, such as ``vision``, has ``--vision.OPTION`` for all of them, too.
    """
    for name, shared in groups().items():
        _add_group(
            parser, parser.add_argument_group(f"options of {name}, for every system that has them"), name, shared
        )
    for name in MODELS:
        kind: type[Options] = MODELS[name]
        hints = get_type_hints(kind)
        about = _attributes(kind)
        group = parser.add_argument_group(f"options of the system {name}") if fields(kind) else None
        for field in fields(kind):
            # Several names are given as on the short form, separated by commas; in a file they may be a list.
            several = get_origin(hints[field.name]) is tuple
            assert group is not None
            if is_dataclass(hints[field.name]):
                _add_group(parser, group, f"{name}.{field.name}", hints[field.name], getattr(kind, field.name, None))
                continue
            group.add_argument(
                f"--{name}.{field.name}",
                dest=f"{name}.{field.name}",  # argparse would write bga_mner for bga-mner
                type=str | list[str] if several else hints[field.name] | None,
                default=None,
                help=_with_default(about.get(field.name, ""), None if field.name in SHORT else field.default),
            )
        allow_bare_flags(parser, [f"{name}.{field.name}" for field in fields(kind) if hints[field.name] is bool])


def groups() -> dict[str, type]:
    """Returns the groups of options that systems have, by name: ``vision``."""
    found: dict[str, type] = {}
    for name in MODELS:
        for option, hint in get_type_hints(MODELS[name]).items():
            if isinstance(hint, type) and is_dataclass(hint):
                found[option] = cast(type, hint)
    return found


def _add_group(parser: jsonargparse.ArgumentParser, group: Any, name: str, kind: type, own: Any = None) -> None:
    """Adds ``--NAME.OPTION`` for the options of a group, whose defaults are those of `own`, if any system's."""
    hints, about = get_type_hints(kind), _attributes(kind)
    options = [field.name for field in fields(kind)]
    for option in options:
        text = _with_default(about.get(option, ""), getattr(own, option, None))
        path = f"{name}.{option}"
        group.add_argument(f"--{path}", dest=path, type=hints[option] | None, default=None, help=text)
    allow_bare_flags(parser, [f"{name}.{option}" for option in options if hints[option] is bool])


def _with_default(text: str, default: Any) -> str:
    """Returns an option's help with its default, which the parser does not know: None there means "not given"."""
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else json.dumps(default, default=str).strip('"')
    return text if default in (None, (), MISSING) else f"{text} Default: {shown}."


def _attributes(kind: type) -> dict[str, str]:
    """Returns what the docstrings of a class and its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for entry in docstring_parser.parse(base.__doc__ or "").params:
            if entry.args[0] == "attribute":
                text = " ".join((entry.description or "").split())
                found[entry.arg_name] = text.replace("``", "").replace("`", "").replace("%", "%%")
    return found


def options_given(arguments: Any, shared: bool = True) -> dict[str, dict[str, Any]]:
    """Returns the options that were given, by system.

    Args:
        arguments: Parsed arguments.
        shared: Whether those of groups that were given for all systems are among them.
    """
    given = {}
    of_groups = {name: _chosen(arguments, name) for name in groups()} if shared else {}
    for name in MODELS:
        chosen = _chosen(arguments, name)
        for group, values in of_groups.items():
            if values and group in {field.name for field in fields(MODELS[name])}:
                chosen[group] = {**values, **chosen.get(group, {})}
        if chosen:
            given[name] = _typed(MODELS[name], chosen)
    return given


def unread_options(arguments: Any, systems: Collection[str]) -> Iterator[str]:
    """Yields a note for each option that was given and that none of `systems` has."""
    known = {field.name for system in systems for field in fields(MODELS[system])}
    for name in (*(name for name in MODELS if name not in systems), *(name for name in groups() if name not in known)):
        for option in _chosen(arguments, name):
            yield f"--{name}.{option} is not read by {', '.join(systems)}"


def unread_short_form(parser: jsonargparse.ArgumentParser, arguments: Any, options: Sequence[Options]) -> Iterator[str]:
    """Yields a note for each kind of ``--contexts`` and mode of ``--cva`` that none of `options` has, but defaults."""
    if arguments.contexts != parser.get_default("contexts"):
        read = {kind for each in options for kind in each.kinds}
        yield from (
            f"--contexts {kind} is read by no system here"
            for kind in parse_contexts(arguments.contexts)
            if kind not in read
        )
    if arguments.cva != parser.get_default("cva"):
        modes = {each.training for each in options}
        yield from (
            f"--cva {mode} is followed by no system here" for mode in _names(arguments.cva) if mode not in modes
        )


def _chosen(arguments: Any, name: str) -> dict[str, Any]:
    """Returns the options under a name that are not left out; those of a group as a dictionary."""
    found = {}
    for option, value in vars(arguments.get(name) or jsonargparse.Namespace()).items():
        if isinstance(value, jsonargparse.Namespace):
            value = {each: inner for each, inner in vars(value).items() if inner is not None} or None
        if value is not None:
            found[option] = value
    return found


def _typed(kind: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns names separated by commas into tuples, where an option holds several, and groups into their class."""
    hints = get_type_hints(kind)
    values = {
        name: group_of(name, getattr(kind, name), value) if is_dataclass(hints[name]) else value
        for name, value in values.items()
    }
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
        UserError: The system or a value is unknown, CVA is asked for where there is one view, or no system is named and
            options of several are given.
    """
    from lightning_ita.studies.cell import short_form

    named = options_given(arguments, shared=False)
    if arguments.system is None and not named:
        return short_form(contexts, cva)
    if arguments.system is None and len(named) > 1:
        raise UserError(f"there are options of {' and '.join(named)}: choose one of them with --system")
    system = arguments.system or next(iter(named))
    given = options_given(arguments)
    known = {field.name for field in fields(MODELS[system])}
    short = {name: value for name, value in (("contexts", contexts), ("cva", cva)) if name in known}
    return from_values({"system": system, **short, **given.get(system, {})})
