"""Speed of training, compared with a plain loop: ``python -m benchmarks.train``.

Method. Both sides train ITA-Cap+CVA (token) on both views, with the same encoder, batch size and tweets: Twitter-15
with its captions if ``--data-dir`` is given, else the demo corpus. The plain loop (`benchmarks.naive`) is what one
would write with transformers and pytorch-crf: both views padded together, random batches, float32, default AdamW.
Before anything is timed, both sides get the same weights, and their losses and predictions must agree in float32.

In each round, every contender runs once, in random order and in a new process, so that no contender uses the settings
of another. After some steps that are not timed, it trains on batches that it makes in its own way (forward, backward,
clipping, optimiser), and then decodes both views of tweets of the valid split, ours in its own batches. Since batches
differ in length, speed is measured in sub-tokens per second without padding, and divided by the mean number of
sub-tokens of a tweet's two views to give tweets per second. Ratios are taken within a round; the tables show their
median over rounds. Peak memory is the largest of a contender's processes. The limit is the time that the matrix
products alone would take, at the speed measured in the same run for products of the encoder's shape.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from benchmarks import naive
from lightning_ita.data import DATASETS
from lightning_ita.data.batching import Collate, EncodedTweet, TwoViewBatch
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.source import Source
from lightning_ita.devices import Precision, available_precision, bound_kernel_cache
from lightning_ita.models.encoders import encoder_shape
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.process import keep_freed_memory

# Ours over the plain loop: what is asked for.
GOALS = {("float32", 16): 2.0, ("bfloat16", 16): 3.5, ("bfloat16", 4): 2.8}
EVALUATION_GOAL, PADDING_GOAL = 3.5, 0.03
# A turn: steps and decoded batches that are timed, and those before them that are not.
STEPS, EVALUATIONS, WARM_UP = 20, 8, 5


@dataclass(frozen=True)
class Workload:
    """What is trained.

    Attributes:
        dataset: Name of the data set.
        data_dir: Its folder.
        encoder: Name of the encoder.
        batch_size: Tweets per batch.
    """

    dataset: str = "demo"
    data_dir: str | None = None
    encoder: str = "minilm"
    batch_size: int = 16

    def datamodule(self, normalise_urls: bool = False) -> MNERDataModule:
        """Returns the tweets with captions, in both views."""
        corpus = DATASETS[self.dataset]().read(Source(self.data_dir), ("cap",))
        inputs = OPTIONS.make_inputs(corpus.types, Recipe(normalise_urls=normalise_urls), self.encoder)
        module = MNERDataModule(self.dataset, batch_size=self.batch_size, inputs=inputs, corpus=corpus)
        module.setup()
        return module


# What both sides train.
OPTIONS, TEMPERATURE = ITAOptions(cva="token", contexts=("cap",)), 4.0


@dataclass(frozen=True)
class Contender:
    """One way of training.

    Attributes:
        name: What it is called in the table.
        precision: Arithmetic of its encoder.
        a_tweet: Mean sub-tokens of a tweet's two views, as it reads them.
        goal: Goal for the ratio of its training speed to that of the plain loop; ``None`` where there is none.
        step: Makes a training step, and returns its sub-tokens without padding.
        evaluate: Decodes some tweets in both views, and returns their sub-tokens without padding.
    """

    name: str
    precision: Precision
    a_tweet: float
    goal: float | None
    step: Callable[[], int]
    evaluate: Callable[[], int]


def real_subtokens(batch: TwoViewBatch) -> int:
    """Returns the number of sub-tokens of both views, without padding."""
    return len(batch.text.subtokens) + len(batch.cross_modal.subtokens)


def mean_subtokens(datamodule: MNERDataModule) -> float:
    """Returns the mean number of sub-tokens of a training tweet's two views."""
    return statistics.mean(sum(datamodule.inputs.lengths(tweet)) for tweet in datamodule.encoded["train"])


def forever(batches: Callable[[int], Iterator[TwoViewBatch]], epoch: int) -> Iterator[TwoViewBatch]:
    """Yields the batches of one epoch after the other."""
    while True:
        yield from batches(epoch)
        epoch += 1


