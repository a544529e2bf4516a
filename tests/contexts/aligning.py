"""A process that aligns with the fake engine through the real command: ``python -m tests.contexts.aligning ...``."""

from __future__ import annotations

import os
import sys
from typing import Any

from experiments import align
from experiments.cli import guard
from tests.contexts.fakes import SizeAndColour


def main(argv: list[str]) -> int:
    align.make_engine = lambda kind, choice, **options: SizeAndColour(kind=kind, **options)  # type: ignore[assignment]
    return align.main(argv)


if __name__ == "__main__":
    guard(main)  # type: ignore[arg-type]
