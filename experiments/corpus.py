"""``python -m experiments.corpus``: the command of `lightning_ita.commands.corpus`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("corpus")
