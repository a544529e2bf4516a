"""The demo corpus: generated tweets with rendered pictures, where the truth about every tweet is known."""

from lightning_ita.data.demo.config import KINDS, SPLITS, TYPES, DemoConfig
from lightning_ita.data.demo.corpus import CONTEXTS, DemoCorpus, DemoTweet, generate
from lightning_ita.data.demo.scenes import Scene
from lightning_ita.data.demo.writing import write

__all__ = [
    "CONTEXTS",
    "KINDS",
    "SPLITS",
    "TYPES",
    "DemoConfig",
    "DemoCorpus",
    "DemoTweet",
    "Scene",
    "generate",
    "write",
]
