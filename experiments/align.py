"""``python -m experiments.align``: the command of `lightning_ita.commands.align`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("align")
