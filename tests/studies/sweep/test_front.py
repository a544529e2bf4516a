"""Scores by view: the front, its figure and its place in tables."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("optuna")

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightning_ita.studies.sweep.front import BY_VIEW, front, front_trials
from lightning_ita.studies.sweep.plots import views, write_plots
from lightning_ita.studies.sweep.results import front_line, markdown, trials_csv, trials_grid, winner_cells
from lightning_ita.studies.sweep.space import Parameter
from lightning_ita.studies.sweep.storage import Sweep
from tests.studies.sweep.test_grid import make

PARAMETERS = (
    Parameter("contexts", ("tag", "cap")),
    Parameter("recipe.temperature", (1.0, 2.0, 4.0, 8.0)),
)
POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12)


def trial(number: int, scores: dict[str, float] | None, **options: Any) -> FrozenTrial:
    values = {parameter.name: parameter.values[number % len(parameter.values)] for parameter in PARAMETERS}
    made = create_trial(
        params=values,
        distributions={parameter.name: CategoricalDistribution(parameter.values) for parameter in PARAMETERS},
        user_attrs={} if scores is None else {BY_VIEW: scores},
        **({"value": 80.0 + number} | options),
    )
    made.number = number
    return made


def some_trials(count: int, spread: float = 0.5) -> list[FrozenTrial]:
    generator = random.Random(1)
    drawn = ((generator.gauss(80, spread), generator.gauss(84, spread)) for _ in range(count))
    return [trial(number, {"T": text, "I+T": both}) for number, (text, both) in enumerate(drawn)]


@given(POINTS)
def test_the_front_is_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    found = front(points)
    assert bool(found) == bool(points)
    for index, (a, b) in enumerate(points):
        is_beaten = any(c >= a and d >= b and (c > a or d > b) for c, d in points)
        assert (index in found) == (not is_beaten)


def test_the_front_is_listed_from_text_to_both() -> None:
    scores: list[tuple[float, float] | None] = [(80, 84), (82, 83), (81, 85), (79, 86), None, (79, 85), (82, 80)]
    found = [trial(i, None if each is None else {"T": each[0], "I+T": each[1]}) for i, each in enumerate(scores)]
    found.append(trial(7, {"T": 99, "I+T": 99}, state=TrialState.FAIL, value=None))
    found.append(trial(8, {"T": 99}))  # has one view
    assert [each.number for each in front_trials(found)] == [1, 2, 3]
    assert front_line(found).endswith("trials 1, 2, 3.")
    assert front_trials([]) == []


def test_equal_points_share_a_label_and_a_legend_names_the_values() -> None:
    scores = {"T": 80.0, "I+T": 84.0}
    figure = views([trial(0, scores), trial(1, scores), trial(2, {"T": 79.0, "I+T": 85.0})], PARAMETERS)
    assert {text.get_text() for text in figure.axes[0].texts} == {"0, 1", "2"}
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[1:] == ["contexts tag", "contexts cap", "temperature 1", "temperature 2", "temperature 4"]
    assert figure.axes[0].get_xlabel() == "F1 on valid, cross-modal view (I+T), in %"


def test_many_values_have_no_legend() -> None:
    many = Parameter("recipe.warmup", (), 0.0, 1.0)
    trials = [
        create_trial(
            params={many.name: share / 10},
            distributions={many.name: optuna.distributions.FloatDistribution(0, 1)},
            value=1.0,
            user_attrs={BY_VIEW: {"T": float(share), "I+T": float(-share)}},
        )
        for share in range(8)
    ]
    (legend,) = views(trials, [many]).legends
    assert len(legend.get_texts()) == 1


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return make(tmp_path)


def test_trials_of_earlier_versions_have_no_scores_by_view(sweep: Sweep, tmp_path: Path) -> None:
    found = [trial(number, None) for number in range(3)]
    study = optuna.create_study()
    study.add_trials(found)
    written = write_plots(study, PARAMETERS, tmp_path)
    assert "views.png" not in {path.name for path in written}
    grid = trials_grid(sweep, found)
    assert grid.columns[:4] == ("trial", "valid F1", "valid T", "valid I+T")
    assert [[entry.text for entry in row[2:4]] for row in grid.rows] == [["", ""]] * 3
    assert "## Views" not in markdown(sweep, found, [], written)
    for line in csv.DictReader(io.StringIO(trials_csv(found, PARAMETERS))):
        assert line["valid/T/f1"] == line["valid/I+T/f1"] == ""


def test_trials_that_differ_in_nothing_that_counts_are_one_winner(tmp_path: Path) -> None:
    spaces = (Parameter("cva", ("sequence", "token")), Parameter("recipe.temperature", (1.0, 2.0, 4.0)))
    distributions = {each.name: CategoricalDistribution(each.values) for each in spaces}
    trials = []
    for number, (mode, temperature) in enumerate([("token", 2.0), ("sequence", 4.0), ("sequence", 1.0)]):
        params = {"cva": mode, "recipe.temperature": temperature}
        trials.append(create_trial(params=params, distributions=distributions, value=80.0 + (mode == "sequence")))
        trials[-1].number = number
    winners = winner_cells(make(tmp_path, space=spaces), trials, 2, (1, 2))
    assert [(trial.number, [cell.seed for cell in cells]) for trial, cells in winners] == [(1, [1, 2]), (0, [1, 2])]
    assert len({cell.identity for _, cells in winners for cell in cells}) == 4


def test_a_system_with_one_view_has_no_columns_for_two(tmp_path: Path) -> None:
    sweep = make(
        tmp_path, "parameters: {contexts: {value: none}, cva: {value: 'off'}, recipe.warmup: {values: [0.0, 0.1]}}"
    )
    assert sweep.views == ("T",)
    assert trials_grid(sweep, []).columns == ("trial", "valid F1", "warmup", "epochs")
