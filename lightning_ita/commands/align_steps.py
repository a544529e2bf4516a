"""The steps of ``lightning-ita align``: reading images, importing, exporting, counting, and what is printed of each."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lightning_ita.commands.cli import say
from lightning_ita.contexts import alignment
from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.jsonl import jsonl_of, read_contexts
from lightning_ita.contexts.kinds import KINDS, check_kind
from lightning_ita.contexts.store import IMPORTED, ContextStore, Entry, StoredEngine
from lightning_ita.contexts.tweets import notes, reads
from lightning_ita.errors import UserError
from lightning_ita.files import sha256_of, user_path, write_text
from lightning_ita.images.ids import image_id
from lightning_ita.text import counted, printable

# With fewer images, a worker would start for longer than it works.
IMAGES_PER_WORKER = 200
# Most reasons of errors that are printed per engine.
MOST_REASONS = 10
# Most characters of a cell of the table of engines.
MAX_CELL = 1000


def run(
    engine: Engine,
    images: Mapping[str, Sequence[Path]],
    store: ContextStore,
    arguments: Any,
    console: Console,
    tweets: Mapping[str, Sequence[str]],
) -> None:
    """Has an engine read the images, or tweets, that are new, with a progress bar, and prints a summary."""
    stored = StoredEngine.of(engine)
    things = "images" if "image" in reads(engine) else "tweets"
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[errors]} errors"),
        console=console,
    )
    task = bar.add_task(printable(f"{engine.kind} {engine.name}", 40), total=len(images), rate="", errors=0)

    def show(now: alignment.Progress) -> None:
        rate = f"{now.done / now.seconds:.1f} {things}/s" if now.seconds else ""
        finished = now.before + now.done + now.elsewhere
        bar.update(task, completed=finished, rate=rate, errors=now.errors.total())

    workers = arguments.workers if arguments.workers is not None else default_workers(len(images))
    if "image" not in reads(engine):
        workers = 0  # nothing to decode
    try:
        with bar:
            end = alignment.align(
                engine, images, store, workers, arguments.batch_size, arguments.retry_errors, show, tweets
            )
    finally:
        for note in notes(engine):  # what was asked for has its cost, however this ends
            say(console, f"{engine.kind} {engine.name}: {note}")
    rate = f", {end.done / end.seconds:.1f} {things}/s" if end.done and end.seconds else ""
    before = f", {end.before} were done before" if end.before else ""
    elsewhere = f", {end.elsewhere} done by another process" if end.elsewhere else ""
    errors = counted(end.errors.total(), "error")
    empty = f", nothing found in {end.empty}" if end.empty else ""
    done = counted(end.done, things.removesuffix("s"))
    say(console, f"{engine.kind} {stored.label}: {done} done{rate}{before}{elsewhere}{empty}, {errors}")
    for line in _by_reason(end.errors):
        say(console, f"  {line}")


def default_workers(images: int) -> int:
    """Returns how many processes open images: half of the cores that this process may use, at most 16.

    None where there are two cores, which the engine keeps busy, and none for a few images: a worker needs some seconds
    to start.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores // 2 if cores > 2 else 0, 16, images // IMAGES_PER_WORKER)


def import_file(store: ContextStore, entry: str, console: Console) -> tuple[StoredEngine, list[str]]:
    """Takes contexts from a JSONL file into the store.

    Args:
        store: The store.
        entry: ``KIND=FILE``, or the file alone where its name tells the kind.
        console: Where to print what was imported.

    Returns:
        The engine under which they are stored, and the ids of the images.

    Raises:
        UserError: The file cannot be read, or neither it nor its name tells the kind.
    """
    kind, equals, file = entry.partition("=")
    if not equals:
        file = entry
        parts = Path(file).name.split(".")
        # DATASET.KIND.SOURCE.jsonl, as studies read it; DATASET may have dots itself
        kind = parts[1] if len(parts) > 3 or (len(parts) == 3 and parts[1] in KINDS) else ""
        if len(parts) > 4 and kind not in KINDS and KINDS.keys() & set(parts[2:-1]):
            kind = ""
        if not kind:
            raise UserError(f"--import {file}: its name does not tell the kind; write --import KIND={file}")
    check_kind(kind)
    path = user_path(file)
    contexts = read_contexts(path, kind)
    engine = StoredEngine(kind, IMPORTED, printable(path.name), f"sha256 {contexts.sha256}")
    store.write(engine, [Entry(image, reading=Reading(texts)) for image, texts in contexts.texts.items()])
    say(console, f"imported: {file}: {len(contexts.texts)} images as {kind}={engine.key}")
    return engine, list(contexts.texts)


