"""The page itself, built with Gradio: a post and a picture in, both views side by side out, contexts to edit."""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_ita.errors import UserError
from lightning_ita.images.files import ImageError
from lightning_ita.posts.web.answering import (
    about,
    answer,
    kind_name,
    lines_of,
    looks,
    message,
    picture_message,
    pictured,
    texts_of,
)
from lightning_ita.posts.web.local import Local
from lightning_ita.posts.web.reading import PictureReader

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

STYLE = Path(__file__).with_name("page.css")
# Largest file that can be uploaded, and how long uploads stay on disk, in seconds.
MOST_BYTES, KEPT_SECONDS = "32mb", 3600
TITLE = "Who and what is named here?"
START = "Write a post, or choose an example."
WHAT_IF = "What the picture says, as text. Change it: what if it had said something else?"
EXAMPLES = ("Jordan dunks in Chicago", "See you in Jordan", "Great night at the Garden with @KingJames")


def gradio() -> Any:
    """Imports Gradio, its telemetry switched off.

    Raises:
        UserError: It is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise UserError(
            f"the page needs the package gradio, which cannot be imported ({error}); "
            "`pip install lightning-ita[demo]` brings it"
        ) from None
    return gradio


def make_page(tagger: Tagger, reader: PictureReader) -> Any:
    """Returns the page of a model, a `gradio.Blocks`, which `launch` shows.

    Args:
        tagger: The model, on its device.
        reader: What reads the pictures.

    Raises:
        UserError: Gradio is not installed.
    """
    gr = gradio()
    kinds = tuple(tagger.inputs.kinds)

    def find(post: str | None, as_read: dict[str, tuple[str, ...]], picture: str | None, *said: str | None) -> str:
        """Finds the mentions of a post, with and without its picture; what the picture says has one text per line."""
        contexts = {kind: lines_of(text) for kind, text in zip(kinds, said, strict=True)}
        return answer(tagger, post, contexts, as_read, None if picture is None else Path(picture))

    def read(picture: str | None) -> tuple[Any, ...]:
        """Reads a picture: returns what the engines read, and the texts of each kind."""
        if picture is None:
            return ({}, "", *[""] * len(kinds))
        try:
            readings = reader.read(Path(picture))
        except ImageError as error:
            return ({}, picture_message(error), *[""] * len(kinds))
        texts = texts_of(readings)
        return (texts, pictured(readings), *("\n".join(texts.get(kind, ())) for kind in kinds))

    # Clients, and the page that tells how to call this one, name arguments as the function does.
    named = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("post", "as_read")]
    optional = ("picture", *(f"context_{kind}" for kind in kinds))
    named += [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in optional]
    find.__signature__ = Signature(named)  # type: ignore[attr-defined]

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gr.HTML(about(tagger, reader.names), padding=False)
        as_read = gr.State({})
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                post = gr.Textbox(label="Post", lines=3, max_lines=12, placeholder=EXAMPLES[0], elem_id="post")
                gr.Examples([[text] for text in EXAMPLES], inputs=post, label="Examples")
                picture = gr.Image(
                    label="Picture",
                    type="filepath",
                    sources=["upload", "clipboard"],
                    height=220,
                    elem_id="picture",
                    visible=bool(kinds) or looks(tagger),
                )
                # The file as it is: what is wrong with it is a message of ours, where Gradio's says just "Error".
                picture.preprocess = lambda payload: None if payload is None else payload.path
                if kinds:
                    gr.Markdown(WHAT_IF)
                boxes = [
                    gr.Textbox(
                        label=kind_name(kind),
                        placeholder="One text per line",
                        lines=2,
                        max_lines=8,
                        elem_id=f"context-{kind}",
                    )
                    for kind in kinds
                ]
                button = gr.Button("Find mentions", variant="primary", elem_id="find")
            with gr.Column(scale=3, min_width=300):
                found = gr.HTML(message(START), elem_id="found", padding=False)
                seen = gr.HTML(elem_id="seen", padding=False)
        asked = {"fn": find, "inputs": [post, as_read, picture, *boxes], "outputs": found, "show_progress": "hidden"}
        # Not `input`, which tells of keys alone: text is pasted, too.
        changed = [box.change for box in (post, *boxes)]
        gr.on([button.click, post.submit, *changed], trigger_mode="always_last", api_name="find", **asked)
        reading = picture.change(read, picture, [as_read, seen, *boxes], api_name="read")
        reading.then(api_visibility="private", **asked)
    return page


def launch(
    page: Any,
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    shown: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves a page until the process is interrupted.

    Args:
        page: From `make_page`.
        host: Address to listen on; without one 127.0.0.1, or what a Space says.
        port: Port to listen on; the first free one from 7860 on if not given.
        share: Whether Gradio's servers are asked for a public address.
        shown: Told the address as soon as the page can be opened.

    Raises:
        OSError: The port is taken.
    """
    from starlette.middleware import Middleware

    gr = gradio()
    # On a Space the page stands within one of the Hub's, which needs scripts of its own.
    alone = not share and "SPACE_ID" not in os.environ
    _, local, public = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css_paths=STYLE,
        app_kwargs={"middleware": [Middleware(Local)]} if alone else {},
        max_file_size=MOST_BYTES,
        footer_links=[],
        quiet=True,
        prevent_thread_lock=True,
    )
    shown(public or local)
    page.block_thread()
