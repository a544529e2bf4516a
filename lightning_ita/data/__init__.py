"""Reads tweets from disk, and turns them into batches of views."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from lightning_ita.errors import UserError
from lightning_ita.registry import Registry
from lightning_ita.text import quoted

# A corpus of one's own is the data set "custom", or "custom-NAME" where it has a name.
CUSTOM = "custom"
_NAME = re.compile(rf"{CUSTOM}-(\w[\w.-]{{0,63}})")


class Datasets(Registry):
    """The data sets by name; ``custom-NAME`` is a corpus of one's own that is called NAME."""

    def check(self, name: str) -> None:
        """Checks that a data set has this name, without importing it.

        Raises:
            UserError: None has; the nearest is suggested.
        """
        super().check(self._entry(name))

    def path(self, name: str) -> str:
        """Returns the import path of a data set's class, ``module:attribute``.

        Raises:
            UserError: No data set has this name; the nearest is suggested.
        """
        return super().path(self._entry(name))

    def __getitem__(self, name: str) -> Any:
        """Imports and returns what makes the data set: its class, for ``custom-NAME`` with the name given.

        Raises:
            UserError: No data set has this name, or another package's cannot be imported.
        """
        found = super().__getitem__(self._entry(name))
        return found if self._entry(name) == name else partial(found, name.removeprefix(f"{CUSTOM}-"))

    def _entry(self, name: str) -> str:
        if name in self or not name.startswith(f"{CUSTOM}-"):
            return name
        if not _NAME.fullmatch(name):
            raise UserError(
                f"dataset {quoted(name)}: a corpus is called by at most 64 letters, digits, '.', '-' and '_', as in "
                f"{CUSTOM}-politics"
            )
        return CUSTOM


# The entries are subclasses of `lightning_ita.data.dataset.Dataset`.
DATASETS = Datasets(
    "dataset",
    {
        "demo": "lightning_ita.data.demo:Demo",
        "twitter15": "lightning_ita.data.twitter15:Twitter15",
        "twitter17": "lightning_ita.data.twitter17:Twitter17",
        "snap": "lightning_ita.data.snap:SNAP",
        CUSTOM: "lightning_ita.data.custom:Custom",
    },
    group="lightning_ita.data",
)
