"""Generates tweets, their contexts and their scenes from a configuration, in memory."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from lightning_ita.demo import describe, templates
from lightning_ita.demo.config import KINDS, SPLITS, TYPES, DemoConfig
from lightning_ita.demo.names import AMBIGUOUS, clear_name, held_out_names, ranked_ambiguous_names, zipf
from lightning_ita.demo.scenes import Scene, draw_scene

CONTEXTS = {"tag": describe.tags, "cap": describe.captions, "ocr": describe.ocr}
"""The kinds of visual context, and the function that makes each from a scene."""

RATE_AMBIGUOUS_NAME_IN_CLEAR_TEXT = 0.25
"""Share of ambiguous names among those in tweets whose words tell the type ("flying to Jordan tomorrow")."""

_SLOT = re.compile(r"\{(\w+|@)\}")


@dataclass(frozen=True)
class DemoTweet:
    """A tweet, its tags, and how it was generated.

    Attributes:
        id: Identifies the tweet and its image.
        words: Its tokens.
        tags: One BIO tag per token.
        kind: One of `KINDS`.
        entity: The words of the entity that the tweet is about, empty where it has none.
        type: The type of that entity, or ``NONE``.
        scene: What its image shows.
        image: ``ok``, ``missing`` (there is no file) or ``unreadable`` (the file is truncated).
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    kind: str
    entity: tuple[str, ...]
    type: str
    scene: Scene
    image: str


@dataclass(frozen=True)
class DemoCorpus:
    """A generated corpus.

    Attributes:
        config: What it was generated from.
        splits: The tweets of ``train``, ``valid`` and ``test``.
        contexts: For ``tag``, ``cap`` and ``ocr``, the texts of each image. Images that cannot be read have no entry;
            an empty list means that an engine read the image and found nothing.
        held_out: Ambiguous names that never occur in training.
    """

    config: DemoConfig
    splits: dict[str, list[DemoTweet]]
    contexts: dict[str, dict[str, list[str]]]
    held_out: frozenset[tuple[str, ...]]


class _Writer:
    """Fills the templates of tweets, and keeps one tag per word."""

    def __init__(self, config: DemoConfig, names: list[tuple[str, ...]], rng: random.Random) -> None:
        self.config = config
        self.names = names
        self.rng = rng
        self.words: list[str] = []
        self.tags: list[str] = []

    def add(self, words: tuple[str, ...] | list[str], entity_type: str | None = None) -> None:
        self.words += words
        self.tags += [f"{'I' if i else 'B'}-{entity_type}" if entity_type else "O" for i in range(len(words))]

    def mention(self) -> str:
        return f"@{self.rng.choice(templates.HANDLES)}{self.rng.choice(templates.HANDLE_ENDINGS)}"

    def link(self) -> str:
        letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
        return "http://t.co/" + "".join(self.rng.choices(letters, k=10))

    def name(self, entity_type: str) -> tuple[str, ...]:
        """Returns a name for a tweet whose words tell its type."""
        if self.rng.random() < RATE_AMBIGUOUS_NAME_IN_CLEAR_TEXT:
            weights = [AMBIGUOUS[name][entity_type] for name in self.names]
            if any(weights):
                return self.rng.choices(self.names, weights=weights)[0]
        return clear_name(self.rng, entity_type)

    def fill(self, template: str, entity: tuple[str, ...], entity_type: str) -> None:
        rng = self.rng
        if rng.random() < 0.12:
            self.add(["RT", self.mention(), ":"])
        if rng.random() < 0.2:
            template = f"{rng.choice(templates.OPENINGS)} {template}"
        if entity and rng.random() < self.config.rate_afterthought:
            template = f"{template} {rng.choice(templates.AFTERTHOUGHTS)}"
        for token in template.split():
            slot = _SLOT.fullmatch(token)
            if slot is None:
                self.add([self.misspell(token)])
            elif slot[1] == "X":
                self.add_entity(entity, entity_type)
            elif slot[1] in TYPES:
                self.add_entity(clear_name(rng, slot[1]), slot[1])
            else:
                self.add([self.mention() if slot[1] == "@" else str(rng.randint(2, 60))])
        for rate, token in (
            (0.2, rng.choice(templates.EMOJI)),
            (0.2, rng.choice(templates.HASHTAGS)),
            (0.3, self.link()),
        ):
            if rng.random() < rate:
                self.add([token])
        if rng.random() < self.config.rate_lowercase:
            self.words = [word if word.startswith("http") else word.lower() for word in self.words]

    def add_entity(self, words: tuple[str, ...], entity_type: str) -> None:
        if self.rng.random() < 0.08:  # As a hashtag; the corpora of the field split off the sign.
            self.add(["#"])
        self.add(words, entity_type)

    def misspell(self, word: str) -> str:
        if len(word) < 5 or not word.isalpha() or self.rng.random() >= self.config.rate_typo:
            return word
        i = self.rng.randint(1, len(word) - 3)
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def type_weights(name: dict[str, int], phrase: dict[str, int], preference: float) -> list[float]:
    """Returns a weight for each of `TYPES`, from the preferences of an ambiguous name and of a phrase.

    A type whose weight in the name's table is 0 has weight 0, whatever the exponent.
    """
    return [(name[t] * phrase[t]) ** preference if name[t] else 0.0 for t in TYPES]


