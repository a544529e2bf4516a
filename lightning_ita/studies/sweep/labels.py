"""Labels of points in a figure, placed so that they cover neither each other nor points and lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# Distances from a point at which its label is tried, in typographic points, and how many directions at each.
DISTANCES, DIRECTIONS = (9.0, 13.0, 19.0, 27.0, 37.0, 49.0), 16
# A label that stands at least so far away is joined to its point by a thin line.
FAR = 13.0
# Half the size of a point in the figure, and the space around labels, in typographic points.
RADIUS, MARGIN = 5.0, 2.0


def label_points(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colour: str,
    line: Sequence[tuple[float, float]] = (),
    size: float = 9.0,
) -> list[Annotation]:
    """Writes a text next to each point.

    The layout of the figure must be complete but for them: each label is tried around its point, near to far, and
    stands where it covers least of the labels before it, of all points, and of the line.

    Args:
        figure: The figure.
        axes: Its axes that hold the points.
        points: In data coordinates; equal points should have one label.
        texts: A label per point.
        colour: Of the text and of the lines to labels that stand far away.
        line: The corners of a line that is drawn, in data coordinates.
        size: Font size, in typographic points.
    """
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # places the axes, and fixes their limits
    scale = figure.dpi / 72
    centres: np.ndarray = axes.transData.transform(np.reshape(points, (-1, 2)))
    taken = [_around(centre, RADIUS * scale) for centre in centres]
    taken += [_around(place, scale) for place in _along(axes.transData.transform(np.reshape(line, (-1, 2))), 2 * scale)]
    labels = []
    for centre, point, text in zip(centres, points, texts, strict=True):
        label = axes.annotate(
            text, point, (0, 0), textcoords="offset points", ha="center", va="center", color=colour, fontsize=size
        )
        label.set_in_layout(False)
        extent = label.get_window_extent(canvas.get_renderer())
        width, height = extent.width + 2 * MARGIN * scale, extent.height + 2 * MARGIN * scale
        best, least = (0.0, 0.0), math.inf
        for distance, angle in _places():
            # The nearest edge of the label, not its centre, is so far away.
            right = math.cos(angle) * (distance * scale + (width - height) / 2)
            up = math.sin(angle) * distance * scale
            x, y = centre[0] + right, centre[1] + up
            box = Bbox.from_extents(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            covered = sum(_overlap(box, other) for other in taken) + _outside(box, axes.bbox)
            if covered < least:
                best, least = (right / scale, up / scale), covered
                place = box
            if not covered:
                break
        label.set_position(best)
        if math.hypot(*best) > FAR + width / scale / 2:
            axes.annotate(
                "",
                point,
                best,
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 5, "shrinkB": 4},
            ).set_in_layout(False)
        taken.append(place)
        labels.append(label)
    return labels


def _places() -> list[tuple[float, float]]:
    """Returns distances and angles, near ones first, up and to the right first."""
    turns = sorted(range(DIRECTIONS), key=lambda turn: (turn % (DIRECTIONS // 8) != 0, turn))
    start = math.pi / 4
    return [(distance, start + 2 * math.pi * turn / DIRECTIONS) for distance in DISTANCES for turn in turns]


def _around(centre: np.ndarray, radius: float) -> Bbox:
    return Bbox.from_extents(*(centre - radius), *(centre + radius))


def _along(corners: np.ndarray, apart: float) -> Iterator[np.ndarray]:
    """Yields places on a line, so far apart."""
    for start, end in pairwise(corners):
        count = int(np.hypot(*(end - start)) / apart) + 1
        yield from (start + (end - start) * share for share in np.linspace(0, 1, count + 1))


def _overlap(one: Bbox, other: Bbox) -> float:
    """Returns the area that two boxes share."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def _outside(box: Bbox, frame: Bbox) -> float:
    """Returns the area of a box that lies outside a frame."""
    return float(box.width * box.height) - _overlap(box, frame)
