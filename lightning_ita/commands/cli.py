"""What the commands share: arguments that mean the same everywhere, and errors without a traceback."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import jsonargparse
from rich.console import Console

from lightning_ita.commands import COMMANDS
from lightning_ita.commands.parser import HelpFormatter, Parser
from lightning_ita.contexts.kinds import check_kind
from lightning_ita.data import CUSTOM, DATASETS
from lightning_ita.devices import bound_kernel_cache
from lightning_ita.errors import INTERRUPTED, USER_ERROR, Terminated, UserError, terminate, unknown, what_happened
from lightning_ita.invocation import PROGRAM, spelled
from lightning_ita.studies.names import LOGGERS
from lightning_ita.text import MAX_MESSAGE_LINE, printable

if TYPE_CHECKING:  # commands that train nothing should not wait for what training imports
    from lightning_ita.data.source import Source
    from lightning_ita.models.recipes import Recipe


def make_parser(command: str, description: str) -> jsonargparse.ArgumentParser:
    """Returns a command's parser, with ``--config`` and ``--print_config``.

    Args:
        command: The command's name.
        description: What ``--help`` says first. Its examples call our commands ``lightning-ita NAME``; they are shown
            as they work where this process was started.
    """
    parser = Parser(
        prog=spelled(command), description=as_typed(description), formatter_class=HelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--config", action="config", help="A YAML file with arguments; an argument after it replaces the file's value."
    )
    return parser


def as_typed(text: str) -> str:
    """Writes the command lines ``lightning-ita NAME`` in a text as they work where this process was started."""
    return re.sub(rf"\b{PROGRAM} ({'|'.join(COMMANDS)})\b", lambda match: spelled(match[1]), text)


def add_source(parser: jsonargparse.ArgumentParser) -> None:
    """Adds the arguments that say where the data are."""
    parser.add_argument(
        "--data-dir", type=str | None, help="The folder above twitter15/, twitter17/ ..., or one of them."
    )
    parser.add_argument(
        "--types",
        type=str | None,
        help="Entity types of a corpus of your own (--dataset custom), separated by commas; by default those in its "
        "train.txt.",
    )
    parser.add_argument(
        "--columns",
        type=str | None,
        metavar="WORD,TAG",
        help="Columns of the word and the tag, counted from 0, if the files of your own corpus have more columns, for "
        "example 0,2.",
    )
    parser.add_argument(
        "--context-files",
        type=str,
        nargs="*",
        default=[],
        metavar="KIND=FILE",
        help="Context files that are not found as contexts/DATASET.KIND.NAME.jsonl beside the data; {dataset} in a "
        "path is replaced by the name of the data set.",
    )
    parser.add_argument(
        "--images",
        type=str | None,
        metavar="DIR",
        help="The folder of the tweets' pictures, for systems that look at them; by default images/ beside the data. "
        "{dataset} in it is replaced by the name of the data set; the demo corpus draws its own.",
    )
    parser.add_argument(
        "--context-store",
        type=str | None,
        help=f"A store of contexts, made by `{spelled('align')}`; kinds in --context-files are not read from it.",
    )
    parser.add_argument(
        "--context-engines",
        type=str,
        nargs="*",
        default=[],
        metavar="KIND=ENGINE",
        help="The engine whose contexts are used, where the store has several engines of a kind: a name, name:model, "
        f"or a key, which `{spelled('align')} --stats` shows.",
    )


def add_dataset(parser: jsonargparse.ArgumentParser, several: bool = False) -> None:
    """Adds ``--dataset``."""
    names = f"{', '.join(DATASETS)}; custom is your own corpus, in --data-dir; custom-NAME is one in its folder NAME"
    text = f"Any of {names}. Separated by commas." if several else f"One of {names}."
    parser.add_argument("--dataset", type=str, default="demo", help=text)


def columns_of(text: str | None) -> tuple[int, int] | None:
    """Reads ``--columns``.

    Raises:
        UserError: It is not two whole numbers from 0 up.
    """
    if text is None:
        return None
    try:
        word, tag = (int(part) for part in text.split(","))
    except ValueError:
        word, tag = -1, -1
    if word < 0 or tag < 0 or word == tag:
        raise UserError(
            f"--columns {text}: expected two different columns, of word and tag, counted from 0, for example 0,2"
        )
    return word, tag


def source_of(arguments: Any) -> Source:
    """Returns where the data lie, from parsed arguments.

    Raises:
        UserError: An entry of ``--context-files`` or ``--context-engines`` is not KIND=VALUE, or a kind is unknown.
    """
    from lightning_ita.data.source import Source

    return Source(
        data_dir=arguments.data_dir,
        context_files=by_kind("--context-files", arguments.context_files, "cap=captions.jsonl"),
        context_store=arguments.context_store,
        context_engines=by_kind("--context-engines", arguments.context_engines, "ocr=rapidocr"),
        types=None if arguments.types is None else split_names(arguments.types),
        columns=columns_of(arguments.columns),
        image_dir=arguments.images,
    )


def unread(
    source: Source, kinds: Collection[str], datasets: Iterable[str], of_pictures: Collection[str]
) -> Iterator[str]:
    """Yields a note for each option that says what data are read and that nothing here follows.

    Args:
        source: Where the data lie.
        kinds: The kinds of context that are read.
        datasets: The data sets that are read.
        of_pictures: What is read of pictures: ``images``, ``boxes``.
    """
    read = f"the contexts here are {', '.join(kinds)}" if kinds else "no contexts are read here"
    # The places of objects are those that an engine for tags has found.
    of_store = {
        *(kind for kind in kinds if kind not in source.context_files),
        *({"tag"} if "boxes" in of_pictures else ()),
    }
    for kind, value in source.context_files.items():
        if kind not in kinds:
            yield f"--context-files {kind}={value} is not read: {read}"
    for kind, value in source.context_engines.items():
        if kind not in of_store:
            why = f"they are read from {source.context_files[kind]}" if kind in kinds else read
            yield f"--context-engines {kind}={value} is not read: {why}"
        elif source.context_store is None:
            yield f"--context-engines {kind}={value} is not read: it chooses among the engines of --context-store"
    if source.context_store is not None and not of_store:
        why = "all contexts are read from --context-files" if kinds else read
        yield f"--context-store {source.context_store} is not read: {why}"
    if source.image_dir is not None and not of_pictures:
        yield f"--images {source.image_dir} is not read: no system here looks at pictures"
    own = [name for name in datasets if name == CUSTOM or name.startswith(f"{CUSTOM}-")]
    for option in ("types", "columns"):
        if getattr(source, option) is not None and not own:
            yield f"--{option} is not read: it is for a corpus of your own, --dataset {CUSTOM}"


def add_engines(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--engines``, which `by_kind` reads, for commands that read the pictures of posts."""
    about = f"The engine of a kind, and its model; `{spelled('align')} --help` lists them."
    parser.add_argument("--engines", type=str, nargs="*", default=[], metavar="KIND=ENGINE[:MODEL]", help=about)


