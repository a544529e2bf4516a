"""Scores that others published, each with its source; none of them was measured with this code."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from lightning_ita.studies.tables.grid import Entry, Grid

FILE = Path(__file__).with_name("published.csv")


@dataclass(frozen=True)
class Published:
    """A published F1.

    Attributes:
        system: The system, as its paper names it.
        encoder: Its text encoder, empty where the source at hand does not say.
        dataset: The data set.
        f1: Micro F1 on the test split, in percent.
        source: Who reports it, and where.
    """

    system: str
    encoder: str
    dataset: str
    f1: str
    source: str


def published(dataset: str) -> list[Published]:
    """Returns all published numbers on a data set, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Published(row["system"], row["encoder"], dataset, row[dataset], row["source"])
        for row in rows
        if row.get(dataset)
    ]


def counterpart(dataset: str, system: str, encoder: str) -> Published | None:
    """Returns the published number that a row is compared with: that of the ITA paper, if it has one.

    With XLM-R-large if that is the row's encoder; else with BERT, or with an encoder that the source does not name.

    Args:
        dataset: The data set.
        system: ``BERT-CRF``, ``ITA-All+CVA``, ``UMT`` ...
        encoder: The encoder of the row.
    """
    families = ("XLM-R-large",) if "xlm-roberta-large" in encoder else ("BERT", "")
    for family in families:
        found = [row for row in published(dataset) if (row.system, row.encoder) == (system, family)]
        if found:
            return found[-1]  # what the authors of ITA measured again follows what earlier work reported
    return None


def published_grid(dataset: str) -> Grid:
    """Returns what others report on a data set, each with its source."""
    return Grid(
        name=f"{dataset}-published",
        title="Reported by others",
        columns=("system", "encoder", "F1", "source"),
        rows=tuple(
            (Entry(n.system), Entry(n.encoder or "not stated"), Entry(n.f1, value=float(n.f1)), Entry(n.source))
            for n in published(dataset)
        ),
        caption="None of these numbers was measured with this code; encoders and contexts differ.",
        left=(0, 1, 3),
    )
