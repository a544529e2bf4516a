"""How soon the commands answer: ``python -m benchmarks.startup``.

Method. Each command is started twice in the way a user of a checkout starts it. The second call is measured; by then
its files are in memory, and Python has written its bytecode where it may. The measure is processor time, user and
system, of the process and of all processes that it started: unlike elapsed time, it hardly depends on other work on the
machine.

Every command is called in up to four ways: with ``--help``, with an argument that does not exist, with a folder that
does not exist, and (`ablate` only) in the folder of a finished study, whose table it prints. ``--study`` names the
folder of a finished default study (``python -m experiments.ablate --contexts tag,cap``); it is copied, and nothing is
trained.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lightning_ita.commands import COMMANDS
from lightning_ita.invocation import MODULES, spelled

ROOT = Path(__file__).parents[1]
STUDY = Path("runs/demo-minilm-cap+tag")
# Cells of the default study.
CELLS = 14
# How each command is given a folder that does not exist.
MISSING = {
    "ablate": ["--data-dir", "/nowhere"],
    "train": ["--data-dir", "/nowhere"],
    "sweep": ["--data-dir", "/nowhere"],
    "report": ["/nowhere"],
    "work": ["/nowhere"],
    "align": ["--images", "/nowhere", "--kinds", "ocr"],
}


@dataclass(frozen=True)
class Case:
    """One call of a command.

    Attributes:
        what: What is asked, for the table.
        command: The command's name.
        arguments: Its arguments.
        status: The exit status it must end with.
        goal: Most seconds of processor time.
    """

    what: str
    command: str
    arguments: tuple[str, ...]
    status: int
    goal: float

    def run(self) -> float:
        """Starts the command and waits for it.

        Returns:
            The processor time it took, in seconds.

        Raises:
            RuntimeError: It ended with another status than expected.
        """
        module = MODULES.get(self.command, f"experiments.{self.command}")
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", module, *self.arguments], cwd=ROOT, env=environment, capture_output=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != self.status:
            said = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
            raise RuntimeError(f"{self.command} {' '.join(self.arguments)}: status {done.returncode}\n{said}")
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def cases(study: Path | None) -> list[Case]:
    """Returns all calls to measure.

    Args:
        study: The folder of a finished default study, which the calls may write to; ``None`` leaves it out.
    """
    listed = [Case("--help", name, ("--help",), 0, 1.0) for name in COMMANDS]
    listed += [Case("wrong argument", name, ("--no-such-argument",), 2, 1.0) for name in COMMANDS]
    listed += [Case("missing folder", name, tuple(given), 2, 1.5) for name, given in MISSING.items()]
    if study is not None:
        listed.append(Case("finished study", "ablate", ("--contexts", "tag,cap", "--out", str(study)), 0, 3.0))
    return listed


def measure(case: Case) -> str:
    """Runs a case twice and returns the line of its second call."""
    case.run()
    seconds = case.run()
    verdict = "met" if seconds <= case.goal else "**missed**"
    return f"| {case.command} | {case.what} | {seconds:.2f} | ≤ {case.goal} | {verdict} |"


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints one line per call."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--study", type=Path, default=STUDY, help="folder of a finished default study (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    options = parser.parse_args(arguments)
    lines = ["| command | asked | seconds | goal | |", "| --- | --- | --- | --- | --- |"]
    print(*lines, sep="\n")
    with tempfile.TemporaryDirectory() as scratch:
        finished = len(list(options.study.glob("cells/*/metrics.json"))) >= CELLS
        copy = Path(shutil.copytree(options.study, Path(scratch) / "study")) if finished else None
        for case in cases(copy):
            lines.append(measure(case))
            print(lines[-1], flush=True)
    if not finished:
        command = spelled("ablate", "--contexts", "tag,cap", "--out", options.study)
        print(f"\nfinished study: not measured, {options.study} holds none; `{command}` makes it")
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
