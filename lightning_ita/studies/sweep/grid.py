"""The queue of a grid search: each combination of values is one trial, in the order of the sweep file.

Optuna's `GridSampler` chooses combinations at random when a trial starts, so that processes that start trials at the
same time may run one twice. Here the storage holds one waiting trial per combination, and Optuna hands each waiting
trial to one process only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
LIVE = (*FINISHED, TrialState.RUNNING, TrialState.WAITING)
# A combination that failed or was killed this often is not tried again.
MOST_FAILURES = 3
# What a trial of the queue notes of itself: its combination; that it was ended by no fault of its own.
COMBINATION, STOPPED = "combination", "stopped"

Combination = Mapping[str, Any]


def queue_missing(study: Study, combinations: Sequence[Combination]) -> None:
    """Adds a waiting trial for each combination that no trial has finished, runs or waits for, in their order.

    Call it while no other process of the folder does. Processes of several machines may add a combination twice; the
    later of the two trials is not run, see `twin`.
    """
    for values in _without(combinations, study.get_trials(deepcopy=False), LIVE):
        study.enqueue_trial(dict(values), user_attrs={COMBINATION: dict(values)})


def open_combinations(combinations: Sequence[Combination], trials: Sequence[FrozenTrial]) -> int:
    """Returns how many combinations are still to be finished; those that failed too often are not."""
    return len(_without(combinations, trials, FINISHED))


def left_out(combinations: Sequence[Combination], trials: Sequence[FrozenTrial]) -> int:
    """Returns how many combinations failed so often that they are not tried again."""
    given_up = _failed_for_good(trials)
    return sum(_key(values) in given_up for values in combinations)


def failures(trials: Sequence[FrozenTrial], values: Combination) -> int:
    """Returns how many trials of a combination failed or were killed, those left out that were stopped on purpose."""
    return _failures(trials)[_key(values)]


def twin(trials: Sequence[FrozenTrial], number: int) -> int | None:
    """Returns the number of an earlier trial with the combination of trial `number`, unless that one failed."""
    key = _key(trials[number].user_attrs[COMBINATION])
    earlier = (t for t in trials[:number] if t.state != TrialState.FAIL and COMBINATION in t.user_attrs)
    return next((trial.number for trial in earlier if _key(trial.user_attrs[COMBINATION]) == key), None)


def _without(
    combinations: Sequence[Combination], trials: Sequence[FrozenTrial], states: Collection[TrialState]
) -> list[Combination]:
    """Returns the combinations that may be run and of which no trial is in one of `states`."""
    passed_over = _taken(trials, states) | _failed_for_good(trials)
    return [values for values in combinations if _key(values) not in passed_over]


def _taken(trials: Sequence[FrozenTrial], states: Collection[TrialState]) -> set[str]:
    return {_key(t.user_attrs[COMBINATION]) for t in trials if t.state in states and COMBINATION in t.user_attrs}


def _failed_for_good(trials: Sequence[FrozenTrial]) -> set[str]:
    return {key for key, count in _failures(trials).items() if count >= MOST_FAILURES} - _taken(trials, LIVE)


def _failures(trials: Sequence[FrozenTrial]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for trial in trials:
        attributes = trial.user_attrs
        if trial.state == TrialState.FAIL and COMBINATION in attributes and not attributes.get(STOPPED, False):
            counts[_key(attributes[COMBINATION])] += 1
    return counts


def _key(values: Combination) -> str:
    return json.dumps(dict(values), sort_keys=True)
