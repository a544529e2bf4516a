"""The commands' argument parser: short help lines, and errors in plain words that name the nearest option."""

from __future__ import annotations

import argparse
import re
import sys
import types
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

import jsonargparse

from lightning_ita.errors import USER_ERROR
from lightning_ita.text import MAX_VALUE, message_lines, printable

KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a map"}


class HelpFormatter(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the examples as they are written, names required arguments only in the usage, and types in plain words."""

    def add_usage(self, usage: str | None, actions: Iterable[Any], *others: Any, **named: Any) -> None:
        """Adds the usage: some commands have more than a hundred options, which are listed below it anyway."""
        needed = (_written(each) for each in actions if _is_required(each))
        super().add_usage(" ".join(["%(prog)s", "[options]", *needed]), (), *others, **named)

    def _split_lines(self, text: str, width: int) -> list[str]:
        lines = super()._split_lines(text.replace("-", "\0"), width)  # no break within --no-image-at-test
        return [line.replace("\0", "-") for line in lines]

    def _get_help_string(self, action: argparse.Action) -> str:
        if isinstance(action, (argparse._HelpAction, jsonargparse.ActionConfigFile)):
            return super()._get_help_string(action) or ""
        default, notes = action.default, []
        # The values of a Literal and of a flag stand beside the option; most others are text.
        if action.option_strings and not _shows_values(action) and (kind := expected(action)) != "text":
            notes += [kind] if kind else []
        notes += ["required"] if _is_required(action) and action.option_strings else []
        if isinstance(default, bool):
            notes += [f"default: {str(default).lower()}"] if action.nargs != 0 else []
        elif default not in (None, [], "", argparse.SUPPRESS) and action.option_strings:
            notes.append("default: %(default)s")
        return f"{action.help or ''} ({'; '.join(notes)})" if notes else action.help or ""


class Parser(jsonargparse.ArgumentParser):
    """A parser whose errors say what was given, what was expected, and which option may have been meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints an error and ends the process, or raises it where `exit_on_error` is not set."""
        if not self.exit_on_error:
            super().error(message, ex)
        print(f"error: {message_lines(self.explained(message))}", file=sys.stderr)
        print(f"`{self.prog} --help` explains all arguments", file=sys.stderr)
        self.exit(USER_ERROR)

    def explained(self, message: str) -> str:
        """Rewrites an error of jsonargparse or argparse; one of another form is returned as it is."""
        message = message.removeprefix("Validation failed: ")
        if found := re.match(r"[Uu]nrecognized arguments: (.*)", message, re.DOTALL):
            options = [word.partition("=")[0] for word in found[1].split() if word.startswith("--")]
            others = f"unexpected {printable(found[1], MAX_VALUE)!r}: values follow their option, --NAME VALUE"
            return "; ".join(map(self._unknown, options)) or others
        if found := re.match(r"(?:Option|Key) '(.+)' is not (?:accepted|expected)", message):
            return self._unknown(found[1])
        if found := re.match(r"Group '(.+)' does not accept (?:option|nested key) '(.+)'", message):
            return self._unknown(f"{found[1]}.{found[2]}")
        required = r'the following arguments are required: (.*)|Key "(.*)" is required'
        if found := re.match(required, message):
            actions = {each.dest: each for each in self._actions}
            names = (found[1] or found[2]).split(", ")
            return "missing: " + ", ".join(_written(actions[name]) if name in actions else name for name in names)
        if found := re.match(r"argument (--\S+): expected one argument", message):
            return f"{found[1]} needs a value"
        if message.startswith("Unexpected config: "):
            return "--config: expected a file with a line NAME: VALUE per argument"
        if found := re.match(r"Problems parsing config: (.*)", message, re.DOTALL):
            return f"--config: not YAML: {' '.join(found[1].split())}".replace('"<unicode string>"', "the file")
        if found := re.match(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL):
            return self._of_value(found[1], found[2])
        return message

    def _unknown(self, name: str) -> str:
        """Returns the error for an option that does not exist, with the nearest that does."""
        known = {_plain(option): option for each in self._actions for option in each.option_strings if "--" in option}
        plain = _plain(name)
        within = [each for each in known if each.endswith(f".{plain.removeprefix('recipe.')}")]
        near = [plain] if plain in known else within or get_close_matches(plain, known, n=1, cutoff=0.6)
        hint = f" Did you mean {known[near[0]]}?" if near else ""
        return f"unknown option {printable(name, MAX_VALUE)}.{hint}"

    def _of_value(self, name: str, problem: str) -> str:
        """Returns the error for a value that cannot be read."""
        if found := re.search(r"File does not exist: '(.+)'", problem):
            return f"--{name} {found[1]}: no such file"
        if found := re.search(r"Unable to load config ['\"](.+?)['\"]", problem):
            return f"--{name} {found[1]}: expected a YAML file with values for {name}"
        action = next((each for each in self._actions if each.dest == name), None)
        value = re.search(r"(?:Got|Given) value: (.*)", problem, re.DOTALL)
        kind = "" if action is None else expected(action)
        if action is None or value is None or not kind:
            return f"{name}: {problem}"
        given, hint = value[1].strip(), ""
        if kind == "text" and given.startswith(("[", "{")):
            hint = "; write several names as one text, separated by commas"
        elif kind == "text" and given in ("True", "False"):
            hint = "; YAML reads off, no, on and yes without quotes as false and true"
        return f"{_option(action) or name} {printable(given, MAX_VALUE)}: expected {kind}{hint}"


def expected(action: argparse.Action) -> str:
    """Returns what values an argument takes, in words; nothing for a flag or where it is not known."""
    return "" if action.nargs == 0 else _kind(getattr(action, "_typehint", None) or action.type)


def _kind(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        kinds = [_kind(each) for each in get_args(hint) if each is not type(None)]
        return kinds[0] if kinds else ""
    if origin is Literal:
        names = [str(each) for each in get_args(hint)]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    return KINDS.get(origin or hint, "")


def _is_required(action: argparse.Action) -> bool:
    return action.required or getattr(action, "_required", False)  # so older versions of jsonargparse note it


def _shows_values(action: argparse.Action) -> bool:
    hint = getattr(action, "_typehint", None)
    return hint is bool or get_origin(hint) is Literal


def _plain(name: str) -> str:
    """Returns an option's name in the one form in which names are compared."""
    return name.lstrip("-").replace("-", "_").casefold()


def _option(action: argparse.Action) -> str:
    return next(iter(action.option_strings), "")


def _written(action: argparse.Action) -> str:
    """Returns an argument as the usage shows it: ``--model MODEL``, ``study``."""
    metavar = action.metavar or (action.dest.rpartition(".")[2].upper() if action.option_strings else action.dest)
    return f"{_option(action)} {metavar if isinstance(metavar, str) else ' '.join(metavar)}".strip()
