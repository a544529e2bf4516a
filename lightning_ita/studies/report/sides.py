"""What is compared with what: the sides of comparisons, and their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_ita.data.controls import Control
from lightning_ita.models.options import CROSS_MODAL, CVA, TEXT, VIEWS, Options
from lightning_ita.studies.tables.ablation import Row

# The second side of a comparison with a row's own images.
RIGHT = "right images"


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison: a row, or the rows of one system and training mode together.

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
    """Returns every row, then the rows of a system in one training mode, where they are several."""
    sides = [Side(row.label, row.cell.cva, (row,)) for row in rows]
    pooled: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        # Rows with parameters of one view are other systems; together with the plain ones they would say nothing.
        plain = not getattr(row.cell.options, "view_parameters", ())
        if plain and not row.is_baseline and row.cell.control is None:
            pooled.setdefault((row.cell.system, row.cell.options.mode_label), []).append(row)
    return sides + [
        Side(system.upper() + mode, members[0].cell.cva, tuple(members))
        for (system, mode), members in pooled.items()
        if len(members) > 1
    ]


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

    Trained on both views it is compared with the same trained on one, and aligned with both views unaligned. Its I+T
    view is compared with its own T view, and with a control also with its own I+T view without. The T view of a row
    under a control at test is that of the row without, and is not tested twice.
    """
    if side is baseline:
        return []
    uncontrolled = [
        other for other in sides if not other.is_pooled and other.control is None and other.options == side.options
    ]
    tested_there = side.control is not None and side.control.at_test and uncontrolled
    views = [view for view in side.views if view != TEXT or not tested_there]
    pairs = [] if baseline is None else [Pair(side, view, baseline, TEXT, baseline.label) for view in views]
    simpler: tuple[CVA, ...] = ("off",) if side.mode == "joint" else ("off", "joint")
    for mode in simpler if side.has_two_trained_views and side.mode != "off" else ():
        for other in side.sides_in_mode(mode, sides):
            pairs += [Pair(side, view, other, view, mode) for view in views]
    if not side.is_pooled and {TEXT, CROSS_MODAL} <= set(side.views):
        pairs.append(Pair(side, CROSS_MODAL, side, TEXT, TEXT))
    if side.control is not None:
        pairs += [Pair(side, CROSS_MODAL, other, CROSS_MODAL, RIGHT) for other in uncontrolled]
    return pairs
