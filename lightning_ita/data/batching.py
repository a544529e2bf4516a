"""Views to batches: pairs by tweet id, padding by view, batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from lightning_ita.data.views import View

# Batches are drawn from pools of this many batches, sorted by length: little padding, and still a shuffle.
BATCHES_PER_POOL = 50


@dataclass(frozen=True, slots=True)
class EncodedTweet:
    """A tweet ready for the model.

    Attributes:
        text: Its text view T.
        cross_modal: Its cross-modal view I+T; the text view itself where its image has no context.
        tags: Tag ids of the words that have an emission.
    """

    text: View
    cross_modal: View
    tags: tuple[int, ...]

    @property
    def id(self) -> str:
        """The tweet's id."""
        return self.text.tweet_id

    @property
    def subtokens(self) -> int:
        """Sub-tokens of both views."""
        return len(self.text.input_ids) + len(self.cross_modal.input_ids)


def pair_views(
    text: Sequence[View], cross_modal: Sequence[View], tags: Sequence[tuple[int, ...]]
) -> list[EncodedTweet]:
    """Pairs the views of each tweet.

    Raises:
        ValueError: The two sides are not of the same tweets in the same order, or their words differ.
    """
    paired = []
    for left, right, ids in zip(text, cross_modal, tags, strict=True):
        if left.tweet_id != right.tweet_id:
            raise ValueError(f"views of different tweets cannot be paired: {left.tweet_id!r} and {right.tweet_id!r}")
        if not len(left.first_subtokens) == len(right.first_subtokens) == len(ids):
            raise ValueError(
                f"tweet {left.tweet_id!r} has {len(ids)} tags, {len(left.first_subtokens)} words in its text view and "
                f"{len(right.first_subtokens)} in its cross-modal view"
            )
        paired.append(EncodedTweet(left, right, ids))
    return paired


@dataclass(slots=True)
class ViewBatch:
    """One view of a batch of tweets.

    Attributes:
        input_ids: int64 (batch, subtokens), padded.
        attention_mask: int64 (batch, subtokens), 1 where there is a sub-token.
        first_subtokens: int64 (batch, words), position of each word's first sub-token; 0 at padding.
    """

    input_ids: Tensor
    attention_mask: Tensor
    first_subtokens: Tensor


@dataclass(slots=True)
class TwoViewBatch:
    """A batch of tweets in both views, which share their words.

    Attributes:
        ids: Tweet ids.
        text: The text views T.
        cross_modal: The cross-modal views I+T.
        tags: int64 (batch, words), tag ids; 0 at padding.
        mask: bool (batch, words), True where there is a word.
    """

    ids: list[str]
    text: ViewBatch
    cross_modal: ViewBatch
    tags: Tensor
    mask: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TwoViewBatch:
        """Returns the batch on another device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        text, cross_modal = (
            ViewBatch(moved(view.input_ids), moved(view.attention_mask), moved(view.first_subtokens))
            for view in (self.text, self.cross_modal)
        )
        return TwoViewBatch(self.ids, text, cross_modal, moved(self.tags), moved(self.mask))


class Collate:
    """Pads tweets to a batch; each view is as long as its own longest member.

    Args:
        pad_token_id: The encoder's padding token.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, tweets: Sequence[EncodedTweet]) -> TwoViewBatch:
        """Builds the batch of `tweets`, in their order."""
        lengths = torch.tensor([len(tweet.tags) for tweet in tweets])
        return TwoViewBatch(
            ids=[tweet.id for tweet in tweets],
            text=self._view([tweet.text for tweet in tweets]),
            cross_modal=self._view([tweet.cross_modal for tweet in tweets]),
            tags=pad_sequence([torch.tensor(tweet.tags) for tweet in tweets], batch_first=True),
            mask=torch.arange(int(lengths.max())) < lengths[:, None],
        )

    def _view(self, views: Sequence[View]) -> ViewBatch:
        ids = [torch.tensor(view.input_ids) for view in views]
        first = [torch.tensor(view.first_subtokens) for view in views]
        return ViewBatch(
            input_ids=pad_sequence(ids, batch_first=True, padding_value=self.pad_token_id),
            attention_mask=pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
            first_subtokens=pad_sequence(first, batch_first=True),
        )


class LengthBatchSampler(Sampler[list[int]]):
    """Draws batches of tweets of like length: a new shuffle every epoch, the same for the same seed and epoch.

    Tweets are shuffled, cut into pools of `BATCHES_PER_POOL` batches, sorted by length within a pool, cut into
    batches, and the batches shuffled.

    Args:
        lengths: Length of each tweet, both views together.
        batch_size: Tweets a batch.
        seed: Seed of the shuffles.

    Attributes:
        skip: Batches to leave out of the next epoch drawn: those that a resumed run has behind it.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths = torch.tensor(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.skip = 0
        self.sampler = self  # Lightning announces each epoch to a batch sampler's `sampler`

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches are drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        pools = order.split(self.batch_size * BATCHES_PER_POOL)
        batches = [
            batch.tolist()
            for pool in pools
            for batch in pool[self.lengths[pool].argsort(stable=True)].split(self.batch_size)
        ]
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        skip, self.skip = self.skip, 0
        for index in shuffled[skip:]:
            yield batches[index]
