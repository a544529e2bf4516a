"""Whether the probability of a mention is what it says: ``python -m benchmarks.calibration MODEL...``.

Method. Each MODEL is the folder of a kept model (``train --keep-models best``), whose ``config.json`` names the data
set that it was trained on. It tags the test split of that data set in each of its views, by `Tagger.predict`. A mention
is right if span and type are those of a gold mention.

Two sets of mentions are examined:

* *found*: the mentions that `predict` returns. They are those of the best tag sequence, which is chosen by the same
  scores; a probability can look too high for that reason alone.
* *possible*: all spans of up to 8 words with every type, found or not, whose probability is at least 0.05. Nothing
  is chosen by decoding here.

Mentions are put into ten bins of equal width by their probability. The diagram shows the share of right mentions in
each bin, with its 95 % Wilson interval, above the number of mentions. The expected calibration error (ECE, by
torchmetrics) is the mean distance between probability and share over bins, weighted by the number of mentions. It is
above zero for a perfect model too, since bins are small: the column “if calibrated” is the 95th percentile of the ECE
when each mention is right with exactly the probability that the model gives. “Probability − share” is the mean
probability less the share of right mentions; its 95 % interval is by bootstrap over tweets.

The last row of each view is what one number could repair: all scores divided by a temperature, which makes the gold
tags of the valid split most probable. The mentions that are found stay the same.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from rich.console import Console
from rich.progress import track
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, bootstrap
from torchmetrics.functional.classification import binary_calibration_error

from lightning_ita.crf import ChainDistribution
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.metrics.entity_f1 import find_mentions
from lightning_ita.models.predicting import probabilities
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.cell import Cell
from lightning_ita.tags import LabelConvention, bio_tags

ViewName = Literal["T", "I+T"]
BINS = 10
LONGEST, LEAST = 8, 0.05  # of a possible mention: words, probability
DRAWS = 1000
SETS = ("found", "possible")


@dataclass(frozen=True)
class Judged:
    """Mentions of one model in one view, each right or wrong.

    Attributes:
        tweets: int64 (mentions,), index of the tweet.
        probabilities: float64 (mentions,).
        right: bool (mentions,).
    """

    tweets: np.ndarray
    probabilities: np.ndarray
    right: np.ndarray

    @property
    def bins(self) -> np.ndarray:
        """Bin of each mention, from 0."""
        return np.minimum((self.probabilities * BINS).astype(int), BINS - 1)

    @property
    def ece(self) -> float:
        """The expected calibration error."""
        return _ece(self.probabilities, self.right)

    def ece_if_calibrated(self) -> float:
        """Returns the 95th percentile of the ECE of a model of whose probabilities every one is right."""
        draw = np.random.default_rng(0)
        rights = draw.random((DRAWS, len(self.right))) < self.probabilities
        return float(np.quantile([_ece(self.probabilities, right) for right in rights], 0.95))

    def excess(self) -> tuple[float, float, float]:
        """Returns mean probability less share of right mentions, and the ends of its 95 % interval over tweets."""
        count = self.tweets.max() + 1
        mentions = np.bincount(self.tweets, minlength=count)
        above = np.bincount(self.tweets, self.probabilities - self.right, minlength=count)

        def mean(above: np.ndarray, mentions: np.ndarray, axis: int = -1) -> np.ndarray:
            return above.sum(axis) / mentions.sum(axis)

        interval = bootstrap(
            (above, mentions), mean, paired=True, n_resamples=DRAWS, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        return float(mean(above, mentions)), float(interval.low), float(interval.high)


def _ece(probabilities: np.ndarray, right: np.ndarray) -> float:
    return float(binary_calibration_error(torch.tensor(probabilities), torch.tensor(right).int(), n_bins=BINS))


def gold_spans(tags: Sequence[str], types: Sequence[str], convention: LabelConvention) -> set[tuple[int, int, str]]:
    """Returns first word, word behind the last one, and type of each mention that BIO tags name."""
    names = bio_tags(types)
    starts, ends, kinds = find_mentions(torch.tensor([[names.index(tag) for tag in tags]]), convention)
    return {(first, int(ends[0, first]), types[int(kinds[0, first])]) for first in starts[0].nonzero()[:, 0].tolist()}


def read(tagger: Tagger, source: Source) -> tuple[Cell, Corpus]:
    """Reads the data set that a kept model was trained on, and returns it with the model's cell.

    Raises:
        UserError: The model does not say what it was trained on, or the data cannot be read.
    """
    training = tagger.kept.config.get("training") if tagger.kept else None
    if training is None:
        raise UserError("the model does not say what it was trained on: it was not kept by a study")
    # Its encoder is in the model's folder; data of other digests are read, too, as a model may be of another release.
    cell = Cell.from_config({**training["config"], "encoder": "minilm", "data": {}})
    # The demo corpus is generated, unless it is in the folder.
    generated = cell.dataset == "demo" and source.data_dir and not (Path(source.data_dir) / "demo").exists()
    return cell, cell.read(replace(source, data_dir=None) if generated else source)


def judge(tagger: Tagger, cell: Cell, corpus: Corpus, split: str, view: ViewName) -> dict[str, Judged]:
    """Tags a split in one view and judges its mentions: those of each set by its name."""
    tweets = corpus.splits[split]
    gold = [gold_spans(tweet.tags, corpus.types, cell.recipe.labels) for tweet in tweets]
    contexts = [{k: texts for k, texts in corpus.texts(tweet).items() if k in cell.contexts} for tweet in tweets]
    images = [corpus.pictures.get(tweet.image or "") for tweet in tweets] if "images" in cell.options.needs else None
    posts = tagger.predict([tweet.words for tweet in tweets], contexts, view, images)
    rows: dict[str, list[tuple[int, float, bool]]] = {name: [] for name in SETS}
    for index, post in enumerate(track(posts, f"{cell.name} {view}", console=Console(stderr=True))):
        for mention in post.mentions:
            span = (mention.first_word, mention.end_word, mention.type)
            rows["found"].append((index, mention.probability, span in gold[index]))
        image = images[index] if images and view != "T" else None
        words = range(len(post.words))
        spans = [
            (first, end, type_)
            for first in words
            for end in range(first + 1, min(first + LONGEST, len(words)) + 1)
            for type_ in tagger.tag_set.types
        ]
        for span, probability in zip(spans, probabilities(tagger, post, spans, image), strict=True):
            if probability >= LEAST:
                rows["possible"].append((index, probability, span in gold[index]))
    return {name: Judged(*(np.array(column) for column in zip(*each, strict=True))) for name, each in rows.items()}


def fit_temperature(tagger: Tagger, corpus: Corpus, view: ViewName) -> float:
    """Returns the temperature at which the gold tags of the valid split are most probable: 1 changes nothing."""
    reads = tagger.inputs.read(corpus.splits["valid"], corpus)
    with torch.inference_mode():
        batches = [tagger.inputs.collate(reads[at : at + 32]) for at in range(0, len(reads), 32)]
        chains = [tagger(batch, (view,))[view] for batch in batches]

        def loss(logarithm: float) -> float:
            scale = math.exp(-logarithm)
            scaled = [
                ChainDistribution(
                    chain.emissions * scale,
                    chain.mask,
                    chain.start_transitions * scale,
                    chain.transitions * scale,
                    chain.end_transitions * scale,
                )
                for chain in chains
            ]
            return -sum(float(each.log_prob(batch.tags).sum()) for each, batch in zip(scaled, batches, strict=True))

        return math.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x)


def at_temperature(tagger: Tagger, temperature: float) -> Tagger:
    """Returns a model that scores every tag sequence with the same scores divided by a temperature."""
    scaled = copy.deepcopy(tagger)
    with torch.no_grad():
        for scores in (*scaled.emission.parameters(), *scaled.crf.parameters()):
            scores /= temperature
    return scaled


def draw(panel: Axes, counts: Axes, judged: dict[str, Judged], title: str) -> None:
    """Draws the diagram of one model in one view: shares with intervals above, numbers of mentions below."""
    panel.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
    for name, colour, marker, shift in (("possible", "#9ecae1", "s", -0.01), ("found", "#08519c", "o", 0.01)):
        mentions = judged[name]
        sizes = np.bincount(mentions.bins, minlength=BINS)
        counts.bar((np.arange(BINS) + 0.5) / BINS + 2 * shift, sizes, width=0.04, color=colour, label=name)
        for index in sizes.nonzero()[0]:
            inside = mentions.right[mentions.bins == index]
            share, place = inside.mean(), mentions.probabilities[mentions.bins == index].mean()
            low, high = binomtest(int(inside.sum()), len(inside)).proportion_ci(method="wilson")
            panel.errorbar(
                place + shift, share, yerr=[[max(share - low, 0)], [max(high - share, 0)]], color=colour, marker=marker,
                markersize=4, capsize=2, linewidth=1,
            )  # fmt: skip
    panel.set(title=title, xlim=(0, 1), ylim=(0, 1.02))
    panel.title.set_fontsize(9)
    counts.set(xlabel="probability of the mention", yscale="log", xlim=(0, 1))
    for each in (panel, counts):
        each.spines[["top", "right"]].set_visible(False)


HEADER = ("model", "test split", "view", "mentions", "number", "right, %", "mean probability, %", "ECE, %",
          "if calibrated, %", "probability − share, %")  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the table and writes it with the diagram."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.calibration", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("models", nargs="+", metavar="MODEL", help="folder of a kept model")
    parser.add_argument("--data-dir", help="folder with the data sets; the demo corpus needs none")
    parser.add_argument("--images", help="folder of the tweets' pictures, for systems that look at them")
    parser.add_argument("--split", default="test", choices=("valid", "test"))
    parser.add_argument("--output", type=Path, help="write the table to this file, and the diagram beside it (.png)")
    options = parser.parse_args(arguments)
    columns: list[tuple[str, dict[str, Judged]]] = []
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for name in options.models:
        tagger = Tagger.from_pretrained(name)
        cell, corpus = read(tagger, Source(options.data_dir, image_dir=options.images))
        for view in get_args(ViewName):
            if view not in tagger.tested_views:
                continue
            judged = judge(tagger, cell, corpus, options.split, view)
            columns.append((f"{cell.label}\n{cell.dataset}, view {view}", judged))
            lines += [_line(cell, view, each, judged[each]) for each in SETS]
            temperature = fit_temperature(tagger, corpus, view)
            cooled = judge(at_temperature(tagger, temperature), cell, corpus, options.split, view)
            lines.append(_line(cell, view, f"found, temperature {temperature:.2f}", cooled["found"]))
    table = "\n".join(lines)
    print(table)
    if options.output:
        options.output.write_text(table + "\n", encoding="utf-8")
        diagram(columns).savefig(options.output.with_suffix(".png"), dpi=120)


def _line(cell: Cell, view: str, name: str, judged: Judged) -> str:
    above, low, high = judged.excess()
    cells = (
        cell.label, cell.dataset, view, name, str(len(judged.right)),
        *(f"{100 * value:.1f}" for value in (judged.right.mean(), judged.probabilities.mean(), judged.ece)),
        f"{100 * judged.ece_if_calibrated():.1f}", f"{100 * above:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def diagram(columns: Sequence[tuple[str, dict[str, Judged]]]) -> plt.Figure:
    """Draws one reliability diagram per model and view."""
    figure, axes = plt.subplots(
        2, len(columns), figsize=(2.9 * len(columns) + 0.6, 4.6), height_ratios=(3, 1), sharex=True, sharey="row",
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for (title, judged), panel, counts in zip(columns, *axes, strict=True):
        draw(panel, counts, judged, title)
    axes[0][0].set_ylabel("share of right mentions")
    axes[1][0].set_ylabel("mentions")
    axes[1][0].legend(fontsize=7, frameon=False)
    return figure


if __name__ == "__main__":
    main()
