"""Where data lie on this machine, and how corpora of one's own are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """Where data lie on this machine; no part of a result's identity, which holds digests of the data instead.

    Attributes:
        data_dir: The folder of the data set, or the folder above it.
        context_files: Files of contexts by kind, where they are not found by their name.
        context_store: A store of contexts; kinds in `context_files` are not read from it.
        context_engines: Whose contexts to take from the store, by kind, where it has several engines of one kind.
        cache_dir: Folder that keeps the sub-tokens of words from run to run.
        types: Entity types of corpora of one's own, in the order of their tag ids; those of train.txt if not given.
        columns: Columns of the word and the tag in corpora of one's own, counted from 0, where their files have others
            beside them.
        image_dir: The folder of the tweets' pictures, or the folder above it that holds one per data set.
    """

    data_dir: str | None = None
    context_files: Mapping[str, str] = field(default_factory=dict)
    context_store: str | None = None
    context_engines: Mapping[str, str] = field(default_factory=dict)
    cache_dir: str | None = None
    types: Sequence[str] | None = None
    columns: Sequence[int] | None = None
    image_dir: str | None = None
