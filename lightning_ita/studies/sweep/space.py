"""What a sweep searches: the ``parameters`` of a sweep file, in the format of Weights & Biases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from lightning_ita.checks import read_field
from lightning_ita.errors import DataError, UserError, unknown
from lightning_ita.files import parse_yaml, read_text
from lightning_ita.models import MODELS
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.names import OBJECTIVE
from lightning_ita.text import quoted

if TYPE_CHECKING:
    from optuna import Trial

# How values are chosen, as W&B calls it: every combination, at random, or by what earlier trials found (TPE).
Method = Literal["grid", "random", "bayes"]
METHODS: tuple[Method, ...] = get_args(Method)
RECIPE = "recipe."
# What may be searched, under the names of the arguments of experiments.train, beside `SYSTEM.OPTION`. Seeds are not
# searched, they are noise.
SHORT, SHORT_FORM_OF = ("contexts", "cva"), ("bert-crf", "ita")
NAMES = (*SHORT, *(RECIPE + field.name for field in fields(Recipe)))
DISTRIBUTIONS = ("categorical", "constant", "uniform", "int_uniform", "q_uniform", "log_uniform_values")
# What the specification of a parameter may hold, as a choice and as a range.
CHOICE, RANGE = {"value", "values", "distribution"}, {"min", "max", "q", "distribution"}
# Most steps of a range, and by how much a value may miss one, for rounding.
MOST_STEPS, ROUNDING = 1e6, 1e-8
BARE_OFF = '; YAML reads a bare off as false, so write "off"'


@dataclass(frozen=True)
class Parameter:
    """One dimension of a search: a choice, or a range.

    Attributes:
        name: One of `NAMES`, or ``SYSTEM.OPTION``.
        values: What to choose from; empty for a range.
        low: Least value of a range.
        high: Greatest value of a range.
        log: Whether a range is searched on a logarithmic scale.
        step: Distance of the values of a range; ``None`` where every number in it may be chosen.
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

    @property
    def ends(self) -> tuple[Any, ...]:
        """Its values, or the ends of its range."""
        return self.values or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))

    @property
    def count(self) -> int:
        """How many values it has.

        Raises:
            UserError: Its range is continuous.
        """
        if self.values:
            return len(self.values)
        if self.step is None and not self.whole:
            raise UserError(
                f"{self.name}: a grid needs values, and the range from {self.low:g} to {self.high:g} has no steps; "
                f"list `values`, or give distribution q_uniform and q"
            )
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step or 1))
        return int((high - low) / step) + 1

    def listed(self) -> tuple[Any, ...]:
        """Returns all its values, in their order; those of a range where it has a step or holds whole numbers only.

        Raises:
            UserError: Its range is continuous.
        """
        low, step = (Decimal(str(number)) for number in (self.low, self.step or 1))
        kind = int if self.whole else float
        return self.values or tuple(kind(low + index * step) for index in range(self.count))

    def holds(self, value: Any) -> bool:
        """Tells whether a value may be chosen."""
        if self.values:
            return any(value == each and type(value) is type(each) for each in self.values)
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        step = self.step or (1.0 if self.whole else None)
        steps = (value - self.low) / step if step else 0.0
        return abs(steps - round(steps)) < ROUNDING

    def suggest(self, trial: Trial) -> Any:
        """Returns the value for a trial."""
        if self.values:
            return trial.suggest_categorical(self.name, self.values)
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step or 1))
        return trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step)


