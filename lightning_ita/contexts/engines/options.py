"""Options of engines: checks of their types, which follow from the engines' signatures, and of their ranges."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from lightning_ita.errors import UserError, unknown
from lightning_ita.text import quoted


def of_type(value: object, hint: Any, option: str, engine: str) -> object:
    """Returns an option's value as its type has it: 1 is a float where one is expected.

    Args:
        value: As the user gave it.
        hint: The type in the engine's signature.
        option: The option's name, for the error.
        engine: The engine as the user writes it, for example ``ocr=rapidocr``, for the error.

    Raises:
        UserError: The value is not of this type.
    """
    from pydantic import TypeAdapter, ValidationError  # not needed to list engines

    if get_origin(hint) is Literal and value not in get_args(hint):
        raise unknown(f"{option} of {engine}", str(value), get_args(hint))
    try:
        checked: object = TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError:
        expected = hint.__name__ if isinstance(hint, type) else str(hint).replace("collections.abc.", "")
        raise UserError(f"option {option} of {engine}: expected {expected}, not {quoted(value)}") from None
    return checked


def check_share(name: str, value: float) -> float:
    """Checks that a threshold lies between 0 and 1, and returns it.

    Raises:
        UserError: It does not.
    """
    if not 0 <= value <= 1:
        raise UserError(f"{name} must lie between 0 and 1, not {value}")
    return float(value)


def check_count(name: str, value: int, most: int | None = None) -> int:
    """Checks that a number is at least 1 and at most `most`, and returns it.

    Raises:
        UserError: It is not.
    """
    if value < 1 or (most is not None and value > most):
        limit = "" if most is None else f" and at most {most}"
        raise UserError(f"{name} must be at least 1{limit}, not {quoted(value)}")
    return int(value)
