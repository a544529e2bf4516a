"""Where ``lightning-ita predict`` finds the pictures of posts, and the contexts or places of objects in them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lightning_ita.commands.cli import say
from lightning_ita.contexts.kinds import check_read
from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.posts.reading import STDIN

if TYPE_CHECKING:  # what is wrong with arguments is said before these are imported
    from lightning_ita.models.tagger import Tagger
    from lightning_ita.posts.pictures import PictureFiles, Pictures


def engine_options(arguments: Any, kinds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns the options of the engines that read pictures, by kind.

    Raises:
        UserError: An entry is not KIND.NAME=VALUE, or its kind is not read.
    """
    if not arguments.options:
        return {}
    from lightning_ita.commands.align import parse_options

    options = parse_options(arguments.options)
    for kind in options:
        if kind not in kinds:
            raise UserError(f"--options {kind}.{next(iter(options[kind]))}: --contexts-from does not name {kind}")
    return options


def check_pictures(arguments: Any, kinds: Sequence[str], chosen: dict[str, str]) -> None:
    """Checks the arguments about images, before anything is imported.

    Raises:
        UserError: An engine is unknown, or something would be ignored.
    """
    from lightning_ita.contexts.engines import check_engine

    for kind in kinds:
        check_engine(kind, chosen.get(kind))
    for option, given in (("--contexts-from", kinds), ("--context-store", arguments.context_store)):
        if given and arguments.view == "T":
            raise UserError(f"{option} is about images, which the view T does not use; leave out one of the two")
    formats_with_images = ("conll",)
    by_name = arguments.image_column is not None or (arguments.format or "") in formats_with_images
    by_name = by_name or Path(arguments.input).suffix.lower() in (".conll", ".bio", ".iob")
    if (kinds or arguments.context_store) and not by_name:
        raise UserError("--contexts-from and --context-store need --image-column, which names each post's image")
    if arguments.images is not None and not by_name:
        raise UserError(f"--images {arguments.images} needs --image-column, which names each post's image")
    for kind in chosen:
        if kind not in kinds and not arguments.context_store:
            raise UserError(f"--engines {kind}={chosen[kind]}: --contexts-from does not name {kind}")


def image_folder(arguments: Any) -> Path:
    """Returns the folder of the posts' images: the one named, or the input's."""
    return user_path(arguments.images or (Path(arguments.input).parent if arguments.input != STDIN else Path()))


def open_pictures(
    tagger: Tagger,
    arguments: Any,
    kinds: Sequence[str],
    chosen: dict[str, str],
    options: dict[str, dict[str, Any]],
    stack: ExitStack,
) -> Pictures | None:
    """Opens the store and makes the engines that read pictures; ``None`` where none are asked for.

    Raises:
        UserError: The model does not read such contexts, or an engine cannot be made.
    """
    if not kinds and arguments.context_store is None:
        if arguments.images is not None:
            raise UserError(
                f"--images {arguments.images}: {tagger.options.label} does not look at pictures; --contexts-from or "
                f"--context-store tells where texts about them come from"
            )
        return None
    from lightning_ita.commands.align import make_engines
    from lightning_ita.contexts.store import ContextStore
    from lightning_ita.posts.pictures import Pictures

    reads = tagger.inputs.kinds
    for option, named in (("--contexts-from", kinds), ("--engines", chosen)):
        check_read(option, named, reads, tagger.options.label)
    place = arguments.context_store or f"{arguments.output if arguments.output != '-' else 'predict'}.contexts.db"
    store = stack.enter_context(ContextStore(user_path(place), readonly=not kinds))
    engines = make_engines(kinds, {kind: chosen.get(kind) for kind in kinds}, options) if kinds else []
    # A store that is not named holds what earlier runs have read for this output, of whatever kind.
    known_kinds = {engine.kind for engine in store.engines()} if arguments.context_store else set()
    others = {kind: chosen.get(kind) for kind in reads if kind not in kinds and kind in known_kinds}
    if not kinds and not others:
        wanted = ", ".join(reads) or "no context"
        raise UserError(f"--context-store {place}: it has no contexts that the model reads ({wanted})")
    return Pictures(store, image_folder(arguments), engines, others)


def picture_files(
    tagger: Tagger,
    arguments: Any,
    kinds: Sequence[str],
    chosen: dict[str, str],
    console: Console,
    stack: ExitStack,
) -> PictureFiles:
    """Returns where the pictures of posts lie, and places of objects in them, for a system that looks at them.

    Raises:
        UserError: Contexts are asked for, which the system does not read, there is no such folder, or the store has no
            places of objects, or the model was trained without any.
    """
    from lightning_ita.contexts.store import ContextStore
    from lightning_ita.data.pictures import detector
    from lightning_ita.models.kept import saw_boxes
    from lightning_ita.posts.pictures import PictureFiles

    label, place = tagger.options.label, arguments.context_store
    crops = "boxes" in tagger.options.of_pictures
    if kinds or (place is not None and not crops):
        raise UserError(
            f"{label} looks at pictures itself and reads no contexts: leave out --contexts-from and "
            f"--context-store; --image-column names each post's picture, --images their folder"
        )
    folder = image_folder(arguments)
    if not folder.is_dir():
        raise UserError(f"--images {folder}: no such folder")
    trained = saw_boxes(tagger.kept)
    if place is None:
        if crops and trained:
            say(console, f"note: {label} was trained on crops of objects; --context-store names a store that has them")
        return PictureFiles(folder)
    if trained is False:
        raise UserError(f"--context-store {place}: {label} was trained on crops that are parts of a grid")
    check_read("--engines", chosen, ("tag",), label)
    store = stack.enter_context(ContextStore(user_path(place), readonly=True))
    engine = detector(store, chosen.get("tag"))
    if engine is None or not any(entry.reading and entry.reading.boxes for entry in store.entries(engine)):
        raise UserError(f"--context-store {place}: no detector has left places of objects in it")
    return PictureFiles(folder, (store, engine))
