"""Inputs of systems that look at pictures: the tweet's text view, and features or pixels of its picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import torch

from lightning_ita.data.batching import Collate, ViewBatch
from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.inputs import Batch
from lightning_ita.data.views import View
from lightning_ita.images.crops import parts_of
from lightning_ita.images.features import Features, Request
from lightning_ita.images.visual import Pixels, Visual
from lightning_ita.models.inputs import TwoViewInputs
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.visual_options import VisualOptions


@dataclass(frozen=True, slots=True)
class SeenTweet:
    """A tweet with its picture, ready for the model.

    Attributes:
        text: Its text view.
        tags: Tag ids of the words that have an emission.
        picture: Its picture and the crops of it; ``None`` where there is no file.
    """

    text: View
    tags: tuple[int, ...]
    picture: Request | None

    @property
    def id(self) -> str:
        """The tweet's id."""
        return self.text.tweet_id


@dataclass(slots=True)
class VisualBatch(Batch):
    """A batch of tweets with their pictures.

    Attributes:
        text: The tweets, as in `lightning_ita.data.batching.TwoViewBatch.text`.
        visual: Features of their pictures; pixels where the vision model is trained. `VisionTower` makes both the same.
    """

    text: ViewBatch
    visual: Visual | Pixels


class VisualInputs(TwoViewInputs):
    """Makes tweets their text and what is seen of their picture; see `lightning_ita.data.inputs.Inputs`.

    Args:
        types: Entity types.
        options: The system's options, with its ``vision``.
        recipe: Hyper-parameters: the tag scheme, the longest view, whether URLs are read as one sub-token.
        encoder: The encoder whose tokenizer is used: ``minilm``, a folder, or a Hub id.
        cache_dir: Folder that keeps the sub-tokens of words and the features of pictures from run to run.
    """

    def __init__(
        self, types: Sequence[str], options: VisualOptions, recipe: Recipe, encoder: str, cache_dir: str | None = None
    ):
        super().__init__(types, options, recipe, encoder, cache_dir)
        self.vision = options.vision
        self.of_pictures = options.of_pictures

    @cached_property
    def features(self) -> Features:
        """Features of pictures by the system's vision model.

        Raises:
            UserError: There is no such vision model.
        """
        return Features(self.vision, None if self.cache_dir is None else Path(self.cache_dir))

    def read(self, tweets: Sequence[Tweet], corpus: Corpus) -> list[SeenTweet]:  # type: ignore[override]
        """Builds the text view of each tweet, and finds its picture, which is looked at later."""
        self.builder.learn(chain.from_iterable(tweet.words for tweet in tweets))
        views = [self.builder.text_view(tweet.id, tweet.words) for tweet in tweets]
        return [
            SeenTweet(view, self.tags_of(tweet, view), self._request(tweet, corpus))
            for tweet, view in zip(tweets, views, strict=True)
        ]

    def _request(self, tweet: Tweet, corpus: Corpus) -> Request | None:
        picture = None if tweet.image is None else corpus.pictures.get(tweet.image)
        if picture is None:
            return None
        boxes = None if corpus.boxes is None else corpus.boxes.get(tweet.image or "", ())
        return Request(picture, tuple(parts_of(self.vision.crops, boxes)))

    def requests(self, reads: Sequence[SeenTweet]) -> list[Request]:
        """Returns the pictures that are looked at for tweets, with their crops."""
        return [read.picture for read in reads if read.picture is not None]

    def prepare(self, reads: Sequence[SeenTweet], watch: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Makes the features of the tweets' pictures that are not kept yet, so that no batch waits for them.

        Args:
            reads: The tweets.
            watch: Told how many pictures of how many are done.
        """
        self.features.prepare(self.requests(reads), watch)

    def warnings(self) -> list[str]:
        """Returns what a reader of results should know, as far as pictures were looked at."""
        return self.features.warnings()

    def lengths(self, read: SeenTweet) -> tuple[int, ...]:  # type: ignore[override]
        """Returns the sub-tokens of the text, which both views share."""
        return (len(read.text.input_ids),)

    def collate(self, reads: Sequence[SeenTweet]) -> VisualBatch:  # type: ignore[override]
        """Pads tweets to a batch, and collects what is seen of their pictures."""
        return VisualBatch(**Collate(self.tokenizer.pad_token_id).shared(reads), visual=self.seen(reads))

    def seen(self, reads: Sequence[SeenTweet]) -> Visual | Pixels:
        """Returns features (or pixels, where the vision model is trained) of the pictures of tweets."""
        asked = {row: read.picture for row, read in enumerate(reads) if read.picture is not None}
        rows = dict(zip(asked, self.features.rows(list(asked.values())), strict=True))
        features = self.features
        whole: tuple[int, ...] = (features.regions, features.channels)
        part: tuple[int, ...] = (features.channels,)
        dtype = torch.float32
        if self.vision.finetune:
            whole = part = (3, features.size, features.size)
            dtype = torch.uint8
        wholes = torch.zeros(len(reads), *whole, dtype=dtype)
        parts = torch.zeros(len(reads), self.vision.crops, *part, dtype=dtype)
        present = torch.zeros(len(reads), dtype=torch.bool)
        crop_mask = torch.zeros(len(reads), self.vision.crops, dtype=torch.bool)
        for row, found in rows.items():
            if found is None:
                continue
            wholes[row], present[row] = found[0], True
            for index, crop in enumerate(found[1:]):
                parts[row, index], crop_mask[row, index] = crop, True
        if self.vision.finetune:
            return Pixels(crop_mask=crop_mask, present=present, whole=wholes, cut=parts)
        return Visual(crop_mask=crop_mask, present=present, regions=wholes, crops=parts)

    def unreadable(self, reads: Sequence[SeenTweet]) -> dict[str, str]:
        """Looks at the pictures of tweets, and returns why some cannot be read, by the tweet's id."""
        asked = [read for read in reads if read.picture is not None]
        rows = self.features.rows([read.picture for read in asked if read.picture is not None])
        return {
            read.id: self.features.reason(read.picture)
            for read, row in zip(asked, rows, strict=True)
            if row is None and read.picture is not None
        }

    def counts(self, reads: Sequence[SeenTweet]) -> dict[str, int]:  # type: ignore[override]
        """Counts sub-tokens, tweets without a readable picture, and tweets without any crop of theirs."""
        seen = [read for read in reads if read.picture is not None and not self.features.cannot_read(read.picture)]
        counts = {
            "text_subtokens": sum(len(read.text.input_ids) for read in reads),
            "without_picture": len(reads) - len(seen),
        }
        if self.vision.crops:
            counts["without_crops"] = len(reads) - sum(bool(read.picture and read.picture.crops) for read in seen)
        return counts
