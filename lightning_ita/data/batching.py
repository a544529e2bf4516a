"""Turns views into batches: pairs them by tweet id, pads each view, and groups tweets of similar length."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from lightning_ita.data.inputs import Batch, Input
from lightning_ita.data.views import View


class TextInput(Input, Protocol):
    """A tweet as systems read it whose text is a view."""

    @property
    def text(self) -> View:
        """Its text view."""
        ...


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
    def lengths(self) -> tuple[int, int]:
        """Sub-tokens of the text view and of the cross-modal view."""
        return len(self.text.input_ids), len(self.cross_modal.input_ids)


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
        subtokens: int64 (sub-tokens,), where in `input_ids`, flattened, there is a sub-token.
        token_types: int64 (batch, subtokens), the type of each sub-token; ``None`` for an encoder that is told none.
    """

    input_ids: Tensor
    attention_mask: Tensor
    first_subtokens: Tensor
    subtokens: Tensor
    token_types: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ViewBatch:
        """Returns the view on another device."""
        tensors = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        there = {name: each.to(device, non_blocking=non_blocking) for name, each in tensors.items() if each is not None}
        return ViewBatch(**there)


@dataclass(slots=True)
class TwoViewBatch(Batch):
    """A batch of tweets in both views, which share their words.

    Attributes:
        text: The text views T.
        cross_modal: The cross-modal views I+T.
    """

    text: ViewBatch
    cross_modal: ViewBatch


