"""``python -m experiments.train``: the command of `lightning_ita.commands.train`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("train")
