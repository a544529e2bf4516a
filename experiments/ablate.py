"""``python -m experiments.ablate``: the command of `lightning_ita.commands.ablate`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("ablate")
