"""``python -m experiments.work``: the command of `lightning_ita.commands.work`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("work")
