"""Encoders by name: the small one that can be bundled, a folder, or a Hugging Face Hub id.

`locating` says where an encoder is read from and how large it is, without torch; `loading` reads tokenizers and
weights, and is imported when one of its functions is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_ita.models.encoders.locating import EncoderShape, encoder_shape, folder_digest, locate_encoder

if TYPE_CHECKING:
    from lightning_ita.models.encoders.loading import (
        checkpoint_activations,
        evaluation_budget,
        load_encoder,
        load_tokenizer,
    )

__all__ = [
    "EncoderShape",
    "checkpoint_activations",
    "encoder_shape",
    "evaluation_budget",
    "folder_digest",
    "load_encoder",
    "load_tokenizer",
    "locate_encoder",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.loading"), name)
