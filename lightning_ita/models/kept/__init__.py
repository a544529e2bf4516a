"""A trained model as a folder that one keeps, shares and loads again, without the network and without its encoder.

The folder holds ``config.json`` (`KeptConfig`), ``model.safetensors`` (all weights), ``encoder/`` (the encoder's own
configuration and its tokenizer, where the system has an encoder) and ``README.md``, the model card. Nothing in it is
ever unpickled or run.
"""

from lightning_ita.models.kept.card import usage
from lightning_ita.models.kept.config import (
    CONFIG,
    WEIGHTS,
    Handles,
    Kept,
    KeptConfig,
    handles_of,
    read_kept_config,
    saw_boxes,
)
from lightning_ita.models.kept.hub import push
from lightning_ita.models.kept.loading import load
from lightning_ita.models.kept.saving import public_name, save

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "Handles",
    "Kept",
    "KeptConfig",
    "handles_of",
    "load",
    "public_name",
    "push",
    "read_kept_config",
    "save",
    "saw_boxes",
    "usage",
]
