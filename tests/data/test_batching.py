from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_ita.data.batching import Collate, EncodedTweet, LengthBatchSampler, pair_views
from lightning_ita.data.views import View


def tweet(name: str, words: int, context: int) -> EncodedTweet:
    first = tuple(range(1, words + 1))
    text = View(name, (2, *range(10, 10 + words), 3), first)
    return EncodedTweet(text, View(name, (*text.input_ids, *range(50, 50 + context), 3), first), (1,) * words)


def test_views_of_different_tweets_are_not_paired() -> None:
    tweets = [tweet("a", 2, 1), tweet("b", 2, 1)]
    text, cross_modal = [t.text for t in tweets], [t.cross_modal for t in tweets]
    tags = [t.tags for t in tweets]
    assert pair_views(text, cross_modal, tags) == tweets
    with pytest.raises(ValueError, match="'a' and 'b'"):
        pair_views(text, cross_modal[::-1], tags)
    with pytest.raises(ValueError, match="1 tags, 2 words"):
        pair_views(text, cross_modal, [(1,), (1, 1)])


def test_views_are_padded_apart_and_share_their_words() -> None:
    batch = Collate(pad_token_id=9)([tweet("a", 2, 3), tweet("b", 4, 0)])
    assert batch.ids == ["a", "b"]
    assert batch.text.input_ids.shape == (2, 6)
    assert batch.cross_modal.input_ids.shape == (2, 8)
    assert batch.text.input_ids[0].tolist() == [2, 10, 11, 3, 9, 9]
    assert batch.text.attention_mask[0].tolist() == [1, 1, 1, 1, 0, 0]
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    moved = batch.to("meta")
    assert moved.text.input_ids.device.type == moved.mask.device.type == "meta"


LENGTHS = st.lists(st.tuples(st.integers(1, 100), st.integers(1, 100)), min_size=1, max_size=300)


@given(lengths=LENGTHS, batch_size=st.integers(1, 40), seed=st.integers(0, 10))
def test_every_epoch_draws_each_tweet_once(lengths: list[tuple[int, int]], batch_size: int, seed: int) -> None:
    sampler = LengthBatchSampler(lengths, batch_size, seed)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) == -(-len(lengths) // batch_size)
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert sum(len(batch) < batch_size for batch in batches) <= 1


@given(lengths=LENGTHS, budget=st.integers(1, 2000), seed=st.integers(0, 10))
def test_a_token_budget_is_kept_by_all_but_single_tweets(
    lengths: list[tuple[int, int]], budget: int, seed: int
) -> None:
    sampler = LengthBatchSampler(lengths, 16, seed, token_budget=budget)
    first = list(sampler)
    assert sorted(index for batch in first for index in batch) == list(range(len(lengths)))
    for batch in first:
        padded = len(batch) * sum(max(lengths[index][view] for index in batch) for view in (0, 1))
        assert padded <= budget or len(batch) == 1
    sampler.set_epoch(1)
    assert sorted(map(tuple, sampler)) == sorted(map(tuple, first))
    assert len(sampler) == len(first)


@given(lengths=LENGTHS, world=st.integers(1, 5))
def test_processes_share_an_epoch(lengths: list[tuple[int, int]], world: int) -> None:
    shares = []
    with pytest.MonkeyPatch.context() as patch:
        for rank in range(world):
            patch.setattr("lightning_ita.data.batching.processes", lambda rank=rank: (rank, world))
            sampler = LengthBatchSampler(lengths, 4, seed=3)
            shares.append(list(sampler))
            assert len(sampler) == len(shares[-1])
    whole = list(LengthBatchSampler(lengths, 4, seed=3))
    assert len({len(share) for share in shares}) == 1
    drawn = [tuple(batch) for share in shares for batch in share]
    assert set(drawn) == set(map(tuple, whole))
    assert len(drawn) - len(whole) == -len(whole) % world


def padding(lengths: list[tuple[int, int]], batches: list[list[int]]) -> float:
    """The share of padding in the views of `batches`."""
    padded = sum(len(batch) * sum(max(lengths[i][view] for i in batch) for view in (0, 1)) for batch in batches)
    return 1 - sum(map(sum, lengths)) / padded


def test_batches_are_of_like_length_and_new_every_epoch() -> None:
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(10, 60, (4000,), generator=generator)
    lengths = list(
        zip(text.tolist(), (text + torch.randint(5, 25, (4000,), generator=generator)).tolist(), strict=True)
    )
    sampler = LengthBatchSampler(lengths, 16, seed=1)
    first = list(sampler)
    assert padding(lengths, first) < 0.03
    assert list(sampler) == list(LengthBatchSampler(lengths, 16, seed=1)) == first
    sampler.set_epoch(1)
    assert len(set(map(frozenset, sampler)) & set(map(frozenset, first))) < 3
    assert list(LengthBatchSampler(lengths, 16, seed=2)) != first


def test_a_resumed_epoch_leaves_out_what_is_behind_it() -> None:
    sampler = LengthBatchSampler([(length, 2 * length) for length in range(1, 100)], 8, seed=1)
    sampler.set_epoch(3)
    epoch = list(sampler)
    sampler.set_epoch(0)
    resumed = iter(sampler)  # Lightning asks for it before it says which epoch it is
    sampler.set_epoch(3)
    sampler.skip = 5
    assert list(resumed) == epoch[5:]
    assert list(sampler) == epoch