def read_space(path: Path, fixed: Iterable[str] = ()) -> tuple[Parameter, ...]:
    """Reads what a sweep file searches; what only W&B needs (``command`` ...) is passed over.

    Args:
        path: A YAML file with ``parameters``, and perhaps a ``metric`` and a ``method``.
        fixed: Parameters that are given otherwise, and so not searched.

    Returns:
        The parameters, constants too, in the order of the file.

    Raises:
        DataError: The file cannot be read, or searches what cannot be searched.
    """
    content = _content(path)
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise DataError("no `parameters` in it; see sweeps/cva.yaml for an example", path)
    metric = content.get("metric", {"name": OBJECTIVE, "goal": "maximize"})
    if metric != {"name": OBJECTIVE, "goal": "maximize"}:
        raise DataError(f"metric {quoted(metric)}: expected name {OBJECTIVE} and goal maximize", path)
    fixed = {long_name(name) for name in fixed}
    try:
        space = tuple(
            _parameter(str(name), spec) for name, spec in parameters.items() if long_name(str(name)) not in fixed
        )
        if _method(content) == "grid":
            for parameter in space:
                _ = parameter.count
    except UserError as error:
        raise DataError(str(error), path) from None
    long = [long_name(parameter.name) for parameter in space]
    for parameter in space:
        if long.count(long_name(parameter.name)) > 1:
            raise DataError(f"{parameter.name} is there twice: contexts and cva are short for options of ita", path)
    if not searched(space):
        raise DataError(
            "nothing is left to search: every parameter has one value, or is fixed by an argument or by --config", path
        )
    return space


def read_method(path: Path) -> Method:
    """Reads how a sweep file wants values to be chosen; ``bayes`` where it does not say.

    Raises:
        DataError: The file cannot be read, or names a method that is not known.
    """
    content = _content(path)
    try:
        return _method(content)
    except UserError as error:
        raise DataError(str(error), path) from None


def _content(path: Path) -> dict[Any, Any]:
    try:
        content = parse_yaml(read_text(path))
    except ValueError as error:
        raise DataError(str(error), path) from None
    return content if isinstance(content, dict) else {}


def _method(content: Mapping[Any, Any]) -> Method:
    given = content.get("method", "bayes")
    if given not in METHODS:
        raise unknown("method", given if isinstance(given, str) else quoted(given), METHODS)
    return cast(Method, given)


def searched(space: Iterable[Parameter]) -> list[Parameter]:
    """Returns the parameters that have more than one value."""
    return [parameter for parameter in space if len(parameter.values) != 1]


def long_name(name: str) -> str:
    """Returns the name of an option that a short form stands for."""
    return f"ita.{name}" if name in SHORT else name


