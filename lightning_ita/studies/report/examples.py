"""Example tweets: what only the I+T view gets right, what only it gets wrong, and where the two views disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_ita.contexts.kinds import kind_title
from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.studies.report.evidence import Evidence, RowEvidence
from lightning_ita.studies.report.findings import best_on_valid
from lightning_ita.studies.report.reading import TaggedSplit, Tags

# Tweets shown of each kind.
SHOWN = 6

APART = " (two models trained separately differ on some tweets in any case: compare how many are fixed and spoilt)"


@dataclass(frozen=True)
class Span:
    """A stretch of words: a mention, or the words between two.

    Attributes:
        text: The words.
        type: Entity type; empty between mentions.
        status: Of a system's mention ``right``, ``wrong`` (no such gold mention) or ``missed``; empty in gold.
    """

    text: str
    type: str = ""
    status: str = ""


@dataclass(frozen=True)
class Example:
    """A tweet, and the mentions that two systems find in it.

    Attributes:
        tweet: Its id.
        gold: The tweet, its gold mentions marked.
        contexts: Texts about its image, by kind.
        systems: By system the mentions found, wrong or missed.
        seeds: The number of seeds in which this happens, and the number of all seeds.
    """

    tweet: str
    gold: tuple[Span, ...]
    contexts: dict[str, str]
    systems: dict[str, tuple[Span, ...]]
    seeds: tuple[int, int]


@dataclass(frozen=True)
class Gallery:
    """Examples of one kind.

    Attributes:
        title: What they are examples of.
        explanation: Between which systems, and how they were chosen.
        total: How many tweets of the test split are of this kind in most seeds.
        examples: Those shown.
    """

    title: str
    explanation: str
    total: int
    examples: tuple[Example, ...]


def mentions(tags: Tags) -> list[tuple[int, int, str]]:
    """Returns first word, word after the last, and type of each mention; a stray ``I-`` starts one."""
    found: list[tuple[int, int, str]] = []
    for position, tag in enumerate([*tags, "O"]):
        continues = tag.startswith("I-") and found and found[-1][1] == position and found[-1][2] == tag[2:]
        if continues:
            found[-1] = (found[-1][0], position + 1, tag[2:])
        elif tag != "O":
            found.append((position, position + 1, tag[2:]))
    return found


def galleries(evidence: Evidence) -> list[Gallery]:
    """Returns examples of the row that is best on valid: against BERT-CRF, and its two views against each other.

    Empty where the tweets' words are not known.
    """
    split, row = evidence.split, best_on_valid(evidence.rows)
    if split is None or split.words is None or row is None:
        return []
    here, baseline = f"{row.label}, I+T", evidence.baseline
    found = []
    if baseline is not None:
        best, bert = (row, CROSS_MODAL, here), (baseline, TEXT, "BERT-CRF")
        seeds = sorted(set(row.views[CROSS_MODAL].seeds) & set(baseline.views[TEXT].seeds))
        fixed, spoilt = f"BERT-CRF errs where {here} does not", f"{here} errs where BERT-CRF does not"
        found.append(_gallery(split, "Fixed by the image", fixed + APART, bert, best, seeds))
        found.append(_gallery(split, "Spoilt by the image", spoilt + APART, best, bert, seeds))
    aligned = [each for each in evidence.rows if each.cell.cva in ("token", "sequence")]
    own = best_on_valid(aligned) or row
    if TEXT in own.views:
        text, cross_modal = (own, TEXT, f"{own.label}, T"), (own, CROSS_MODAL, f"{own.label}, I+T")
        seeds = list(own.views[TEXT].seeds)
        helps = "One model, with and without the image: the text view errs where the I+T view does not"
        harms = "One model, with and without the image: the I+T view errs where the text view does not"
        found.append(_gallery(split, "T against I+T", helps, text, cross_modal, seeds))
        found.append(_gallery(split, "I+T against T", harms, cross_modal, text, seeds))
    return [gallery for gallery in found if gallery.examples]


System = tuple[RowEvidence, str, str]


def _gallery(split: TaggedSplit, title: str, text: str, worse: System, better: System, seeds: list[int]) -> Gallery:
    """Finds the tweets on which one system errs and the other does not, in most seeds; most errors first."""
    if not seeds:
        return Gallery(title, text, 0, ())
    errors_worse, errors_better = (_errors(split, system, seeds) for system in (worse, better))
    # (seeds, tweets): where the better system is right altogether and the worse is not.
    fixed = (errors_better == 0) & (errors_worse > 0)
    often = fixed.sum(axis=0)
    candidates = np.flatnonzero(2 * often > len(seeds))
    order = sorted(candidates, key=lambda tweet: (-often[tweet], -errors_worse[:, tweet].sum(), tweet))
    examples = []
    for tweet in order[:SHOWN]:
        seed = seeds[int(np.flatnonzero(fixed[:, tweet])[0])]
        systems = {
            system[2]: judged(split, int(tweet), split.tags[_cell(system, seed), system[1]][tweet])
            for system in (worse, better)
        }
        contexts = {
            kind_title(kind): " · ".join(split.contexts[kind][tweet])
            for kind in (*worse[0].cell.contexts, *better[0].cell.contexts)
            if kind in split.contexts and split.contexts[kind][tweet]
        }
        examples.append(
            Example(split.ids[tweet], gold_spans(split, int(tweet)), contexts, systems, (int(often[tweet]), len(seeds)))
        )
    explanation = f"{text}, in most of {len(seeds)} seeds" if len(seeds) > 1 else text
    return Gallery(title, f"{explanation}; those with most errors first.", len(candidates), tuple(examples))


def _cell(system: System, seed: int) -> str:
    return next(result.cell.name for result in system[0].runs.results if result.cell.seed == seed)


def _errors(split: TaggedSplit, system: System, seeds: list[int]) -> NDArray[np.int64]:
    """Counts missed and wrong mentions, (seeds, tweets)."""
    counts = np.stack([split.counts[_cell(system, seed), system[1]].sum(axis=1) for seed in seeds])
    return np.asarray(counts[..., 1] + counts[..., 2] - 2 * counts[..., 0])


def gold_spans(split: TaggedSplit, tweet: int) -> tuple[Span, ...]:
    """Returns a tweet cut at its gold mentions."""
    assert split.words is not None
    words, spans, position = split.words[tweet], [], 0
    for start, end, type_ in mentions(split.gold[tweet]):
        if start > position:
            spans.append(Span(" ".join(words[position:start])))
        spans.append(Span(" ".join(words[start:end]), type_))
        position = end
    if position < len(words):
        spans.append(Span(" ".join(words[position:])))
    return tuple(spans)


def judged(split: TaggedSplit, tweet: int, tags: Tags) -> tuple[Span, ...]:
    """Returns a system's mentions, right or wrong, and those it missed, in the order of the tweet."""
    assert split.words is not None
    words, gold, found = split.words[tweet], mentions(split.gold[tweet]), mentions(tags)
    covered = {position for start, end, _ in found for position in range(start, end)}
    spans = [(start, end, type_, "right" if (start, end, type_) in gold else "wrong") for start, end, type_ in found]
    # A gold mention that a wrong one overlaps is told by that one.
    spans += [(*each, "missed") for each in gold if each not in found and not covered & set(range(each[0], each[1]))]
    return tuple(Span(" ".join(words[start:end]), type_, status) for start, end, type_, status in sorted(spans))
