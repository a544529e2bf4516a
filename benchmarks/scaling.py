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
device; and the share of the step spent outside the encoder, from steps whose loss is the mean of the encoder's states.
"""

from __future__ import annotations

import argparse
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

from lightning_ita.data.batching import Collate, EncodedTweet, LengthBatchSampler, TwoViewBatch
from lightning_ita.data.views import View
from lightning_ita.devices import Precision, available_precision
from lightning_ita.models.dropout import use_fast_dropout
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.encoders import EncoderShape, checkpoint_activations
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.packing import word_states
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies.run import keep_freed_memory

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


def build_encoder(name: str) -> nn.Module:
    """Makes an encoder of a published shape with random weights."""
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
    encoder: nn.Module = model_type(config, add_pooling_layer=False)
    use_fast_dropout(encoder)
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
        tweets: Tweets per second.
        subtokens: Real sub-tokens per second.
        flop: Floating-point operations per second, those of the model.
        outside: Share of the step outside the encoder.
        memory: Peak memory of the device in GiB; ``None`` on a CPU.
    """

    tweets: float
    subtokens: float
    flop: float
    outside: float
    memory: float | None


def measure(case: Case, device: str, precision: Precision, steps: int, warm_up: int) -> Speed:
    """Times training steps of a case."""
    encoder = build_encoder(case.encoder)
    if case.gradient_checkpointing:
        checkpoint_activations(encoder)
    if case.compile:
        encoder.compile(dynamic=True)
    options = ITAOptions(cva="token", contexts=("cap",))
    model = EncoderTagger(TYPES, options, Recipe(temperature=4.0), encoder).train().to(device)
    optimizer = model.make_optimizer()
    tweets = draw_tweets(case, 4096 if case.token_budget else max(512, 4 * case.batch_size))
    sampler = LengthBatchSampler([tweet.lengths for tweet in tweets], case.batch_size, 1, case.token_budget)
    batches = [Collate(0)([tweets[index] for index in batch]).to(device) for batch in list(sampler)[: steps + warm_up]]

    def full(batch: TwoViewBatch) -> torch.Tensor:
        return model.loss(model.losses(batch))

    def encoder_alone(batch: TwoViewBatch) -> torch.Tensor:
        return word_states(model.encoder, [batch.text, batch.cross_modal]).float().mean()

    def seconds(loss: Callable[[TwoViewBatch], torch.Tensor]) -> list[float]:
        times = []
        for number in range(steps + warm_up):
            batch = batches[number % len(batches)]
            started = time.perf_counter()
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                value = loss(batch)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return times[warm_up:]

    whole, part = seconds(full), seconds(encoder_alone)
    counts = [(len(b.ids), len(b.text.subtokens) + len(b.cross_modal.subtokens)) for b in batches][warm_up:]
    median = statistics.median(whole)
    tweets_a_step, subtokens_a_step = (statistics.mean(column) for column in zip(*counts, strict=True))
    layers, hidden, _, feed_forward, vocabulary = SHAPES[case.encoder]
    shape = EncoderShape(layers, hidden, feed_forward, vocabulary, 512)
    flop = shape.training_flop(round(subtokens_a_step), case.text + case.context / 2)
    return Speed(
        tweets_a_step / median,
        subtokens_a_step / median,
        flop / median,
        1 - statistics.median(part) / median,
        torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
    )


def matmul_rate(device: str, precision: Precision) -> float:
    """Returns the speed of a large matrix product in floating-point operations per second."""
    size = 8192 if device == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.ones(size, size, device=device, dtype=dtype)
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
    lines = [
        f"{case.token_budget} sub-tokens per step, {precision}, {device}; peak {peak / 1e12:.1f} TFLOP/s.",
        "",
        "| encoder | tweets/s | sub-tokens/s | TFLOP/s | utilisation | outside the encoder | peak GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for encoder in encoders:
        speed = measure(replace(case, encoder=encoder), device, precision, steps, 3)
        memory = "" if speed.memory is None else f"{speed.memory:.1f}"
        lines.append(
            f"| {encoder} | {speed.tweets:.1f} | {speed.subtokens:.0f} | {speed.flop / 1e12:.2f} | "
            f"{100 * speed.flop / peak:.0f} % | {100 * speed.outside:.1f} % | {memory} |"
        )
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
