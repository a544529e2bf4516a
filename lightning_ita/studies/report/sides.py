"""What is compared with what: the sides of comparisons, and their pairs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_ita.data.controls import Control
from lightning_ita.models.options import CROSS_MODAL, CVA, TEXT, VIEWS, Options, to_values
from lightning_ita.studies.tables.ablation import Row, told_apart

# The second side of a comparison with a row's own images.
RIGHT = "right images"


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison: a row, or the rows of one system together that differ in contexts alone.

    Attributes:
        label: What it is called.
        mode: Its training mode.
        rows: Its rows.
    """

    label: str
    mode: str
    rows: tuple[Row, ...]

    @property
    def is_pooled(self) -> bool:
        """Whether it is several rows together."""
        return len(self.rows) > 1

    @property
    def options(self) -> Options:
        """The options of its first row."""
        return self.rows[0].cell.options

    def sides_in_mode(self, mode: CVA, sides: Sequence[Side]) -> list[Side]:
        """Returns which of `sides` is this one in another training mode: all else is the same.

        Of rows together, there is none where one mode lacks the contexts of some rows: the difference would be theirs.
        """
        if self.is_pooled:
            members = {row.cell.options.in_mode(mode) for row in self.rows}
            return [each for each in sides if each.is_pooled and {row.cell.options for row in each.rows} == members]
        options = self.options.in_mode(mode)
        return [
            each for each in sides if not each.is_pooled and (each.options, each.control) == (options, self.control)
        ]

    @property
    def system(self) -> str:
        """The system of its rows."""
        return self.rows[0].cell.system

    @property
    def control(self) -> Control | None:
        """What happened to the images of its tweets; rows together have none."""
        return self.rows[0].cell.control

    @property
    def views(self) -> tuple[str, ...]:
        """The views in which all its rows are tested."""
        return tuple(view for view in VIEWS if all(view in row.cell.tested_views for row in self.rows))

    @property
    def has_two_trained_views(self) -> bool:
        """Whether its models are trained on both views."""
        return all(len(row.cell.trained_views) > 1 for row in self.rows)


def sides_of(rows: Sequence[Row]) -> list[Side]:
    """Returns every row, then together the rows of a system that differ in their contexts alone."""
    sides = [Side(row.label, row.cell.cva, (row,)) for row in rows]
    pooled: dict[Hashable, list[Row]] = {}
    for row in rows:
        # Rows with parameters of one view are other systems; together with the plain ones they would say nothing.
        plain = not getattr(row.cell.options, "view_parameters", ())
        if plain and not row.is_baseline and row.cell.control is None:
            pooled.setdefault(repr(_beside_contexts(row.cell.options)), []).append(row)
    together = [members for members in pooled.values() if len(members) > 1]
    firsts = [members[0].cell.options for members in together]
    labels = told_apart(
        [("", options.system.upper() + options.mode_label) for options in firsts], [*map(_beside_contexts, firsts)]
    )
    return sides + [
        Side(label, members[0].cell.cva, tuple(members)) for label, members in zip(labels, together, strict=True)
    ]


def _beside_contexts(options: Options) -> dict[str, Any]:
    """Returns the values of options but for the one that names the contexts."""
    named = (list(options.kinds), ",".join(options.kinds))
    return {name: value for name, value in to_values(options).items() if not options.kinds or value not in named}


@dataclass(frozen=True)
class Pair:
    """What is compared with what.

    Attributes:
        first: One side.
        view: Its view.
        second: The other side.
        second_view: Its view.
        against: The second side in short: ``off`` and ``joint`` are the first one's own system and options, ``T`` is
            its own text view, ``right images`` is its own row without the control.
    """

    first: Side
    view: str
    second: Side
    second_view: str
    against: str


def pairs_of(side: Side, sides: Sequence[Side], baseline: Side | None) -> list[Pair]:
    """Returns the comparisons of a side: with BERT-CRF, and with its own system and options in simpler modes.

    Trained on both views, or by a teacher in T alone, it is compared with the same trained on I+T; aligned in both
    views, with both unaligned too. Its I+T view is compared with its own T view, and with a control also with its own
    I+T view without. The T view of a row under a control at test is that of the row without, and is not tested twice.
    """
    if side is baseline:
        return []
    uncontrolled = [
        other for other in sides if not other.is_pooled and other.control is None and other.options == side.options
    ]
    tested_there = side.control is not None and side.control.at_test and uncontrolled
    views = [view for view in side.views if view != TEXT or not tested_there]
    pairs = [] if baseline is None else [Pair(side, view, baseline, TEXT, baseline.label) for view in views]
    simpler: tuple[CVA, ...] = ("off", "joint") if side.mode != "joint" and side.has_two_trained_views else ("off",)
    for mode in simpler if side.mode != "off" else ():
        for other in side.sides_in_mode(mode, sides):
            pairs += [Pair(side, view, other, view, mode) for view in views]
    if not side.is_pooled and {TEXT, CROSS_MODAL} <= set(side.views):
        pairs.append(Pair(side, CROSS_MODAL, side, TEXT, TEXT))
    if side.control is not None:
        pairs += [Pair(side, CROSS_MODAL, other, CROSS_MODAL, RIGHT) for other in uncontrolled]
    return pairs
