"""How the cost of training grows with batch, context and encoder: ``python -m benchmarks.scaling``.

Method. Encoders have published shapes and random weights (speed does not depend on their values). Tweets have random
lengths: text views are uniform from half to one and a half times ``--text`` sub-tokens, and cross-modal views are
longer by exactly the context. A step is a training step of ITA with token CVA: both views, loss, backward, clipping,
optimiser. Steps run on several batches in turn; the first ones are not timed, and the median of the seconds of each
batch counts. On a GPU, a step ends when the device has finished it.

One thing varies at a time, starting from a batch of 16, 42 + 12 sub-tokens (Twitter-15 with BLIP-2 captions) and
MiniLM's shape: the batch size, the length of the context, the shape of the encoder. ``--utilisation`` instead measures
large shapes with 16 k sub-tokens per step: model FLOP utilisation (6 FLOP per weight and sub-token, and those of
attention, without recomputation) as a share of ``--peak`` TFLOP/s, or of the speed of a large matrix product on this
device; the share of the step spent outside the encoder, from steps whose loss is the mean of the encoder's states; and
how fast both views are tagged. Beside them stands the loop that one would write with transformers and pytorch-crf
(`benchmarks.naive`), with the same shapes and the same number of tweets in random order, in float32 and in autocast's
bfloat16. FLOP are those of the real sub-tokens in all of them.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import nn
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from benchmarks import naive
from lightning_ita.data.batching import Collate, EncodedTweet, LengthBatchSampler, TwoViewBatch
from lightning_ita.data.views import View
from lightning_ita.devices import Precision, available_precision
from lightning_ita.models.dropout import use_fast_dropout
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.encoders import EncoderShape, checkpoint_activations
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.packing import word_states
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.process import keep_freed_memory

TYPES = ("PER", "LOC", "ORG", "MISC")


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        encoder: A name of `SHAPES`.
        batch_size: Tweets per batch, if there is no `token_budget`.
        context: Sub-tokens that the cross-modal view adds.
        text: Mean sub-tokens of the text view.
        token_budget: Sub-tokens per batch.
        gradient_checkpointing: See `Recipe`.
        compile: See `Recipe`.
    """

    encoder: str = "minilm"
    batch_size: int = 16
    context: int = 12
    text: int = 42
    token_budget: int | None = None
    gradient_checkpointing: bool = False
    compile: bool = False


# Layers, hidden, heads, feed-forward, vocabulary, as published.
SHAPES = {
    "tiny": (2, 32, 2, 64, 100),
    "minilm": (6, 384, 12, 1536, 30522),
    "bert-base": (12, 768, 12, 3072, 28996),
    "xlm-r-large": (24, 1024, 16, 4096, 250002),
}
BATCH_SIZES, CONTEXTS, ENCODERS = (4, 8, 16, 32, 64), (0, 12, 32, 64, 128, 256), ("minilm", "bert-base", "xlm-r-large")


def build_encoder(name: str, device: str = "cpu") -> nn.Module:
    """Makes an encoder of a published shape with random weights, on a device, which is where that is fast."""
    layers, hidden, heads, feed_forward, vocabulary = SHAPES[name]
    families: dict[bool, tuple[Any, Any]] = {True: (XLMRobertaConfig, XLMRobertaModel), False: (BertConfig, BertModel)}
    config_type, model_type = families[name.startswith("xlm")]
    config = config_type(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=feed_forward,
        vocab_size=vocabulary,
        max_position_embeddings=514,
    )
    torch.manual_seed(0)
    with torch.device(device):
        encoder: nn.Module = model_type(config, add_pooling_layer=False)
    return encoder.train()


