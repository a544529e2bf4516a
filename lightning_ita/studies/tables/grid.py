"""The content of a table as a grid of entries; `render` formats it for the terminal, Markdown and other outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

# Of an entry that there is no value for.
MISSING = "–"


@dataclass(frozen=True)
class Entry:
    """One entry of a table. All of it is text: nothing in it is read as markup.

    Attributes:
        text: What it says.
        mark: A mark of significance behind it.
        note: What stands below it in small print, or in brackets.
        best: Whether it is the best of its column.
        value: What CSV has in place of the text: a number with all its digits; ``None`` for the text.
    """

    text: str
    mark: str = ""
    note: str = ""
    best: bool = False
    value: float | bool | None = None


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        name: A short name, for anchors and labels.
        title: What it shows.
        columns: Names of its columns; the first holds the names of the rows.
        rows: Its entries.
        caption: How to read it.
        left: Columns of words, by their place; the others hold numbers and are aligned to the right.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str = ""
    left: tuple[int, ...] = (0,)


def two_digits(value: float, sign: bool = False) -> str:
    """Writes a number in percent or points with two digits after the point; half is rounded up, as on paper.

    It is rounded from the four digits that scores and CSV files have: what was computed in two ways is printed alike.

    Args:
        value: The number.
        sign: Whether a plus is written.

    Example:
        >>> two_digits(2.285, sign=True), two_digits(2.28499999), two_digits(-0.165)
        ('+2.29', '2.29', '-0.17')
    """
    rounded = Decimal(str(round(float(value), 4))).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return f"{rounded:{'+' if sign else ''}.2f}"


def records(name: str, lines: Sequence[Mapping[str, Any]]) -> Grid:
    """Makes a grid of flat records, for CSV; a column that a record lacks, or whose value is ``None``, is empty."""
    columns = tuple(dict.fromkeys(column for line in lines for column in line))
    return Grid(name, name, columns, tuple(tuple(_entry(line.get(column)) for column in columns) for line in lines))


def _entry(value: Any) -> Entry:
    if value is None:
        return Entry("")
    return Entry(str(value), value=None if isinstance(value, str) else value)
