"""F1 by view of a sweep's trials, and the trials that none beats in both views (the Pareto front)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from lightning_ita.models.options import VIEWS

# What a completed trial notes: F1 on valid by view, in its best epoch, in percent.
BY_VIEW = "valid"


def by_view(trial: FrozenTrial) -> Mapping[str, float]:
    """Returns F1 on valid by view of a completed trial; nothing for others, and for those of earlier versions."""
    scores: Mapping[str, float] = trial.user_attrs.get(BY_VIEW, {}) if trial.state == TrialState.COMPLETE else {}
    return scores


def in_both_views(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the trials that have F1 on valid in both views."""
    return [trial for trial in trials if set(VIEWS) <= set(by_view(trial))]


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Returns which points are not dominated: no other is at least as great everywhere, and greater somewhere.

    Args:
        points: Points with the same number of coordinates, each the better the greater.

    Returns:
        Their indices, in increasing order; points that are equal are dominated together or not at all.

    Examples:
        >>> front([(1, 5), (2, 4), (2, 3), (4, 1)])
        [0, 1, 3]
    """

    def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
        return all(a >= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)

    return [index for index, point in enumerate(points) if not any(dominates(other, point) for other in points)]


def front_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Returns the trials on the front, from the best in the text view to the best in the cross-modal view."""
    scored = in_both_views(trials)
    points = [tuple(by_view(trial)[view] for view in VIEWS) for trial in scored]
    text, cross_modal = VIEWS
    return sorted((scored[i] for i in front(points)), key=lambda t: (by_view(t)[cross_modal], -by_view(t)[text]))
