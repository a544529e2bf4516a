"""``python -m experiments.predict``: the command of `lightning_ita.commands.predict`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("predict")
