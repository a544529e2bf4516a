"""``python -m experiments.sync``: the command of `lightning_ita.commands.sync`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("sync")
