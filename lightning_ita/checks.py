"""Checks the fields of a dataclass against their annotated types and ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lightning_ita.errors import UserError
from lightning_ita.text import quoted

# How YAML and Python, and so W&B's command lines, write that a value is not given.
NULLS = ("null", "None")


def check_fields(value: Any) -> None:
    """Checks every field of a frozen dataclass, and stores numbers in their annotated type (2 as 2.0 for a float).

    Types are checked strictly: ``"false"`` is not a boolean, and 1.0 is not a whole number. Ranges are those of the
    annotation, for example ``Annotated[float, Gt(0)]``.

    Raises:
        UserError: A field has a wrong type or is out of its range; names the field, the value and what is allowed.
    """
    for name, adapter in _adapters(cast(Hashable, type(value))).items():
        given = getattr(value, name)
        try:
            checked = adapter.validate_python(given, strict=True)
        except ValidationError as error:
            raise _wrong(name, given, error) from None
        object.__setattr__(value, name, checked)


def read_field(kind: type, name: str, given: Any) -> Any:
    """Reads the value of one field of a dataclass as a file or a command line may write it.

    Text is read as the field's type, as command lines have it and YAML writes ``1e-4`` and ``None``; a float without
    fraction as a whole number, where the field is one.

    Args:
        kind: The dataclass.
        name: The field.
        given: The value, of any type.

    Raises:
        UserError: It is no value of this field; names the field, the value and what is allowed.
    """
    adapter = _adapters(cast(Hashable, kind))[name]
    tries: list[Callable[[], Any]] = [lambda: adapter.validate_python(given, strict=True)]
    if isinstance(given, str):
        tries.append(lambda: adapter.validate_python(None if given in NULLS else given, strict=True))
        tries.append(lambda: adapter.validate_strings(given))
    elif isinstance(given, float) and given.is_integer():
        tries.append(lambda: adapter.validate_python(int(given), strict=True))
    for read in tries:
        try:
            return read()
        except ValidationError as error:
            refused = error
    raise _wrong(name, given, refused)


def _wrong(name: str, given: Any, error: ValidationError) -> UserError:
    reason = error.errors()[0]["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return UserError(f"{name} must be {reason}, not {quoted(given)}")


@cache
def _adapters(kind: Any) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: TypeAdapter(hints[field.name]) for field in dataclasses.fields(kind)}
