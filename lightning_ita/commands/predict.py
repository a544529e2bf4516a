"""``lightning-ita predict``: finds the mentions in posts with a trained model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lightning_ita.commands.cli import add_engines, by_kind, columns_of, make_parser, say
from lightning_ita.commands.predict_pictures import check_pictures, engine_options, open_pictures, picture_files
from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.errors import UserError, unknown
from lightning_ita.files import check_output, user_path, write_text
from lightning_ita.posts.reading import FORMATS, STDIN, Columns, format_of, read_posts
from lightning_ita.text import printable

if TYPE_CHECKING:  # what is wrong with arguments and files is said before these are imported
    from lightning_ita.models.tagger import Tagger
    from lightning_ita.posts.pictures import PictureFiles, Pictures
    from lightning_ita.posts.records import Record
    from lightning_ita.posts.stream import State

DESCRIPTION = """\
Tags posts with a trained model: finds the mentions in each post, with their types, their places in the text, and the
probability of each. Posts that cannot be read, or whose image cannot be read, are listed in OUTPUT.errors.jsonl; the
others are tagged. The output has the order of the input. After an interruption the same command continues where it
stopped.

examples:
  lightning-ita train --contexts tag,ocr --keep-models best
      makes a model: its folder is printed at the end
  lightning-ita predict --model MODEL --input posts.csv --text-column text --output mentions.jsonl
      a line of JSON per post; MODEL is the folder of a kept model, or its id on the Hugging Face Hub
  lightning-ita predict --model MODEL --input posts.csv --image-column picture --images DIR --contexts-from ocr \\
      --output mentions.csv
      reads the text in the images first, and tags each post together with the text in its image (for models that were
      trained with the context ocr)
  lightning-ita predict --model MODEL --input posts.csv --image-column picture --images DIR --output mentions.csv
      for models that read the images themselves
  lightning-ita predict --model MODEL --input test.conll --evaluate --output predicted.conll
      scores the model against the tags of the input
  echo "Jordan dunks in Chicago" | lightning-ita predict --model MODEL
      reads posts from standard input, one per line, and prints JSON
"""
VIEWS = ("auto", "T", "I+T")

SINGULAR = {"posts": "post", "mentions": "mention", "images failed": "image failed"}


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 1 where --strict is given and a post could not be tagged, else 0."""
    arguments = make_arguments().parse_args(list(argv))
    if arguments.view not in VIEWS:
        raise unknown("view", arguments.view, VIEWS)
    kinds = parse_contexts(arguments.contexts_from or ())
    chosen = by_kind("--engines", arguments.engines, "ocr=rapidocr")
    options = engine_options(arguments, kinds)
    check_pictures(arguments, kinds, chosen)
    numbers = columns_of(arguments.columns)
    columns = Columns(arguments.text_column, arguments.image_column, arguments.id_column, numbers=numbers)
    format_ = format_of(arguments.input, arguments.format)
    if numbers is not None and format_ != "conll":
        raise UserError(f"--columns {arguments.columns}: {format_} has none by number; they are for --format conll")
    records = started(read_posts(arguments.input, format_, columns, arguments.encoding))

    from lightning_ita.posts.writing import Writer, output_of

    output = Path(arguments.output) if arguments.output == "-" else user_path(arguments.output)
    output_format = output_of(arguments.output, arguments.output_format)
    files = Writer(output_format, output).files
    if arguments.output != "-":
        if output_format == "brat" and output.suffix != ".ann":
            raise UserError(f"--output {output}: brat's files end in .ann, and the text is written beside it")
        for path in files:
            check_output(path)
            if arguments.input != STDIN and path.exists() and path.samefile(user_path(arguments.input)):
                writes = "" if path == output else f" writes {path.name}, too, and"
                raise UserError(f"--output {output}{writes} would replace the input; name another file")
    elif output_format == "brat":
        raise UserError("brat needs two files, which cannot go to standard output; give --output FILE.ann")

    from lightning_ita.models.tagger import Tagger
    from lightning_ita.posts.stream import State, left, model_digest, open_state, scores_of, state_path, tag_stream
    from lightning_ita.studies.process import quiet

    console = Console(stderr=True, markup=False, emoji=False, force_jupyter=False)
    with quiet():
        tagger = Tagger.from_pretrained(arguments.model)
    to_device(tagger, arguments.device)
    key = [model_digest(tagger, arguments.model), arguments.view, output_format, format_, *kinds, str(chosen)]
    key += [str(columns), str(arguments.evaluate), str(arguments.context_store)]
    key += [] if arguments.images is None else [arguments.images]
    key += [str(options)] if options else []
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    state = State(digest) if arguments.output == "-" else open_state(files, digest, arguments.overwrite)
    writer = Writer(output_format, output, state.writer or None)
    records = left(records, writer, state)
    if state.finished:
        grown = next(records, None)
        if grown is None:
            say(console, f"{output} is finished already: {state.records} posts; --overwrite tags them again")
            report(console, tagger, state, arguments)
            return 0
        records = chain([grown], records)
    if state.records:
        say(console, f"continuing after {state.records} posts, which {state_path(output)} records as done")
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.completed} posts, {task.fields[rate]}"), TimeElapsedColumn(), console=console
    )
    with ExitStack() as stack:
        if "images" in tagger.options.needs:
            pictures: Pictures | PictureFiles | None = picture_files(tagger, arguments, kinds, chosen, console, stack)
        else:
            pictures = open_pictures(tagger, arguments, kinds, chosen, options, stack)
        stack.enter_context(bar)
        task = bar.add_task("", total=None, completed=state.records, rate="")

        def watch(now: State) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{(now.records - before) / elapsed:.0f} posts/s" if elapsed else ""
            bar.update(task, completed=now.records, rate=rate)

        before = state.records
        tag_stream(tagger, records, writer, state, arguments.view, pictures, arguments.evaluate, watch)
    report(console, tagger, state, arguments)
    if arguments.evaluate and arguments.output != "-":
        scores = json.dumps({"records": state.records, "scores": scores_of(tagger, state)}, indent=2)
        path = output.with_name(f"{output.name}.scores.json")
        write_text(path, scores + "\n")
        say(console, f"written: {path}")
    return 1 if arguments.strict and state.counts.get("not tagged", 0) else 0