class Collate:
    """Pads tweets to a batch; each view is as long as its own longest member.

    Args:
        pad_token_id: The encoder's padding token.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, tweets: Sequence[EncodedTweet]) -> TwoViewBatch:
        """Builds the batch of `tweets`, in their order."""
        return TwoViewBatch(**self.shared(tweets), cross_modal=self.view([tweet.cross_modal for tweet in tweets]))

    def shared(self, tweets: Sequence[TextInput]) -> dict[str, Any]:
        """Returns what a batch of every system that reads tweets has: ``ids``, ``tags``, ``mask``, ``text``."""
        lengths = torch.tensor([len(tweet.tags) for tweet in tweets])
        return {
            "ids": [tweet.id for tweet in tweets],
            "tags": pad_sequence([torch.tensor(tweet.tags) for tweet in tweets], batch_first=True),
            "mask": torch.arange(int(lengths.max())) < lengths[:, None],
            "text": self.view([tweet.text for tweet in tweets]),
        }

    def view(self, views: Sequence[View]) -> ViewBatch:
        """Pads one view of each tweet."""
        ids = [torch.tensor(view.input_ids) for view in views]
        first = [torch.tensor(view.first_subtokens) for view in views]
        attention_mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        return ViewBatch(
            input_ids=pad_sequence(ids, batch_first=True, padding_value=self.pad_token_id),
            attention_mask=attention_mask,
            first_subtokens=pad_sequence(first, batch_first=True),
            subtokens=attention_mask.flatten().nonzero()[:, 0],
        )


def batches_of_like_length(
    lengths: np.ndarray, batch_size: int | None, token_budget: int | None, rng: np.random.Generator | None = None
) -> list[np.ndarray]:
    """Cuts tweets into batches whose views are of like length, in both views at once.

    Halves the tweets, again and again, at the median of the view that varies more, so that each batch is a cell of a
    k-d tree. Sorting by the sum of both lengths would leave three to four times the padding.

    Args:
        lengths: (tweets, views), sub-tokens.
        batch_size: Tweets per batch, if `token_budget` is not given.
        token_budget: Sub-tokens per batch, all views and padding included; a longer tweet is a batch of its own.
        rng: Shuffles tweets of equal length, so that other tweets meet every time.

    Returns:
        Indices of the tweets of each batch.
    """
    keys = lengths if rng is None else lengths + rng.random(lengths.shape)
    batches = []
    parts = [np.arange(len(lengths))]
    while parts:
        part = parts.pop()
        widths = lengths[part].max(0)
        small = len(part) <= batch_size if batch_size else len(part) * widths.sum() <= (token_budget or 0)
        if small or len(part) == 1:
            batches.append(part)
            continue
        view = int(lengths[part].std(0).argmax())
        part = part[keys[part, view].argsort(kind="stable")]
        half = len(part) // 2
        if batch_size:  # whole batches on the left, so that only the last is smaller
            half = -(-len(part) // batch_size) // 2 * batch_size
        parts += [part[half:], part[:half]]
    return batches


class LengthBatchSampler(Sampler[list[int]]):
    """Draws batches of tweets of like length: a new shuffle every epoch, the same for the same seed and epoch.

    Under distributed training each process draws its share of the same batches; where they do not divide evenly, the
    first ones are drawn again, so that all processes make as many steps.

    Args:
        lengths: Sub-tokens of each tweet's views, (tweets, views).
        batch_size: Tweets per batch.
        seed: Seed of the shuffles.
        token_budget: Sub-tokens per batch, padding included, in place of `batch_size`. Batches then keep their tweets
            from epoch to epoch.

    Attributes:
        skip: Batches to leave out of the next epoch drawn: those that a resumed run has done already.
    """

    def __init__(self, lengths: Sequence[tuple[int, ...]], batch_size: int, seed: int, token_budget: int | None = None):
        self.lengths = np.array(lengths)
        self.batch_size = None if token_budget else batch_size
        self.token_budget = token_budget
        self.seed = seed
        self.epoch = 0
        self.skip = 0
        self.sampler = self  # Lightning announces each epoch to a batch sampler's `sampler`
        self._drawn: tuple[int, list[list[int]]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose batches are drawn next."""
        self.epoch = epoch

    def _batches(self) -> list[list[int]]:
        if self._drawn is None or self._drawn[0] != self.epoch:
            # By a token budget the number of batches depends on the order, and it must not change between epochs: the
            # same batches are drawn in another order.
            rng = np.random.default_rng((self.seed, 0 if self.token_budget else self.epoch))
            batches = batches_of_like_length(self.lengths, self.batch_size, self.token_budget, rng)
            turns = np.random.default_rng((self.seed, self.epoch, 1)).permutation(len(batches))
            self._drawn = self.epoch, [batches[turn].tolist() for turn in turns]
        return self._drawn[1]

    def __len__(self) -> int:
        return -(-len(self._batches()) // processes()[1])

    def __iter__(self) -> Iterator[list[int]]:
        # A generator, which looks at the epoch when the first batch is drawn: a resumed run asks for the iterator first
        # and says then where it is.
        rank, world = processes()
        batches = self._batches()
        skip, self.skip = self.skip, 0
        for index in range(rank + world * skip, world * len(self), world):
            yield batches[index % len(batches)]


def processes() -> tuple[int, int]:
    """Returns this process's rank in distributed training, and the number of processes; 0 and 1 outside of it."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def least_of_all(number: int) -> int:
    """Returns the least of the numbers that the processes of distributed training have; all of them must ask."""
    _, world = processes()
    if world == 1:
        return number
    numbers: list[Any] = [number] * world
    torch.distributed.all_gather_object(numbers, number)
    return min(numbers)


def weighed(loss: Tensor, tweets: int) -> Tensor:
    """Weighs the mean loss of a batch by its share of the tweets of a step, which several processes may take together.

    They average their gradients. Weighed so, that is the gradient of the mean over all tweets, however they are shared
    out; in a single process nothing changes.

    Args:
        loss: Mean over the tweets of this process's batch.
        tweets: How many they are.
    """
    _, world = processes()
    if world == 1:
        return loss
    total = torch.tensor(float(tweets), device=loss.device)
    torch.distributed.all_reduce(total)
    return loss * (tweets * world / total)
