"""Checks the fields of a dataclass against their annotated types and ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from functools import cache
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lightning_ita.errors import UserError


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
            reason = error.errors()[0]["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            raise UserError(f"{name} must be {reason}, not {given!r}") from None
        object.__setattr__(value, name, checked)


@cache
def _adapters(kind: Any) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: TypeAdapter(hints[field.name]) for field in dataclasses.fields(kind)}