def ours(seed: int, workload: Workload, precision: Precision, normalise_urls: bool = False) -> Contender:
    """Returns this project's step, with the settings of its commands and of `lightning_ita.studies.run.run_cell`."""
    bound_kernel_cache()
    keep_freed_memory()
    datamodule = workload.datamodule(normalise_urls)
    recipe = Recipe(temperature=TEMPERATURE, batch_size=workload.batch_size, precision=precision)
    torch.manual_seed(0)
    model = OPTIONS.make_tagger(datamodule.types, recipe, workload.encoder).train()
    optimizer = model.make_optimizer()
    loader = datamodule.train_dataloader()

    def epoch(number: int) -> Iterator[TwoViewBatch]:
        loader.batch_sampler.set_epoch(number)  # type: ignore[union-attr]
        return iter(loader)

    training, evaluation = forever(epoch, seed), forever(lambda _: iter(datamodule.val_dataloader()), 0)

    def step() -> int:
        batch = next(training)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model.loss(model.losses(batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        return real_subtokens(batch)

    def evaluate() -> int:
        model.eval()
        batch = next(evaluation)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            model.decode(batch)
        model.train()
        return real_subtokens(batch)

    urls = ", URLs as one sub-token" if normalise_urls else ""
    goal = None if normalise_urls else GOALS.get((precision, workload.batch_size))
    return Contender(f"this project, {precision}{urls}", precision, mean_subtokens(datamodule), goal, step, evaluate)


def plain(seed: int, workload: Workload) -> Contender:
    """Returns the plain loop's step."""
    datamodule = workload.datamodule()
    recipe = Recipe(temperature=TEMPERATURE, batch_size=workload.batch_size)
    torch.manual_seed(0)
    model = naive.NaiveTagger(workload.encoder, len(datamodule.inputs.tag_set), recipe, alignment=True)
    optimizer = model.optimizer()
    draw = random.Random(seed)

    def batch(split: str) -> naive.NaiveBatch:
        tweets = draw.sample(datamodule.encoded[split], workload.batch_size)
        return naive.collate(tweets, 0, text=True, cross_modal=True)

    def step() -> int:
        drawn = batch("train")
        model.train()
        model.step(drawn, optimizer)
        return int(drawn.attention_mask.sum())

    def evaluate() -> int:
        drawn = batch("valid")
        model.tag(drawn)
        return int(drawn.attention_mask.sum())

    return Contender("plain loop, float32", "float32", mean_subtokens(datamodule), None, step, evaluate)


def check(workload: Workload) -> None:
    """Raises AssertionError if the two sides differ in what they compute from the same weights in float32."""
    datamodule = workload.datamodule()
    recipe = Recipe(temperature=TEMPERATURE)
    torch.manual_seed(0)
    theirs = naive.NaiveTagger(workload.encoder, len(datamodule.inputs.tag_set), recipe, alignment=True).eval()
    model = OPTIONS.make_tagger(datamodule.types, recipe, workload.encoder).eval()
    model.emission.load_state_dict(theirs.emission.state_dict())
    torch.nn.init.normal_(theirs.crf.transitions)
    model.crf.load_state_dict(theirs.crf.state_dict())
    tweets: list[EncodedTweet] = datamodule.encoded["valid"][:48]
    batch = Collate(0)(tweets)
    expected = naive.collate(tweets, 0, text=True, cross_modal=True)
    torch.testing.assert_close(model.loss(model.losses(batch)), theirs.loss(expected), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        chains = model(batch)
    paths = [path[path >= 0].tolist() for chain in chains.values() for path in chain.argmax()]
    if paths != theirs.tag(expected):
        raise AssertionError("both sides must predict the same from the same weights")


@dataclass(frozen=True)
class Turn:
    """What was measured of a contender in one round.

    Attributes:
        name: The contender's; `precision`, `a_tweet` and `goal` likewise.
        training: Real sub-tokens per second.
        evaluation: Likewise.
        memory: Peak of its process, in MiB.
    """

    name: str
    precision: Precision
    a_tweet: float
    goal: float | None
    training: float
    evaluation: float
    memory: float


def take_turn(make: Callable[..., Contender], arguments: tuple, seed: int, threads: int) -> Turn:
    """Makes a contender and measures it in a new process.

    Args:
        make: Makes it.
        arguments: What `make` is called with, after the seed.
        seed: Of the batches it draws.
        threads: Threads of the process.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_take_turn, (make, arguments, seed, threads))


def _take_turn(make: Callable[..., Contender], arguments: tuple, seed: int, threads: int) -> Turn:
    torch.set_num_threads(threads)
    contender = make(seed, *arguments)
    rates = []
    for work, times in ((contender.step, STEPS), (contender.evaluate, EVALUATIONS)):
        for _ in range(WARM_UP):
            work()
        started = time.perf_counter()
        subtokens = sum(work() for _ in range(times))
        rates.append(subtokens / (time.perf_counter() - started))
    peak = peak_memory()
    return Turn(contender.name, contender.precision, contender.a_tweet, contender.goal, rates[0], rates[1], peak)


def peak_memory() -> float:
    """Returns the most memory that this process has held, in MiB."""
    # Not ru_maxrss: a child begins with its parent's.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


def limit(encoder: str, precision: Precision, subtokens: float, length: float) -> float:
    """Returns the tweets per second that training would reach if it took only the time of its matrix products."""
    shape = encoder_shape(encoder)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left, right = torch.ones(1536, shape.hidden, dtype=dtype), torch.ones(shape.hidden, shape.feed_forward, dtype=dtype)
    seconds = []
    for _ in range(60):
        started = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - started)
    rate = 2 * 1536 * shape.hidden * shape.feed_forward / statistics.median(seconds)
    return rate / shape.training_flop(1, length) / subtokens


def padding(workload: Workload) -> float:
    """Returns the share of padding among the sub-tokens of one epoch of our training batches."""
    real = padded = 0
    for batch in workload.datamodule().train_dataloader():
        real += real_subtokens(batch)
        padded += batch.text.input_ids.numel() + batch.cross_modal.input_ids.numel()
    return 1 - real / padded


def verdict(met: bool) -> str:
    """Says whether a goal is met; one that is not is printed in bold."""
    return "met" if met else "**missed**"


def report(workload: Workload, rounds: int, threads: int) -> list[str]:
    """Checks, measures, and returns the lines of the table for one workload."""
    check(workload)
    makers: list[tuple[Callable[..., Contender], tuple]] = [(plain, (workload,)), (ours, (workload, "float32"))]
    if available_precision("auto") == "bfloat16":
        makers.append((ours, (workload, "bfloat16")))
    if workload.dataset == "twitter15":
        makers.append((ours, (workload, available_precision("auto"), True)))
    rounds_of: list[list[Turn]] = [[] for _ in makers]
    draw = random.Random(0)
    for number in track(range(rounds), f"batch {workload.batch_size}", console=Console(stderr=True)):
        for index in draw.sample(range(len(makers)), len(makers)):
            rounds_of[index].append(take_turn(*makers[index], number, threads))
    lines = []
    for turns in rounds_of:
        contender = turns[0]
        # In tweets, which may have fewer sub-tokens than the plain loop's.
        scale = rounds_of[0][0].a_tweet / contender.a_tweet
        speed, evaluation = (
            statistics.median(rates) / contender.a_tweet
            for rates in ([turn.training for turn in turns], [turn.evaluation for turn in turns])
        )
        pairs = list(zip(turns, rounds_of[0], strict=True))
        ratio = statistics.median(scale * mine.training / other.training for mine, other in pairs)
        evaluation_ratio = statistics.median(scale * mine.evaluation / other.evaluation for mine, other in pairs)
        most = limit(workload.encoder, contender.precision, contender.a_tweet, contender.a_tweet / 2)
        memory = max(turn.memory for turn in turns)
        verdicts = []
        if contender.goal is not None:
            verdicts = [
                f"training ≥ {contender.goal}: {verdict(ratio >= contender.goal)}",
                f"evaluation ≥ {EVALUATION_GOAL}: {verdict(evaluation_ratio >= EVALUATION_GOAL)}",
                f"memory no higher: {verdict(memory <= max(turn.memory for turn in rounds_of[0]))}",
            ]
        cells = (
            f"{workload.batch_size}",
            contender.name,
            f"{speed:.1f}",
            f"{ratio:.2f}",
            f"{100 * speed / most:.0f} %",
            f"{evaluation:.0f}",
            f"{evaluation_ratio:.2f}",
            f"{memory:.0f}",
            "; ".join(verdicts),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


HEADER = (
    "batch", "", "tweets/s", "× plain", "of the limit", "evaluation, tweets/s", "× plain", "peak MiB", "goals",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Checks that both sides agree, measures, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder with twitter15/ and contexts/; without it the demo corpus")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per workload (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 4])
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    workload = Workload("twitter15" if options.data_dir else "demo", options.data_dir)
    lines = [
        f"ITA-Cap+CVA (token), {workload.encoder}, {workload.dataset}, {options.threads} threads, "
        f"medians of {options.rounds} rounds.",
        "",
        "| " + " | ".join(HEADER) + " |",
        "|" + "---|" * len(HEADER),
    ]
    for batch_size in options.batch_sizes:
        sized = replace(workload, batch_size=batch_size)
        lines += report(sized, options.rounds, options.threads)
        share = padding(sized)
        lines.append(
            f"| {batch_size} | padding of our batches: {100 * share:.1f} % (≤ 3 %: {verdict(share <= PADDING_GOAL)}) |"
            + " |" * 7
        )
    table = "\n".join(lines)
    print(table)
    if options.output:
        options.output.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
