"""A report's plots as inline SVG whose colours are those of the page, light or dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lightning_ita.models.options import CROSS_MODAL, TEXT, VIEWS, TwoViewOptions
from lightning_ita.statistics.comparison import estimate
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.report.evidence import Evidence, RowEvidence
from lightning_ita.studies.report.gains import gains_by_context
from lightning_ita.studies.report.grids import minus
from lightning_ita.studies.tables.ablation import signed
from lightning_ita.studies.trained import tests_another
from lightning_ita.text import printable

# Colours that stand for the page's own, by the name of its CSS variable; replaced when the SVG is written.
NAMES = ("ink", "muted", "line", "text-view", "cross-modal", "up", "down", "none", "cap", "tag", "ocr", "several")
# Of rows by what they read; then those of systems that read no contexts, which entity types have, too.
READS, OTHERS = NAMES[7:], ("e1", "e4", "e5", "e3", "e2", "e0")
# Longest name that is drawn, in characters.
MOST_LABEL, MOST_TICK = 60, 20
# Most rows in a plot that draws each as a line, so that each has a colour of its own.
MOST_LINES = len(OTHERS)
COLOURS = {name: f"#0a0b{number:02x}" for number, name in enumerate((*NAMES, *OTHERS), start=16)}
VIEW_COLOURS = {TEXT: COLOURS["text-view"], CROSS_MODAL: COLOURS["cross-modal"]}
LINE_STYLES = {"off": "-", "joint": ":", "token": "--", "sequence": "-."}
# Points; a phone shows a plot at about this width, pixel by point.
WIDTH = 360
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.titlecolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


class Canvas:
    """A figure on its way to SVG."""

    def __init__(self, figure: Figure, axes: Axes):
        self.figure, self.axes, self.svg = figure, axes, ""


@contextmanager
def canvas(name: str, height: float) -> Iterator[Canvas]:
    """Opens a figure of the page's width and `height` points; on leaving, `Canvas.svg` holds it."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # The reader's browser has its own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        page = Canvas(figure, figure.add_subplot())
        yield page
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        page.svg = themed(buffer.getvalue(), name)


def themed(svg: str, name: str) -> str:
    """Makes matplotlib's SVG part of a page: its colours become CSS variables, its ids unique, its size fluid."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"font-family: [^;\"]*|font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r'(id="|#)(?=[\w.-]+[")])', rf"\g<1>{name}-", svg)
    svg = re.sub(
        r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" xmlns:xlink="http://www.w3.org/1999/xlink">', svg
    )
    return svg


def _without_mode(cell: Cell) -> Hashable:
    """Returns what rows share that differ by their training mode alone."""
    options = cell.options
    if not isinstance(options, TwoViewOptions):
        return options, cell.control
    return options.in_mode("off"), tuple(options.newer.items()), cell.control


def colours_of(evidence: Evidence, drawn: Sequence[RowEvidence]) -> dict[RowEvidence, str]:
    """Returns the colours of rows: the same in all plots, or where there are too few, those that tell `drawn` apart."""
    colours = _colours(evidence.rows)
    if len(set(colours.values())) < len({_without_mode(row.cell) for row in colours}):
        return _colours(drawn)
    return colours


def _colours(rows: Sequence[RowEvidence]) -> dict[RowEvidence, str]:
    """Gives each row a colour: rows that differ by their training mode alone share theirs."""
    colours: dict[Hashable, str] = {}
    others = cycle(OTHERS)
    for row in rows:
        cell, key = row.cell, _without_mode(row.cell)
        name = "several" if len(cell.contexts) > 1 else "".join(cell.contexts) or ("none" if row.is_baseline else "")
        if key not in colours:
            free = name in READS and COLOURS[name] not in colours.values()
            colours[key] = COLOURS[name if free else next(others)]
    return {row: colours[_without_mode(row.cell)] for row in rows}


def _best(rows: Sequence[RowEvidence]) -> list[RowEvidence]:
    """Returns at most `MOST_LINES` rows, in their order: those with the highest F1 on valid in their main view."""
    ranked = sorted(rows, key=lambda row: -(row.runs.mean(row.main_view, "f1", "valid") or 0.0))[:MOST_LINES]
    return [row for row in rows if row in ranked]


def _row_labels(axes: Axes, labels: Sequence[str], top: float) -> None:
    """Writes each row's name above its marks, so that a narrow screen has the whole width for the numbers."""
    for y, label in enumerate(labels):
        axes.text(
            0, y - top, printable(label, MOST_LABEL), transform=axes.get_yaxis_transform(), va="center", fontsize=11.5
        )
    axes.set_ylim(len(labels) - 0.45, -0.75)
    axes.set_yticks([])
    axes.grid(axis="x")


