"""Cost of the systems, side by side: ``python -m benchmarks.systems``.

Method. Every system reads the same tweets of the demo corpus with the same encoder, in batches of the same size, in
float32 and otherwise by the recipe ``small``. Features of pictures are made before anything is timed, and come from the
cache, as in a study. In each round every system takes one turn, in random order and in a new process, so that no system
uses what another left behind, and what else the machine does meets all of them alike.

In a turn, after some steps that are not timed, the system trains on all training tweets once (forward, its further
losses, backward, clipping, optimiser), then tags the tweets of the valid split in every view that it is tested in, in
the batches of evaluation. Ratios are to the step of ITA-Cap, trained on I+T alone, in the same round; the table has
medians over rounds. Peak memory is the largest of a system's processes. Ratios of processor time, which goals are not
about, hardly depend on what else the machine does, with one thread at least.

``input`` is the share of a step in which the model waits for its batch, and for that of relation data; ``features`` the
part of it in which features are read from the cache.

Where the time goes is measured at the end of a turn, with torch's profiler running, which makes many small operations
look dearer than they are. Time in the backward pass belongs to the part whose forward pass it continues:

* input: making batches;
* encoder: the modules of the pretrained encoder;
* fusion: all else on the way to word states: layers that read the picture, LSTMs, BGA-MNER's generators and samplers;
* CRF: emissions, CRF, and the likelihood of the tags;
* further losses: relation data with all that reads them, UMT's span CRF, BGA-MNER's picture tower and its comparisons;
* optimiser: gradients set to zero, clipped and applied;
* rest: what belongs to no part.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from benchmarks.train import forever, peak_memory, verdict
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, write
from lightning_ita.devices import bound_kernel_cache
from lightning_ita.models.options import Options, from_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.process import keep_freed_memory

# What the others are compared with; and each system by a name for the table, with its options.
REFERENCE = "ITA-Cap"
SYSTEMS: dict[str, dict[str, Any]] = {
    REFERENCE: {"system": "ita", "contexts": ["cap"]},
    "BERT-CRF": {"system": "bert-crf"},
    "OCSGA": {"system": "ocsga"},
    "OCSGA (LSTM)": {"system": "ocsga", "variant": "lstm"},
    "UMT": {"system": "umt"},
    "UMGF": {"system": "umgf"},
    "RIVA": {"system": "riva"},
    "RpBERT": {"system": "rpbert"},
    "BGA-MNER": {"system": "bga-mner"},
}
# Most steps of the reference that a step may take, and the largest share of a step in which features may be read.
GOALS = {"OCSGA": 1.6, "UMT": 1.6, "UMGF": 1.6, "RIVA": 1.6, "RpBERT": 5.0, "BGA-MNER": 8.0}
FEATURES_GOAL = 0.01
# Steps before the timed ones, and steps with the profiler.
WARM_UP, PROFILED = 3, 2
PARTS = ("input", "encoder", "fusion", "CRF", "further losses", "optimiser", "rest")


@dataclass(frozen=True)
class Workload:
    """What every system trains on and tags.

    Attributes:
        folder: Where the corpus lies, and the features of its pictures.
        encoder: ``minilm``, a folder, or a Hub id.
        batch_size: Tweets per batch.
        vision: Vision model.
    """

    folder: str
    encoder: str = "minilm"
    batch_size: int = 16
    vision: str = "efficientnet-lite0"

    def options(self, name: str) -> Options:
        """Returns the options of a system of `SYSTEMS`."""
        options = from_values(SYSTEMS[name])
        if "images" not in options.needs:
            return options
        return replace(options, vision=replace(options.vision, model=self.vision))  # type: ignore[attr-defined, call-arg]

    def datamodule(self, options: Options, seed: int) -> MNERDataModule:
        """Returns the tweets as a system reads them; features that are missing are made."""
        source = Source(str(Path(self.folder, "demo")))
        corpus = Demo().read(source, ("tag", "cap"))
        corpus = Demo().with_pictures(corpus, source, options.of_pictures)
        inputs = options.make_inputs(corpus.types, Recipe(), self.encoder, str(Path(self.folder, "cache")))
        module = MNERDataModule("demo", batch_size=self.batch_size, seed=seed, inputs=inputs, corpus=corpus)
        module.setup()
        return module

    def prepare(self, names: Sequence[str], tweets: int) -> None:
        """Writes the corpus and makes all features."""
        write(DemoConfig(train=tweets, valid=tweets, test=1), Path(self.folder, "demo"), images=True)
        for name in names:
            options = self.options(name)
            if options.of_pictures:
                self.datamodule(options, 0)


class Contender:
    """A system with its batches, ready for steps.

    Args:
        workload: What it trains on.
        name: One of `SYSTEMS`.
        seed: Of its batches.

    Attributes:
        waited: Seconds for batches, and of these for features.
    """

    def __init__(self, workload: Workload, name: str, seed: int):
        options = workload.options(name)
        self.data = workload.datamodule(options, seed)
        recipe = Recipe(batch_size=workload.batch_size)
        torch.manual_seed(0)
        self.model: Tagger = options.make_tagger(self.data.types, recipe, workload.encoder).train()
        self.optimizer = self.model.make_optimizer()
        self.waited: dict[str, float] = defaultdict(float)
        inputs: Any = self.data.inputs
        self.model.__dict__["inputs"] = inputs  # relation data are read by the inputs that have looked at all pictures
        for method, kind in (("collate", "input"), ("seen", "features")):
            if hasattr(inputs, method):
                setattr(inputs, method, self._timed(getattr(inputs, method), kind))
        loader = self.data.train_dataloader()

        def epoch(number: int) -> Any:
            loader.batch_sampler.set_epoch(number)  # type: ignore[union-attr]
            return iter(loader)

        self.steps = len(loader)
        self.batches = forever(epoch, seed)

    def _timed(self, work: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @wraps(work)
        def timed(*arguments: Any) -> Any:
            started = time.perf_counter()
            with part(kind):
                result = work(*arguments)
            self.waited[kind] += time.perf_counter() - started
            return result

        return timed

    def step(self) -> None:
        """Makes a training step, as `Tagger.training_step` and the trainer do."""
        batch = next(self.batches)
        with part("optimiser"):
            self.optimizer.zero_grad()
        with part("CRF"):
            loss = self.model.loss(self.model.losses(batch))
        with part("further losses"):
            for further in self.model.auxiliary(batch).values():
                loss = loss + further.mean()
        loss.backward()
        with part("optimiser"):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.model.recipe.gradient_clip)
            self.optimizer.step()

    def tag(self) -> int:
        """Tags the valid split, and returns how many tweets it has."""
        self.model.eval()
        with torch.no_grad():
            for batch in self.data.val_dataloader():
                self.model.decode(batch)
        self.model.train()
        return len(self.data.encoded["valid"])

    def shares(self, steps: int) -> dict[str, float]:
        """Returns the share of each part in some steps, from a profile; see `shares_of`."""
        self.model.states = _in_part(self.model.states, "fusion")  # type: ignore[method-assign]
        encoder: Any = self.model.encoder
        for module in encoder.modules():
            entered: list[Any] = []

            def enter(*_: Any, entered: list[Any] = entered) -> None:
                entered.append(part("encoder"))
                entered[-1].__enter__()

            def leave(*_: Any, entered: list[Any] = entered) -> None:
                entered.pop().__exit__(None, None, None)

            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(steps):
                self.step()
        return shares_of(profiler.events())


def part(name: str) -> record_function:
    """Marks what is computed inside as belonging to a part of the step."""
    return record_function(f"part: {name}")


def _in_part(work: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(work)
    def marked(*arguments: Any) -> Any:
        with part(name):
            return work(*arguments)

    return marked


def shares_of(events: Any) -> dict[str, float]:
    """Returns the share of each of `PARTS` in the time of profiled events.

    An operation belongs to the part that it is in, a backward one to that of the forward operation with the same
    sequence number. What reads relation data belongs to further losses, whatever reads it.
    """
    forward: dict[int, tuple[float, str]] = {}
    parts: dict[int, str | None] = {}

    def part_of(event: Any) -> str | None:
        if event is None:
            return None
        if event.id not in parts:
            outer = part_of(event.cpu_parent)
            own = event.name.removeprefix("part: ").replace("features", "input")
            is_part = event.name.startswith("part: ") and outer != "further losses"
            parts[event.id] = own if is_part or own == "input" else outer
        return parts[event.id]

    for event in events:
        found = part_of(event)
        # Operations without a gradient have the number of the next one that has: the last to start is that one.
        if event.sequence_nr >= 0 and found and event.time_range.start >= forward.get(event.sequence_nr, (-1.0,))[0]:
            forward[event.sequence_nr] = event.time_range.start, found

    def part_of_backward(event: Any) -> str:
        while event.cpu_parent is not None:
            event = event.cpu_parent
        numbers = [each.sequence_nr for each in (event, *event.cpu_children)]
        return next((forward[number][1] for number in numbers if number in forward), "rest")

    spent: Counter[str] = Counter()
    for event in events:
        spent[part_of(event) or part_of_backward(event)] += event.self_cpu_time_total
    return {name: spent[name] / spent.total() for name in PARTS}


@dataclass(frozen=True)
class Turn:
    """What was measured of a system in one round.

    Attributes:
        name: The system's.
        parameters: Of the model.
        beside: Of these, those that are not the encoder's.
        trained: Seconds per step.
        processor: Seconds of processor time per step.
        tagged: Seconds per tagged tweet.
        input: Share of a step in which the model waits for a batch.
        features: Share of a step in which features are read.
        memory: Peak of its process, in MiB.
        shares: Share of each of `PARTS` in a step; empty where it was not profiled.
    """

    name: str
    parameters: int
    beside: int
    trained: float
    processor: float
    tagged: float
    input: float
    features: float
    memory: float
    shares: Mapping[str, float]


def take_turn(workload: Workload, name: str, seed: int, threads: int, profiled: int = 0) -> Turn:
    """Makes a system and measures it in a new process.

    Args:
        workload: What it trains on.
        name: One of `SYSTEMS`.
        seed: Of its batches.
        threads: Threads of the process.
        profiled: Steps that are made with the profiler at the end.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (workload, name, seed, threads, profiled))