def export_file(
    store: ContextStore,
    kind: str,
    path: Path,
    images: Collection[str] | None,
    choice: str | None,
    console: Console,
    tweets: Mapping[str, Sequence[str]],
) -> dict[Path, str]:
    """Writes the contexts of one kind to a JSONL file; returns the file's digest by its path.

    Raises:
        UserError: None or several engines answer to the choice.
    """
    contexts = store.contexts(kind, images, choice, tweets)
    text = jsonl_of(contexts.texts)
    write_text(path, text)
    left = {"with errors": len(contexts.failed), "of tweets of other words": len(contexts.changed)}
    note = "".join(f" ({number} {what} left out)" for what, number in left.items() if number)
    say(console, f"written: {path}: {len(contexts.texts)} images by {contexts.source}{note}")
    return {path: hashlib.sha256(text.encode()).hexdigest()}


def write_page(
    store: ContextStore,
    path: Path,
    images: Mapping[str, Sequence[Path]],
    chosen: Mapping[str, str],
    console: Console,
    tweets: Mapping[str, Sequence[str]],
) -> dict[Path, str]:
    """Writes the page with images beside their texts; returns the file's digest by its path."""
    from lightning_ita.contexts.page import report

    html = report(store, images, chosen, tweets=tweets)
    write_text(path, html)
    say(console, f"written: {path}")
    return {path: hashlib.sha256(html.encode()).hexdigest()}


def check_written(digests: Mapping[Path, str]) -> None:
    """Checks at the end that files which were written are there, and as they were written.

    Raises:
        UserError: One was deleted or changed meanwhile.
    """
    for path, digest in digests.items():
        try:
            kept = sha256_of(path) == digest
        except OSError:
            kept = False
        if not kept:
            raise UserError(f"{path} was written, and has been deleted or changed since: run the same command again")


def count_errors(store: ContextStore, engine: StoredEngine, images: Collection[str]) -> int:
    """Counts the images on which an engine failed."""
    known = store.known(engine)
    wanted = {image_id(image) for image in images}
    return sum(entry.failed for image, entry in known.items() if image in wanted)


def show_stats(store: ContextStore, console: Console) -> None:
    """Prints what is in the store: its engines, and their errors by reason."""
    engines = store.engines()
    table = Table(title=Text(printable(store.path)), title_justify="left")
    for name in ("kind", "key", "engine", "version", "parameters", "images", "nothing found", "errors"):
        counted = name in ("images", "nothing found", "errors")
        table.add_column(name, justify="right" if counted else "left", overflow="fold")
    for engine in engines:
        count = store.count(engine)
        parameters = json.dumps(dict(engine.parameters), ensure_ascii=False)
        cells = (engine.kind, engine.key, engine.title, engine.version, parameters)
        counts = (count.images, count.empty, count.errors)
        table.add_row(*(Text(printable(cell, MAX_CELL)) for cell in (*cells, *counts)))
    console.print(table)
    for engine in engines:
        errors = [(entry.error, entry.image) for entry in store.entries(engine) if entry.error is not None]
        for line in _by_reason(Counter(reason for reason, _ in errors), dict(reversed(errors))):
            say(console, f"{engine.kind}={engine.key}: {line}")


def _by_reason(errors: Counter[str], examples: Mapping[str, str] | None = None) -> list[str]:
    """Returns a line for each of the most frequent reasons of errors, and one for the rest."""
    lines = [
        f"{count} × {printable(reason)}" + (f" (for example {printable(examples[reason], 80)})" if examples else "")
        for reason, count in errors.most_common(MOST_REASONS)
    ]
    rest = errors.total() - sum(count for _, count in errors.most_common(MOST_REASONS))
    return [*lines, f"{rest} with {len(errors) - MOST_REASONS} other reasons"] if rest else lines
