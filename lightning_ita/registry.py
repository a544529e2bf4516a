"""Names for things that are imported only when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from lightning_ita.errors import unknown


class Registry:
    """Maps documented names to ``module:attribute``, importing on first use.

    Args:
        what: The kind of thing named, for error messages.
        entries: Import path by name.
    """

    def __init__(self, what: str, entries: dict[str, str]):
        self.what = what
        self.entries = entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def check(self, name: str) -> None:
        """Checks that an entry has this name, without importing it.

        Raises:
            UserError: None has; the nearest is suggested.
        """
        if name not in self.entries:
            raise unknown(self.what, name, self.entries)

    def __getitem__(self, name: str) -> Any:
        """Imports and returns the entry.

        Raises:
            UserError: No entry has this name; the nearest is suggested.
        """
        self.check(name)
        module, _, attribute = self.entries[name].partition(":")
        return getattr(import_module(module), attribute)
