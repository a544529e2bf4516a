"""Speed of tagging posts: ``python -m benchmarks.predict``.

Method. A kept model tags the posts of Twitter-17 (valid and test) with their contexts if ``--data-dir`` is given, else
those of the demo corpus. Compared are, each in a new process per round and in random order: the text view T; T from raw
text, which is cut into words first; the view I+T with contexts at hand; I+T with the text that OCR reads in the
picture; a plain loop of transformers and pytorch-crf with the same weights in float32, which returns the best tags and
no probabilities; spaCy's own NER and SpanMarker, where the interpreter that ``--peers`` names has them, both untrained,
since weights play no part in their speed. Before anything is timed, the plain loop and this project must find the
same best tags in float32.

A process is timed from its start to the first tagged post (“ready”). Then some posts are tagged that are not timed;
then other posts one by one (latency, p50 and p95), and in lists of 32 and of 512. This project makes its own batches of
each list; the plain loop takes the list as the batch. Ratios are to the plain loop with lists of the same length, taken
within a round; the table shows medians over rounds. “Loading” is measured by itself: `Tagger.from_pretrained` in a
process that has imported `lightning_ita.Tagger`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_model
from transformers import AutoConfig, AutoModel

from benchmarks import naive, taggers
from lightning_ita.data import DATASETS
from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, generate
from lightning_ita.demo.painting import render
from lightning_ita.devices import available_precision
from lightning_ita.errors import UserError
from lightning_ita.models.encoders import locate_encoder
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger

KINDS = ("cap", "tag", "ocr")
SIZES = (1, 32, 512)
# Pictures that OCR reads.
PICTURES = 22
NAMES = {
    "text": "this project, T",
    "raw_text": "this project, T, raw text",
    "contexts": "this project, I+T, contexts at hand",
    "pictures": "this project, I+T, OCR of the picture",
    "plain": "plain loop, float32",
    "spacy": "spaCy, own NER",
    "span_marker": "SpanMarker, same encoder",
}
PEERS = ("spacy", "span_marker")
# Posts per second of T over the plain loop; milliseconds of a single post; seconds of loading.
RATE_GOAL, LATENCY_GOAL, LOADING_GOAL = 4.0, 12.0, 3.0
LOADING = """\
import sys, time
from lightning_ita import Tagger
started = time.perf_counter()
Tagger.from_pretrained(sys.argv[1])
print(time.perf_counter() - started)
"""


def prepare(folder: Path, data_dir: str | None, model: str | None, encoder: str) -> None:
    """Writes posts, pictures and the model that all processes read.

    Args:
        folder: Where to.
        data_dir: Folder with twitter17/ and contexts/; the demo corpus if not given.
        model: A kept model that reads captions, tags and OCR; one with random weights if not given.
        encoder: Its encoder then.
    """
    corpus = DATASETS["twitter17" if data_dir else "demo"]().read(Source(data_dir), KINDS)
    drawn = [tweet.scene for tweet in generate(DemoConfig()).splits["test"] if tweet.image == "ok"][:PICTURES]
    posts: list[dict[str, Any]] = []
    for number, tweet in enumerate([*corpus.splits["valid"], *corpus.splits["test"]]):
        picture = None
        if number < len(drawn):
            picture = str(folder / f"{number}.png")
            render(drawn[number]).save(picture)
        posts.append({"words": tweet.words, "contexts": corpus.texts(tweet), "picture": picture})
    if model is not None:
        tagger = Tagger.from_pretrained(model)
        if set(tagger.inputs.kinds) != set(KINDS):
            raise UserError(f"--model {model} reads {', '.join(tagger.inputs.kinds)}, not {', '.join(KINDS)}")
    else:
        torch.manual_seed(0)
        recipe = Recipe(precision=available_precision("auto"))
        tagger = Tagger.create("ita", corpus.types, recipe, encoder, contexts=KINDS, cva="token").eval()
    tagger.save_pretrained(folder / "model")
    content = {"tags": tagger.tag_set.tags, "posts": posts}
    (folder / "posts.json").write_text(json.dumps(content), encoding="utf-8")
    write_plain(tagger, folder)
    check(tagger, folder, [tuple(post["words"]) for post in posts[:48]])


def write_plain(tagger: Any, folder: Path) -> None:
    """Writes a model as the plain loop reads it: a folder of transformers, and the weights of all."""
    encoder = AutoModel.from_config(AutoConfig.from_pretrained(locate_encoder(tagger.encoder_name)))
    missing, unexpected = encoder.load_state_dict(tagger.encoder.state_dict(), strict=False)
    if unexpected or not all(name.startswith("pooler.") for name in missing):
        raise AssertionError(f"an encoder without {unexpected}, with {missing} that were not trained")
    encoder.save_pretrained(folder / "plain")
    tagger.inputs.tokenizer.save_pretrained(folder / "plain")
    plain = naive.NaiveTagger(str(folder / "plain"), len(tagger.tag_set), tagger.recipe, alignment=False)
    plain.emission.load_state_dict(tagger.emission.state_dict())
    plain.crf.load_state_dict(tagger.crf.state_dict())
    save_model(plain, str(folder / "plain.safetensors"))


def check(tagger: Tagger, folder: Path, posts: Sequence[tuple[str, ...]]) -> None:
    """Raises AssertionError if the plain loop finds other best tags than this project from the same weights."""
    tweets = [Tweet(str(number), words, ("O",) * len(words), None) for number, words in enumerate(posts)]
    reads = tagger.inputs.read(tweets, Corpus("posts", tagger.tag_set.types, {}, {}, {}))
    with torch.inference_mode():
        best = tagger(tagger.inputs.collate(reads), ("T",))["T"].argmax()
    mine = [[tagger.tag_set.tags[tag] for tag in row if tag >= 0] for row in best.tolist()]
    theirs = taggers.plain(folder)([{"words": words} for words in posts])
    # The plain loop has no tag for words without a sub-token, such as U+FE0F.
    pairs = [(left, right) for left, right in zip(mine, theirs, strict=True) if len(left) == len(right)]
    if len(pairs) < len(posts) // 2 or any(left != right for left, right in pairs):
        raise AssertionError("both sides must find the same tags from the same weights")


@dataclass(frozen=True)
class Turn:
    """What was measured of a tagger in one round; see `benchmarks.taggers.measure`.

    Attributes:
        ready: Seconds from the start of its process to the first tagged post.
        p50: Milliseconds per post given alone, median.
        p95: Likewise, 95th percentile.
        rate: Posts per second by the length of the list.
    """

    ready: float
    p50: float
    p95: float
    rate: dict[int, float]


def run(name: str, folder: Path, python: str, threads: int) -> Turn | str:
    """Measures one tagger in a new process; returns what went wrong where it cannot be run."""
    sizes = SIZES[:1] if name == "pictures" else SIZES
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    command = [python, "-m", "benchmarks.taggers", name, str(folder), "--started", str(time.time())]
    done = subprocess.run(
        [*command, "--sizes", *map(str, sizes)], env=environment, capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["it ended without an error message"])[-1]
    values = json.loads(done.stdout.splitlines()[-1])
    return Turn(**{**values, "rate": {int(size): rate for size, rate in values["rate"].items()}})


def table(rounds: Sequence[Mapping[str, Turn | str]], loading: Sequence[float]) -> list[str]:
    """Returns the lines of two tables: what was measured, and the goals; medians over rounds."""
    columns = " | ".join(f"posts/s, {size}" for size in SIZES)
    lines = [f"| | ready, s | p50, ms | p95, ms | {columns} | × plain, {SIZES[-2]} and {SIZES[-1]} |"]
    lines.append("|" + "---|" * (5 + len(SIZES)))
    turns = {name: [each[name] for each in rounds if name in each] for name in NAMES}
    good = {name: [turn for turn in each if isinstance(turn, Turn)] for name, each in turns.items()}
    for name, title in NAMES.items():
        mine = good[name]
        if not mine:
            reason = turns[name][0] if turns[name] else "left out"
            lines.append(f"| {title} | not measured: {reason} |" + " |" * (3 + len(SIZES)))
            continue
        cells = [
            f"{statistics.median(values):.1f}" for values in zip(*((t.ready, t.p50, t.p95) for t in mine), strict=True)
        ]
        for size in SIZES:
            rates = [turn.rate[size] for turn in mine if size in turn.rate]
            cells.append(f"{statistics.median(rates):.1f}" if rates else "")
        cells.append(
            " and ".join(f"{_ratio(mine, good['plain'], size):.2f}" for size in SIZES[1:] if size in mine[0].rate)
        )
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    text, plain = good["text"], good["plain"]
    goals = [
        (f"T × plain loop, lists of {size} ≥ {RATE_GOAL}", _ratio(text, plain, size), RATE_GOAL, 1)
        for size in SIZES[1:]
    ]
    best = [max(mine.rate.values()) / max(other.rate.values()) for mine, other in zip(text, plain, strict=True)]
    goals += [
        (f"T × plain loop, each at its best ≥ {RATE_GOAL}", statistics.median(best), RATE_GOAL, 1),
        (f"T, single post: p50 ≤ {LATENCY_GOAL} ms", statistics.median(turn.p50 for turn in text), LATENCY_GOAL, -1),
        (f"loading ≤ {LOADING_GOAL} s", statistics.median(loading), LOADING_GOAL, -1),
    ]
    lines += ["", "| goal | measured | |", "|---|---|---|"]
    return lines + [
        f"| {what} | {value:.2f} | {'met' if (value - goal) * sign >= 0 else '**missed**'} |"
        for what, value, goal, sign in goals
    ]


def _ratio(mine: Sequence[Turn], plain: Sequence[Turn], size: int) -> float:
    return statistics.median(one.rate[size] / other.rate[size] for one, other in zip(mine, plain, strict=True))


def main(arguments: list[str] | None = None) -> None:
    """Checks that both sides agree, measures, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder with twitter17/ and contexts/; without it the demo corpus")
    parser.add_argument("--model", help="a kept model that reads cap, tag and ocr; random weights if not given")
    parser.add_argument("--encoder", default="minilm", help="its encoder then (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="interpreter that has the peers")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="default: all")
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    options = parser.parse_args(arguments)
    names = list(dict.fromkeys([*options.only, "text", "plain"]))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, options.data_dir, options.model, options.encoder)
        rounds: list[dict[str, Turn | str]] = []
        loading = []
        draw = random.Random(0)
        for _ in track(range(options.rounds), "rounds", console=Console(stderr=True)):
            rounds.append({})
            for name in draw.sample(names, len(names)):
                python = options.peers if name in PEERS else sys.executable
                rounds[-1][name] = run(name, folder, python, options.threads)
            done = subprocess.run(
                [sys.executable, "-c", LOADING, str(folder / "model")], capture_output=True, text=True, check=True
            )
            loading.append(float(done.stdout))
    dataset = "twitter17" if options.data_dir else "demo"
    lines = [
        f"ITA-All, {options.encoder}, {available_precision('auto')}, {dataset}, {options.threads} threads, "
        f"medians of {options.rounds} rounds. OCR reads drawn pictures.",
        "",
        *table(rounds, loading),
    ]
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
