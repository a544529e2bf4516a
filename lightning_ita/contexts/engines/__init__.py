"""Engines: what turns images into object tags, captions and the text in them.

Each is imported when it is asked for. Models come from folders or from the Hugging Face Hub; only safetensors, or
weights read by PyTorch's restricted unpickler, are loaded, and the network is used only for a model that the user
named and that is not on this machine.
"""

from __future__ import annotations

import inspect

from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.kinds import KINDS
from lightning_ita.devices import Precision
from lightning_ita.errors import UserError, unknown
from lightning_ita.registry import Registry

ENGINES = {
    "tag": Registry(
        "tag engine",
        {
            "open_clip": "lightning_ita.contexts.engines.zero_shot:OpenClipTagger",
            "detr": "lightning_ita.contexts.engines.detection:Detector",
        },
    ),
    "cap": Registry(
        "caption engine",
        {
            "blip": "lightning_ita.contexts.engines.captions:Blip",
            "coca": "lightning_ita.contexts.engines.captions:CoCa",
        },
    ),
    "ocr": Registry(
        "OCR engine",
        {
            "rapidocr": "lightning_ita.contexts.engines.ocr:RapidOcr",
            "tesseract": "lightning_ita.contexts.engines.tesseract:Tesseract",
        },
    ),
}
"""The engines of each kind of context; the first of a kind is its default."""


def make_engine(
    kind: str,
    choice: str | None = None,
    *,
    device: str | None = None,
    precision: Precision = "auto",
    **options: object,
) -> Engine:
    """Makes an engine, its model loaded.

    Args:
        kind: ``tag``, ``cap`` or ``ocr``.
        choice: ``engine`` or ``engine:model``; without one, or without a model, the default, which is used only if it
            is on this machine.
        device: Where its model runs; the accelerator by default. Engines without a model of this sort ignore it.
        precision: Likewise, in which arithmetic.
        **options: The engine's own; see its class.

    Raises:
        UserError: The kind, the engine or an option is unknown (the nearest is suggested), a package or the model is
            missing (says how to get it), or an option's value is out of its range.
    """
    if kind not in ENGINES:
        raise unknown("context", kind, KINDS)
    registry = ENGINES[kind]
    name, colon, model = (choice or next(iter(registry))).partition(":")
    if colon and not model:
        raise UserError(f"{kind}={choice}: no model follows the colon")
    engine = registry[name]
    known = [each for each in inspect.signature(engine).parameters if each != "model"]
    for option in options:
        if option not in known:
            raise unknown(f"option of {kind}={name}", option, known)
    common = {"device": device, "precision": precision}
    made: Engine = engine(model or None, **{key: common[key] for key in common if key in known}, **options)
    return made
