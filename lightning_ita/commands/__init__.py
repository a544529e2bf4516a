"""The commands: each parses its arguments, calls the library, and prints messages.

Each command is a module here with a ``main``. It is started as ``lightning-ita NAME`` where the package is installed,
and as ``python -m experiments.NAME`` in a checkout.
"""

from __future__ import annotations

import sys

from lightning_ita.errors import UserError
from lightning_ita.invocation import PROGRAM
from lightning_ita.registry import Registry

# What each command does, as `lightning-ita --help` lists it. A new command is a module of that name and a line here.
SUMMARIES = {
    "ablate": "train and test many systems on the same data, and print the ablation table",
    "train": "train one model and test it with and without its images",
    "sync": "copy the results of a study to object storage (S3), and from there",
    "report": "turn a finished study into tables, statistical tests, plots and examples",
    "work": "run the cells of a study's plan that are not finished: for the tasks of a cluster",
    "predict": "find the mentions in posts of your own with a trained model",
    "demo": "show a web page that tags a post with and without its picture, with a trained model",
    "align": "turn images into text: object tags, captions, OCR",
    "sweep": "search hyper-parameters with Optuna",
    "corpus": "write the generated demo corpus, with or without its images",
}
COMMANDS = Registry("command", {name: f"lightning_ita.commands.{name}:main" for name in SUMMARIES})


def start(name: str) -> None:
    """Runs a command with the arguments of this process, and ends the process with its status."""
    from lightning_ita.commands.cli import guard

    guard(lambda argv: COMMANDS[name](argv))


def main() -> None:
    """Runs ``lightning-ita NAME ...``."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("", "-h", "--help"):
        print(overview(), file=sys.stdout if name else sys.stderr)
        sys.exit(0 if name else 2)
    if name == "--version":
        from lightning_ita import __version__

        print(f"{PROGRAM} {__version__}")
        sys.exit(0)
    try:
        COMMANDS.check(name)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    start(name)


def overview() -> str:
    """Returns what ``lightning-ita --help`` prints: every command with one line."""
    width = max(map(len, SUMMARIES))
    lines = [f"  {name:{width}}  {summary}" for name, summary in SUMMARIES.items()]
    return "\n".join(
        [f"usage: {PROGRAM} COMMAND ...", "", "commands:", *lines, "", f"`{PROGRAM} COMMAND --help` explains one."]
    )
