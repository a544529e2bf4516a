"""``lightning-ita demo``: a web page on this machine that tags one post at a time with a kept model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_ita.commands.cli import add_engines, by_kind, make_console, make_parser, say
from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.errors import UserError
from lightning_ita.files import user_path

DESCRIPTION = """\
Shows a page in the browser: write a post, add a picture, and see the mentions of both views side by side, with the
probability of each in either view, and the texts that engines read in the picture. These texts can be edited, to see
what the model finds with other contexts. Only this machine can open the page, and nothing is sent anywhere, unless
--host or --share is given.

examples:
  lightning-ita demo --model MODEL
      MODEL is the folder of a kept model, or its id on the Hugging Face Hub
  lightning-ita demo --model MODEL --contexts-from cap --engines cap=blip:FOLDER
      pictures are read by an engine of your choice
  lightning-ita demo --model MODEL --export-space DIR
      writes a folder that runs as a Hugging Face Space, and starts no page here
"""
LOCAL = "127.0.0.1"


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 0."""
    arguments = make_arguments().parse_args(list(argv))
    kinds = None if arguments.contexts_from is None else parse_contexts(arguments.contexts_from)
    chosen = by_kind("--engines", arguments.engines, "ocr=rapidocr")
    check_arguments(arguments, kinds, chosen)

    from lightning_ita.posts.web.page import gradio, launch, make_page

    gradio()
    from lightning_ita.commands.predict import to_device
    from lightning_ita.data.words import cut
    from lightning_ita.models.kept import saw_boxes
    from lightning_ita.models.tagger import Tagger
    from lightning_ita.posts.web.reading import make_reader
    from lightning_ita.studies.process import quiet

    cut("")  # fails where NLTK is missing
    console = make_console()
    with quiet():
        tagger = Tagger.from_pretrained(arguments.model)
    if saw_boxes(tagger.kept):
        say(console, "note: the model was trained on crops of objects; on the page, crops are parts of a grid")
    if arguments.export_space is not None:
        from lightning_ita.posts.web.space import export_space

        folder = user_path(arguments.export_space)
        export_space(tagger, folder, kinds, chosen)
        say(console, f"written: {folder}; to publish it: hf upload NAME/SPACE {folder} --repo-type space")
        return 0
    to_device(tagger, arguments.device)
    reader = make_reader(tuple(tagger.inputs.kinds), kinds, chosen)
    for kind, name in reader.names.items():
        say(console, f"{kind}: read in pictures by {name}")
    for kind, reason in reader.missing.items():
        say(console, f"{kind}: not read in pictures: {reason}")
    page = make_page(tagger, reader)

    def shown(address: str) -> None:
        say(console, f"the page is at {address}; Ctrl-C ends it")

    launch(page, arguments.host, arguments.port, arguments.share, shown)
    return 0


def make_arguments() -> Any:
    """Returns the parser of the command's arguments."""
    parser = make_parser("demo", DESCRIPTION)
    add = parser.add_argument
    add("--model", type=str, required=True, help="A kept model: its folder, or its id on the Hugging Face Hub.")
    add(
        "--contexts-from",
        type=str | None,
        help="Kinds that engines read in the pictures: tag, cap, ocr; or none. By default those that the model "
        "reads and whose default engine is ready on this machine.",
    )
    add_engines(parser)
    add("--host", type=str, default=LOCAL, help="Address to listen on; 0.0.0.0 lets other machines open the page.")
    add("--port", type=int | None, help="Port to listen on; by default the first free one from 7860 on.")
    add("--share", action="store_true", help="Ask Gradio's servers for a public address, through which all data go.")
    add("--export-space", type=str | None, metavar="DIR", help="Write a folder that runs as a Hugging Face Space.")
    add("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps ...")
    return parser


def check_arguments(arguments: Any, kinds: Sequence[str] | None, chosen: dict[str, str]) -> None:
    """Checks engines and port before anything is imported.

    Raises:
        UserError: An engine is unknown, would not be used, or the port is no port.
    """
    from lightning_ita.contexts.engines import check_engine

    for kind in {*(kinds or ()), *chosen}:
        check_engine(kind, chosen.get(kind))
    for kind in chosen:
        if kinds is not None and kind not in kinds:
            raise UserError(f"--engines {kind}={chosen[kind]}: --contexts-from does not name {kind}")
    if arguments.port is not None and not 1 <= arguments.port <= 65535:
        raise UserError(f"--port {arguments.port}: a port is a number from 1 to 65535")
