"""Errors that a user can cause, with messages that say how to fix them."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from lightning_ita.text import MAX_MESSAGE_LINE, MAX_VALUE, message_lines, printable, quoted

# Exit statuses of the commands: something the user gave is wrong; the user pressed Ctrl-C.
USER_ERROR, INTERRUPTED = 2, 130
# The system's numbers for a full disk and for a full quota, which not every system knows.
FULL = {number for name in ("ENOSPC", "EDQUOT") if (number := getattr(errno, name, None))}
# Most known names that a message lists.
MOST_NAMES = 100


class UserError(Exception):
    """Something the user asked for or provided is wrong.

    The message names the file, the line, the value and the remedy; commands print it without a traceback. Control
    characters in it, which may come from a file, are shown as escapes, and very long lines are cut.
    """

    def __init__(self, message: object = ""):
        super().__init__(message_lines(message))


class DataError(UserError):
    """A file of a corpus or of its contexts cannot be used as it is.

    Args:
        message: What is wrong, with the remedy.
        path: The file it was found in.
        line: The line it was found at, counted from 1.
    """

    def __init__(self, message: str, path: Path | None = None, line: int | None = None):
        place = "" if path is None else f"{printable(path, MAX_MESSAGE_LINE)}: "
        if path is not None and line is not None:
            place = f"{place[:-2]}, line {line}: "
        super().__init__(place + message)


class Terminated(BaseException):
    """SIGTERM told this process to end, and its state is saved. Not an `Exception`, so that no handler continues."""


def terminate(*_: object) -> NoReturn:
    """Handles SIGTERM, but while a model is trained: there, the handler of `Checkpoints` saves the state first.

    Raises:
        Terminated: Always.
    """
    raise Terminated


class NonFiniteLossError(UserError):
    """The loss of a run became NaN or infinite; its weights are worthless from there on."""


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """Returns the error for a name that is not known, with the nearest known one.

    Args:
        what: The kind of thing that was named, as the user knows it: ``dataset``, ``context`` ...
        name: The name given.
        known: The names there are.
    """
    names = {each.casefold(): printable(each, MAX_VALUE) for each in known}
    near = get_close_matches(name.casefold(), names, n=1, cutoff=0.5) if len(name) <= MAX_VALUE else []
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    listed = ", ".join(list(names.values())[:MOST_NAMES])
    return UserError(f"unknown {what} {quoted(name)}.{hint} Known: {listed}{more}.")


def what_happened(error: OSError, place: object = "") -> str:
    """Says what the operating system refused and where, and the remedy where a disk is full.

    Args:
        error: What was raised.
        place: Where it was, if the error does not tell.
    """
    path = error.filename or place
    remedy = "; free some space: the same command goes on where it stopped" if error.errno in FULL else ""
    return printable(f"{path}{': ' if path else ''}{error.strerror or error}{remedy}", MAX_MESSAGE_LINE)
