"""Progress of a sweep in the terminal: a bar for the sweep, and one per trial."""

from __future__ import annotations

from collections.abc import Sequence

from optuna import Study
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import TaskID

from lightning_ita.studies.progress import at_once, make_bars
from lightning_ita.studies.sweep.space import Parameter
from lightning_ita.studies.sweep.storage import Sweep
from lightning_ita.studies.sweep.trials import FINISHED, NO_TRIAL
from lightning_ita.studies.tables.grid import two_digits


class SweepProgress:
    """A bar for the sweep, one for each current trial, and a line for each trial that ended.

    Args:
        sweep: What is searched.
        study: The sweep in its storage.
        console: Where to write; without a terminal there are lines for every epoch instead of bars.
    """

    def __init__(self, sweep: Sweep, study: Study, console: Console):
        self.sweep, self.study, self.console = sweep, study, console
        self.running: dict[int, TaskID] = {}
        self.progress = make_bars(console)
        ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        self.told = {trial.number for trial in ended}
        finished = sum(trial.state in FINISHED for trial in ended)
        self.bar = self.progress.add_task("sweep", total=sweep.trials, completed=finished)
        self.stages: dict[int, str] = {}
        if ended:
            self.say(f"going on: {finished} of {sweep.trials} trials are finished")
        self.left = sweep.trials - finished

    def __enter__(self) -> SweepProgress:
        self.progress.start()
        return self

    def begin(self, processes: int) -> None:
        """Notes that trials are run from now on; in a pipe or a file, where there is no bar, it says so.

        Args:
            processes: How many run at once.
        """
        if not self.console.is_terminal and self.left > 0:
            left = f"{self.left} trial{'' if self.left == 1 else 's'}"
            self.say(f"running {left}, {at_once(min(processes, self.left))}")

    def __exit__(self, *_: object) -> None:
        try:
            self.tell_ended()
        finally:
            self.progress.stop()

    def note(self, number: int, share: float, stage: str) -> None:
        """Shows how far a trial is, or that one may have ended."""
        if number == NO_TRIAL:
            self.tell_ended()
            return
        if number not in self.running:
            self.running[number] = self.progress.add_task("", total=1.0)
        self.progress.update(self.running[number], completed=share, description=f"  trial {number}: {stage}")
        if not self.console.is_terminal and self.stages.get(number) != stage:
            self.stages[number] = stage
            self.say(f"trial {number:>2}  {stage}")

    def tell_ended(self) -> None:
        """Writes a line for each trial that ended since the last call."""
        trials = self.study.get_trials(deepcopy=False)
        best = max((trial.value or 0.0 for trial in trials if trial.state == TrialState.COMPLETE), default=None)
        for trial in trials:
            if trial.number in self.told or not trial.state.is_finished():
                continue
            self.told.add(trial.number)
            if trial.number in self.running:
                self.progress.remove_task(self.running.pop(trial.number))
            finished = sum(t.state in FINISHED for t in trials)
            self.progress.update(self.bar, completed=finished, description=f"sweep {finished}/{self.sweep.trials}")
            mark = "  (best so far)" if trial.state == TrialState.COMPLETE and trial.value == best else ""
            line = f"trial {trial.number:>2}  {outcome(trial)}{mark}  {describe(trial, self.sweep.space)}"
            self.say(line)

    def say(self, line: str) -> None:
        """Prints a line above the bars."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def outcome(trial: FrozenTrial) -> str:
    """Returns the outcome of a trial in a few words."""
    if trial.state == TrialState.COMPLETE:
        return f"valid F1 {two_digits(trial.value or 0.0)}"
    if trial.state == TrialState.PRUNED:
        return trial.user_attrs.get("failure", "pruned")
    return f"failed: {trial.user_attrs.get('failure', 'its process was killed')}"


def describe(trial: FrozenTrial, space: Sequence[Parameter]) -> str:
    """Names the values of a trial."""
    shown = [p for p in space if p.name in trial.params and len(p.values) != 1]
    return ", ".join(f"{p.label} {write_value(trial.params[p.name])}" for p in shown)


def write_value(value: object) -> str:
    """Writes a value with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
