"""A process that aligns with the fake engine through the real command: ``python -m tests.contexts.aligning ...``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_ita.commands import align
from lightning_ita.commands.cli import guard
from tests.contexts.fakes import SizeAndColour


def main(argv: list[str]) -> int:
    align.check_engines = lambda *_: None
    align.make_engines = make_fakes  # type: ignore[assignment]
    return align.main(argv)


def make_fakes(
    kinds: Sequence[str], _: object, options: Mapping[str, Mapping[str, Any]], *more: object
) -> list[SizeAndColour]:
    return [SizeAndColour(kind=kind, **options.get(kind, {})) for kind in kinds]


if __name__ == "__main__":
    guard(main)  # type: ignore[arg-type]
