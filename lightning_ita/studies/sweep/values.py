"""Values of a sweep's parameters, as a cell has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice, product
from typing import Any

from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.errors import UserError
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.options import from_values, to_values
from lightning_ita.models.recipes import published_temperature
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.sweep.space import RECIPE, SHORT, SHORT_FORM_OF, Parameter, read_value

# Most combinations of options that are tried before a sweep starts.
MOST_COMBINATIONS = 1000


def with_values(cell: Cell, values: Mapping[str, Any]) -> Cell:
    """Returns a cell with other values of some of its parameters.

    Raises:
        UserError: A value is out of its range, or a parameter is another system's.
    """
    recipe = {name.removeprefix(RECIPE): value for name, value in values.items() if name.startswith(RECIPE)}
    own = {name: value for name, value in values.items() if not name.startswith(RECIPE)}
    options = cell.options
    if own and own.keys() <= set(SHORT) and cell.system in SHORT_FORM_OF:
        options = short_form(own.get("contexts", cell.contexts), own.get("cva", cell.cva))
        if isinstance(options, ITAOptions) and isinstance(cell.options, ITAOptions):  # with its other options
            options = replace(cell.options.in_mode(options.cva), contexts=options.contexts)
    elif own:
        for name in own:
            system = name.partition(".")[0] if "." in name else ""
            if system not in ("", cell.system):
                raise UserError(f"{name} cannot be searched for the system {cell.system}; choose --system {system}")
        mode = own.get(f"{cell.system}.cva", own.get("cva"))
        changed = to_values(options.in_mode(mode) if mode else options)
        for name, value in own.items():
            *group, option = name.removeprefix(f"{cell.system}.").split(".")
            values_of = changed if not group else changed[group[0]]
            values_of[option] = value
        options = from_values(changed)
    return replace(cell, recipe=replace(cell.recipe, **recipe), options=options)


def has_value(cell: Cell, name: str, value: Any) -> bool:
    """Tells whether a cell has a value of a parameter, as a sweep file or W&B may hold it.

    Raises:
        UserError: There is no such parameter, or this is no value of it.
    """
    read = read_value(name, value)
    if read is None and name.startswith(RECIPE):
        return True  # left to the recipe or the data set, which have decided it by now
    try:
        changed = with_values(cell, {name: read})
    except UserError:  # the value does not go with the cell's others
        return False
    return (changed.options, changed.recipe) == (cell.options, cell.recipe)


def defaults(cell: Cell, space: Iterable[Parameter]) -> dict[str, Any]:
    """Returns a cell's own values of the parameters that are searched, as far as the space holds them.

    A temperature that is not given is the one published for the data set, with which the cell would run.
    """
    recipe = vars(cell.recipe) | {"temperature": cell.recipe.temperature or published_temperature(cell.dataset)}
    options: dict[str, Any] = {}
    for name, value in to_values(cell.options).items():
        inner = {f".{each}": of for each, of in value.items()} if isinstance(value, dict) else {"": value}
        options |= {f"{cell.system}.{name}{each}": of for each, of in inner.items()}
    own: dict[str, Any] = {**{RECIPE + name: value for name, value in recipe.items()}, **options, "cva": cell.cva}
    values = {}
    for parameter in space:
        value = own.get(parameter.name)
        if parameter.name == "contexts":
            value = next((v for v in parameter.values if parse_contexts(v) == cell.contexts), None)
        elif isinstance(value, list):
            value = next((v for v in parameter.values if [each.strip() for each in v.split(",")] == value), None)
        if not parameter.holds(value):  # what the recipe leaves to the data set may be left to it
            value = getattr(cell.recipe, parameter.label, None) if parameter.name.startswith(RECIPE) else value
        if parameter.holds(value):
            values[parameter.name] = value
    return values


def combinations(space: Iterable[Parameter]) -> Iterator[dict[str, Any]]:
    """Yields every combination of the values of a grid; the first parameter changes last.

    Raises:
        UserError: A parameter has a continuous range.
    """
    space = tuple(space)
    names = [parameter.name for parameter in space]
    for values in product(*(parameter.listed() for parameter in space)):
        yield dict(zip(names, values, strict=True))


def grid_size(space: Iterable[Parameter]) -> int:
    """Returns how many combinations a grid has.

    Raises:
        UserError: A parameter has a continuous range.
    """
    return math.prod(parameter.count for parameter in space)


def corners(space: Iterable[Parameter]) -> list[dict[str, Any]]:
    """Returns combinations of the options that are searched, so that bad ones are found before anything runs.

    Of ranges, the ends; of hyper-parameters of the recipe, none: they are checked one by one when a space is read.
    """
    told = [parameter for parameter in space if not parameter.name.startswith(RECIPE)]
    combinations = product(*(parameter.ends for parameter in told))
    names = [parameter.name for parameter in told]
    return [dict(zip(names, values, strict=True)) for values in islice(combinations, MOST_COMBINATIONS)]
