"""What a sweep file may say: read as W&B reads it, or refused with the reason."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lightning_ita.errors import DataError, UserError
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.sweep.space import DISTRIBUTIONS, NAMES, Parameter, read_space
from lightning_ita.studies.sweep.values import corners, defaults, has_value, with_values


def read(folder: Path, content: str) -> tuple[Parameter, ...]:
    path = folder / "space.yaml"
    path.write_text(content, encoding="utf-8", errors="surrogatepass")
    return read_space(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("recipe.learning_rate: {values: [1e-4, 2e-4]}", [1e-4, 2e-4]),  # text to YAML
        ("recipe.learning_rate: {values: [1, '0.5']}", [1.0, 0.5]),
        ("recipe.batch_size: {values: ['16', 8.0, 4]}", [16, 8, 4]),
        ("recipe.temperature: {values: [null, None, 'null', 2, 2.0]}", [None, 2.0]),
        ("recipe.normalise_urls: {values: [true, 'False']}", [True, False]),
        ("recipe.tag_scheme: {values: [BIO, BIOES]}", ["BIO", "BIOES"]),
        ("ita.contexts: {values: [[tag, cap], ocr]}", ["tag,cap", "ocr"]),
        ("ita.cva: {values: ['off', token]}", ["off", "token"]),
    ],
)
def test_values_are_read_as_arguments_are(content: str, expected: list[Any], tmp_path: Path) -> None:
    (parameter,) = read(tmp_path, f"parameters: {{{content}}}")
    assert [(type(value), value) for value in parameter.values] == [(type(value), value) for value in expected]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("recipe.batch_size: {min: 8, max: 32}", Parameter("recipe.batch_size", (), 8, 32, whole=True)),
        ("recipe.batch_size: {min: 8.0, max: 3.2e+1}", Parameter("recipe.batch_size", (), 8, 32, whole=True)),
        (
            "recipe.batch_size: {min: 8, max: 32, distribution: q_uniform, q: 8}",
            Parameter("recipe.batch_size", (), 8, 32, step=8, whole=True),
        ),
        ("recipe.gradient_clip: {min: 1, max: 5}", Parameter("recipe.gradient_clip", (), 1, 5, whole=True)),
        ("recipe.gradient_clip: {min: 1.0, max: 5}", Parameter("recipe.gradient_clip", (), 1, 5)),
        (
            "recipe.learning_rate: {min: 1e-5, max: 1e-3, distribution: log_uniform_values}",
            Parameter("recipe.learning_rate", (), 1e-5, 1e-3, log=True),
        ),
        (
            "recipe.warmup: {min: 0.1, max: 0.4, distribution: q_uniform, q: 0.1}",
            Parameter("recipe.warmup", (), 0.1, 0.4, step=0.1),
        ),
    ],
)
def test_ranges(content: str, expected: Parameter, tmp_path: Path) -> None:
    assert read(tmp_path, f"parameters: {{{content}}}") == (expected,)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[", "not YAML"),
        ("a: &a [*a]", "aliases"),
        ("a: 1", "no `parameters` in it"),
        ("parameters: {recipe.learning_rat: {min: 0.1, max: 0.2}}", "Did you mean 'recipe.learning_rate'"),
        ("parameters: {recipe.learning_rate: 3}", "expected value, values, or min and max"),
        ("parameters: {recipe.learning_rate: {min: 0.1}}", "max is missing"),
        ("parameters: {recipe.learning_rate: {min: 0.1, max: much}}", "max is 'much'"),
        ("parameters: {recipe.learning_rate: {min: 0.2, max: 0.1}}", "min 0.2 must be less than max 0.1"),
        ("parameters: {recipe.learning_rate: {min: 0.1, max: 0.2, distribution: normal}}", "distribution 'normal'"),
        ("parameters: {recipe.learning_rate: {min: 0.1, max: 0.2, q: 0.1}}", "q belongs to distribution q_uniform"),
        ("parameters: {recipe.learning_rate: {value: 0.1, min: 0.1}}", "'min' is not known here"),
        ("parameters: {recipe.learning_rate: {values: [0.1], distribution: uniform}}", "needs min and max"),
        ("parameters: {recipe.learning_rate: {values: [fast]}}", "learning_rate must be a valid number"),
        ("parameters: {recipe.learning_rate: {values: [true]}}", "learning_rate must be a valid number"),
        ("parameters: {recipe.learning_rate: {values: [0.1, -1]}}", "must be greater than 0, not -1"),
        ("parameters: {recipe.batch_size: {values: [16.5]}}", "batch_size must be a valid integer"),
        ("parameters: {recipe.batch_size: {min: 8.5, max: 32}}", "is a whole number, and distribution uniform draws"),
        ("parameters: {recipe.batch_size: {min: 8, max: 9, distribution: uniform}}", "give whole min and max"),
        ("parameters: {recipe.batch_size: {min: 8, max: 9, distribution: log_uniform_values}}", "or give values"),
        ("parameters: {recipe.batch_size: {min: 8, max: 9, distribution: q_uniform, q: 0.5}}", "a whole q"),
        ("parameters: {recipe.batch_size: {min: 8, max: 9, distribution: q_uniform, q: 3}}", "whole number of steps"),
        ("parameters: {recipe.batch_size: {min: 0, max: 4}}", "batch_size must be greater than 0"),
        ("parameters: {recipe.gradient_clip: {min: 1.5, max: 2, distribution: int_uniform}}", "must be whole numbers"),
        ("parameters: {recipe.word_dropout: {min: 0, max: 1}}", "word_dropout must be less than 1"),
        ("parameters: {recipe.tag_scheme: {min: 1, max: 2}}", "is no number"),
        ("parameters: {contexts: {min: 1, max: 2}}", "is no number"),
        ("parameters: {cva: {values: [off, token]}}", 'write "off"'),
        ("parameters: {ita.cva: {values: [off, token]}}", 'write "off"'),
        ("parameters: {contexts: {values: [tag, 3]}}", "contexts: 3 is no name"),
        ("parameters: {cva: {values: [joint, token]}, ita.cva: {values: [joint, token]}}", "is there twice"),
        ("parameters: {cva: {value: token}}", "nothing is left to search"),
        ("metric: {name: test/f1}\nparameters: {cva: {values: [token]}}", "expected name valid/f1 and goal maximize"),
    ],
)
def test_what_cannot_be_searched_is_refused(content: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        read(tmp_path, content)
    assert expected in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_what_an_argument_gives_is_not_searched_under_either_name(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("parameters: {cva: {values: [joint, token]}, recipe.warmup: {values: [0, 0.1]}}")
    assert [parameter.name for parameter in read_space(path, fixed=["ita.cva"])] == ["recipe.warmup"]
    assert [parameter.name for parameter in read_space(path, fixed=["recipe.warmup"])] == ["cva"]


def test_ranges_of_options_are_tried_at_their_ends() -> None:
    space = [Parameter("ita.width", (), 2, 8, whole=True), Parameter("contexts", ("tag", "cap"))]
    assert corners(space) == [{"ita.width": w, "contexts": c} for w in (2, 8) for c in ("tag", "cap")]
    assert corners([Parameter("recipe.warmup", (0.0, 0.1))]) == [{}]


def test_a_mode_without_a_teacher_may_be_searched_beside_one_with() -> None:
    base = Cell(options=ITAOptions("token", ("cap",), teacher="frozen"))
    for name in ("cva", "ita.cva"):
        modes = [with_values(base, {name: mode}).options for mode in ("off", "token")]
        assert modes == [ITAOptions("off", ("cap",)), base.options]


def test_options_of_another_system_are_not_searched() -> None:
    with pytest.raises(UserError, match=r"ita.cva cannot be searched for the system bert-crf; choose --system ita"):
        with_values(Cell(options=Cell.from_config({"system": "bert-crf"}).options), {"ita.cva": "joint"})


def test_a_cell_has_what_it_was_given() -> None:
    cell = Cell("twitter17", ITAOptions("token", ("cap", "tag"))).resolve({})
    right: list[tuple[str, Any]] = [
        ("contexts", "tag,cap"),
        ("cva", "token"),
        ("ita.contexts", ["cap", "tag"]),
        ("recipe.learning_rate", "1e-4"),
        ("recipe.temperature", None),
        ("recipe.temperature", 2),
        ("recipe.normalise_urls", False),
    ]
    wrong: list[tuple[str, Any]] = [
        ("contexts", "tag"),
        ("contexts", "none"),
        ("cva", "joint"),
        ("recipe.temperature", 4.0),
        ("recipe.normalise_urls", True),
    ]
    for name, value in right:
        assert has_value(cell, name, value), name
    for name, value in wrong:
        assert not has_value(cell, name, value), name


# Sweep files near those that are right, and what may stand in their place.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70)
    | st.integers()
    | st.floats()
    | st.sampled_from([0.1, 1.0, 16.0, 1e-4, "1e-4", "16", "null", "None", "off", "token", "tag,cap", "BIO", "false"])
    | st.text(max_size=8)
)
KEYS = st.sampled_from(["value", "values", "min", "max", "q", "distribution", "mu"]) | st.text(max_size=3)
RANGES = st.fixed_dictionaries(
    {"min": SCALARS, "max": SCALARS}, optional={"distribution": st.sampled_from(DISTRIBUTIONS) | SCALARS, "q": SCALARS}
)
CHOICES = st.fixed_dictionaries({"values": st.lists(SCALARS, max_size=4) | SCALARS})
SPECS = RANGES | CHOICES | st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=3) | SCALARS
NUMBERS = st.sampled_from([0.1, 0.25, 0.5, 1, 2, 4.0, 8, "0.3", "2e0", 1e-4]) | st.floats(0, 1) | st.integers(0, 9)
RIGHT_CHOICES = {
    "contexts": st.sampled_from(["tag", "cap", "tag,cap", "ocr , tag", "none"]),
    "cva": st.sampled_from(["off", "joint", "token", "sequence"]),
    "recipe.tag_scheme": st.sampled_from(["BIO", "BIOES"]),
    "recipe.normalise_urls": st.booleans() | st.sampled_from(["true", "False"]),
    "recipe.temperature": NUMBERS | st.sampled_from([None, "null", "None"]),
}
NUMERIC = [name for name in NAMES if isinstance(getattr(Recipe(), name.removeprefix("recipe."), None), int | float)]
RIGHT_CHOICES |= {f"ita.{name}": RIGHT_CHOICES[name] for name in ("contexts", "cva")}


def near(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    """Specifications of a parameter that are mostly right."""
    values = st.fixed_dictionaries({"values": st.lists(RIGHT_CHOICES.get(name, NUMBERS), min_size=2, max_size=3)})
    ends = st.tuples(NUMBERS, NUMBERS).map(lambda both: sorted(both, key=lambda end: float(str(end))))
    ranges = st.builds(
        lambda both, rest: {"min": both[0], "max": both[1], **rest},
        ends,
        st.sampled_from([{}, {"distribution": "log_uniform_values"}, {"distribution": "int_uniform"}])
        | st.fixed_dictionaries({"distribution": st.just("q_uniform")}, optional={"q": NUMBERS}),
    )
    return st.tuples(st.just(name), values | ranges if name in (*NUMERIC, "recipe.temperature") else values)


NEARLY_RIGHT = st.lists(st.sampled_from([*NAMES, "ita.cva", "ita.contexts"]).flatmap(near), min_size=1, max_size=3)
ANY_NAME = st.sampled_from([*NAMES, "ita.cva", "ita.contexts", "bert-crf.cva"]) | st.text(max_size=5)
SPACES = st.dictionaries(ANY_NAME, SPECS, min_size=1, max_size=3)
PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@given(NEARLY_RIGHT.map(dict) | NEARLY_RIGHT.map(dict) | SPACES | PLAIN)
def test_any_space_is_read_right_or_refused(tmp_path: Path, parameters: Any) -> None:
    check_space(yaml.safe_dump({"parameters": parameters}), parameters, tmp_path)


@given(st.text(max_size=60) | st.text("&*[]{}:!<>- \n01e\"'", max_size=60))
def test_any_text_is_refused_as_a_space(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        read(tmp_path, text)


def check_space(content: str, parameters: Any, folder: Path) -> None:
    optuna = pytest.importorskip("optuna")
    try:
        space = read(folder, content)
        cells = [with_values(Cell(), values) for values in corners(space)]
    except UserError:
        return
    own = defaults(cells[0], space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(own)
    for number in range(2):
        trial = study.ask()
        drawn = {parameter.name: parameter.suggest(trial) for parameter in space}
        assert number or own.items() <= drawn.items()
        cell = with_values(Cell(), drawn)
        for parameter in space:
            value = drawn[parameter.name]
            assert parameter.holds(value)
            spec = parameters[parameter.name]
            if parameter.values:
                given = spec.get("values", [spec.get("value")])
                assert any(same(value, each) for each in given)
            else:
                low, high = float(spec["min"]), float(spec["max"])
                assert low <= value <= high
            if parameter.name.startswith("recipe."):
                kept = vars(cell.recipe)[parameter.label]
                assert kept == value
                assert type(kept) is type(vars(Recipe())[parameter.label]) or None in (
                    kept,
                    vars(Recipe())[parameter.label],
                )


def same(value: Any, written: Any) -> bool:
    """Tells whether a value is what was written, perhaps as text or as another kind of number."""
    if isinstance(written, list):
        return bool(value == ",".join(written))
    if isinstance(written, str) and not isinstance(value, str):
        if value is None or isinstance(value, bool):
            return written.lower() in ("null", "none") if value is None else written.lower() in TRUE_OR_FALSE[value]
        return written not in ("null", "None") and math.isclose(float(written), value)
    return bool(value == written) and isinstance(value, bool) == isinstance(written, bool)


TRUE_OR_FALSE = {True: ("true", "1", "t", "y", "on", "yes"), False: ("false", "0", "f", "n", "off", "no")}