def _ambiguous_text(writer: _Writer) -> tuple[tuple[str, ...], str]:
    """Writes an ambiguous tweet; samples its type from the preferences of the name and of the template."""
    rng = writer.rng
    lean, template = rng.choice(templates.AMBIGUOUS)
    name = rng.choices(writer.names, weights=zipf(len(writer.names)))[0]
    entity_type = rng.choices(TYPES, weights=type_weights(AMBIGUOUS[name], lean, writer.config.preference))[0]
    writer.fill(template, name, entity_type)
    return name, entity_type


def _tweet(config: DemoConfig, split: str, index: int, names: list[tuple[str, ...]], attempt: int) -> DemoTweet:
    rng = random.Random(f"{config.seed}/{split}/{index}/{attempt}")
    shares = [config.rate_ambiguous, config.rate_misleading, config.rate_unrelated]
    kind = rng.choices(KINDS, weights=[max(0.0, 1 - sum(shares)), *shares])[0]
    writer = _Writer(config, names, rng)
    if kind == "ambiguous":
        entity, entity_type = _ambiguous_text(writer)
    elif kind != "misleading" and rng.random() < config.rate_no_entity:
        entity, entity_type = (), "NONE"
        writer.fill(rng.choice(templates.CLEAR["NONE"]), entity, entity_type)
    else:
        entity_type = rng.choice(TYPES)
        entity = writer.name(entity_type)
        writer.fill(rng.choice(templates.CLEAR[entity_type]), entity, entity_type)

    shows = entity_type
    if kind == "misleading" or (kind == "unrelated" and not entity):
        shows = rng.choice([t for t in TYPES if t != entity_type])
    elif kind == "unrelated":
        shows = "NONE"
    # The image of a tweet without entities shows an entity of its own, which never has a held-out name.
    written = entity or (clear_name(rng, shows) if shows != "NONE" else ())
    scene = draw_scene(rng, shows, written, rng.random() < config.rate_text_in_image)
    dice = rng.random()
    image = "ok"
    if dice < config.rate_missing + config.rate_unreadable:
        image = "missing" if dice < config.rate_missing else "unreadable"
    return DemoTweet(
        f"{split}-{index:04d}", tuple(writer.words), tuple(writer.tags), kind, entity, entity_type, scene, image
    )  # fmt: skip


def generate(config: DemoConfig | None = None) -> DemoCorpus:
    """Generates a corpus. Equal configurations give equal corpora, in every process.

    Each tweet has its own random number generator, so that a larger split begins with the tweets of a smaller one. A
    tweet with the same words as an earlier one is sampled again.

    Args:
        config: Sizes, rates and noise; the defaults if ``None``.

    Returns:
        Tweets, contexts and scenes. Nothing is drawn or written.
    """
    config = config or DemoConfig()
    held_out = held_out_names(config.seed, config.rate_held_out)
    corpus = DemoCorpus(config, {}, {kind: {} for kind in CONTEXTS}, held_out)
    seen: set[tuple[str, ...]] = set()
    for split in SPLITS:
        names = [name for name in ranked_ambiguous_names(config.seed) if split != "train" or name not in held_out]
        tweets = corpus.splits[split] = []
        for index in range(config.size(split)):
            attempt = 0
            while (tweet := _tweet(config, split, index, names, attempt)).words in seen:
                attempt += 1
            seen.add(tweet.words)
            tweets.append(tweet)
            if tweet.image == "ok":
                for kind, say in CONTEXTS.items():
                    rng = random.Random(f"{config.seed}/{tweet.id}/{kind}")
                    corpus.contexts[kind][tweet.id] = say(tweet.scene, config, rng)
    return corpus
