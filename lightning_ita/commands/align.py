"""``lightning-ita align``: reads images and tweets, that is, turns them into text, kept in a store that studies use."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_ita.commands.align_steps import (
    check_written,
    count_errors,
    export_file,
    import_file,
    run,
    show_stats,
    write_page,
)
from lightning_ita.commands.align_tweets import Tweets, dry_run, read_tweet_files
from lightning_ita.commands.cli import by_kind, columns_of, make_console, make_parser, say
from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.engines import ENGINES, READ_TWEETS, check_engine, engine_list
from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.contexts.store import ContextStore, StoredEngine
from lightning_ita.contexts.tweets import check_tweets, reads
from lightning_ita.data.conll import image_of
from lightning_ita.errors import DataError, UserError, unknown
from lightning_ita.files import Lines, check_output, parse_json, user_path
from lightning_ita.images.files import find_images
from lightning_ita.text import counted, quoted

DESCRIPTION = f"""\
Reads images: turns them into text, which is object tags, captions, or the text in them (OCR). Reads tweets: adds what a
language model knows about them, or passages of a file. A store keeps the texts and their origin. An image or tweet is
read again only if it changed, or the engine's version, model or options. After an interruption at any moment the same
command continues, and several processes may work on one store at once. If an image cannot be read, the store records
an error for this image, and the others are read.

engines:
{engine_list()}
  A model is named after a colon: a name of the Hugging Face Hub or a folder. Defaults are not downloaded unless named.
  know and ret read tweets: they need --tweets. Nothing is sent unless --options know.url names the server.
  Each engine has options, for example --options know.retries=2 ret.top_k=5; docs/reference/engines.md lists all.

