"""What a data set is: its name, its entity types, and how it is read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from lightning_ita.data.corpus import SPLITS, Corpus, find_folder, read_corpus
from lightning_ita.data.source import Source
from lightning_ita.tags import LabelConvention


class Dataset:
    """A corpus in the format of UMT's releases; a data set is a subclass in a file of its own.

    Attributes:
        name: Its name, which is also the name of its folder and part of the names of its context files.
        types: Its entity types.
        expected_sizes: Published numbers of tweets in train, valid and test; ``None`` where there are none.
        how_to_get: Where a user finds the data, for errors.
    """

    name: str
    types: tuple[str, ...] = ("PER", "LOC", "ORG", "MISC")
    expected_sizes: ClassVar[tuple[int, int, int] | None] = None
    how_to_get: ClassVar[str] = ""

    def read(self, source: Source, kinds: Sequence[str] = (), labels: LabelConvention = "repair") -> Corpus:
        """Reads tweets and contexts, and checks them.

        Args:
            source: Where they lie.
            kinds: Kinds of context wanted.
            labels: ``repair`` turns stray ``I-`` tags into ``B-``, as the field counts; ``strict`` keeps them.

        Raises:
            UserError: A file is missing or malformed.
        """
        corpus = read_corpus(
            self.name,
            find_folder(self.name, source.data_dir, self.how_to_get),
            self.types,
            source,
            kinds,
            labels,
        )
        sizes = tuple(len(corpus.splits[split]) for split in SPLITS)
        if self.expected_sizes in (None, sizes):
            return corpus
        expected = "/".join(map(str, self.expected_sizes or ()))
        warning = f"{self.name}: {'/'.join(map(str, sizes))} tweets in {'/'.join(SPLITS)}; published: {expected}"
        return replace(corpus, warnings=(*corpus.warnings, warning))
