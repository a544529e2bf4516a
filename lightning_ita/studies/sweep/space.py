"""What a sweep searches: the ``parameters`` of a sweep file, in the format of Weights & Biases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.errors import DataError, unknown
from lightning_ita.models import MODELS
from lightning_ita.models.options import from_values, to_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.names import OBJECTIVE

if TYPE_CHECKING:
    from optuna import Trial

RECIPE = "recipe."
# What may be searched, under the names of the arguments of experiments.train. Seeds are not searched, they are noise.
SHORT, SHORT_FORM_OF = ("contexts", "cva"), ("bert-crf", "ita")
NAMES = (*SHORT, *(RECIPE + field.name for field in fields(Recipe)))
DISTRIBUTIONS = ("categorical", "constant", "uniform", "int_uniform", "q_uniform", "log_uniform_values")


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search: a choice, or a range.

    Attributes:
        name: One of `NAMES`.
        values: What to choose from; empty for a range.
        low: Least value of a range.
        high: Greatest value of a range.
        log: Whether a range is searched on a logarithmic scale.
        step: Distance of the values of a range; ``None`` where they lie densely.
        whole: Whether a range holds whole numbers only.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def label(self) -> str:
        """The name for tables and plots."""
        return self.name.removeprefix(RECIPE)

    def suggest(self, trial: Trial) -> Any:
        """Returns the value for a trial."""
        if self.values:
            return trial.suggest_categorical(self.name, self.values)
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step)


def read_space(path: Path, fixed: Iterable[str] = ()) -> tuple[Parameter, ...]:
    """Reads a sweep file; what only W&B needs (``method``, ``command`` ...) is passed over.

    Args:
        path: A YAML file with ``parameters``, and perhaps a ``metric``.
        fixed: Parameters that are given otherwise, and so not searched.

    Returns:
        The parameters, constants too, in the order of the file.

    Raises:
        DataError: The file cannot be read, or searches what cannot be searched.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"not YAML: {error}", path) from None
    parameters = content.get("parameters") if isinstance(content, dict) else None
    if not isinstance(parameters, dict) or not parameters:
        raise DataError("no `parameters` in it; see sweeps/cva.yaml for an example", path)
    metric = content.get("metric", {"name": OBJECTIVE, "goal": "maximize"})
    if metric != {"name": OBJECTIVE, "goal": "maximize"}:
        raise DataError(f"metric {metric}: only {OBJECTIVE} can be searched for, with goal maximize", path)
    fixed = set(fixed)
    space = tuple(_parameter(str(name), spec, path) for name, spec in parameters.items() if name not in fixed)
    if not any(len(parameter.values) != 1 for parameter in space):
        raise DataError(
            "nothing is left to search: every parameter has one value, or is fixed by an argument or by --config", path
        )
    return space


def _parameter(name: str, spec: Any, path: Path) -> Parameter:
    system, _, option = name.partition(".")
    own = system in MODELS and option in {field.name for field in fields(MODELS[system])}
    if name not in NAMES and not own:
        raise DataError(f"{unknown('parameter', name, NAMES)}", path)
    if not isinstance(spec, dict):
        raise DataError(f"{name}: expected value, values, or min and max, not {spec!r}", path)
    if "value" in spec or "values" in spec:
        values = spec.get("values", [spec.get("value")])
        if not isinstance(values, list) or not values or not all(isinstance(v, str | int | float) for v in values):
            raise DataError(f"{name}: `values` must be a list of names or numbers, not {values!r}", path)
        if name in SHORT and not all(isinstance(value, str) for value in values):
            raise DataError(f'{name}: {values} are not all names; YAML reads a bare off as false, so write "off"', path)
        return Parameter(name, tuple(values))
    low, high = (_number(name, spec, key, path) for key in ("min", "max"))
    both_whole = isinstance(spec["min"], int) and isinstance(spec["max"], int)
    kind = spec.get("distribution", "int_uniform" if both_whole else "uniform")
    if kind not in DISTRIBUTIONS:
        raise DataError(f"{name}: {unknown('distribution', str(kind), DISTRIBUTIONS)}", path)
    if not low < high or (kind == "log_uniform_values" and low <= 0):
        raise DataError(f"{name}: min {low:g} must be less than max {high:g}, and above 0 for a log scale", path)
    step = _number(name, {"q": 1.0, **spec}, "q", path) if kind == "q_uniform" else None
    log = kind == "log_uniform_values"
    return Parameter(name, (), low, high, log, step, kind == "int_uniform")


def _number(name: str, spec: Mapping[str, Any], key: str, path: Path) -> float:
    try:
        number = float(spec[key])  # YAML reads 1e-5 as text
    except (KeyError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{name}: expected `value`, `values`, or numbers `min` and `max`; {key} is missing", path)
    return number


def with_values(cell: Cell, values: Mapping[str, Any]) -> Cell:
    """Returns a cell with other values of some of its parameters.

    Raises:
        UserError: A value is out of its range.
    """
    recipe = {name.removeprefix(RECIPE): value for name, value in values.items() if name.startswith(RECIPE)}
    own = {name: value for name, value in values.items() if not name.startswith(RECIPE)}
    options = cell.options
    if own and own.keys() <= set(SHORT) and cell.system in SHORT_FORM_OF:
        options = short_form(own.get("contexts", cell.contexts), own.get("cva", cell.cva))
    elif own:
        options = from_values(to_values(options) | {name.removeprefix(f"{cell.system}."): own[name] for name in own})
    return replace(cell, recipe=replace(cell.recipe, **recipe), options=options)


def defaults(cell: Cell, space: Iterable[Parameter]) -> dict[str, Any]:
    """Returns a cell's own values of the parameters that are searched, as far as the space holds them."""
    own: dict[str, Any] = {RECIPE + name: value for name, value in vars(cell.recipe).items()}
    own |= {"cva": cell.cva}
    values = {}
    for parameter in space:
        value = own.get(parameter.name)
        if parameter.name == "contexts":
            value = next((v for v in parameter.values if parse_contexts(v) == cell.contexts), None)
        within = not parameter.values and value is not None and parameter.low <= value <= parameter.high
        if within or value in parameter.values:
            values[parameter.name] = value
    return values


def corners(space: Iterable[Parameter]) -> list[dict[str, Any]]:
    """Returns every combination of a space's names, and its bounds one by one, so that bad ones are found early."""
    space = list(space)
    names = [parameter for parameter in space if not parameter.name.startswith(RECIPE)]
    combinations = [
        dict(zip((parameter.name for parameter in names), values, strict=True))
        for values in product(*(parameter.values for parameter in names))
    ]
    ends = {p.name: p.values or ((int(p.low), int(p.high)) if p.whole else (p.low, p.high)) for p in space}
    bounds = [{name: value} for name, values in ends.items() if name.startswith(RECIPE) for value in values]
    return combinations + [combinations[0] | bound for bound in bounds]
