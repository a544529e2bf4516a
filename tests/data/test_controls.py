"""Controls give tweets the images of others, or none: as many as asked for, never their own, the same every time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_ita.commands import train
from lightning_ita.data.conll import Tweet
from lightning_ita.data.controls import NAMES, Control, parse_controls
from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.errors import UserError


def corpus(tweets: int = 40) -> Corpus:
    """A corpus in which every tenth tweet has no image and tweets 1 and 2 share theirs."""

    def tweet(split: str, number: int) -> Tweet:
        image = None if number % 10 == 9 else f"{split}-{2 if number == 1 else number}"
        return Tweet(f"{split}{number}", ("word",), ("O",), image)

    splits = {split: [tweet(split, number) for number in range(tweets)] for split in SPLITS}
    return Corpus("made", ("PER",), splits, {}, dict.fromkeys(SPLITS, "digest"))


def images(found: Corpus, split: str) -> list[str | None]:
    return [tweet.image for tweet in found.splits[split]]


@pytest.mark.parametrize(
    "name", [*NAMES, "no-image:0.25", "other-image-at-test:0.5", "no-image:0.00001", "no-image:0.123456789"]
)
def test_a_name_reads_back(name: str) -> None:
    assert Control.parse(name).name == name


@pytest.mark.parametrize(
    "name", ["other-picture", "other-image:", "other-image:0", "no-image:1.5", "no-image:x", ":1", ""]
)
def test_what_is_no_control_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="control"):
        Control.parse(name)


def test_errors_name_what_was_given() -> None:
    with pytest.raises(UserError, match=r"'none:0.5': none takes no share"):
        parse_controls("none:0.5")
    with pytest.raises(UserError, match=r"control other-image-at-test: a share of 1.5"):
        parse_controls("other-image-at-test:1.5")


def test_none_stands_for_the_right_images() -> None:
    assert parse_controls("none, other-image") == (None, Control("other-image"))
    with pytest.raises(UserError, match="no control"):
        parse_controls(" , ")


def test_every_tweet_is_given_an_image_of_its_split_that_is_not_its_own() -> None:
    before = corpus()
    after = Control("other-image").apply(before, 1)
    for split in SPLITS:
        old, new = images(before, split), images(after, split)
        pairs = [(one, two) for one, two in zip(old, new, strict=True) if one is not None]
        assert all(two is not None and one != two for one, two in pairs)
        assert {one for one, _ in pairs} == {two for _, two in pairs}  # a permutation: no image is lost or doubled
        assert new[1] == new[2]
        assert [two for one, two in zip(old, new, strict=True) if one is None] == [None] * 4
    assert [replace(tweet, image=None) for tweet in after.splits["test"]] == [
        replace(tweet, image=None) for tweet in before.splits["test"]
    ]


def test_a_control_at_test_leaves_train_and_valid_alone() -> None:
    before = corpus()
    after = Control("no-image", at_test=True).apply(before, 1)
    assert all(image is None for image in images(after, "test"))
    assert all(after.splits[split] == before.splits[split] for split in ("train", "valid"))


def test_shares_are_nested_and_of_the_tweets_that_have_an_image() -> None:
    before = corpus()
    changed: list[set[int]] = []
    for share in (0.25, 0.5, 1.0):
        new = images(Control("no-image", share=share).apply(before, 3), "train")
        changed.append({n for n, (one, two) in enumerate(zip(images(before, "train"), new, strict=True)) if one != two})
    assert [len(each) for each in changed] == [9, 18, 36]
    assert changed[0] < changed[1] < changed[2]


def test_it_depends_on_the_seed_and_on_nothing_else() -> None:
    control = Control("other-image", share=0.5)
    assert control.apply(corpus(), 1) == control.apply(corpus(), 1)
    assert control.apply(corpus(), 1) != control.apply(corpus(), 2)
    # As it was when first measured: results name the control, not the images that it gave.
    given = images(Control("other-image").apply(corpus(5), 1), "test")
    assert given == ["test-2", "test-4", "test-4", "test-0", "test-3"]


def test_a_single_image_has_no_other() -> None:
    with pytest.raises(UserError, match="no other to give"):
        Control("other-image").apply(corpus(1), 1)


def test_a_share_that_changes_no_tweet_is_refused() -> None:
    with pytest.raises(UserError, match=r"no-image:0.01: made has a split with 36 tweets with .* 0.027778 is one"):
        Control("no-image", share=0.01).apply(corpus(), 1)


def test_a_run_without_a_control_says_so_as_a_study_does() -> None:
    with pytest.raises(UserError, match="dataset 'custom' needs --data-dir"):  # the next thing that is wrong
        train.main(["--dataset=custom", "--contexts=none", "--cva=off", "--control=none"])
