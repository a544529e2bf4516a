"""Recipes of any values, as Python, files and command lines may give them: read right, or refused."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ita.checks import read_field
from lightning_ita.errors import UserError
from lightning_ita.models.recipes import Recipe

NAMES = [field.name for field in fields(Recipe)]
# Near what is right, at the ends of ranges, and what has nothing to do with a hyper-parameter.
VALUES = (
    st.sampled_from([getattr(Recipe(), name) for name in NAMES])
    | st.sampled_from([0, 1, 1.0, 16.0, 2**31, -0.0, 1e-300, 10**400, 10**5000, "bf16", "Strict", "bio", b"1", ...])
    | st.sampled_from([np.float32(0.5), np.float64(0.5), np.int64(3), np.bool_(True), np.array([1.0])])
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_any_recipe_is_read_right_or_refused(given: dict[str, Any]) -> None:
    try:
        recipe = Recipe(**given)
    except UserError:
        return
    usual = asdict(Recipe())
    for name, value in asdict(recipe).items():
        assert value == given.get(name, usual[name])
        assert type(value) in TYPES[name]
    assert Recipe(**json.loads(json.dumps(asdict(recipe), allow_nan=False))) == recipe


@given(st.sampled_from(NAMES), VALUES | st.sampled_from(["1e-4", "16", "0.5", "True", "off", "null", "None", "nan"]))
def test_any_value_of_a_file_is_read_right_or_refused(name: str, given: Any) -> None:
    try:
        value = read_field(Recipe, name, given)
    except UserError:
        return
    assert getattr(Recipe(**{name: value}), name) == value
    assert type(value) in TYPES[name]
    assert isinstance(given, str) or value == type(value)(given)  # a whole number beyond 2⁵³ becomes the nearest float


TYPES: dict[str, set[type]] = {name: {type(getattr(Recipe(), name))} for name in NAMES}
TYPES |= {"temperature": {float, type(None)}, "token_budget": {int, type(None)}, "max_length": {int, type(None)}}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", 1, 1.0),
        ("batch_size", 16.0, 16),
        ("batch_size", "16", 16),
        ("temperature", "None", None),
        ("temperature", "null", None),
        ("normalise_urls", "False", False),
        ("tag_scheme", "BIO", "BIO"),
    ],
)
def test_values_of_files(name: str, given: Any, value: Any) -> None:
    read = read_field(Recipe, name, given)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("batch_size", 16.5, "batch_size must be a valid integer, not 16.5"),
        ("batch_size", "None", "batch_size must be a valid integer"),
        ("batch_size", 2**31, "must be less than 2147483648"),
        ("normalise_urls", 1.0, "normalise_urls must be a valid boolean, not 1.0"),
        ("tag_scheme", "bio", "tag_scheme must be 'BIO' or 'BIOES', not 'bio'"),
        ("learning_rate", "inf", "learning_rate must be a finite number"),
    ],
)
def test_values_of_files_that_are_refused(name: str, given: Any, expected: str) -> None:
    with pytest.raises(UserError) as raised:
        read_field(Recipe, name, given)
    assert expected in str(raised.value)
