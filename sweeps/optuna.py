"""``python -m sweeps.optuna``: the command of `lightning_ita.commands.sweep`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("sweep")
