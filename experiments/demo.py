"""``python -m experiments.demo``: the command of `lightning_ita.commands.demo`."""

from lightning_ita.commands import start

if __name__ == "__main__":
    start("demo")
