"""``python -m experiments.report``: the command of `lightning_ita.commands.report`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("report")
