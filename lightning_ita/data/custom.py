"""Any corpus in the format of the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_ita.data import CUSTOM
from lightning_ita.data.corpus import SPLITS, Corpus, find_folder, read_corpus
from lightning_ita.data.dataset import Dataset
from lightning_ita.data.raw_tags import clean
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.tags import LabelConvention, TagSet
from lightning_ita.text import quoted


class Custom(Dataset):
    """A user's own corpus: train.txt, valid.txt or dev.txt, and test.txt.

    Its entity types are those that the source names, or those of train.txt, sorted.

    Args:
        name: Its name, which is also the name of its folder and part of the names of its context files; without a name,
            the folder may have any name.
    """

    name = CUSTOM
    how_to_get = (
        "Each tweet is a line IMGID:<image> (left out where there is no image), then one line word<TAB>tag per word "
        "(BIO), then an empty line."
    )

    def __init__(self, name: str = CUSTOM):
        self.name = name

    def read(self, source: Source, kinds: Sequence[str] = (), labels: LabelConvention = "repair") -> Corpus:
        """Reads tweets and contexts; see `Dataset.read`.

        Named types and columns decide what the same files are read as, so that the digests of the splits depend on
        them.
        """
        types = None if source.types is None else _checked(source.types)
        corpus = read_corpus(self.name, self._folder(source), types, source, kinds, labels, source.columns)
        settings: dict[str, Any] = {} if source.columns is None else {"columns": list(source.columns)}
        of_train = {tag[2:] for tweet in corpus.splits["train"] for tag in tweet.tags if tag != "O"}
        if list(corpus.types) != sorted(of_train):
            settings["types"] = corpus.types
        digests = {split: _digest(corpus.digests[split], settings) for split in SPLITS}
        return replace(corpus, digests={**corpus.digests, **digests}) if settings else corpus

    def _folder(self, source: Source) -> Path:
        folder = find_folder(self.name, source.data_dir, self.how_to_get)
        if self.name != CUSTOM and folder.absolute().name != self.name:
            # Otherwise two names would be read from one folder, and a table would show one corpus twice.
            wanted = f"corpus {self.name!r} is read from a folder of its name: {folder / self.name}"
            raise UserError(f"{folder} has train.txt, but {wanted}")
        return folder


def _checked(types: Sequence[str]) -> tuple[str, ...]:
    """Returns named types as they are read from tags, if they are a list of different ones."""
    if isinstance(types, str) or not types or not all(isinstance(each, str) for each in types):
        raise UserError(f"types {quoted(types)}: expected a list of names; without them, those of train.txt are taken")
    return TagSet(tuple(map(clean, types))).types


def _digest(sha256: str, settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([sha256, settings], sort_keys=True).encode()).hexdigest()