def _parameter(name: str, spec: Any) -> Parameter:
    kind, field = _field(name)
    if not isinstance(spec, dict):
        raise UserError(f"{name}: expected value, values, or min and max, not {quoted(spec)}")
    is_choice = "value" in spec or "values" in spec
    known = CHOICE if is_choice else RANGE
    for key in spec:
        if key not in known:
            raise UserError(f"{name}: {quoted(key)} is not known here; expected {', '.join(sorted(known))}")
    distribution = spec.get("distribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        raise UserError(f"{name}: {unknown('distribution', str(distribution), DISTRIBUTIONS)}")
    if is_choice:
        values = spec.get("values", [spec.get("value")])
        if not isinstance(values, list) or not values or ("value" in spec and "values" in spec):
            raise UserError(f"{name}: expected value, or values with a list, not {quoted(spec)}")
        if distribution not in (None, "categorical", "constant"):
            raise UserError(f"{name}: distribution {distribution} needs min and max, not values")
        return Parameter(name, tuple(dict.fromkeys(read_value(name, value) for value in values)))
    return _range(name, kind, field, spec, distribution)


def _field(name: str) -> tuple[type | None, str]:
    """Returns the dataclass and the field of a parameter; no dataclass for the short form.

    Raises:
        UserError: There is no such parameter; the nearest is suggested.
    """
    if name in SHORT:
        return None, name
    if name in NAMES:
        return Recipe, name.removeprefix(RECIPE)
    system, _, option = name.partition(".")
    if system in MODELS:
        kind: type = MODELS[system]
        group, _, inner = option.partition(".")
        hint = get_type_hints(kind).get(group)
        if inner and is_dataclass(hint) and inner in {field.name for field in fields(hint)}:
            return hint, inner  # type: ignore[return-value]
        if option in {field.name for field in fields(kind)} and not is_dataclass(hint):
            return kind, option
    own = [f"{name}.{field.name}" for name in MODELS for field in fields(MODELS[name])]
    raise unknown("parameter", name, [*NAMES, *own])


def read_value(name: str, value: Any) -> Any:
    """Reads a value of a parameter, as a sweep file or W&B may hold it; a list of names as text, with commas.

    Raises:
        UserError: There is no such parameter, or this is no value of it.
    """
    kind, field = _field(name)
    if kind is None or get_origin(get_type_hints(kind)[field]) is tuple:
        names = value if isinstance(value, list) and value else [value]
        if not all(isinstance(each, str) for each in names):
            raise UserError(f"{name}: {quoted(value)} is no name{BARE_OFF if False in names else ''}")
        return ",".join(names)
    try:
        read = read_field(kind, field, value)
    except UserError as error:
        raise UserError(f"{error}{BARE_OFF if value is False else ''}") from None
    if not isinstance(read, str | int | float | None):
        raise UserError(f"{name}: {quoted(value)} is neither a name nor a number, and others cannot be searched")
    return read


def _range(name: str, kind: type | None, field: str, spec: Mapping[str, Any], distribution: str | None) -> Parameter:
    low, high = (_number(name, spec, key) for key in ("min", "max"))
    types = _types(kind, field)
    if not types & {int, float}:
        raise UserError(f"{name} is no number, so it has no min and max; give values")
    only_whole = float not in types
    are_whole = low.is_integer() and high.is_integer()
    written_whole = isinstance(spec["min"], int) and isinstance(spec["max"], int)
    distribution = distribution or ("int_uniform" if are_whole and (only_whole or written_whole) else "uniform")
    step = _number(name, {"q": 1.0, **spec}, "q") if distribution == "q_uniform" else None
    if "q" in spec and step is None:
        raise UserError(f"{name}: q belongs to distribution q_uniform, not to {distribution}")
    is_whole = distribution == "int_uniform" or (only_whole and step is not None and step.is_integer())
    if distribution in ("categorical", "constant"):
        raise UserError(f"{name}: distribution {distribution} needs values, not min and max")
    if only_whole and not is_whole:
        raise UserError(
            f"{name} is a whole number, and distribution {distribution} draws others; "
            "give whole min and max with int_uniform, or with q_uniform and a whole q, or give values"
        )
    if is_whole and not are_whole:
        raise UserError(f"{name}: min {low:g} and max {high:g} must be whole numbers for distribution {distribution}")
    if not low < high or (distribution == "log_uniform_values" and low <= 0):
        raise UserError(f"{name}: min {low:g} must be less than max {high:g}, and above 0 for a log scale")
    if step is not None and not _has_steps(low, high, step):
        raise UserError(f"{name}: from min {low:g} to max {high:g} must be a whole number of steps q, not of {step:g}")
    assert kind is not None
    for end in (low, high):
        read_field(kind, field, end)
    return Parameter(name, (), low, high, distribution == "log_uniform_values", step, is_whole)


def _types(kind: type | None, field: str) -> set[type]:
    """Returns the types that values of a field may have; none for the short form, which are names."""
    if kind is None:
        return set()
    hint = get_type_hints(kind)[field]
    return set(get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))


def _number(name: str, spec: Mapping[str, Any], key: str) -> float:
    given = spec.get(key)
    try:
        number = math.nan if given is None or isinstance(given, bool) else float(given)  # YAML reads 1e-5 as text
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        missing = "is missing" if given is None else f"is {quoted(given)}"
        raise UserError(f"{name}: expected value, values, or numbers min and max; {key} {missing}")
    return number


def _has_steps(low: float, high: float, step: float) -> bool:
    """Tells whether a range is a whole number of steps, in decimals (0.3 is a multiple of 0.1), as Optuna wants it."""
    if step <= 0 or (high - low) / step > MOST_STEPS:
        return False
    return (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) == 0
