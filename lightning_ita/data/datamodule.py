"""What the data modules of all corpora share: from tweets and contexts to two-view batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.data.batching import (
    Collate,
    EncodedTweet,
    LengthBatchSampler,
    TwoViewBatch,
    batches_of_like_length,
    pair_views,
    processes,
)
from lightning_ita.data.corpus import SPLITS, Corpus, find_folder, read_corpus
from lightning_ita.data.views import ViewBuilder, context_words
from lightning_ita.errors import UserError
from lightning_ita.models.encoders import encoder_shape, evaluation_budget, load_tokenizer
from lightning_ita.tags import LabelConvention, TagScheme, TagSet

# Below this a view has no room for a tweet.
SHORTEST_VIEW = 8


@dataclass(frozen=True)
class SplitSummary:
    """What became of one split on its way to batches.

    Attributes:
        tweets: Its tweets.
        mentions: Their mentions, under the label convention in force.
        text_subtokens: Sub-tokens of all text views.
        cross_modal_subtokens: Sub-tokens of all cross-modal views.
        without_context: Tweets whose image has no context, which fall back to their text view.
        context_cut: Tweets whose context did not fit whole.
        words_cut: Tweets whose words did not fit; the words beyond are tagged O.
    """

    tweets: int
    mentions: int
    text_subtokens: int
    cross_modal_subtokens: int
    without_context: int
    context_cut: int
    words_cut: int


class MNERDataModule(pl.LightningDataModule):
    """Two-view batches of a corpus for multimodal named entity recognition.

    Args:
        contexts: Visual contexts of the cross-modal view: any of ``tag``, ``cap``, ``ocr``, or none.
        data_dir: The folder of the data set, or the folder above it.
        context_files: Files of contexts by kind, where they are not found by their name.
        context_store: A store of contexts; kinds in `context_files` are not read from it.
        context_engines: Whose contexts to take from the store, by kind, where it has several engines of one kind.
        encoder: The encoder whose tokenizer cuts the words: ``minilm``, a folder, or a Hub id.
        batch_size: Tweets a training batch.
        token_budget: Sub-tokens a training batch, both views and padding included, in place of `batch_size`.
        eval_token_budget: Sub-tokens a batch in validation and test; as many as pay off if not given.
        labels: ``repair`` turns stray ``I-`` tags into ``B-``, as the field counts; ``strict`` keeps them.
        tag_scheme: Tags inside the model: ``BIOES`` or ``BIO``.
        max_length: Longest view in sub-tokens; the encoder's own limit if not given.
        normalise_urls: Whether every URL is read as one and the same sub-token. Half of Twitter-15's sub-tokens are
            those of URLs.
        seed: Seed of the training batches.
        cache_dir: Folder that keeps the sub-tokens of words, for data modules to come.
    """

    dataset: ClassVar[str]
    types: tuple[str, ...] = ("PER", "LOC", "ORG", "MISC")
    expected_sizes: ClassVar[tuple[int, int, int] | None] = None
    how_to_get: ClassVar[str] = ""
    # The temperature published for token CVA on this data set.
    temperature: ClassVar[float] = 4.0

    def __init__(
        self,
        contexts: Sequence[str] = (),
        data_dir: str | None = None,
        context_files: Mapping[str, str] | None = None,
        context_store: str | None = None,
        context_engines: Mapping[str, str] | None = None,
        encoder: str = "minilm",
        batch_size: int = 16,
        token_budget: int | None = None,
        eval_token_budget: int | None = None,
        labels: LabelConvention = "repair",
        tag_scheme: TagScheme = "BIOES",
        max_length: int | None = None,
        normalise_urls: bool = False,
        seed: int = 1,
        cache_dir: str | os.PathLike[str] | None = None,
    ):
        super().__init__()
        self.contexts = parse_contexts(contexts)
        self.data_dir = data_dir
        self.context_files = dict(context_files or {})
        self.context_store = context_store
        self.context_engines = dict(context_engines or {})
        self.encoder = encoder
        self.batch_size = batch_size
        self.token_budget = token_budget
        self.eval_token_budget = eval_token_budget
        self.labels: LabelConvention = labels
        self.tag_scheme: TagScheme = tag_scheme
        self.max_length = max_length
        self.normalise_urls = normalise_urls
        self.seed = seed
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.encoded: dict[str, list[EncodedTweet]] = {}
        self._corpus: Corpus | None = None
        self._collate: Collate | None = None

    @property
    def tag_set(self) -> TagSet:
        """The tags inside the model."""
        return TagSet(self.corpus.types, self.tag_scheme)

    @property
    def corpus(self) -> Corpus:
        """The tweets and contexts, read and checked on first use.

        Raises:
            UserError: Files are missing or malformed.
        """
        if self._corpus is None:
            self._corpus = self.read()
        return self._corpus

    def read(self) -> Corpus:
        """Reads the corpus from `data_dir`."""
        folder = find_folder(self.dataset, self.data_dir, self.how_to_get)
        corpus = read_corpus(
            self.dataset,
            folder,
            self.types,
            self.contexts,
            self.context_files,
            self.labels,
            self.context_store,
            self.context_engines,
        )
        sizes = tuple(len(corpus.splits[split]) for split in SPLITS)
        if self.expected_sizes in (None, sizes):
            return corpus
        expected = "/".join(map(str, self.expected_sizes or ()))
        warning = f"{self.dataset}: {'/'.join(map(str, sizes))} tweets in {'/'.join(SPLITS)}; published: {expected}"
        return Corpus(**{**vars(corpus), "warnings": (*corpus.warnings, warning)})

    def setup(self, stage: str | None = None) -> None:
        """Builds the views of every split, once.

        Raises:
            UserError: The corpus or the encoder cannot be read, or `max_length` leaves no room.
        """
        if self.encoded:
            return
        tokenizer = load_tokenizer(self.encoder)
        limit = encoder_shape(self.encoder).max_length
        length = limit if self.max_length is None else self.max_length
        if not SHORTEST_VIEW <= length <= limit:
            raise UserError(f"max_length {length}: encoder {self.encoder!r} takes {SHORTEST_VIEW} to {limit}")
        builder = ViewBuilder(tokenizer, length, self.normalise_urls, self.cache_dir)
        self._collate = Collate(tokenizer.pad_token_id)
        self.encoded = {split: self._encode(split, builder) for split in SPLITS}

    def _encode(self, split: str, builder: ViewBuilder) -> list[EncodedTweet]:
        tweets, tag_set = self.corpus.splits[split], self.tag_set
        contexts = [context_words(self.corpus.texts(tweet.id)) for tweet in tweets]
        builder.learn(chain.from_iterable([*(tweet.words for tweet in tweets), *contexts]))
        text = [builder.text_view(tweet.id, tweet.words) for tweet in tweets]
        cross_modal = [builder.cross_modal_view(*pair) for pair in zip(text, contexts, strict=True)]
        tags = [
            tuple(tag_set.encode(tweet.tags)[: len(view.first_subtokens)])
            for tweet, view in zip(tweets, text, strict=True)
        ]
        return pair_views(text, cross_modal, tags)

    def summary(self, split: str) -> SplitSummary:
        """Counts what became of a split; call `setup` first."""
        tweets, encoded = self.corpus.splits[split], self.encoded[split]
        return SplitSummary(
            tweets=len(tweets),
            mentions=sum(tag[0] == "B" for tweet in tweets for tag in tweet.tags),
            text_subtokens=sum(len(tweet.text.input_ids) for tweet in encoded),
            cross_modal_subtokens=sum(len(tweet.cross_modal.input_ids) for tweet in encoded),
            without_context=sum(not self.corpus.texts(tweet.id) for tweet in encoded),
            context_cut=sum(tweet.cross_modal.context_cut > 0 for tweet in encoded),
            words_cut=sum(len(a.tags) > len(b.tags) for a, b in zip(tweets, encoded, strict=True)),
        )

    def train_dataloader(self) -> DataLoader[TwoViewBatch]:
        """Returns the training batches, of tweets of like length, shuffled anew every epoch."""
        encoded = self.encoded["train"]
        sampler = LengthBatchSampler(
            [tweet.lengths for tweet in encoded], self.batch_size, self.seed, self.token_budget
        )
        return DataLoader(encoded, batch_sampler=sampler, collate_fn=self._collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[TwoViewBatch]:
        """Returns the batches of the valid split."""
        return self.eval_dataloader("valid")

    def test_dataloader(self) -> DataLoader[TwoViewBatch]:
        """Returns the batches of the test split."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader[TwoViewBatch]:
        """Returns a split in batches of like length, the longest first; `TwoViewBatch.ids` says which tweets they are.

        Under distributed training each process gets its share of them, none of them twice.
        """
        encoded = self.encoded[split]
        lengths = np.array([tweet.lengths for tweet in encoded])
        budget = self.eval_token_budget or evaluation_budget(encoder_shape(self.encoder))
        batches = batches_of_like_length(lengths, None, budget)
        batches.sort(key=lambda batch: -int(lengths[batch].sum(1).max()))
        rank, world = processes()
        tweets = [[encoded[index] for index in batch] for batch in batches[rank::world]]
        return DataLoader(tweets, batch_size=None, collate_fn=self._collate)  # type: ignore[arg-type]
