"""Reading the picture of a post with every engine whose texts the model takes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.engines import ENGINES, READ_TWEETS, make_engine
from lightning_ita.contexts.kinds import check_read
from lightning_ita.contexts.preparing import describe
from lightning_ita.contexts.stored import StoredEngine
from lightning_ita.errors import UserError
from lightning_ita.images.files import ImageError, decode, read_file


@dataclass(frozen=True)
class PictureReading:
    """What one engine says of one picture.

    Attributes:
        kind: ``tag``, ``cap`` or ``ocr``.
        engine: The engine's name and model; empty where the kind has none here.
        reading: What it read; ``None`` where it could not.
        error: Why not.
    """

    kind: str
    engine: str
    reading: Reading | None = None
    error: str | None = None


class PictureReader:
    """Reads one picture at a time; several threads may ask.

    Args:
        engines: One engine per kind.
        missing: Kinds that the model takes and no engine here reads, each with the reason.
    """

    def __init__(self, engines: Sequence[Engine], missing: Mapping[str, str] | None = None):
        self.engines = engines
        self.missing = dict(missing or {})
        self._lock = threading.Lock()

    @property
    def names(self) -> dict[str, str]:
        """Name and model of the engine of each kind."""
        return {engine.kind: StoredEngine.of(engine).title for engine in self.engines}

    def read(self, path: Path) -> list[PictureReading]:
        """Has every engine read a picture.

        Raises:
            ImageError: The file is no picture, or damaged; the message says which.
        """
        image = decode(read_file(path)[0])
        read = []
        for engine in self.engines:
            name = StoredEngine.of(engine).title
            try:
                with self._lock:
                    (reading,) = engine.read([engine.prepare(image)])
                read.append(PictureReading(engine.kind, name, reading))
            except (UserError, ImageError) as error:
                read.append(PictureReading(engine.kind, name, error=str(error)))
            except Exception as error:  # engines and the packages they call raise anything
                read.append(PictureReading(engine.kind, name, error=f"engine failed: {describe(error)}"))
        return read + [PictureReading(kind, "", error=reason) for kind, reason in self.missing.items()]


def make_reader(reads: Sequence[str], wanted: Sequence[str] | None, chosen: Mapping[str, str]) -> PictureReader:
    """Makes the engines that read pictures for a model.

    Args:
        reads: Kinds of context that the model takes.
        wanted: Kinds that must be read; without it, every kind whose engine is ready on this machine.
        chosen: Engines by kind, where not the default.

    Raises:
        UserError: The model does not take a kind, or an engine that was asked for cannot be made.
    """
    for option, kinds in (("--contexts-from", wanted or ()), ("--engines", chosen)):
        check_read(option, kinds, reads, "this model")
    engines, missing = [], {}
    for kind in reads if wanted is None else wanted:
        if kind not in ENGINES or kind in READ_TWEETS:
            missing[kind] = "no engine reads this kind; write it yourself"
            continue
        try:
            engines.append(make_engine(kind, chosen.get(kind)))
        except UserError as error:
            if wanted is not None or kind in chosen:
                raise
            missing[kind] = str(error)
    return PictureReader(engines, missing)