def scores_plot(evidence: Evidence) -> str:
    """F1 by row and view: each seed, the mean, and its 95 % interval over seeds."""
    rows = [row for row in evidence.rows if row.views]
    with canvas(f"{evidence.dataset}-scores", 64 + 50 * len(rows)) as page:
        axes = page.axes
        everything = np.concatenate([view.sample.f1 for row in rows for view in row.views.values()])
        span = max(float(np.ptp(everything)), 1.0)
        axes.set_xlim(everything.min() - 0.6 * span, everything.max() + 0.6 * span)
        for y, row in enumerate(rows):
            for view, found in row.views.items():
                place = y - 0.08 + (0.22 if view == CROSS_MODAL else 0.0)
                if row.is_baseline:
                    axes.axvline(found.f1.mean, color=COLOURS["muted"], linewidth=0.9, dashes=(4, 3), zorder=1)
                if found.f1.low is not None and found.f1.high is not None:
                    axes.plot([found.f1.low, found.f1.high], [place] * 2, color=VIEW_COLOURS[view], linewidth=2)
                seeds = found.sample.f1
                axes.plot(seeds, [place] * len(seeds), "|", color=VIEW_COLOURS[view], markersize=8, alpha=0.7)
                axes.plot(found.f1.mean, place, "o", color=VIEW_COLOURS[view], markersize=6.5)
        _row_labels(axes, [row.label for row in rows], 0.38)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel("test F1")
        _legend(page, [Line2D([], [], marker="o", color=VIEW_COLOURS[view], label=view) for view in VIEWS])
    return page.svg


def _legend(page: Canvas, handles: Sequence[Line2D], columns: int = 2) -> None:
    page.figure.legend(handles=list(handles), loc="outside upper left", ncols=columns, fontsize=11, handlelength=2.2)


def types_plot(evidence: Evidence) -> str:
    """Gain over BERT-CRF by entity type, for each row and view."""
    baseline = evidence.baseline
    tested = [(row, view) for row in evidence.rows if not row.is_baseline for view in VIEWS if view in row.views]
    if baseline is None or evidence.split is None or not tested:
        return ""
    types = evidence.split.types

    def mean(row: RowEvidence, view: str, type_: str) -> float:
        return estimate(row.runs.scores(view, f"{type_}/f1")).mean

    gains = np.array([[mean(r, v, t) - mean(baseline, TEXT, t) for t in types] for r, v in tested])
    most = max(float(np.abs(gains).max()), 1e-9)
    with canvas(f"{evidence.dataset}-types", 36 + 20 * len(tested) + 18 * len(evidence.rows)) as page:
        axes = page.axes
        y, last = 0.0, ""
        for (row, view), line in zip(tested, gains, strict=True):
            if row.label != last:
                axes.text(-0.62, y + 0.45, printable(row.label, MOST_LABEL), va="center", fontsize=11.5)
                y, last = y + 0.9, row.label
            axes.text(-0.62, y + 0.5, view, va="center", color=VIEW_COLOURS[view], fontsize=11)
            for x, gain in enumerate(line):
                strength = 0.06 + 0.6 * abs(gain) / most
                fill = COLOURS["up" if gain >= 0 else "down"]
                axes.add_patch(Rectangle((x, y + 0.04), 0.97, 0.92, facecolor=fill, alpha=strength, linewidth=0))
                axes.text(x + 0.485, y + 0.5, minus(signed(gain)), ha="center", va="center", fontsize=11)
            y += 1
        axes.set_xlim(-0.65, len(types))
        axes.set_ylim(y, -0.1)
        axes.set_yticks([])
        axes.set_xticks(np.arange(len(types)) + 0.485, [printable(type_, MOST_TICK) for type_ in types])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines["bottom"].set_visible(False)
    return page.svg


def context_plot(evidence: Evidence) -> str:
    """Gain of the I+T view over BERT-CRF against how many words of context a tweet has."""
    plain = [r for r in evidence.rows if r.cell.cva == "off" and r.cell.control is None and not r.is_baseline]
    found = [(row, gains_by_context(evidence, row)) for row in _best(plain)]
    lines = [(row, bins) for row, bins in found if bins]
    if not lines:
        return ""
    with canvas(f"{evidence.dataset}-context", 250) as page:
        axes = page.axes
        axes.axhline(0, color=COLOURS["muted"], linewidth=0.9, dashes=(4, 3))
        colours = colours_of(evidence, [row for row, _ in lines])
        for index, (row, bins) in enumerate(lines):
            shift = 0.12 * (index - (len(lines) - 1) / 2)
            x = np.array([each.words for each in bins]) + shift
            gain = np.array([each.gain for each in bins])
            reach = [gain - [each.low for each in bins], [each.high for each in bins] - gain]
            axes.errorbar(
                x, gain, yerr=reach, color=colours[row], marker="o", markersize=5, linewidth=1.6, elinewidth=1.1
            )
        axes.set_xlabel("words of context (mean of the bin)")
        axes.set_ylabel("gain in F1 (I+T)")
        axes.grid(axis="y")
        _legend(page, [Line2D([], [], color=colours[r], marker="o", label=r.label) for r, _ in lines])
    return page.svg


