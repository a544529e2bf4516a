"""Engines: models and programs that turn images into object tags, captions and OCR text, and tweets into knowledge.

Each is imported when it is asked for. Models come from folders or from the Hugging Face Hub; only safetensors, or
weights read by PyTorch's restricted unpickler, are loaded, and the network is used only for a model that the user
named and that is not on this machine. Tweets are sent nowhere but to a server that the user named.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping

from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.engines.options import of_type
from lightning_ita.devices import Precision
from lightning_ita.errors import UserError, unknown
from lightning_ita.invocation import spelled
from lightning_ita.registry import Registry
from lightning_ita.text import MAX_VALUE, printable, quoted

# Class and results of each engine, by name, by kind, as `align --help` lists them. A new engine is a line here: those
# that read images ...
_IMAGES = {
    "tag": {
        "timm": (
            "classification:Classifier",
            "ImageNet's classes by a classifier of timm; the extra vision brings one",
        ),
        "open_clip": ("zero_shot:OpenClipTagger", "nouns with attributes that fit the image or a part of it (CLIP)"),
        "detr": ("detection:Detector", "the objects that a detector finds (DETR, YOLOS and others of transformers)"),
        "yolox": ("yolox:Yolox", "the objects that a YOLOX detector in an ONNX file finds, with their number"),
    },
    "cap": {
        "blip": ("captions:Blip", "captions by BLIP or BLIP-2 (transformers)"),
        "coca": ("captions:CoCa", "captions by CoCa (open_clip)"),
    },
    "ocr": {
        "rapidocr": ("ocr:RapidOcr", "lines of text by PaddleOCR; models for English and Chinese are included"),
        "tesseract": (
            "tesseract:Tesseract",
            "lines of text by Tesseract; the model is a language: eng, eng+deu ...",
        ),
    },
}
# ... and those that read tweets, alone or together with their images.
_TWEETS = {
    "know": {
        "openai": ("chat:OpenAI", "what a language model on a server that you name says of the tweet"),
    },
    "ret": {
        "bm25": ("retrieval:Bm25", "the passages of a file that are nearest to the tweet (BM25)"),
    },
}
_TABLE = _IMAGES | _TWEETS
READ_TWEETS = frozenset(_TWEETS)
"""The kinds whose engines read tweets."""
_NAMES = {"tag": "tag engine", "cap": "caption engine", "ocr": "OCR engine"}
_NAMES |= {"know": "knowledge engine", "ret": "retrieval engine"}
ENGINES = {
    kind: Registry(
        _NAMES[kind],
        {name: f"{__name__}.{place}" for name, (place, _) in engines.items()},
        group=f"lightning_ita.engines.{kind}",
    )
    for kind, engines in _TABLE.items()
}
"""The engines of each kind of context; the first of a kind is its default."""


def engine_list() -> str:
    """Returns a line per engine: its kind and name, what it returns, and which is the default of its kind."""
    lines = []
    for kind, engines in _TABLE.items():
        for number, (name, (_, summary)) in enumerate(engines.items()):
            lines.append(f"  {f'{kind}={name}':15}  {summary}{'' if number else '; the default'}")
        for name in ENGINES[kind]:
            if name not in engines:
                lines.append(f"  {f'{kind}={name}':15}  of another package: {ENGINES[kind].path(name)}")
    return "\n".join(lines)


def check_engine(kind: str, choice: str | None, tweets: bool = False) -> tuple[str, str | None]:
    """Reads the choice of an engine without importing it.

    Args:
        kind: The kind of context.
        choice: ``engine`` or ``engine:model``; without one, the default of the kind.
        tweets: Whether there are tweets to read; if not, engines that read them are an error.

    Returns:
        The engine's name, and the model if one is named.

    Raises:
        UserError: The kind or the engine is unknown (the nearest is suggested), the engine reads tweets and there are
            none, or no model follows a colon.
    """
    if kind not in ENGINES:
        command = spelled("align", "--import", f"{printable(kind, MAX_VALUE)}=FILE")
        raise UserError(
            f"{unknown('context', kind, ENGINES)} No engine reads others; `{command}` takes them from a file."
        )
    name, colon, model = (choice or next(iter(ENGINES[kind]))).partition(":")
    if colon and not model:
        raise UserError(f"{kind}={quoted(choice)}: no model follows the colon")
    ENGINES[kind].check(name)
    if kind in READ_TWEETS and not tweets:
        command = spelled("align", "--kinds", kind, "--tweets", "FILE", "--store", "STORE")
        raise UserError(f"{kind}={name} reads tweets and not images: `{command}` has it read them, into a store")
    return name, model or None


def make_engine(
    kind: str,
    choice: str | None = None,
    *,
    device: str | None = None,
    precision: Precision = "auto",
    tweets: Mapping[str, Collection[str]] | None = None,
    **options: object,
) -> Engine:
    """Makes an engine, its model loaded.

    Args:
        kind: The kind of context.
        choice: ``engine`` or ``engine:model``; without one, or without a model, the default, which is used only if it
            is on this machine.
        device: Where its model runs; the accelerator by default. Engines that do not run in PyTorch ignore it.
        precision: The arithmetic it runs in; likewise.
        tweets: Texts of tweets by split, for engines that read tweets.
        **options: The engine's own; see its class.

    Raises:
        UserError: The kind, the engine or an option is unknown (the nearest is suggested), a package or the model is
            missing (says how to get it), or an option's value is not of its type or out of its range.
    """
    name, model = check_engine(kind, choice, tweets is not None)
    engine = ENGINES[kind][name]
    parameters = inspect.signature(engine, eval_str=True).parameters
    known = [each for each in parameters if each not in ("model", "tweets")]
    for option, value in options.items():
        if option not in known:
            raise unknown(f"option of {kind}={name}", option, known)
        options[option] = of_type(value, parameters[option].annotation, option, f"{kind}={name}")
    common = {"device": device, "precision": precision, "tweets": tweets}
    made: Engine = engine(model, **{key: common[key] for key in common if key in parameters}, **options)
    if (made.kind, made.name) != (kind, name):  # what it reads is kept under these
        place = ENGINES[kind].path(name)
        raise UserError(f"{place} calls itself {made.kind}={made.name}, and is registered as {kind}={name}")
    return made
