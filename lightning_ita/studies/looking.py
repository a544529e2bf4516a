"""One look at the pictures of a study before its cells run: features that several cells share are made once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.data.source import Source
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.progress import make_bars
from lightning_ita.text import printable


def corpora_of(cells: Sequence[Cell], source: Source) -> dict[str, Corpus]:
    """Reads the data sets of cells, with all pictures that any of them looks at.

    Raises:
        UserError: A file is missing or malformed.
    """
    corpora = {}
    for name in dict.fromkeys(cell.dataset for cell in cells):
        widest = max((cell for cell in cells if cell.dataset == name), key=lambda cell: len(cell.options.of_pictures))
        corpora[name] = widest.read(source)
    return corpora


def looked_at(
    cells: Sequence[Cell], corpora: Mapping[str, Corpus], cache_dir: str | None
) -> Iterator[tuple[Cell, Any, list[Any]]]:
    """Yields each way in which cells look at a corpus's pictures once: a cell, its inputs, and the tweets as read.

    Args:
        cells: The plan.
        corpora: Its data sets, with their pictures.
        cache_dir: Folder that keeps the features of pictures.
    """
    ways: dict[Hashable, Cell] = {}
    # The most crops first: whoever wants fewer finds them there.
    for cell in sorted(cells, key=lambda cell: -getattr(getattr(cell.options, "vision", None), "crops", 0)):
        if cell.options.of_pictures:
            own = (getattr(cell.options, name, None) for name in ("vision", "relations"))
            ways.setdefault((cell.dataset, cell.options.inputs, *own), cell)
    for cell in ways.values():
        corpus = corpora[cell.dataset]
        inputs = cell.options.make_inputs(corpus.types, cell.recipe, cell.encoder, cache_dir)
        if hasattr(inputs, "prepare"):
            yield cell, inputs, [read for split in SPLITS for read in inputs.read(corpus.splits[split], corpus)]


def look(cells: Sequence[Cell], corpora: Mapping[str, Corpus], cache_dir: str | None, console: Console) -> None:
    """Makes the features of all pictures that the cells of a plan look at, and shows how far it is.

    Where it is stopped, the next call goes on; what another process makes at the same time is waited for.

    Args:
        cells: The cells that will run.
        corpora: Their data sets, with their pictures.
        cache_dir: Folder that keeps the features.
        console: Where progress is shown, and which pictures cannot be read.

    Raises:
        UserError: A vision model cannot be read.
        OSError: The folder cannot be written.
    """
    said: set[str] = set()
    for cell, inputs, reads in looked_at(cells, corpora, cache_dir):
        with make_bars(console) as progress:
            bar = progress.add_task(f"{cell.dataset}: looking at pictures", total=None, visible=False)

            def watch(done: int, total: int, bar: Any = bar, progress: Any = progress) -> None:
                progress.update(bar, completed=done, total=total, visible=True)

            inputs.prepare(reads, watch)
        for warning in inputs.warnings():
            if warning not in said:
                said.add(warning)
                console.print(
                    f"note: {cell.dataset}: {printable(warning)}", markup=False, highlight=False, soft_wrap=True
                )


def pass_cost(cells: Sequence[Cell], corpora: Mapping[str, Corpus], cache_dir: str | None) -> tuple[int, float]:
    """Counts what `look` would take: pictures, and floating-point operations.

    Args:
        cells: The cells that will run.
        corpora: Their data sets, with their pictures.
        cache_dir: Folder that keeps features made before.
    """
    counted: dict[str, set[str]] = {}
    pictures: set[str] = set()
    flop = 0.0
    for _, inputs, reads in looked_at(cells, corpora, cache_dir):
        features = inputs.features
        missing = features.missing(inputs.requests(reads))
        known = counted.setdefault(features.setup, set())
        keys = {key for request in missing for key in request.parts} - known
        flop += features.flop * len(keys)
        known |= keys
        pictures |= {request.picture.sha256 for request in missing}
    return len(pictures), flop
