"""What a data set is: its name, its entity types, and how it is read from disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from lightning_ita.data.corpus import SPLITS, Corpus, find_folder, read_corpus
from lightning_ita.data.source import Source
from lightning_ita.registry import resolve
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
            self._folder(source),
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

    def _folder(self, source: Source) -> Path:
        return find_folder(self.name, source.data_dir, self.how_to_get)

    def with_pictures(self, corpus: Corpus, source: Source, parts: Collection[str]) -> Corpus:
        """Returns a corpus with the pictures of its tweets; without a system that looks at them it needs none.

        Args:
            corpus: What `read` returned.
            source: Where the pictures lie.
            parts: What is wanted of them: see `lightning_ita.models.options.Options.of_pictures`.

        Raises:
            UserError: They are not there; see `lightning_ita.data.pictures.with_pictures`.
        """
        if not parts:
            return corpus
        folder = self._folder(source) if source.image_dir is None else None
        return picture_function("with_pictures")(corpus, source, folder, parts)


def picture_function(name: str) -> Callable[..., Corpus]:
    """Returns a function of `lightning_ita.data.pictures`.

    By its name, so that its code is no part of what decides a result without pictures.
    """
    function: Callable[..., Corpus] = resolve(f"lightning_ita.data.pictures:{name}")
    return function
