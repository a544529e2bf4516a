"""Inputs of systems that read a tweet and, apart from it, the names of the objects in its picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from lightning_ita.data.batching import Collate, ViewBatch
from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.inputs import Batch
from lightning_ita.data.views import View
from lightning_ita.models.inputs import TwoViewInputs
from lightning_ita.models.ocsga import OCSGAOptions
from lightning_ita.models.recipes import Recipe

# Characters that have an embedding of their own: printable ASCII. 0 is padding, 1 any other character.
FIRST_CHARACTER, LAST_CHARACTER = 0x21, 0x7E
CHARACTERS = LAST_CHARACTER - FIRST_CHARACTER + 3
# Characters of a word that are read; addresses are longer.
LONGEST_WORD = 32


@dataclass(slots=True)
class Labels:
    """The names of the objects in the pictures of a batch.

    Attributes:
        ids: int64 (batch, labels, subtokens), their sub-tokens; 0 at padding.
        subtokens: bool (batch, labels, subtokens), True where there is a sub-token.
    """

    ids: Tensor
    subtokens: Tensor

    @property
    def mask(self) -> Tensor:
        """Where there is a label: bool (batch, labels)."""
        return self.subtokens.any(2)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Labels:
        """Returns the labels on another device."""
        return Labels(*(getattr(self, field.name).to(device, non_blocking=non_blocking) for field in _FIELDS))

    def absent(self) -> Labels:
        """Returns the same without any label: the text view."""
        return Labels(self.ids, torch.zeros_like(self.subtokens))

    def without(self, hidden: Tensor) -> Labels:
        """Returns the same without the labels of some tweets: hidden is bool (batch,), True for those."""
        return Labels(self.ids, self.subtokens & ~hidden[:, None, None])


_FIELDS = dataclasses.fields(Labels)


@dataclass(slots=True)
class LabelBatch(Batch):
    """A batch of tweets with the labels of their pictures.

    Attributes:
        text: The tweets.
        visual: The labels.
        characters: int64 (batch, words, characters), the characters of each word, 0 at padding; (batch, 1, 1) where the
            system does not read them.
    """

    text: ViewBatch
    visual: Labels
    characters: Tensor


@dataclass(frozen=True, slots=True)
class LabelledTweet:
    """A tweet ready for the model.

    Attributes:
        text: The tweet.
        tags: Tag ids of the words that have an emission.
        labels: Sub-tokens of each label.
        characters: Characters of each of these words, as ids; none where the system does not read them.
        left_out: Labels beyond the number that is read.
    """

    text: View
    tags: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    characters: tuple[tuple[int, ...], ...]
    left_out: int

    @property
    def id(self) -> str:
        """The tweet's id."""
        return self.text.tweet_id


class LabelInputs(TwoViewInputs):
    """Makes tweets sub-tokens, and the texts of one kind of context labels; see `lightning_ita.data.inputs.Inputs`.

    Args:
        types: Entity types.
        options: The system's options: of which kind labels are, and how many are read at most.
        recipe: Hyper-parameters: the tag scheme, the longest view, whether URLs are read as one sub-token.
        encoder: The encoder whose tokenizer is used: ``minilm``, a folder, or a Hub id.
        cache_dir: Folder that keeps the sub-tokens of words from run to run.
    """

    def __init__(
        self, types: Sequence[str], options: OCSGAOptions, recipe: Recipe, encoder: str, cache_dir: str | None = None
    ):
        super().__init__(types, options, recipe, encoder, cache_dir)
        self.objects = options.objects
        self.spelled = options.variant == "lstm"

    def read(self, tweets: Sequence[Tweet], corpus: Corpus) -> list[LabelledTweet]:  # type: ignore[override]
        """Cuts tweets and labels into sub-tokens; a tweet whose picture has no label has none."""
        builder, (kind,) = self.builder, self.kinds
        labels = [[text.split() for text in corpus.texts(tweet).get(kind, ()) if text.split()] for tweet in tweets]
        builder.learn(chain.from_iterable([*(tweet.words for tweet in tweets), *chain.from_iterable(labels)]))
        reads = []
        for tweet, named in zip(tweets, labels, strict=True):
            view = builder.text_view(tweet.id, tweet.words)
            words = len(view.first_subtokens)
            kept = named[: self.objects]
            reads.append(
                LabelledTweet(
                    view,
                    self.tags_of(tweet, view),
                    tuple(tuple(chain.from_iterable(map(builder.subtokens, label))) for label in kept),
                    tuple(map(character_ids, tweet.words[:words])) if self.spelled else (),
                    len(named) - len(kept),
                )
            )
        return reads

    def lengths(self, read: LabelledTweet) -> tuple[int, ...]:  # type: ignore[override]
        """Returns the sub-tokens of the tweet, which both views share."""
        return (len(read.text.input_ids),)

    def collate(self, reads: Sequence[LabelledTweet]) -> LabelBatch:  # type: ignore[override]
        """Pads tweets, labels and characters to a batch."""
        ids = _padded([read.labels for read in reads], padding=-1)
        return LabelBatch(
            **Collate(self.tokenizer.pad_token_id).shared(reads),
            visual=Labels(ids.clamp_min(0), ids >= 0),
            characters=_padded([read.characters for read in reads], padding=0),
        )

    def counts(self, reads: Sequence[LabelledTweet]) -> dict[str, int]:  # type: ignore[override]
        """Counts sub-tokens, tweets without label, labels, and tweets that have more labels than are read."""
        return {
            "text_subtokens": sum(len(read.text.input_ids) for read in reads),
            "without_context": sum(not read.labels for read in reads),
            "labels": sum(len(read.labels) for read in reads),
            "labels_left_out": sum(read.left_out > 0 for read in reads),
        }


def character_ids(word: str) -> tuple[int, ...]:
    """Returns the ids of a word's characters, of at most `LONGEST_WORD`."""
    return tuple(
        code - FIRST_CHARACTER + 2 if FIRST_CHARACTER <= (code := ord(character)) <= LAST_CHARACTER else 1
        for character in word[:LONGEST_WORD]
    )


def _padded(rows: Sequence[Sequence[Sequence[int]]], padding: int) -> Tensor:
    """Pads numbers of parts of tweets: (batch, most parts, longest part), at least one of each."""
    most = max([1, *(len(parts) for parts in rows)])
    longest = max([1, *(len(part) for parts in rows for part in parts)])
    nothing = [padding] * longest
    return torch.tensor(
        [[*([*part, *nothing[len(part) :]] for part in parts), *[nothing] * (most - len(parts))] for parts in rows]
    )