examples:
  lightning-ita align --images DIR --kinds tag,ocr --store contexts.db
      reads objects and text in all images of a folder, offline; 123.jpg belongs to the tweets with the line IMGID:123
  lightning-ita align --images DIR --kinds tag --engines tag=yolox:yolox_nano.onnx --options tag.threshold=0.4
      a detector in a file of your own, and an option of it
  lightning-ita align --images DIR --kinds tag,cap,ocr --engines tag=open_clip cap=blip:FOLDER ocr=tesseract
      chooses engines and models
  lightning-ita align --images DIR --kinds ocr --tweets DATA/twitter17/*.txt --limit 100
      only images of these tweets, and of them the first 100, to try it out
  lightning-ita align --kinds know --engines know=openai:MODEL --options know.url=http://localhost:8000/v1 \\
      --tweets DATA/twitter17/*.txt --dry-run
      shows what would be asked about three tweets; without --dry-run, asks about all. know.prompt=FILE asks otherwise,
      know.captions=FILE adds captions, know.picture=true pictures; know.key=VARIABLE names where the server's key is
  lightning-ita align --kinds ret --engines ret=bm25:passages.jsonl --tweets DATA/twitter17/*.txt --store contexts.db
      the three nearest passages for each tweet, never the tweet itself nor one of another split
  lightning-ita align --store contexts.db --images DIR --report page.html
      a page with each image beside the texts that were read in it, to judge them at a glance
  lightning-ita align --store contexts.db --stats
      the content of the store, by engine, with the errors
  lightning-ita align --store contexts.db --import captions.jsonl --export ocr=ocr.jsonl
      files of {{"image": id, "texts": [...]}} lines, into the store and out of it

then:
  lightning-ita ablate --dataset twitter17 --data-dir DATA --contexts tag,ocr --context-store contexts.db
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 1 where --strict is given and an image has an error, else 0."""
    arguments = make_arguments().parse_args(list(argv))
    kinds = parse_contexts(arguments.kinds)
    chosen = by_kind("--engines", arguments.engines, "ocr=rapidocr")
    exports = by_kind("--export", arguments.export, "ocr=ocr.jsonl")
    options = parse_options(arguments.options)
    check_arguments(arguments, kinds, chosen, exports, options)
    check_engines(kinds, chosen)
    images = choose_images(arguments) if arguments.images is not None else {}
    ids = wanted_ids(arguments.tweets) if arguments.tweets else None
    console = make_console()
    tweets = Tweets({}, {}, 0)
    if READ_TWEETS & set(kinds) or (arguments.tweets and (arguments.report or READ_TWEETS & exports.keys())):
        tweets = read_tweet_files(arguments.tweets, columns_of(arguments.columns))
        if tweets.without and READ_TWEETS & set(kinds):
            say(
                console,
                f"without an image, under whose id texts are kept: {counted(tweets.without, 'tweet')} not read",
            )
    engines = make_engines(kinds, {kind: chosen.get(kind) for kind in kinds}, options, tweets.splits) if kinds else []
    without_files: dict[str, Sequence[Path]] = dict.fromkeys(list(tweets.texts)[: arguments.limit], ())
    if arguments.images is None and (looking := [each for each in engines if "image" in reads(each)]):
        raise UserError(f"{looking[0].kind}={looking[0].name} reads images with these options: it needs --images DIR")
    for engine in engines:
        check_tweets(engine, tweets.texts)
    if arguments.dry_run:
        for engine in engines:
            wanted = images if "image" in reads(engine) else without_files
            dry_run(engine, wanted, user_path(arguments.store), arguments.retry_errors, tweets.texts, console)
        return 0

    read: list[tuple[StoredEngine, Sequence[str]]] = []
    written: dict[Path, str] = {}
    path = user_path(arguments.store)
    with ContextStore(path, readonly=not (engines or arguments.imports)) as store:
        for entry in arguments.imports:
            read.append(import_file(store, entry, console))
        while engines:
            engine = engines.pop(0)
            wanted = images if "image" in reads(engine) else without_files
            run(engine, wanted, store, arguments, console, tweets.texts)
            read.append((StoredEngine.of(engine), list(wanted)))
            del engine  # the next needs its memory
        exported = chosen | {stored.kind: stored.key for stored, _ in read[len(arguments.imports) :]}
        for kind, file in exports.items():
            written |= export_file(store, kind, user_path(file), ids, exported.get(kind), console, tweets.texts)
        if arguments.stats:
            show_stats(store, console)
        if arguments.report:
            written |= write_page(store, user_path(arguments.report), images, chosen, console, tweets.texts)
        for stored, its_images in read:
            store.check_kept(stored, its_images)
        failed = sum(count_errors(store, stored, its_images) for stored, its_images in read)
    if read:
        store.check_present()
    check_written(written)
    if failed and arguments.strict:
        say(console, f"{counted(failed, 'error')}, and --strict is given")
        return 1
    return 0


def make_arguments() -> Any:
    """Returns the parser of the command's arguments."""
    parser = make_parser("align", DESCRIPTION)
    parser.add_argument(
        "--images", type=str | None, help="The folder of images, and of folders with images; their names are ids."
    )
    parser.add_argument(
        "--kinds", type=str, default="", help=f"What to read: any of {', '.join(ENGINES)}, separated by commas."
    )
    parser.add_argument("--store", type=str, default="contexts.db", help="The store; made if it does not exist.")
    parser.add_argument(
        "--engines",
        type=str,
        nargs="*",
        default=[],
        metavar="KIND=ENGINE[:MODEL]",
        help="The engine of a kind; for --export and --report, the one whose contexts to take (also by its key, which "
        "--stats shows).",
    )
    parser.add_argument(
        "--options",
        type=str,
        nargs="*",
        default=[],
        metavar="KIND.NAME=VALUE",
        help="Options of an engine, for example cap.captions=5; with other options, all images are read again.",
    )
    parser.add_argument(
        "--tweets",
        type=str,
        nargs="*",
        default=[],
        metavar="FILE",
        help="Only images of the tweets in these files; know and ret read these tweets.",
    )
    parser.add_argument(
        "--columns", type=str | None, metavar="WORD,TAG", help="Columns of word and tag in --tweets, counted from 0."
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Read nothing; show what would be read, and what would be sent."
    )
    parser.add_argument(
        "--limit", type=int | None, help="The number of images or tweets to read, at most; the first ones by id."
    )
    parser.add_argument("--retry-errors", action="store_true", help="Read images again that had an error before.")
    parser.add_argument("--strict", action="store_true", help="End with status 1 if an image has an error.")
    parser.add_argument(
        "--workers",
        type=int | None,
        help="Processes that open images, so that if one crashes only its image is lost; by default half of the cores, "
        "at most 16, and none where there are two cores or few images.",
    )
    parser.add_argument(
        "--batch-size", type=int | None, help="Images an engine reads at once; by default the engine decides."
    )
    parser.add_argument(
        "--import",
        dest="imports",
        type=str,
        nargs="*",
        default=[],
        metavar="[KIND=]FILE",
        help="Add contexts from files; without KIND= it is read from the file's name, as in twitter15.cap.blip2.jsonl.",
    )
    parser.add_argument(
        "--export", type=str, nargs="*", default=[], metavar="KIND=FILE", help="Write contexts of a kind to a file."
    )
    parser.add_argument("--stats", action="store_true", help="Show the content of the store.")
    parser.add_argument(
        "--report", type=str | None, metavar="FILE.html", help="Write a page with each image beside its texts."
    )
    return parser


def check_arguments(
    arguments: Any,
    kinds: Sequence[str],
    chosen: Mapping[str, str],
    exports: Mapping[str, str],
    options: Mapping[str, Mapping[str, Any]],
) -> None:
    """Checks what the arguments ask for together, before anything is read.

    Raises:
        UserError: There is nothing to do, an argument is out of its range or would be ignored, or a file to be written
            is a folder, a device, or a file that is needed.
    """
    actions = {"--kinds": kinds, "--import": arguments.imports, "--export": arguments.export}
    actions |= {"--stats": arguments.stats, "--report": arguments.report}
    if not any(actions.values()):
        raise UserError(
            f"nothing to do: give one of {', '.join(actions)}, for example --images DIR --kinds ocr; --help shows more"
        )
    if arguments.images is None and (arguments.report or set(kinds) - READ_TWEETS):
        raise UserError("--kinds and --report need --images DIR, the folder of images")
    if not arguments.tweets and (reading := [kind for kind in kinds if kind in READ_TWEETS]):
        raise UserError(f"--kinds {reading[0]} reads tweets: name the files of their splits, --tweets FILE ...")
    if arguments.dry_run and not kinds:
        raise UserError("--dry-run shows what --kinds would read; name them")
    for option, least in (("limit", 1), ("workers", 0), ("batch_size", 1)):
        value = getattr(arguments, option)
        if value is not None and value < least:
            raise UserError(f"--{option.replace('_', '-')} {value}: expected {least} or more")
    for kind in options:
        if kind not in kinds:
            raise UserError(f"--options {kind}.{next(iter(options[kind]))}: --kinds does not name {kind}")
    for kind in chosen:
        if not (kind in kinds or kind in exports or arguments.report):
            raise UserError(f"--engines {kind}={quoted(chosen[kind])}: neither --kinds nor --export names {kind}")
    store = _place(arguments.store)
    needed = {store.with_name(store.name + end): "--store" for end in ("", "-wal", "-shm", "-journal")}
    needed |= {_place(file): "--tweets" for file in arguments.tweets}
    needed |= {_place(file.rpartition("=")[2]): "--import" for file in arguments.imports}
    for option, file in (*(("--export", file) for file in exports.values()), ("--report", arguments.report)):
        if file is None:
            continue
        path = user_path(file)
        check_output(path)
        if (place := _place(file)) in needed:
            raise UserError(f"{option} {file} would replace the file of {needed[place]}; name another file")
        needed[place] = option


def _place(file: str) -> Path:
    """Returns the path of a file with all links resolved; unlike `Path.resolve`, of links in a circle too."""
    return Path(os.path.realpath(user_path(file)))


def check_engines(kinds: Sequence[str], chosen: Mapping[str, str]) -> None:
    """Checks the engines' names before images are looked for, and before PyTorch is imported.

    Raises:
        UserError: An engine is unknown.
    """
    for kind in kinds:
        check_engine(kind, chosen.get(kind), tweets=True)


def choose_images(arguments: Any) -> Mapping[str, Sequence[Path]]:
    """Returns the files of the images that are wanted, by id; an image of a tweet that is missing has none.

    Raises:
        UserError: There are none.
    """
    images: Mapping[str, Sequence[Path]] = find_images(user_path(arguments.images))
    if arguments.tweets:
        found = images
        images = {image: found.get(image, ()) for image in wanted_ids(arguments.tweets)}
        if not images.keys() & found.keys():
            raise UserError(
                f"none of the {len(images)} images of the tweets in {', '.join(arguments.tweets)} is in "
                f"{arguments.images}: tweets have {quoted(next(iter(images)))}, the folder {quoted(next(iter(found)))}"
            )
    return dict(list(images.items())[: arguments.limit])


def wanted_ids(files: Sequence[str]) -> list[str]:
    """Returns the ids of the images of the tweets in files, sorted.

    Raises:
        DataError: A file has no line ``IMGID:<image>``.
    """
    ids: set[str] = set()
    for file in files:
        path = user_path(file)
        of_file = {image for _, line in Lines(path) if (image := image_of(line))}
        if not of_file:
            raise DataError("no line IMGID:<image>; --tweets takes the split files of a corpus", path)
        ids |= of_file
    return sorted(ids)


def parse_options(entries: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Reads the engines' options; returns them by name, by kind.

    Raises:
        UserError: An entry is not KIND.NAME=VALUE, a kind is unknown, or an option is given twice.
    """
    options: dict[str, dict[str, Any]] = {}
    for entry in entries:
        place, equals, text = entry.partition("=")
        kind, dot, name = place.partition(".")
        if not (equals and dot and name):
            raise UserError(f"--options {quoted(entry)}: expected KIND.NAME=VALUE, for example cap.captions=5")
        if kind not in ENGINES:
            raise unknown("context", kind, ENGINES)
        if name in options.setdefault(kind, {}):
            raise UserError(f"--options: {kind}.{name} is given twice")
        try:
            options[kind][name] = parse_json(text)
        except ValueError:
            options[kind][name] = text
    return options


def make_engines(
    kinds: Sequence[str],
    chosen: Mapping[str, str | None],
    options: Mapping[str, Mapping[str, Any]],
    tweets: Mapping[str, Collection[str]] | None = None,
) -> list[Engine]:
    """Makes the engines before anything is read, so that a missing model is found at once.

    Args:
        kinds: The kinds to read.
        chosen: Engines by kind.
        options: Their options, by kind.
        tweets: Texts of tweets by split, for engines that read tweets.

    Raises:
        UserError: An option is unknown or has a wrong value, or something that an engine needs is missing.
    """
    from lightning_ita.contexts.engines import make_engine

    return [make_engine(kind, chosen[kind], tweets=tweets, **options.get(kind, {})) for kind in kinds]
