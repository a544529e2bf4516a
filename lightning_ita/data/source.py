"""Where data lie on this machine, and how corpora of one's own are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from lightning_ita.files import user_path

# Where contexts are read from.
CONTEXTS = ("context_files", "context_store")


@dataclass(frozen=True)
class Source:
    """Where data lie on this machine; no part of a result's identity, which holds digests of the data instead.

    Attributes:
        data_dir: The folder of the data set, or the folder above it.
        context_files: Files of contexts by kind, where they are not found by their name.
        context_store: A store of contexts; kinds in `context_files` are not read from it, and kinds that it has not are
            looked for in files.
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

    def joined(self, given: Source, kinds: Collection[str]) -> Source:
        """Returns this one with what another one names.

        Args:
            given: The other one.
            kinds: Kinds of context that were read where the other one says, whatever this one says of them.
        """
        named = {field.name: value for field in fields(given) if (value := getattr(given, field.name))}
        for name in ("context_files", "context_engines"):
            of_others = {kind: value for kind, value in getattr(self, name).items() if kind not in kinds}
            named[name] = of_others | getattr(given, name)
        return replace(self, **named)

    def updated(self, given: Source) -> Source:
        """Returns this one with what another one names; where that names files of contexts or a store, it names all."""
        named = {field.name: value for field in fields(given) if (value := getattr(given, field.name))}
        if named.keys() & set(CONTEXTS):
            named = {name: getattr(given, name) for name in (*CONTEXTS, "context_engines")} | named
        return replace(self, **named)

    def absolute(self) -> Source:
        """Returns this one with paths that mean the same in any working directory."""

        def path(name: str | None) -> str | None:
            return None if name is None else str(user_path(name).absolute())

        return replace(
            self,
            data_dir=path(self.data_dir),
            context_files={kind: str(user_path(name).absolute()) for kind, name in self.context_files.items()},
            context_store=path(self.context_store),
            image_dir=path(self.image_dir),
        )
