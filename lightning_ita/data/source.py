"""Where data lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    data_dir: str | None = None
    context_files: Mapping[str, str] = field(default_factory=dict)
    context_store: str | None = None
    context_engines: Mapping[str, str] = field(default_factory=dict)
    cache_dir: str | None = None
