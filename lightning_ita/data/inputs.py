"""How a system turns tweets into its input: the interface between data modules and models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.tags import TagSet


class Input(Protocol):
    """One tweet as a system reads it; what it holds beside this is the system's own."""

    @property
    def id(self) -> str:
        """The tweet's id."""
        ...

    @property
    def tags(self) -> tuple[int, ...]:
        """Tag ids, inside the model, of the words that have an emission; words beyond the longest view have none."""
        ...


@dataclass(slots=True)
class Batch:
    """A batch of tweets; systems add fields of their own: tensors, or values with a method ``to``.

    Attributes:
        ids: Tweet ids.
        tags: int64 (batch, words), tag ids; 0 at padding.
        mask: bool (batch, words), True where there is a word.
    """

    ids: list[str]
    tags: Tensor
    mask: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Returns the batch on another device."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        moved = {
            name: value.to(device, non_blocking=non_blocking) if hasattr(value, "to") else value
            for name, value in values.items()
        }
        return type(self)(**moved)


class Inputs(Protocol):
    """Makes tweets the input of one system; pickles without the model.

    Attributes:
        tag_set: The tags inside the model.
        kinds: Kinds of context it reads.
        evaluation_budget: Sub-tokens per batch, padding included, in validation and test.
    """

    tag_set: TagSet
    kinds: tuple[str, ...]
    evaluation_budget: int

    def read(self, tweets: Sequence[Tweet], corpus: Corpus) -> list[Input]:
        """Reads tweets, and what the corpus has of their images.

        Raises:
            UserError: The tokenizer cannot be read, or the longest view allowed has no room for a tweet.
        """
        ...

    def lengths(self, read: Input) -> tuple[int, ...]:
        """Returns the sub-tokens of each view of a tweet, by which tweets of like length are put into a batch."""
        ...

    def collate(self, reads: Sequence[Input]) -> Batch:
        """Pads tweets to a batch, in their order."""
        ...

    def counts(self, reads: Sequence[Input]) -> Mapping[str, int]:
        """Counts what became of the tweets of a split: sub-tokens by view, tweets without context ..."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """Inputs that have work to do before the first batch, such as looking at pictures."""

    def prepare(self, reads: Sequence[Any]) -> None:
        """Does it for the tweets that were read."""
        ...

    def warnings(self) -> list[str]:
        """Returns what a reader of results should know of it."""
        ...
