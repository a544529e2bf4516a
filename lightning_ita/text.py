"""Text from files and people, made safe to print: control characters become visible escapes, long texts are cut."""

from __future__ import annotations

from pathlib import PurePath

# Longest line, value and message that are printed, in characters.
MAX_LINE, MAX_VALUE, MAX_MESSAGE_LINE, MAX_MESSAGE_LINES = 300, 80, 4000, 200


def printable(text: object, most: int = MAX_LINE) -> str:
    r"""Returns a text as it can be printed on one line of a terminal, a log or a table.

    Characters that a terminal would act on or not show (escape sequences, line ends, reversed writing direction, lone
    surrogates) are replaced by escapes as Python writes them: ``\x1b``, ``\n``, ``\u202e``.

    Args:
        text: The text, or any value that is converted to one.
        most: Longest result, in characters; what is longer ends with ``…``.
    """
    text = text if isinstance(text, str) else str(text)
    shown = text[: most + 1]
    if not shown.isprintable():
        shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in shown)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def quoted(value: object, most: int = MAX_VALUE) -> str:
    """Returns a value in quotes for a message, as ``repr`` writes it, cut where it is longer than `most` characters."""
    if isinstance(value, str) and len(value) > most:
        value = value[: most - 1] + "…"
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"{type(value).__name__} of too many digits"
    return printable(text, most + 2 if isinstance(value, str) else most)


def message_lines(message: object) -> str:
    """Returns a message whose lines are each made `printable`: the last guard before an error reaches a terminal."""
    lines = str(message).split("\n")
    more = [f"… and {len(lines) - MAX_MESSAGE_LINES} more lines"] if len(lines) > MAX_MESSAGE_LINES else []
    return "\n".join([printable(line, MAX_MESSAGE_LINE) for line in lines[:MAX_MESSAGE_LINES]] + more)


def without_folder(model: str) -> str:
    """Returns a model's name as tables and pages show it: of a path, its last part, since these are published.

    Example:
        >>> without_folder("/home/someone/bert"), without_folder("google-bert/bert-base-cased")
        ('bert', 'google-bert/bert-base-cased')
    """
    return PurePath(model).name if model.startswith(("/", "./", "../", "~")) else model


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: ``1 error``, ``1,200 errors``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