def draw_tweets(case: Case, count: int) -> list[EncodedTweet]:
    """Makes tweets of random sub-tokens: a word has two, and every seventh word is a mention."""
    rng = random.Random(0)
    vocabulary = SHAPES[case.encoder][-1]
    tweets = []
    for index in range(count):
        length = rng.randint(case.text // 2, case.text * 3 // 2)
        ids = tuple(rng.randrange(5, vocabulary) for _ in range(length + case.context))
        first = tuple(range(1, length - 1, 2))
        tags = tuple(int(word % 7 == 0) for word in range(len(first)))
        tweets.append(EncodedTweet(View(str(index), ids[:length], first), View(str(index), ids, first), tags))
    return tweets


@dataclass(frozen=True)
class Speed:
    """What was measured of a case.

    Attributes:
        tweets: Tweets per second in training.
        subtokens: Real sub-tokens per second in training.
        flop: Floating-point operations per second in training, those of the model.
        outside: Share of the step outside the encoder; ``None`` where it was not measured.
        tagging: Tweets tagged per second, in both views; ``None`` where it was not measured.
        memory: Peak memory of the device in GiB; ``None`` on a CPU.
    """

    tweets: float
    subtokens: float
    flop: float
    outside: float | None = None
    tagging: float | None = None
    memory: float | None = None


class Clock:
    """Times steps over batches in turn; on a GPU, a step ends when the device has finished it.

    Args:
        batches: The batches, which are the size of `steps` and `warm_up` together.
        device: ``cpu`` or ``cuda``.
        precision: Arithmetic under autocast.
        warm_up: Steps that are not timed.
    """

    def __init__(self, batches: list[Any], device: str, precision: Precision, warm_up: int):
        self.batches, self.device, self.precision, self.warm_up = batches, device, precision, warm_up

    def seconds(self, work: Callable[[Any], object]) -> float:
        """Returns the median of the seconds that `work` takes with a batch."""
        times = []
        for batch in self.batches:
            started = time.perf_counter()
            work(batch)
            if self.device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return statistics.median(times[self.warm_up :])

    def training(
        self, model: nn.Module, loss: Callable[[Any], torch.Tensor], optimizer: torch.optim.Optimizer
    ) -> float:
        """Returns the median of the seconds of a training step."""

        def step(batch: Any) -> None:
            optimizer.zero_grad()
            with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
                value = loss(batch)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        model.train()
        return self.seconds(step)

    def tagging(self, model: nn.Module, tag: Callable[[Any], object]) -> float:
        """Returns the median of the seconds of tagging a batch."""

        def step(batch: Any) -> None:
            with torch.no_grad(), torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
                tag(batch)

        model.eval()
        return self.seconds(step)


def draw_batches(case: Case, count: int) -> list[list[EncodedTweet]]:
    """Returns batches of tweets of like length."""
    tweets = draw_tweets(case, 4096 if case.token_budget else max(512, 4 * case.batch_size))
    sampler = list(LengthBatchSampler([tweet.lengths for tweet in tweets], case.batch_size, 1, case.token_budget))
    return [[tweets[index] for index in sampler[number % len(sampler)]] for number in range(count)]


def speed(
    case: Case,
    batches: list[list[EncodedTweet]],
    training: float,
    outside: float | None,
    tagging: float | None,
    device: str,
) -> Speed:
    """Returns rates from the seconds of a step."""
    tweets = statistics.mean(len(batch) for batch in batches)
    subtokens = statistics.mean(sum(sum(tweet.lengths) for tweet in batch) for batch in batches)
    layers, hidden, _, feed_forward, vocabulary = SHAPES[case.encoder]
    shape = EncoderShape(layers, hidden, feed_forward, vocabulary, 512)
    flop = shape.training_flop(round(subtokens), case.text + case.context / 2)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    return Speed(
        tweets / training,
        subtokens / training,
        flop / training,
        outside,
        None if tagging is None else tweets / tagging,
        memory,
    )


def measure(case: Case, device: str, precision: Precision, steps: int, warm_up: int, in_full: bool = False) -> Speed:
    """Times training steps of a case, and with `in_full` what is outside the encoder, and tagging."""
    forget_memory(device)
    encoder = build_encoder(case.encoder, device)
    use_fast_dropout(encoder)
    if case.gradient_checkpointing:
        checkpoint_activations(encoder)
    if case.compile:
        encoder.compile(dynamic=True)
    options = ITAOptions(cva="token", contexts=("cap",))
    model = EncoderTagger(TYPES, options, Recipe(temperature=4.0), encoder).to(device)
    optimizer = model.make_optimizer()
    drawn = draw_batches(case, steps + warm_up)
    clock = Clock([Collate(0)(batch).to(device) for batch in drawn], device, precision, warm_up)
    seconds = clock.training(model, lambda batch: model.loss(model.losses(batch)), optimizer)
    outside = tagging = None
    if in_full:

        def encoder_alone(batch: TwoViewBatch) -> torch.Tensor:
            return word_states(model.encoder, [batch.text, batch.cross_modal]).float().mean()

        outside = 1 - clock.training(model, encoder_alone, optimizer) / seconds
        tagging = clock.tagging(model, model.decode)
    return speed(case, drawn[warm_up:], seconds, outside, tagging, device)


def measure_plain(case: Case, device: str, precision: Precision, steps: int, warm_up: int) -> Speed:
    """Times the plain loop, with the same number of tweets per batch, in random order."""
    forget_memory(device)
    model = naive.NaiveTagger(
        build_encoder(case.encoder, device), 4 * len(TYPES) + 1, Recipe(temperature=4.0), alignment=True
    )
    model.to(device)
    optimizer = model.optimizer()
    sizes = [len(batch) for batch in draw_batches(case, steps + warm_up)]
    tweets, rng = draw_tweets(case, 4096), random.Random(1)
    drawn = [rng.sample(tweets, size) for size in sizes]
    batches = [naive.collate(batch, 0, text=True, cross_modal=True) for batch in drawn]
    moved = [naive.NaiveBatch(*(tensor.to(device) for tensor in batch)) for batch in batches]
    clock = Clock(moved, device, precision, warm_up)
    seconds = clock.training(model, model.loss, optimizer)
    return speed(case, drawn[warm_up:], seconds, None, clock.tagging(model, model.tag), device)


def forget_memory(device: str) -> None:
    """Gives the memory of earlier measurements back."""
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def matmul_rate(device: str, precision: Precision) -> float:
    """Returns the speed of a large matrix product in floating-point operations per second."""
    size = 8192 if device == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.randn(size, size, device=device, dtype=dtype)  # a product of ones would be faster
    times = []
    for _ in range(10):
        started = time.perf_counter()
        matrix @ matrix
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(times)


def growth(device: str, precision: Precision, steps: int, encoders: tuple[str, ...]) -> tuple[str, plt.Figure]:
    """Measures how cost grows with batch, context and encoder; returns a table and a plot."""
    base = Case(encoders[0])
    sweeps = {
        "batch size, tweets": [replace(base, batch_size=size) for size in BATCH_SIZES],
        "context, sub-tokens": [replace(base, context=context) for context in CONTEXTS],
        "encoder": [replace(base, encoder=encoder) for encoder in encoders],
    }
    lines = ["| varied | | tweets/s | sub-tokens/s | GFLOP/s |", "|---|---|---|---|---|"]
    figure, panels = plt.subplots(1, len(sweeps), figsize=(11, 3.4), sharey=False, layout="constrained")
    for (what, cases), panel in zip(sweeps.items(), panels, strict=True):
        values, rates = [], []
        for case in cases:
            speed = measure(case, device, precision, steps if case.encoder == base.encoder else min(steps, 4), 2)
            field = {"batch": "batch_size", "context": "context", "encoder": "encoder"}[what.split()[0].rstrip(",")]
            values.append(str(getattr(case, field)))
            rates.append(speed.tweets)
            lines.append(
                f"| {what} | {values[-1]} | {speed.tweets:.2f} | {speed.subtokens:.0f} | {speed.flop / 1e9:.0f} |"
            )
        panel.bar(values, rates, color="#4c78a8", width=0.7)
        panel.bar_label(panel.containers[0], fmt="%.3g", fontsize=8, padding=2)
        panel.set(xlabel=what, ylabel="tweets per second" if panel is panels[0] else None)
        panel.margins(y=0.12)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"Training ITA with token CVA: {device}, {precision}, {torch.get_num_threads()} threads", fontsize=11
    )
    return "\n".join(lines), figure