def measure(workload: Workload, name: str, seed: int, threads: int, profiled: int = 0) -> Turn:
    """Measures a system in this process; arguments as for `take_turn`."""
    torch.set_num_threads(threads)
    bound_kernel_cache()
    keep_freed_memory()
    contender = Contender(workload, name, seed)
    for _ in range(WARM_UP):
        contender.step()
    contender.waited.clear()
    started, busy = time.perf_counter(), time.process_time()
    for _ in range(contender.steps):
        contender.step()
    training, busy = time.perf_counter() - started, time.process_time() - busy
    waited = dict(contender.waited)
    contender.tag()
    started = time.perf_counter()
    tweets = contender.tag()
    tagging = time.perf_counter() - started
    memory = peak_memory()
    sizes = {name: sum(each.numel() for each in part) for name, part in contender.model.parameter_groups().items()}
    return Turn(
        name=name,
        parameters=sum(sizes.values()),
        beside=sum(sizes.values()) - sizes["encoder"],
        trained=training / contender.steps,
        processor=busy / contender.steps,
        tagged=tagging / tweets,
        input=waited.get("input", 0.0) / training,
        features=waited.get("features", 0.0) / training,
        memory=memory,
        shares=contender.shares(profiled) if profiled else {},
    )


HEADER = (
    "", "parameters, M", "beside the encoder", "s per step", f"× {REFERENCE}", "in processor time",
    "training, tweets/s", "tagging", "peak MiB", "input", "features", "goals",
)  # fmt: skip