def by_kind(option: str, entries: Sequence[str], example: str) -> dict[str, str]:
    """Reads values given by kind of context.

    Args:
        option: The option they were given to, for the error.
        entries: ``KIND=VALUE`` each.
        example: What one looks like, for the error.

    Raises:
        UserError: An entry is not KIND=VALUE, a kind is unknown, or one is given twice.
    """
    values: dict[str, str] = {}
    for entry in entries:
        kind, equals, value = entry.partition("=")
        if not equals or not value:
            raise UserError(f"{option} {entry!r}: expected KIND=VALUE, for example {example}")
        check_kind(kind)
        if kind in values:
            raise UserError(f"{option}: {kind} is given twice, as {values[kind]!r} and {value!r}")
        values[kind] = value
    return values


def add_recipe(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--encoder``, ``--preset``, ``--devices`` and ``--recipe.*``, whose defaults `parse` chooses."""
    from lightning_ita.models.presets import RECIPES
    from lightning_ita.models.recipes import Recipe

    parser.add_argument(
        "--encoder",
        type=str,
        default="minilm",
        help="minilm (bundled, 22.7 M parameters), a folder, or an id on the Hugging Face Hub.",
    )
    parser.add_argument(
        "--preset",
        type=str | None,
        help=f"Recipe (hyper-parameters) to start from: {', '.join(RECIPES)}; by default chosen by the size of the "
        "encoder, and demo on the demo corpus.",
    )
    parser.add_class_arguments(Recipe, "recipe")
    (devices,) = (action for action in parser._actions if action.dest == "recipe.devices")
    devices.option_strings = [*devices.option_strings, "--devices"]
    parser._option_string_actions["--devices"] = devices
    parser.add_argument(
        "--strategy",
        type=Literal["ddp"],
        default="ddp",
        help="How --devices share a run: each has the whole model and its own batches (distributed data parallel).",
    )
    allow_bare_flags(parser, [f"recipe.{field.name}" for field in fields(Recipe) if isinstance(field.default, bool)])


def allow_bare_flags(parser: jsonargparse.ArgumentParser, names: Iterable[str]) -> None:
    """Lets arguments that are true or false be given without a value, as W&B's ``${args_no_boolean_flags}`` does."""
    wanted = set(names)
    for action in parser._actions:
        if action.dest in wanted:
            action.nargs, action.const = "?", True


def add_logger(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--logger``."""
    parser.add_argument(
        "--logger", type=str, default="none", help=f"Logger that records every run: {', '.join(LOGGERS)}."
    )


def add_keep(parser: jsonargparse.ArgumentParser) -> None:
    """Adds ``--keep-models``."""
    parser.add_argument(
        "--keep-models",
        type=str,
        default="none",
        help="Trained models to keep, in the folder model of their cell: best (of each row, the seed with the highest "
        "F1 on valid), all, none.",
    )


def given_arguments(parser: jsonargparse.ArgumentParser, argv: Sequence[str]) -> jsonargparse.Namespace:
    """Returns only those arguments that stand on the command line or in a ``--config`` file of it, without defaults.

    What cannot be read gives an empty namespace: the error is the parser's to report.
    """
    without_exits = [word for word in argv if word not in ("-h", "--help") and not word.startswith("--print_config")]
    exits, parser.exit_on_error = parser.exit_on_error, False
    try:
        return parser.parse_args(without_exits, defaults=False)
    except argparse.ArgumentError:
        return jsonargparse.Namespace()
    finally:
        parser.exit_on_error = exits


def parse(parser: jsonargparse.ArgumentParser, argv: Sequence[str]) -> jsonargparse.Namespace:
    """Parses a command's arguments, where the hyper-parameters start from a preset (see `add_recipe`).

    The preset, or the encoder and the data set that choose it, may stand on the command line or in a ``--config`` file.

    Raises:
        UserError: The preset is unknown.
    """
    from lightning_ita.models.presets import RECIPES, preset_for

    argv = with_nulls(argv)
    given = given_arguments(parser, argv)
    preset = given.get("preset")
    if preset is None:
        names = {name: given.get(name) or parser.get_defaults()[name] for name in ("encoder", "dataset")}
        try:
            preset = preset_for(names["encoder"], names["dataset"])
        except UserError:
            if not {"-h", "--help"} & set(argv):
                raise
            preset = next(iter(RECIPES))  # help is given whatever the encoder is
    elif preset not in RECIPES:
        raise unknown("preset", preset, RECIPES)
    parser.set_defaults({f"recipe.{name}": value for name, value in vars(RECIPES[preset]).items()})
    return parser.parse_args(list(argv))


def with_nulls(argv: Sequence[str]) -> list[str]:
    """Returns arguments in which a hyper-parameter or option that is None, as W&B writes it, is null."""
    named = r"--[\w-]+\.\w+"
    nulls = [re.sub(rf"^({named}=)None$", r"\1null", word) for word in argv]
    return [
        "null" if word == "None" and re.fullmatch(named, before) else word
        for before, word in zip(["", *nulls], nulls, strict=False)
    ]


def recipe_of(arguments: Any) -> Recipe:
    """Returns the hyper-parameters from parsed arguments.

    Raises:
        UserError: A value is out of its range.
    """
    from lightning_ita.models.recipes import Recipe

    return Recipe(**vars(arguments.recipe))


def make_console() -> Console:
    """Returns the terminal to write to; elsewhere (a file, a pipe, a notebook) lines are wide enough for a table.

    What is printed holds names that users chose: neither rich's markup nor its names of emojis are read in it.
    """
    if sys.stdout.isatty():
        return Console(markup=False, emoji=False)
    # A notebook's kernel claims to be a terminal, and to draw widgets.
    return Console(markup=False, emoji=False, width=120, force_terminal=False, force_jupyter=False)


def say(console: Console, line: object) -> None:
    """Prints a line as it is: no markup, no wrapping; control characters, which may come from a file, are shown."""
    console.print(printable(line, MAX_MESSAGE_LINE), soft_wrap=True, markup=False, highlight=False)


def split_names(text: str | Sequence[str]) -> tuple[str, ...]:
    """Reads names separated by commas."""
    names = text.split(",") if isinstance(text, str) else text
    return tuple(name.strip() for name in names if name.strip())


def config_files(argv: Sequence[str]) -> list[str]:
    """Returns the ``--config`` files of a command line that exist."""
    values = [after if word == "--config" else word.removeprefix("--config=") for word, after in pairwise([*argv, ""])]
    named = [value for word, value in zip(argv, values, strict=True) if word.partition("=")[0] == "--config"]
    return [name for name in named if os.path.isfile(name)]


def guard(main: Callable[[Sequence[str]], int]) -> None:
    """Runs a command; what a user can cause ends it with a message, not with a traceback."""
    bound_kernel_cache()
    signal.signal(signal.SIGTERM, terminate)
    try:
        status = main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = USER_ERROR
    except OSError as error:
        print(f"error: {what_happened(error)}", file=sys.stderr)
        status = USER_ERROR
    except SystemExit as ended:  # the parser has said why
        status = ended.code if isinstance(ended.code, int) else USER_ERROR
    except Terminated:
        print("ended by SIGTERM; the same command goes on where it stopped", file=sys.stderr)
        sys.stderr.flush()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # so that the shell, or Slurm, sees how it ended
    except KeyboardInterrupt:
        # A second Ctrl-C, which uv may send by itself, ends the process where it stands: while Python waits for our
        # workers to end, it would otherwise print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        status = INTERRUPTED
    files = config_files(sys.argv[1:])
    if status == USER_ERROR and files:
        print(f"note: some arguments come from {printable(', '.join(files), MAX_MESSAGE_LINE)}", file=sys.stderr)
    sys.exit(status)
