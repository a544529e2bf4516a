"""The page of the engines' options says what their signatures say."""

from __future__ import annotations

import inspect

import pytest

from docs.extensions.engines import NO_OPTIONS, options_of
from lightning_ita.contexts.engines import ENGINES

EACH = [(kind, name) for kind, engines in ENGINES.items() for name in engines]


@pytest.mark.parametrize(("kind", "name"), EACH)
def test_every_option_is_listed_with_its_default(kind: str, name: str) -> None:
    listed = options_of(ENGINES[kind].path(name))
    parameters = inspect.signature(ENGINES[kind][name]).parameters
    assert [option.name for option in listed] == [each for each in parameters if each not in NO_OPTIONS]
    for option in listed:
        default = parameters[option.name].default
        assert (option.default == "") == (default is None)
        if isinstance(default, str | int | float) and not isinstance(default, bool):
            assert option.default == str(default)
        assert option.text.endswith((".", "}`."))


def test_defaults_are_written_as_options_take_them() -> None:
    listed = {option.name: option for option in options_of(ENGINES["know"].path("openai"))}
    assert (listed["picture"].default, listed["timeout"].default, listed["url"].default) == ("false", "120.0", "")
    assert "time-out" in listed["retries"].text
