"""Numbers of others, each with its source; none of them was measured with this code."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

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
    """Returns the ITA paper's own number for a system: with XLM-R-large if that is the encoder, else with BERT.

    Args:
        dataset: The data set.
        system: ``BERT-CRF``, ``ITA-All+CVA`` ...
        encoder: The encoder of the row it stands beside.
    """
    family = "XLM-R-large" if "xlm-roberta-large" in encoder else "BERT"
    found = [row for row in published(dataset) if (row.system, row.encoder) == (system, family)]
    return found[-1] if found else None  # the authors' reproduction follows what earlier work reported
