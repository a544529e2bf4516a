"""``lightning-ita align``: images to text, kept in a store that studies read."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lightning_ita.commands.cli import by_kind, make_console, make_parser
from lightning_ita.contexts import alignment
from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.jsonl import jsonl_of, read_contexts
from lightning_ita.contexts.kinds import KINDS, parse_contexts
from lightning_ita.contexts.store import IMPORTED, ContextStore, Entry, StoredEngine
from lightning_ita.errors import DataError, UserError, unknown
from lightning_ita.files import read_text, write_text
from lightning_ita.images.files import find_images

# Fewer are opened sooner than a worker has started.
IMAGES_A_WORKER = 200

DESCRIPTION = """\
Turns images into text: object tags, captions, OCR. What each engine says of each image is kept in a store, with where
it comes from; what is there is never done again: the same command, stopped at any moment, goes on where it stopped,
and several may work on one store at once. An image that cannot be read is an error of its own, and the others go on.

examples:
  lightning-ita align --images DIR --kinds ocr --store contexts.db
      reads the text in all images of a folder; 123.jpg belongs to the tweets with the line IMGID:123
  lightning-ita align --images DIR --kinds tag,cap,ocr --engines tag=open_clip cap=blip:FOLDER ocr=tesseract
      chooses engines, and their models after a colon: a name on the Hub or a folder
  lightning-ita align --images DIR --kinds ocr --tweets DATA/twitter17/*.txt --limit 100
      only images of these tweets, and of them the first 100, for a try
  lightning-ita align --store contexts.db --images DIR --report page.html
      a page with pictures beside what was said of them, to judge it at a glance
  lightning-ita align --store contexts.db --stats
      what is in the store, by engine, with its errors
  lightning-ita align --store contexts.db --import captions.jsonl --export ocr=ocr.jsonl
      files of {"image": id, "texts": [...]} lines, into the store and out of it

then:
  lightning-ita ablate --dataset twitter17 --data-dir DATA --contexts tag,ocr --context-store contexts.db
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 1 where --strict is given and an image has an error, else 0."""
    arguments = make_arguments().parse_args(list(argv))
    actions = {"--kinds": arguments.kinds, "--import": arguments.imports, "--export": arguments.export}
    actions |= {"--stats": arguments.stats, "--report": arguments.report}
    if not any(actions.values()):
        raise UserError(
            f"nothing to do: give one of {', '.join(actions)}, for example --images DIR --kinds ocr; --help shows more"
        )
    if arguments.images is None and (arguments.kinds or arguments.report):
        raise UserError("--kinds and --report need --images DIR, the folder of images")
    for option, least in (("limit", 1), ("workers", 0), ("batch_size", 1)):
        value = getattr(arguments, option)
        if value is not None and value < least:
            raise UserError(f"--{option.replace('_', '-')} {value}: expected {least} or more")
    console = make_console()
    chosen = by_kind("--engines", arguments.engines, "ocr=rapidocr")
    exports = by_kind("--export", arguments.export, "ocr=ocr.jsonl")
    images = choose_images(arguments) if arguments.images is not None else {}
    kinds = parse_contexts(arguments.kinds)
    options = parse_options(arguments.options)
    engines = make_engines(kinds, {kind: chosen.get(kind) for kind in kinds}, options) if kinds else []

    failed = 0
    exported = dict(chosen)
    reads_only = not (engines or arguments.imports)
    with ContextStore(Path(arguments.store).expanduser(), readonly=reads_only) as store:
        for entry in arguments.imports:
            console.print(import_file(store, entry), soft_wrap=True, markup=False, highlight=False)
        while engines:
            engine = engines.pop(0)
            run(engine, images, store, arguments, console)
            stored = StoredEngine.of(engine)
            exported[stored.kind] = stored.key
            failed += sum(entry.reading is None for entry in store.entries(stored, images.keys()))
            del engine  # the next needs its memory
        for kind, file in exports.items():
            ids = wanted_ids(arguments.tweets) if arguments.tweets else None
            contexts = store.contexts(kind, ids, exported.get(kind))
            write_text(Path(file), jsonl_of(contexts.texts))
            note = f" ({len(contexts.failed)} with errors left out)" if contexts.failed else ""
            said = f"written: {file}: {len(contexts.texts)} images by {contexts.source}{note}"
            console.print(said, soft_wrap=True, markup=False, highlight=False)
        if arguments.stats:
            show_stats(store, console)
        if arguments.report:
            from lightning_ita.contexts.page import report

            write_text(Path(arguments.report), report(store, images, chosen))
            console.print(f"written: {arguments.report}", soft_wrap=True, markup=False, highlight=False)
    if failed and arguments.strict:
        console.print(f"{failed} errors, and --strict is given", highlight=False)
        return 1
    return 0


def make_arguments() -> Any:
    """Returns the parser of the command's arguments."""
    parser = make_parser("align", DESCRIPTION)
    parser.add_argument("--images", type=str | None, help="The folder of images, named by id; with folders below it.")
    parser.add_argument("--kinds", type=str, default="", help="What to make: tag, cap, ocr, separated by commas.")
    parser.add_argument("--store", type=str, default="contexts.db", help="The store; made if it does not exist.")
    parser.add_argument(
        "--engines",
        type=str,
        nargs="*",
        default=[],
        metavar="KIND=ENGINE[:MODEL]",
        help="Which engine reads a kind; in --export and --report, whose contexts to take (also by key, see --stats).",
    )
    parser.add_argument(
        "--options",
        type=str,
        nargs="*",
        default=[],
        metavar="KIND.NAME=VALUE",
        help="Options of an engine, for example cap.captions=5; other options make other entries.",
    )
    parser.add_argument(
        "--tweets", type=str, nargs="*", default=[], metavar="FILE", help="Only images of the tweets in these files."
    )
    parser.add_argument("--limit", type=int | None, help="Only the first images, by id.")
    parser.add_argument("--retry-errors", action="store_true", help="Try images again that had an error before.")
    parser.add_argument("--strict", action="store_true", help="End with status 1 if an image has an error.")
    parser.add_argument(
        "--workers",
        type=int | None,
        help="Processes that open images, so that one that crashes its decoder costs itself alone; by default half of "
        "the cores, and none where there are two cores or few images.",
    )
    parser.add_argument(
        "--batch-size", type=int | None, help="Images an engine reads at once; by default its own choice."
    )
    parser.add_argument(
        "--import",
        dest="imports",
        type=str,
        nargs="*",
        default=[],
        metavar="[KIND=]FILE",
        help="Take contexts from files; without KIND= the file's name tells it, as in twitter15.cap.blip2.jsonl.",
    )
    parser.add_argument(
        "--export", type=str, nargs="*", default=[], metavar="KIND=FILE", help="Write contexts of a kind to a file."
    )
    parser.add_argument("--stats", action="store_true", help="Show what is in the store.")
    parser.add_argument("--report", type=str | None, metavar="FILE.html", help="Write a page to judge contexts by.")
    return parser


def choose_images(arguments: Any) -> Mapping[str, Sequence[Path]]:
    """Returns the files of the images that are wanted, by id; an image of a tweet that is missing has none.

    Raises:
        UserError: There are none.
    """
    images: Mapping[str, Sequence[Path]] = find_images(Path(arguments.images).expanduser())
    if arguments.tweets:
        found = images
        images = {image: found.get(image, ()) for image in wanted_ids(arguments.tweets)}
        if not images.keys() & found.keys():
            raise UserError(
                f"none of the {len(images)} tweets in {', '.join(arguments.tweets)} has its image in "
                f"{arguments.images}: "
                f"tweets have {next(iter(images))!r}, images {next(iter(found))!r}"
            )
    return dict(list(images.items())[: arguments.limit])


def wanted_ids(files: Sequence[str]) -> list[str]:
    """Returns the image ids of the tweets in files, sorted.

    Raises:
        DataError: A file has no line ``IMGID:<image>``.
    """
    ids: set[str] = set()
    for file in files:
        lines = read_text(Path(file)).split("\n")
        of_file = {line.removeprefix("IMGID:").strip() for line in lines if line.startswith("IMGID:")}
        if not of_file:
            raise DataError("no line IMGID:<image>; --tweets takes the splits of a corpus", Path(file))
        ids |= of_file
    return sorted(ids)


def parse_options(entries: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Reads the engines' options; returns them by name, by kind.

    Raises:
        UserError: An entry is not KIND.NAME=VALUE, or a kind is unknown.
    """
    options: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for entry in entries:
        place, equals, value = entry.partition("=")
        kind, dot, name = place.partition(".")
        if not (equals and dot and name):
            raise UserError(f"--options {entry!r}: expected KIND.NAME=VALUE, for example cap.captions=5")
        if kind not in KINDS:
            raise unknown("context", kind, KINDS)
        try:
            options[kind][name] = json.loads(value)
        except json.JSONDecodeError:
            options[kind][name] = value
    return options


def make_engines(
    kinds: Sequence[str], chosen: Mapping[str, str | None], options: Mapping[str, Mapping[str, Any]]
) -> list[Engine]:
    """Makes the engines before anything is read, so that a missing model is found at once.

    Raises:
        UserError: An engine or option is unknown, or something it needs is missing.
    """
    from lightning_ita.contexts.engines import make_engine  # imports torch: slow, and not needed to look at a store

    return [make_engine(kind, chosen[kind], **options[kind]) for kind in kinds]


def run(
    engine: Engine, images: Mapping[str, Sequence[Path]], store: ContextStore, arguments: Any, console: Console
) -> None:
    """Has an engine read what is new, with a progress bar, and says what came of it."""
    stored = StoredEngine.of(engine)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[errors]} errors"),
        console=console,
    )
    task = bar.add_task(f"{engine.kind} {engine.name}", total=len(images), rate="", errors=0)

    def show(now: alignment.Progress) -> None:
        rate = f"{now.done / now.seconds:.1f} images/s" if now.seconds else ""
        finished = now.before + now.done + now.elsewhere
        bar.update(task, completed=finished, rate=rate, errors=now.errors.total())

    workers = arguments.workers if arguments.workers is not None else default_workers(len(images))
    with bar:
        end = alignment.align(engine, images, store, workers, arguments.batch_size, arguments.retry_errors, show)
    rate = f", {end.done / end.seconds:.1f} images/s" if end.done and end.seconds else ""
    before = f", {end.before} were done before" if end.before else ""
    elsewhere = f", {end.elsewhere} done by another process" if end.elsewhere else ""
    line = f"{engine.kind} {stored.label}: {end.done} images done{rate}{before}{elsewhere}, {end.errors.total()} errors"
    console.print(line, soft_wrap=True, markup=False, highlight=False)
    for reason, count in end.errors.most_common(10):
        console.print(f"  {count} × {reason}", soft_wrap=True, markup=False, highlight=False)


def default_workers(images: int) -> int:
    """Returns how many processes open images: half of the cores that this process may use, at most 16.

    None where there are two cores, which the engine keeps busy, and none for a few images: a worker needs some seconds
    to start.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores // 2 if cores > 2 else 0, 16, images // IMAGES_A_WORKER)


def import_file(store: ContextStore, entry: str) -> str:
    """Takes contexts from a JSONL file into the store; returns what to say of it.

    Raises:
        UserError: The file cannot be read, or neither it nor its name tells the kind.
    """
    kind, equals, file = entry.partition("=")
    if not equals:
        file = entry
        parts = Path(file).name.split(".")
        kind = next((part for part in parts[1:-1] if part in KINDS), "")
        if not kind:
            raise UserError(f"--import {file}: its name does not tell the kind; write --import KIND={file}")
    if kind not in KINDS:
        raise unknown("context", kind, KINDS)
    path = Path(file).expanduser()
    contexts = read_contexts(path, kind)
    engine = StoredEngine(kind, IMPORTED, path.name, f"sha256 {contexts.sha256}")
    store.write(engine, [Entry(image, reading=Reading(texts)) for image, texts in contexts.texts.items()])
    return f"imported: {file}: {len(contexts.texts)} images as {kind}={engine.key}"


def show_stats(store: ContextStore, console: Console) -> None:
    """Prints what is in the store: its engines, and their errors by reason."""
    engines = store.engines()
    table = Table(title=str(store.path), title_justify="left")
    for name in ("kind", "key", "engine", "version", "parameters", "images", "nothing found", "errors"):
        counted = name in ("images", "nothing found", "errors")
        table.add_column(name, justify="right" if counted else "left", overflow="fold")
    for engine in engines:
        count = store.count(engine)
        name = f"{engine.name}:{engine.model}" if engine.model else engine.name
        parameters = json.dumps(dict(engine.parameters), ensure_ascii=False)
        counts = map(str, (count.images, count.empty, count.errors))
        table.add_row(engine.kind, engine.key, name, engine.version, parameters, *counts)
    console.print(table)
    for engine in engines:
        errors = [(entry.error, entry.image) for entry in store.entries(engine) if entry.error is not None]
        example = dict(reversed(errors))
        for reason, number in Counter(reason for reason, _ in errors).most_common():
            line = f"{engine.kind}={engine.key}: {number} × {reason} (for example {example[reason]})"
            console.print(line, soft_wrap=True, markup=False, highlight=False)
