"""Multimodal named entity recognition: systems that tag tweets with the help of their images, and their ablation.

The way from a tweet and its image to a table: ``images`` and ``contexts`` (images to tensors and to text), ``data``
(tweets to batches), ``models`` (a file per system, and the tagger they share), ``crf`` (the distribution over tag
sequences), ``metrics`` (entity F1), ``studies`` (runs, plans, tables, reports), ``commands``.

The names below are imported when they are first used: ``from lightning_ita import Tagger, Twitter17DataModule``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_ita.crf import LinearChainCRF
    from lightning_ita.data.datamodule import (
        CustomDataModule,
        DemoDataModule,
        MNERDataModule,
        SNAPDataModule,
        Twitter15DataModule,
        Twitter17DataModule,
    )
    from lightning_ita.metrics import EntityF1
    from lightning_ita.models.presets import RECIPES
    from lightning_ita.models.recipes import Recipe
    from lightning_ita.models.tagger import Tagger

__version__ = "0.1.0"

_MODULES = {
    "LinearChainCRF": "lightning_ita.crf",
    "CustomDataModule": "lightning_ita.data.datamodule",
    "DemoDataModule": "lightning_ita.data.datamodule",
    "MNERDataModule": "lightning_ita.data.datamodule",
    "SNAPDataModule": "lightning_ita.data.datamodule",
    "Twitter15DataModule": "lightning_ita.data.datamodule",
    "Twitter17DataModule": "lightning_ita.data.datamodule",
    "EntityF1": "lightning_ita.metrics",
    "RECIPES": "lightning_ita.models.presets",
    "Recipe": "lightning_ita.models.recipes",
    "Tagger": "lightning_ita.models.tagger",
}
__all__ = [
    "RECIPES",
    "CustomDataModule",
    "DemoDataModule",
    "EntityF1",
    "LinearChainCRF",
    "MNERDataModule",
    "Recipe",
    "SNAPDataModule",
    "Tagger",
    "Twitter15DataModule",
    "Twitter17DataModule",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
