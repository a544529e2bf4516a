"""Mentions found in a post, with their places in the text and their probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lightning_ita.data.words import Word


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention of an entity in a post.

    Attributes:
        text: What the post says, from `start` to `end`.
        type: Its entity type.
        start: Where it begins in the post, in characters.
        end: Where it ends.
        first_word: Index of its first word.
        end_word: Index of the word behind its last one.
        probability: That exactly this span with this type is in the tag sequence, by the model's distribution over all
            tag sequences (not only over the well-formed ones, among which the best one is chosen).
    """

    text: str
    type: str
    start: int
    end: int
    first_word: int
    end_word: int
    probability: float


@dataclass(frozen=True, slots=True)
class Tagged:
    """A post with its mentions.

    Attributes:
        text: The post; words joined by blanks where it was given as words.
        words: Its words, with their places in the text.
        mentions: Its mentions, in the order of the text.
        view: The view it was read in: ``T`` or ``I+T``.
        contexts: The contexts that were read with it, by kind.
        words_cut: Words at the end that did not fit into the model's longest input and were not tagged.
    """

    text: str
    words: tuple[Word, ...]
    mentions: tuple[Mention, ...]
    view: str
    contexts: Mapping[str, tuple[str, ...]]
    words_cut: int = 0

    @property
    def tags(self) -> list[str]:
        """One BIO tag per word."""
        tags = ["O"] * len(self.words)
        for mention in self.mentions:
            tags[mention.first_word] = f"B-{mention.type}"
            for index in range(mention.first_word + 1, mention.end_word):
                tags[index] = f"I-{mention.type}"
        return tags

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain values: text, view, mentions; contexts and cut words where there are any."""
        values: dict[str, Any] = {
            "text": self.text,
            "view": self.view,
            "mentions": [asdict(mention) for mention in self.mentions],
        }
        if self.contexts:
            values["contexts"] = {kind: list(texts) for kind, texts in self.contexts.items()}
        if self.words_cut:
            values["words_cut"] = self.words_cut
        return values
