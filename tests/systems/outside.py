"""Two systems of another package: a BiLSTM-CRF without any pretrained encoder, and one tested with context alone."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lightning_ita.data.inputs import Batch
from lightning_ita.models.options import CROSS_MODAL, TEXT, Options
from lightning_ita.models.tagger import Tagger
from lightning_ita.tags import TagSet


@dataclass(frozen=True)
class BiLSTMOptions(Options):
    width: int = 8

    system: ClassVar[str] = "bilstm"
    tagger: ClassVar[str] = "tests.systems.outside:BiLSTM"
    inputs: ClassVar[str] = "tests.systems.outside:Words"
    has_encoder: ClassVar[bool] = False
    title = "BiLSTM-CRF"
    trained_views = tested_views = (TEXT,)


@dataclass(frozen=True)
class CaptionOptions(BiLSTMOptions):
    system: ClassVar[str] = "captioned"
    title = "Captioned"
    trained_views = tested_views = (CROSS_MODAL,)
    kinds = ("cap",)


@dataclass(frozen=True)
class Group:
    size: int = 8


@dataclass(frozen=True)
class SizedOptions(BiLSTMOptions):
    sizes: tuple[int, ...] = (4, 2)
    group: Group = field(default_factory=Group)

    system: ClassVar[str] = "sized"
    title = "Sized"


@dataclass(slots=True)
class WordBatch(Batch):
    words: Tensor


@dataclass(frozen=True)
class Read:
    id: str
    tags: tuple[int, ...]
    words: tuple[int, ...]


class Words:
    evaluation_budget = 512

    def __init__(self, types: Any, options: Options, recipe: Any, encoder: str, cache_dir: str | None = None):
        self.tag_set, self.kinds = TagSet(tuple(types), recipe.tag_scheme), options.kinds

    def read(self, tweets: Any, corpus: Any) -> list[Read]:
        return [Read(t.id, tuple(self.tag_set.encode(t.tags)), tuple(map(self._bucket, t.words))) for t in tweets]

    def _bucket(self, word: str) -> int:
        return zlib.crc32(word.lower().encode()) % 512

    def lengths(self, read: Read) -> tuple[int, ...]:
        return (len(read.words),)

    def collate(self, reads: Any) -> WordBatch:
        words, tags = ([torch.tensor(getattr(r, name)) for r in reads] for name in ("words", "tags"))
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in words], batch_first=True)
        return WordBatch([r.id for r in reads], pad_sequence(tags, True), mask, pad_sequence(words, True))

    def counts(self, reads: Any) -> dict[str, int]:
        return {"words": sum(len(read.words) for read in reads)}


class BiLSTM(Tagger):
    def __init__(self, types: Any, options: Any, recipe: Any = None, encoder: str = "none"):
        super().__init__(types, options, recipe, encoder)
        width = self.options.width  # type: ignore[attr-defined]
        self.embedding = nn.Embedding(512, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.add_head(2 * width)

    def states(self, batch: WordBatch, views: tuple[str, ...]) -> Tensor:
        return self.lstm(self.embedding(batch.words))[0]
