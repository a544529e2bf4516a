"""What the data modules of all corpora share: from tweets to batches of what a system reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from lightning_ita.data import CUSTOM, DATASETS
from lightning_ita.data.batching import LengthBatchSampler, batches_of_like_length, least_of_all, processes
from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.data.inputs import Batch, Inputs, Preparing
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.tags import LabelConvention


@dataclass(frozen=True)
class SplitSummary:
    """Counts of one split after it was turned into batches.

    Attributes:
        tweets: Its tweets.
        mentions: Their mentions, under the label convention in force.
        words_cut: Tweets whose words did not fit; the words beyond are tagged O.
        counts: What the system's inputs count: sub-tokens, tweets without context ...
    """

    tweets: int
    mentions: int
    words_cut: int
    counts: Mapping[str, int]


class MNERDataModule(pl.LightningDataModule):
    """Batches of a corpus for multimodal named entity recognition, made by the inputs of the system that reads them.

    Args:
        dataset: A name of `lightning_ita.data.DATASETS`.
        data_dir: The folder of the data set, or the folder above it.
        contexts: Kinds of context to read: ``tag``, ``cap``, ``ocr`` or any other; those of the model if not given.
        context_files: Files of contexts by kind, where they are not found by their name.
        context_store: A store of contexts; kinds in `context_files` are not read from it.
        context_engines: Whose contexts to take from the store, by kind, where it has several engines of one kind.
        batch_size: Tweets per training batch.
        token_budget: Sub-tokens per training batch, all views and padding included, in place of `batch_size`.
        eval_token_budget: Sub-tokens per batch in validation and test; as many as pay off if not given.
        labels: ``repair`` turns stray ``I-`` tags into ``B-``, as the field counts; ``strict`` keeps them.
        seed: Seed of the training batches.
        types: Entity types of a user's own corpus; those of its train.txt if not given.
        columns: Columns of the word and the tag in a user's own corpus, if its files have further columns.
        image_dir: The folder of the tweets' pictures, for systems that look at them.
        inputs: What makes tweets the model's input; those of the model that the trainer fits or tests if not given.
        corpus: The corpus, where it has been read already.
    """

    def __init__(
        self,
        dataset: str = "demo",
        data_dir: str | None = None,
        contexts: Sequence[str] | None = None,
        context_files: Mapping[str, str] | None = None,
        context_store: str | None = None,
        context_engines: Mapping[str, str] | None = None,
        batch_size: int = 16,
        token_budget: int | None = None,
        eval_token_budget: int | None = None,
        labels: LabelConvention = "repair",
        seed: int = 1,
        types: Sequence[str] | None = None,
        columns: Sequence[int] | None = None,
        image_dir: str | None = None,
        inputs: Inputs | None = None,
        corpus: Corpus | None = None,
    ):
        super().__init__()
        self.name = dataset  # as users type it: custom-twitter17 is another one than twitter17
        self.dataset = DATASETS[dataset]()
        self.source = Source(
            data_dir,
            dict(context_files or {}),
            context_store,
            dict(context_engines or {}),
            types=types,
            columns=columns,
            image_dir=image_dir,
        )
        self.contexts = contexts
        self.batch_size = batch_size
        self.token_budget = token_budget
        self.eval_token_budget = eval_token_budget
        self.labels: LabelConvention = labels
        self.seed = seed
        # Whatever the inputs make; systems know their own.
        self.encoded: dict[str, list[Any]] = {}
        self._inputs = inputs
        self._corpus = corpus

    @property
    def inputs(self) -> Inputs:
        """What makes tweets the model's input.

        Raises:
            UserError: None were given, and no trainer with a model is attached.
        """
        if self._inputs is None:
            model: Any = getattr(self.trainer, "lightning_module", None)
            if model is None:
                raise UserError("the data module needs the inputs of a model: give inputs=model.inputs, or a trainer")
            self._inputs = model.inputs
        return self._inputs

    @property
    def corpus(self) -> Corpus:
        """The tweets and contexts, read and checked on first use.

        Raises:
            UserError: Files are missing or malformed.
        """
        if self._corpus is None:
            kinds = self.inputs.kinds if self.contexts is None else self.contexts
            self._corpus = self.dataset.read(self.source, tuple(kinds), self.labels)
        return self._corpus

    @property
    def types(self) -> tuple[str, ...]:
        """The entity types of the corpus."""
        return self.corpus.types

    def setup(self, stage: str | None = None) -> None:
        """Makes the inputs of every split, once.

        Raises:
            UserError: The corpus or the encoder cannot be read, or the model has other entity types than the corpus,
                or counts stray labels otherwise.
        """
        if self.encoded:
            return
        types = self.inputs.tag_set.types
        if types != self.corpus.types:
            raise UserError(
                f"the model has the entity types {', '.join(types)}, {self.corpus.name} has "
                f"{', '.join(self.corpus.types)}; make the model with types={self.corpus.types}"
            )
        counted = getattr(getattr(self.inputs, "recipe", None), "labels", self.labels)
        if counted != self.labels:
            raise UserError(
                f"the model's recipe has labels {counted!r}, the data module {self.labels!r}; make it with "
                f"labels={counted!r}"
            )
        missing = [kind for kind in self.inputs.kinds if kind not in self.corpus.contexts]
        if missing:
            raise UserError(f"the model reads {', '.join(missing)} contexts, which the data module was not asked for")
        of_pictures = getattr(self.inputs, "of_pictures", ())
        if of_pictures and "images" not in self.corpus.digests:
            self._corpus = self.dataset.with_pictures(self.corpus, self.source, of_pictures)
        self.encoded = {split: self.inputs.read(self.corpus.splits[split], self.corpus) for split in SPLITS}
        if isinstance(self.inputs, Preparing):
            self.inputs.prepare([read for split in SPLITS for read in self.encoded[split]])

    def summary(self, split: str) -> SplitSummary:
        """Counts what became of a split; call `setup` first."""
        tweets, encoded = self.corpus.splits[split], self.encoded[split]
        return SplitSummary(
            tweets=len(tweets),
            mentions=sum(tag[0] == "B" for tweet in tweets for tag in tweet.tags),
            words_cut=sum(len(tweet.tags) > len(read.tags) for tweet, read in zip(tweets, encoded, strict=True)),
            counts=self.inputs.counts(encoded),
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns the training batches, of tweets of like length, shuffled again in every epoch."""
        encoded = self.encoded["train"]
        lengths = [self.inputs.lengths(tweet) for tweet in encoded]
        sampler = LengthBatchSampler(lengths, self.batch_size, self.seed, self.token_budget)
        return DataLoader(encoded, batch_sampler=sampler, collate_fn=self.inputs.collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        """Returns the batches of the valid split."""
        return self.eval_dataloader("valid")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Returns the batches of the test split."""
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Returns the batches of the test split, whose tags `Trainer.predict` returns with the tweets' ids."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader[Batch]:
        """Returns a split in batches of like length, the longest first; `Batch.ids` says which tweets they are.

        Under distributed training each process gets its share of them, none of them twice.
        """
        encoded = self.encoded[split]
        lengths = np.array([self.inputs.lengths(tweet) for tweet in encoded])
        # By free memory the GPUs of a run may have different budgets, and so batches that are no shares of one split.
        budget = self.eval_token_budget or least_of_all(self.inputs.evaluation_budget)
        batches = batches_of_like_length(lengths, None, budget)
        batches.sort(key=lambda batch: -int(lengths[batch].sum(1).max()))
        rank, world = processes()
        while len(batches) < min(world, len(encoded)):  # none is left without
            most = max(batches, key=len)
            batches = [batch for batch in batches if batch is not most] + np.array_split(most, 2)
        tweets = [[encoded[index] for index in batch] for batch in batches[rank::world]]
        return DataLoader(tweets, batch_size=None, collate_fn=self.inputs.collate)  # type: ignore[arg-type]


class DemoDataModule(MNERDataModule):
    """The generated demo corpus; arguments as for `MNERDataModule`."""

    def __init__(self, data_dir: str | None = None, **options: Any):
        super().__init__("demo", data_dir, **options)


class Twitter15DataModule(MNERDataModule):
    """Twitter-15; arguments as for `MNERDataModule`."""

    def __init__(self, data_dir: str | None = None, **options: Any):
        super().__init__("twitter15", data_dir, **options)


class Twitter17DataModule(MNERDataModule):
    """Twitter-17; arguments as for `MNERDataModule`."""

    def __init__(self, data_dir: str | None = None, **options: Any):
        super().__init__("twitter17", data_dir, **options)


class SNAPDataModule(MNERDataModule):
    """SNAP; arguments as for `MNERDataModule`."""

    def __init__(self, data_dir: str | None = None, **options: Any):
        super().__init__("snap", data_dir, **options)


class CustomDataModule(MNERDataModule):
    """A user's own corpus, which may have a name; further arguments as for `MNERDataModule`."""

    def __init__(self, data_dir: str | None = None, name: str | None = None, **options: Any):
        super().__init__(CUSTOM if name is None else f"{CUSTOM}-{name}", data_dir, **options)
