"""The commands: arguments in, one call, messages out.

Each command is a module here with a ``main``. It is started as ``lightning-ita NAME`` where the package is installed,
and as ``python -m experiments.NAME`` in a checkout.
"""

from __future__ import annotations

import sys

from lightning_ita.errors import UserError
from lightning_ita.registry import Registry

COMMANDS = Registry(
    "command",
    {
        "ablate": "lightning_ita.commands.ablate:main",
        "train": "lightning_ita.commands.train:main",
        "report": "lightning_ita.commands.report:main",
        "align": "lightning_ita.commands.align:main",
        "sweep": "lightning_ita.commands.sweep:main",
        "corpus": "lightning_ita.commands.corpus:main",
    },
)


def start(name: str) -> None:
    """Runs a command with the arguments of this process, and ends the process with its status."""
    from lightning_ita.commands.cli import guard

    guard(lambda argv: COMMANDS[name](argv))


def main() -> None:
    """Runs ``lightning-ita NAME ...``."""
    names = ", ".join(COMMANDS)
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: lightning-ita COMMAND ...\n\ncommands: {names}\n`lightning-ita COMMAND --help` explains one.")
        sys.exit(0 if len(sys.argv) > 1 else 2)
    name = sys.argv.pop(1)
    try:
        COMMANDS.check(name)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    start(name)