def report(turns: Mapping[str, Sequence[Turn]], batch_size: int) -> list[str]:
    """Returns the lines of both tables.

    Args:
        turns: Those of each system, in the order of rounds; `REFERENCE` is among them.
        batch_size: Tweets per step.
    """
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for name, own in turns.items():
        step = statistics.median(turn.trained for turn in own)
        ratio = statistics.median(
            turn.trained / other.trained for turn, other in zip(own, turns[REFERENCE], strict=True)
        )
        busy = statistics.median(
            turn.processor / other.processor for turn, other in zip(own, turns[REFERENCE], strict=True)
        )
        features = statistics.median(turn.features for turn in own)
        verdicts = []
        if name in GOALS:
            verdicts.append(f"≤ {GOALS[name]:g} ×: {verdict(ratio <= GOALS[name])}")
        if features:
            verdicts.append(f"features ≤ {FEATURES_GOAL:.0%}: {verdict(features <= FEATURES_GOAL)}")
        cells = (
            name,
            f"{own[0].parameters / 1e6:.1f}",
            f"{own[0].beside / 1e6:.2f}",
            f"{step:.2f}",
            f"{ratio:.2f}",
            f"{busy:.2f}",
            f"{batch_size / step:.1f}",
            f"{1 / statistics.median(turn.tagged for turn in own):.1f}",
            f"{max(turn.memory for turn in own):.0f}",
            f"{statistics.median(turn.input for turn in own):.1%}",
            f"{features:.1%}" if features else "–",
            "; ".join(verdicts),
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Where the time of a training step goes:", "", "| | " + " | ".join(PARTS) + " |"]
    lines.append("|" + "---|" * (1 + len(PARTS)))
    for name, own in turns.items():
        shares = next(turn.shares for turn in own if turn.shares)
        lines.append("| " + " | ".join([name, *(f"{shares[each]:.0%}" for each in PARTS)]) + " |")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.systems", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--encoder", default="minilm", help="minilm, a folder, or a Hub id (default: %(default)s)")
    parser.add_argument("--vision", default="efficientnet-lite0", help="vision model (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every system (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="timed training steps per turn (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="tweets per step (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="write the tables to this file too")
    options = parser.parse_args(arguments)
    names = [name for name in SYSTEMS if name in {REFERENCE, *options.systems}]
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    draw, console = random.Random(0), Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        workload = Workload(folder, options.encoder, options.batch_size, options.vision)
        with console.status("looking at pictures"):
            workload.prepare(names, options.steps * options.batch_size)
        places = [(number, name) for number in range(options.rounds) for name in draw.sample(names, len(names))]
        for number, name in track(places, "measuring", console=console):
            profiled = PROFILED if number == options.rounds - 1 else 0
            turns[name].append(take_turn(workload, name, number, options.threads, profiled))
    lines = [
        f"Encoder {options.encoder}, vision model {options.vision}, demo corpus, batches of {options.batch_size}, "
        f"float32, {options.threads} threads, medians of {options.rounds} rounds of {options.steps} steps.",
        "",
        *report(turns, options.batch_size),
    ]
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
