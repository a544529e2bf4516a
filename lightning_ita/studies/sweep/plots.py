"""Plots of a sweep: history, importance of parameters, slices, parallel coordinates, one view against the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from lightning_ita.files import written_whole
from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.studies.sweep.front import by_view, front_trials, in_both_views
from lightning_ita.studies.sweep.space import Parameter
from lightning_ita.studies.tables.grid import two_digits

INK, MUTED, ACCENT, GRID = "#1f2933", "#8a94a0", "#1f6f8b", "#e4e7eb"
# From weak to strong, in one hue: readable in grey and for the colour-blind.
COLOURS = LinearSegmentedColormap.from_list("sweep", ["#bcd3dc", ACCENT, "#0a2a36"])
OBJECTIVE_LABEL = "valid F1 (%)"
# Fewer completed trials show nothing; fewer with two views show nothing of these.
FEWEST_TRIALS, FEWEST_IN_BOTH = 3, 2
# A parameter with so few values has a colour or a shape for each; the colour-blind can tell these colours apart.
SHAPES, NAMED = "osD^vP", ("#1f6f8b", "#d98200", "#2f9e6f", "#b04a7b", "#6b6b6b", "#c7b12f")


def write_plots(study: Study, parameters: Sequence[Parameter], out: Path) -> list[Path]:
    """Draws the plots for which there are enough trials, into PNG files; returns their paths.

    Args:
        study: The sweep.
        parameters: What was searched.
        out: The folder to write to.
    """
    trials = study.get_trials(deepcopy=False)
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    figures: dict[str, Callable[[], Figure]] = {"history": lambda: history(trials)}
    if len(completed) >= FEWEST_TRIALS:
        figures["slices"] = lambda: slices(trials, parameters)
        if len(parameters) > 1 and len({trial.value for trial in completed}) > 1:
            figures["importance"] = lambda: importance(study, parameters)
            figures["parallel"] = lambda: parallel(completed, parameters)
    if len(in_both_views(completed)) >= FEWEST_IN_BOTH:
        figures["views"] = lambda: views(completed, parameters)
    paths = []
    for name, draw in figures.items():
        path = out / f"{name}.png"
        # A dollar sign in a name is a dollar sign.
        with written_whole(path) as temporary, mpl.rc_context({"text.parse_math": False}):
            draw().savefig(temporary, dpi=150, format="png")
        paths.append(path)
    return paths


def _style(axes: Axes) -> Axes:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def history(trials: Sequence[FrozenTrial]) -> Figure:
    """Draws the objective of each trial in the order they were started, and the best so far."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = _style(figure.add_subplot())
    axes.set(xlabel="trial", ylabel=OBJECTIVE_LABEL, title="The best so far")
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.intermediate_values]
    if completed:
        numbers, values = [t.number for t in completed], [t.value or 0.0 for t in completed]
        best = np.maximum.accumulate(values)
        last = max(trial.number for trial in trials)
        axes.step([*numbers, last], [*best, best[-1]], where="post", color=ACCENT, label="best")
        axes.scatter(numbers, values, color=INK, s=28, zorder=3, label="completed")
        axes.annotate(
            two_digits(best[-1]),
            (last, best[-1]),
            xytext=(4, 4),
            textcoords="offset points",
            color=ACCENT,
            fontsize=9,
        )
    if pruned:
        highest = [max(trial.intermediate_values.values()) for trial in pruned]
        axes.scatter([t.number for t in pruned], highest, marker="x", color=MUTED, s=28, label="pruned (best epoch)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if completed or pruned:
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def importance(study: Study, parameters: Sequence[Parameter]) -> Figure:
    """Draws how much each parameter decides whether a trial is among the best (PED-ANOVA, arXiv 2304.10255)."""
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), params=[p.name for p in parameters]
    )
    labels = {parameter.name: parameter.label for parameter in parameters}
    ordered = sorted(shares.items(), key=lambda entry: entry[1])
    figure = Figure(figsize=(7.5, 0.9 + 0.42 * len(ordered)), layout="constrained")
    axes = _style(figure.add_subplot())
    bars = axes.barh([labels[name] for name, _ in ordered], [share for _, share in ordered], color=ACCENT, height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=4, color=INK, fontsize=9)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    count = sum(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False))
    axes.set(xlabel="share", xlim=(0, 1.12 * (max(shares.values()) or 1)))
    axes.set_title(f"What decides which trials are among the best (PED-ANOVA, {count} completed trials)", fontsize=11)
    return figure