def control_plot(evidence: Evidence) -> str:
    """F1 of the I+T view against the share of test tweets with another image, or none: a line per row and control."""
    lines: dict[tuple[RowEvidence, str], list[tuple[float, float]]] = {}
    tested = [row for row in evidence.rows if row.views and row.cell.control is not None and row.cell.control.at_test]
    controlled = {row.cell.options for row in tested}
    plain = [row for row in evidence.rows if row.cell.control is None and CROSS_MODAL in row.views]
    for own in _best([row for row in plain if row.cell.options in controlled]):
        for row in tested:
            control = row.cell.control
            if control is not None and row.cell.options == own.cell.options:
                points = lines.setdefault((own, control.kind), [(0.0, own.views[CROSS_MODAL].f1.mean)])
                points.append((control.share, row.views[CROSS_MODAL].f1.mean))
    if not lines:
        return ""
    colours = colours_of(evidence, [row for row, _ in lines])
    with canvas(f"{evidence.dataset}-control", 250 + 18 * len(lines)) as page:
        axes = page.axes
        handles = []
        for (own, kind), points in lines.items():
            style: dict[str, Any] = {"color": colours[own], "linestyle": LINE_STYLES[own.cell.cva]}
            style["marker"] = "o" if kind == "other-image" else "x"
            x, y = zip(*sorted(points), strict=True)
            axes.plot([100 * share for share in x], y, linewidth=1.8, markersize=5, **style)
            handles.append(Line2D([], [], label=f"{own.label} · {kind.replace('-', ' ')}", **style))
        axes.set_xlabel("test tweets with another image, or none, in %")
        axes.set_ylabel("test F1 (I+T)")
        axes.grid(axis="y")
        _legend(page, handles, columns=1)
    return page.svg


def learning_plot(evidence: Evidence) -> str:
    """F1 on valid by epoch, mean over seeds, of the I+T view (T where a row has no other)."""
    curves = {}
    trained = [row for row in evidence.rows if not tests_another(row.cell)]
    baseline = [row for row in trained if row.is_baseline]
    for row in [*baseline, *_best([row for row in trained if not row.is_baseline])]:
        name = f"valid/{row.main_view}/f1"
        runs = [[epoch[name] for epoch in metrics["history"] if name in epoch] for metrics in row.runs.finished]
        shortest = min(map(len, runs), default=0)
        if shortest:
            curves[row] = np.mean([run[:shortest] for run in runs], axis=0)
    if not curves:
        return ""
    colours = colours_of(evidence, list(curves))
    styles: dict[RowEvidence, Any] = {
        row: {"color": colours[row], "linestyle": LINE_STYLES[row.cell.cva]} for row in curves
    }
    longest = max(map(len, curves.values()))
    with canvas(f"{evidence.dataset}-learning", 235 + 18 * len(curves)) as page:
        axes = page.axes
        for row, mean in curves.items():
            axes.plot(range(1, len(mean) + 1), mean, marker="o", markersize=4, linewidth=1.8, **styles[row])
        axes.set_xticks(range(1, longest + 1) if longest <= 12 else range(1, longest + 1, -(-longest // 10)))
        axes.set_xlabel("epoch")
        axes.set_ylabel("valid F1")
        axes.grid(axis="y")
        handles = [Line2D([], [], label=f"{row.label} · {row.main_view}", **styles[row]) for row in curves]
        _legend(page, handles, columns=1)
    return page.svg


def cost_plot(evidence: Evidence) -> str:
    """Minutes of training per run, mean over seeds."""
    rows = [row for row in evidence.rows if row.views and not tests_another(row.cell)]
    colours = colours_of(evidence, rows)
    with canvas(f"{evidence.dataset}-cost", 46 + 42 * len(rows)) as page:
        axes = page.axes
        minutes = [float(np.mean([m["training_seconds"] / 60 for m in row.runs.finished])) for row in rows]
        for y, (row, value) in enumerate(zip(rows, minutes, strict=True)):
            axes.barh(y, value, height=0.42, color=colours[row], alpha=0.85)
            axes.annotate(f"{value:.1f}", (value, y), (4, 0), textcoords="offset points", va="center", fontsize=11)
        axes.set_xlim(0, max(*minutes, 0.01) * 1.16)
        _row_labels(axes, [row.label for row in rows], 0.42)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel("minutes of training per run")
    return page.svg


def standalone(svg: str) -> str:
    """Makes a plot of this module usable outside its page, in the page's light colours: for notebooks and slides."""
    style = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    by_day = dict(re.findall(r"--([\w-]+):(#[0-9a-f]+)", style.partition("@media")[0]))
    svg = svg.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" ', 1)
    return re.sub(r"var\(--([\w-]+)\)", lambda match: by_day[match[1]], svg)