def utilisation(
    device: str, precision: Precision, steps: int, encoders: tuple[str, ...], case: Case, peak: float
) -> str:
    """Measures large shapes at a fixed number of sub-tokens per step; returns a table."""
    name = torch.cuda.get_device_name() if device == "cuda" else device
    lines = [
        f"{name}, torch {torch.__version__}: {case.token_budget} sub-tokens per step, {case.text} in the text view and "
        f"{case.context} more in the other; peak {peak / 1e12:.1f} TFLOP/s.",
        "",
        "| encoder | loop | tweets/s | ours is faster by | sub-tokens/s | TFLOP/s | utilisation | outside the "
        "encoder | tagging, tweets/s | ours is faster by | peak GiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for encoder in encoders:
        sized = replace(case, encoder=encoder)
        ours = measure(sized, device, precision, steps, 3, in_full=True)
        rows = {f"this project, {precision}": ours}
        others: set[Precision] = {precision, "float32"}
        for other in sorted(others):
            rows[f"plain loop, {other}"] = measure_plain(sized, device, other, min(steps, 6), 2)
        for loop, found in rows.items():
            assert ours.tagging is not None
            assert found.tagging is not None
            cells = (
                encoder,
                loop,
                f"{found.tweets:.0f}",
                "" if found is ours else f"{ours.tweets / found.tweets:.2f}",
                f"{found.subtokens:.0f}",
                f"{found.flop / 1e12:.2f}",
                f"{100 * found.flop / peak:.0f} %",
                "" if found.outside is None else f"{100 * found.outside:.1f} %",
                f"{found.tagging:.0f}",
                "" if found is ours else f"{ours.tagging / found.tagging:.2f}",
                "" if found.memory is None else f"{found.memory:.1f}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and writes the table and the plot."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "auto"), default="auto")
    parser.add_argument("--encoders", nargs="+", choices=tuple(SHAPES), default=ENCODERS)
    parser.add_argument("--steps", type=int, default=12, help="steps per case (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--utilisation", action="store_true", help="large shapes at a fixed number of sub-tokens")
    parser.add_argument("--token-budget", type=int, default=16384, help="sub-tokens per step for --utilisation")
    parser.add_argument("--text", type=int, default=42, help="mean sub-tokens of the text view for --utilisation")
    parser.add_argument("--context", type=int, default=60, help="sub-tokens of context for --utilisation")
    parser.add_argument("--peak", type=float, help="peak of the device in TFLOP/s (default: a large matrix product's)")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=Path, help="write the table to FILE.md, and the plot to FILE.png")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    precision = available_precision(options.precision)
    encoders = tuple(options.encoders)
    if options.utilisation:
        case = Case(
            context=options.context,
            text=options.text,
            token_budget=options.token_budget,
            gradient_checkpointing=options.gradient_checkpointing,
            compile=options.compile,
        )
        peak = options.peak * 1e12 if options.peak else matmul_rate(options.device, precision)
        table, figure = utilisation(options.device, precision, options.steps, encoders, case, peak), None
    else:
        table, figure = growth(options.device, precision, options.steps, encoders)
    print(table)
    if options.output:
        options.output.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
        if figure is not None:
            figure.savefig(options.output.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