def _positions(parameter: Parameter, trials: Sequence[FrozenTrial]) -> list[float]:
    """Returns the positions of values on a parameter's axis: numbers as they are, choices by their index."""
    values = [trial.params[parameter.name] for trial in trials]
    return [float(parameter.values.index(value)) for value in values] if parameter.values else values


def slices(trials: Sequence[FrozenTrial], parameters: Sequence[Parameter]) -> Figure:
    """Draws the objective against each parameter, the later trials darker."""
    columns = min(3, len(parameters))
    rows = -(-len(parameters) // columns)
    figure = Figure(figsize=(0.5 + 3.0 * columns, 0.5 + 2.6 * rows), layout="constrained")
    figure.suptitle("Where good values lie (× pruned, in its best epoch)", fontsize=11)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.intermediate_values]
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for index, parameter in enumerate(parameters):
        axes = _style(figure.add_subplot(rows, columns, index + 1))
        points = axes.scatter(
            _positions(parameter, completed),
            [trial.value or 0.0 for trial in completed],
            c=[trial.number for trial in completed],
            cmap=COLOURS,
            s=34,
            edgecolors="white",
            linewidths=0.5,
            zorder=3,
        )
        highest = [max(trial.intermediate_values.values()) for trial in pruned]
        axes.scatter(_positions(parameter, pruned), highest, marker="x", color=MUTED, s=18, linewidths=0.8)
        axes.set_xlabel(parameter.label)
        if parameter.values:
            axes.set_xticks(range(len(parameter.values)), [_short(value) for value in parameter.values])
            axes.set_xlim(-0.5, len(parameter.values) - 0.5)
        elif parameter.log:
            axes.set_xscale("log")
            axes.set_xlim(parameter.low * 0.8, parameter.high * 1.25)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.minorticks_off()
        if index % columns == 0:
            axes.set_ylabel(OBJECTIVE_LABEL)
    bar = figure.colorbar(points, ax=figure.axes, shrink=0.8, pad=0.01)
    bar.set_label("trial", fontsize=9)
    bar.outline.set_visible(False)
    return figure