def make_arguments() -> Any:
    """Returns the parser of the command's arguments."""
    parser = make_parser("predict", DESCRIPTION)
    add = parser.add_argument
    add("--model", type=str, required=True, help="A kept model: its folder, or its id on the Hugging Face Hub.")
    add("--input", type=str, default=STDIN, help="A file of posts; standard input if not given.")
    add(
        "--format",
        type=str | None,
        help=f"Format of the input: {', '.join(FORMATS)}; by default that of the file's extension.",
    )
    add("--encoding", type=str, default="utf-8", help="Encoding of the input.")
    add(
        "--text-column",
        type=str,
        default="text",
        help="Column (CSV, TSV, Parquet) or field (JSONL) with the text of the post.",
    )
    add("--image-column", type=str | None, help="Column or field with the file name of the post's image.")
    add("--id-column", type=str | None, help="Column or field with the post's id; by default posts are numbered.")
    add(
        "--columns",
        type=str | None,
        metavar="WORD,TAG",
        help="Columns of word and tag in CoNLL, counted from 0; by default the first and the last.",
    )
    add("--output", type=str, default="-", help="The file to write; standard output if not given.")
    add("--output-format", type=str | None, help="jsonl, csv, conll, brat or inline; by default that of the extension.")
    add("--overwrite", action="store_true", help="Start again, and replace what an earlier run wrote.")
    add(
        "--view",
        type=str,
        default="auto",
        help="T (the post alone), I+T (with its contexts), auto (I+T if there are any).",
    )
    add(
        "--contexts-from", type=str | None, help="Kinds of context to read in the images before tagging: tag, cap, ocr."
    )
    add("--images", type=str | None, help="The folder of the images; by default the input's.")
    add_engines(parser)
    add(
        "--options",
        type=str,
        nargs="*",
        default=[],
        metavar="KIND.NAME=VALUE",
        help="Options of an engine of --contexts-from, as in align; the model's card has those that its contexts were "
        "read with.",
    )
    add(
        "--context-store",
        type=str | None,
        help="A store of contexts to use; --contexts-from adds to it. For a model that looks at crops of images: a "
        "store with the places of objects.",
    )
    add("--evaluate", action="store_true", help="Score against the tags of the input (CoNLL, or tags in JSONL).")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps ...")
    add("--strict", action="store_true", help="End with status 1 if a post could not be tagged.")
    return parser


def started(records: Iterator[Record]) -> Iterator[Record]:
    """Reads the first post, so that what is wrong with the file is said before the model is loaded."""
    first = next(records, None)
    return records if first is None else chain([first], records)


def to_device(tagger: Tagger, name: str) -> None:
    """Moves a model to a device.

    Raises:
        UserError: There is no such device.
    """
    from lightning_ita.devices import choose_device

    try:
        tagger.to(choose_device(None if name == "auto" else name))
    except (RuntimeError, UserError) as error:
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}") from None


def report(console: Console, tagger: Tagger, state: State, arguments: Any) -> None:
    """Prints what was done, and the scores if they were asked for."""
    from lightning_ita.posts.stream import errors_path, scores_of

    counts = [
        f"{number} {name}" if number != 1 else f"1 {SINGULAR.get(name, name)}"
        for name, number in state.counts.items()
        if number or name in ("posts", "mentions")
    ]
    say(console, ", ".join(counts) or "no posts")
    if arguments.output != "-":
        output = user_path(arguments.output)
        say(console, f"written: {output}")
        if state.counts.get("not tagged", 0) or state.counts.get("images failed", 0):
            say(console, f"errors are listed in {errors_path(output)}")
    if not arguments.evaluate:
        return
    scores = scores_of(tagger, state)
    if not scores or not sum(state.scores[2]):
        say(console, "--evaluate: nothing to score, since no post has tags with a mention")
        return
    for type_ in ("", *tagger.tag_set.types):
        prefix = f"{type_}/" if type_ else ""
        values = "  ".join(f"{measure} {scores[prefix + measure]:6.2f}" for measure in ("precision", "recall", "f1"))
        say(console, f"{printable(type_ or 'all'):8}  {values}")
