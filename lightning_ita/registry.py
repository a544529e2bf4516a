"""Names for things that are imported only when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from lightning_ita.errors import UserError, unknown


class Registry:
    """Maps names to ``module:attribute``, and imports the module on first use.

    Args:
        what: The kind of thing named, for error messages.
        entries: Import path by name.
        group: Entry points of this group, in any installed package, add names; none if not given.
    """

    def __init__(self, what: str, entries: dict[str, str], group: str | None = None):
        self.what = what
        self.own = dict(entries)
        self.group = group

    @cached_property
    def entries(self) -> dict[str, str]:
        """Import path by name: this project's, and behind them those of other packages, which replace none of them."""
        others = entry_points(group=self.group) if self.group else ()
        return self.own | {entry.name: entry.value for entry in others if entry.name not in self.own}

    def add(self, name: str, path: str) -> None:
        """Adds a name for as long as this process runs.

        Args:
            name: The name, as users type it.
            path: ``module:attribute``.

        Raises:
            UserError: This project has an entry of that name.
        """
        if name in self.own:
            raise UserError(f"{self.what} {name!r} is one of this project; choose another name")
        self.entries[name] = path

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def check(self, name: str) -> None:
        """Checks that an entry has this name, without importing it.

        Raises:
            UserError: None has; the nearest is suggested.
        """
        if name not in self.own and name not in self.entries:
            raise unknown(self.what, name, self.entries)

    def path(self, name: str) -> str:
        """Returns the import path of an entry, ``module:attribute``.

        Raises:
            UserError: No entry has this name; the nearest is suggested.
        """
        self.check(name)
        return self.own.get(name) or self.entries[name]

    def __getitem__(self, name: str) -> Any:
        """Imports and returns the entry.

        Raises:
            UserError: No entry has this name (the nearest is suggested), or another package's cannot be imported.
        """
        path = self.path(name)
        try:
            return resolve(path)
        except (ImportError, AttributeError) as error:
            if name in self.own:
                raise
            raise UserError(
                f"{self.what} {name!r} is registered as {path}, which cannot be imported: {error}"
            ) from error


def require(package: str, extra: str) -> Any:
    """Imports a package, or a module of one, that only an extra of this project brings.

    Raises:
        UserError: It is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package.partition(".")[0]:
            raise
        raise not_installed(package, extra) from None


def not_installed(package: str, extra: str) -> UserError:
    """Returns the error for a package that only an extra of this project brings."""
    return UserError(f"the package {package!r} is not installed: pip install lightning-ita[{extra}]")


def resolve(path: str) -> Any:
    """Imports what an import path ``module:attribute`` names."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
