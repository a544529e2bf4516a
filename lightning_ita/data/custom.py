"""Any corpus in the format of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_ita.data.corpus import Corpus, find_folder
from lightning_ita.data.dataset import Dataset
from lightning_ita.data.source import Source
from lightning_ita.errors import DataError
from lightning_ita.files import read_text
from lightning_ita.tags import LabelConvention


class Custom(Dataset):
    """A corpus of one's own: `data_dir` holds train.txt, valid.txt and test.txt; types are those of train.txt."""

    name = "custom"
    how_to_get = "Each tweet is a line IMGID:<image>, then word<TAB>tag lines (BIO), then an empty line."

    def read(self, source: Source, kinds: Sequence[str] = (), labels: LabelConvention = "repair") -> Corpus:
        """Reads the corpus, its entity types first."""
        self.types = types_of(find_folder(self.name, source.data_dir, self.how_to_get) / "train.txt")
        return super().read(source, kinds, labels)


def types_of(path: Path) -> tuple[str, ...]:
    """Returns the entity types a file's tags name, sorted.

    Raises:
        DataError: No line has a ``B-`` or ``I-`` tag.
    """
    tags = {line.rstrip("\r").rpartition("\t")[2] for line in read_text(path).split("\n") if "\t" in line}
    types = tuple(sorted({tag[2:] for tag in tags if tag[:2] in ("B-", "I-") and len(tag) > 2}))
    if not types:
        raise DataError("no tag B-<type> or I-<type>, so there is nothing to learn", path)
    return types