def parallel(completed: Sequence[FrozenTrial], parameters: Sequence[Parameter]) -> Figure:
    """Draws each completed trial as a line through its values to its objective, the better the darker."""
    figure = Figure(figsize=(1.5 + 1.6 * (len(parameters) + 1), 4.4), layout="constrained")
    axes = figure.add_subplot()
    values = [trial.value or 0.0 for trial in completed]
    scales: list[tuple[str, list[float], list[tuple[float, str]]]] = []
    for parameter in parameters:
        scales.append((parameter.label, *_scaled(parameter, completed)))
    low, high = min(values), max(values)
    ticks = [(share, f"{low + share * (high - low):.1f}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    scales.append((OBJECTIVE_LABEL, [(value - low) / (high - low) for value in values], ticks))
    colours = ScalarMappable(Normalize(low, high), COLOURS)
    for index in np.argsort(values):  # the best on top
        heights = [positions[index] for _, positions, _ in scales]
        axes.plot(heights, color=colours.to_rgba(values[index]), linewidth=1.4, alpha=0.85)
    for column, (label, _, marks) in enumerate(scales):
        axes.axvline(column, color=MUTED, linewidth=0.8, zorder=0)
        for height, text in marks:
            box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
            axes.text(column + 0.03, height, text, fontsize=8, color=INK, va="center", bbox=box)
        axes.text(column, 1.1, label, fontsize=9, color=INK, ha="center")
    axes.set(xlim=(-0.15, len(scales) - 0.6), ylim=(-0.06, 1.06))
    axes.axis("off")
    figure.suptitle("How good values go together (completed trials; dark is good)", fontsize=11)
    return figure


def views(completed: Sequence[FrozenTrial], parameters: Sequence[Parameter]) -> Figure:
    """Draws F1 in the text view against F1 in the cross-modal view.

    The first parameter that has several values, but few, decides the colour of a point, and the second its shape. The
    trials that no other beats (see `front`) have thick edges and bold numbers; the line through them goes in steps:
    nothing tells that there are models between them.
    """
    trials = in_both_views(completed)
    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    axes = _style(figure.add_subplot())
    axes.set(
        xlabel=f"F1 on valid, cross-modal view ({CROSS_MODAL}), in %",
        ylabel=f"F1 on valid, text view ({TEXT}), in %",
        title="Both views of each completed trial, with its number",
    )
    axes.margins(0.1)
    ends = [_point(trial) for trial in front_trials(trials)]
    axes.plot(*zip(*ends, strict=True), color=MUTED, linewidth=1.4, drawstyle="steps-pre", zorder=2)
    coded = [(p, few) for p in parameters if (few := _few(p, trials))][:2]
    colours = _colours(coded[0][1]) if coded else {}
    shapes = dict(zip(coded[1][1], SHAPES, strict=False)) if len(coded) > 1 else {}
    for trial in trials:
        values = [trial.params.get(parameter.name) for parameter, _ in coded]
        axes.scatter(
            *_point(trial),
            color=colours.get(values[0], ACCENT) if values else ACCENT,
            marker=shapes.get(values[1], "o") if len(values) > 1 else "o",
            s=52,
            edgecolors=INK,
            linewidths=1.8 if _point(trial) in ends else 0.6,
            zorder=3,
        )

    def mark(colour: str, shape: str, edge: float = 0.6, style: str = "") -> Line2D:
        face = "white" if style else colour
        return Line2D([], [], color=colour, marker=shape, ls=style, mfc=face, markeredgecolor=INK, markeredgewidth=edge)

    entries = [(mark(MUTED, "o", 1.8, "-"), "not beaten by another trial")]
    if colours:
        entries += [(mark(each, "o"), f"{coded[0][0].label} {_short(value)}") for value, each in colours.items()]
    if shapes:
        entries += [(mark("white", each), f"{coded[1][0].label} {_short(value)}") for value, each in shapes.items()]
    figure.legend(*zip(*entries, strict=True), frameon=False, fontsize=9, loc="outside right upper")
    numbers: dict[tuple[float, float], list[str]] = {}
    for trial in trials:
        numbers.setdefault(_point(trial), []).append(str(trial.number))
    for point, each in numbers.items():
        weight = "bold" if point in ends else "normal"
        axes.annotate(
            ", ".join(each), point, (0, 9), textcoords="offset points", ha="center", fontsize=9, weight=weight
        )
    return figure


def _point(trial: FrozenTrial) -> tuple[float, float]:
    return by_view(trial)[CROSS_MODAL], by_view(trial)[TEXT]


def _few(parameter: Parameter, trials: Sequence[FrozenTrial]) -> list[Any]:
    """Returns the values that trials have of a parameter, in their order; none where it is one, or many."""
    values = {trial.params[parameter.name] for trial in trials if parameter.name in trial.params}
    if not 1 < len(values) <= len(SHAPES):
        return []
    return [value for value in parameter.values if value in values] or sorted(values)


def _colours(values: Sequence[Any]) -> dict[Any, str]:
    """Returns a colour per value: from weak to strong for numbers, of different hues for names."""
    if not values or not all(isinstance(value, int | float) for value in values):
        return dict(zip(values, NAMED, strict=False))
    ranks = {value: rank / (len(values) - 1) for rank, value in enumerate(sorted(values))}
    return {value: to_hex(COLOURS(ranks[value])) for value in values}


def _short(value: Any) -> str:
    """Writes a value with two digits, without an exponent where that is short enough."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{float(f'{value:.2g}'):g}" if is_number else str(value)


def _scaled(parameter: Parameter, trials: Sequence[FrozenTrial]) -> tuple[list[float], list[tuple[float, str]]]:
    """Returns heights from 0 to 1 of a parameter's values, and marks for its axis."""
    positions = np.asarray(_positions(parameter, trials), dtype=float)
    if parameter.values:
        most = len(parameter.values) - 1
        return list(positions / most), [(index / most, _short(value)) for index, value in enumerate(parameter.values)]
    forth, back = (np.log, np.exp) if parameter.log else (np.asarray, np.asarray)
    low, high = forth(parameter.low), forth(parameter.high)
    heights = (forth(positions) - low) / (high - low)
    return list(heights), [(share, _short(back(low + share * (high - low)))) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
