"""The generated tweets and contexts are what the configuration says."""

import dataclasses
import hashlib
import math
import os
import random
import subprocess
import sys

import pytest

from lightning_ita.demo import CONTEXTS, KINDS, SPLITS, TYPES, DemoConfig, generate
from lightning_ita.demo.corpus import type_weights
from lightning_ita.demo.names import AMBIGUOUS, ranked_ambiguous_names
from lightning_ita.demo.scene_kinds import SCENE_KINDS
from lightning_ita.demo.scenes import draw_scene
from lightning_ita.demo.templates import AMBIGUOUS as PHRASES
from lightning_ita.demo.templates import CLEAR
from lightning_ita.demo.writing import text_files

SMALL = DemoConfig(train=24, valid=12, test=12)


@pytest.fixture(scope="module")
def corpus():
    return generate(DemoConfig(train=2000, valid=300, test=700))


def tweets_of(corpus):
    return [tweet for split in SPLITS for tweet in corpus.splits[split]]


def assert_rate(hits, trials, expected):
    """Within four standard deviations of a binomial proportion."""
    tolerance = 4 * math.sqrt(expected * (1 - expected) / trials)
    assert abs(hits / trials - expected) <= tolerance, f"{hits}/{trials} is not {expected:g} ± {tolerance:.3f}"


def test_sizes():
    corpus = generate(SMALL)
    assert {split: len(tweets) for split, tweets in corpus.splits.items()} == {"train": 24, "valid": 12, "test": 12}


def test_equal_configurations_give_equal_text():
    assert text_files(generate(SMALL)) == text_files(generate(SMALL))


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_other_processes_generate_the_same_bytes(hash_seed):
    program = (
        "import hashlib; from lightning_ita.demo import DemoConfig, generate\n"
        "from lightning_ita.demo.writing import text_files\n"
        "files = text_files(generate(DemoConfig(train=24, valid=12, test=12)))\n"
        "print(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    here = hashlib.sha256(repr(sorted(text_files(generate(SMALL)).items())).encode()).hexdigest()
    assert run.stdout.strip() == here


def test_seeds_differ():
    first, second = generate(SMALL), generate(dataclasses.replace(SMALL, seed=1))
    assert [t.words for t in tweets_of(first)] != [t.words for t in tweets_of(second)]


def test_larger_split_begins_with_the_smaller_one():
    larger = generate(dataclasses.replace(SMALL, train=40))
    assert larger.splits["train"][:24] == generate(SMALL).splits["train"]


def test_ids_are_unique_and_tweets_are_not_repeated(corpus):
    tweets = tweets_of(corpus)
    assert len({t.id for t in tweets}) == len(tweets)
    assert len({t.words for t in tweets}) == len(tweets)


def test_tags_are_valid_bio(corpus):
    allowed = {"O"} | {f"{prefix}-{entity_type}" for prefix in "BI" for entity_type in TYPES}
    for tweet in tweets_of(corpus):
        assert len(tweet.words) == len(tweet.tags)
        assert set(tweet.tags) <= allowed
        for previous, tag in zip(("O", *tweet.tags), tweet.tags, strict=False):
            if tag.startswith("I-"):
                assert previous[2:] == tag[2:], f"{tweet.id}: {tag} after {previous}"


def test_words_fit_the_file_format(corpus):
    for tweet in tweets_of(corpus):
        for word in tweet.words:
            assert word, tweet.id
            assert not any(character.isspace() for character in word)
            assert "{" not in word, f"{tweet.id}: unfilled slot {word}"


def test_entity_stands_in_the_tweet_with_its_type(corpus):
    for tweet in tweets_of(corpus):
        spans = []
        for word, tag in zip(tweet.words, tweet.tags, strict=True):
            if tag.startswith("B-"):
                spans.append([tag[2:], word])
            elif tag.startswith("I-"):
                spans[-1].append(word)
        spans = [(span[0], " ".join(span[1:]).lower()) for span in spans]
        if tweet.entity:
            assert (tweet.type, " ".join(tweet.entity).lower()) in spans
        else:
            assert (tweet.type, spans) == ("NONE", [])


def test_variety(corpus):
    tweets = tweets_of(corpus)
    entities = [sum(tag.startswith("B-") for tag in t.tags) for t in tweets]
    assert {0, 1, 2, 3} <= set(entities)
    assert any("I-" in tag for t in tweets for tag in t.tags)
    text = " ".join(word for t in tweets for word in t.words)
    assert all(sign in text for sign in ("RT @", "http://t.co/", "#", "😂"))
    assert {t.scene.kind for t in tweets} == set(SCENE_KINDS)
    counts = [sum(tag == f"B-{entity_type}" for t in tweets for tag in t.tags) for entity_type in TYPES]
    assert min(counts) > 0.5 * max(counts)


def test_kinds_of_tweets_have_their_rates(corpus):
    tweets, config = tweets_of(corpus), corpus.config
    for kind in KINDS[1:]:
        assert_rate(sum(t.kind == kind for t in tweets), len(tweets), getattr(config, f"rate_{kind}"))
    others = [t for t in tweets if t.kind in ("resolvable", "unrelated")]
    assert_rate(sum(not t.entity for t in others), len(others), config.rate_no_entity)
    for image in ("missing", "unreadable"):
        assert_rate(sum(t.image == image for t in tweets), len(tweets), getattr(config, f"rate_{image}"))
    assert_rate(sum(bool(t.scene.words) for t in tweets), len(tweets), config.rate_text_in_image)


def test_pictures_keep_to_the_kind_of_the_tweet(corpus):
    for tweet in tweets_of(corpus):
        agrees = tweet.scene.shows == tweet.type
        if tweet.kind in ("resolvable", "ambiguous"):
            assert agrees
        elif tweet.kind == "misleading":
            assert not agrees
            assert tweet.scene.shows != "NONE"
        else:
            assert (tweet.scene.shows == "NONE") == bool(tweet.entity)


def test_held_out_names_are_unseen_in_training_and_asked_for_in_test(corpus):
    held_out = corpus.held_out
    assert len(held_out) == int(corpus.config.rate_held_out * len(AMBIGUOUS) + 1e-9)
    words = {" ".join((*t.words, *t.scene.words)).lower() for t in corpus.splits["train"]}
    for name in held_out:
        assert not any(f" {' '.join(name).lower()} " in f" {text} " for text in words), name
    asked = [t for t in corpus.splits["test"] if t.kind == "ambiguous"]
    share = sum(t.entity in held_out for t in asked) / len(asked)
    assert 0.05 < share < 0.2


def share_of_the_likeliest_type(preference):
    """Of ambiguous tweets: how often the best guess from the words is right, on the mean over names and phrases."""
    weights = [type_weights(name, phrase, preference) for name in AMBIGUOUS.values() for phrase, _ in PHRASES]
    return sum(max(of) / sum(of) for of in weights) / len(weights)


def test_words_alone_tell_much_of_ambiguous_tweets_but_not_all():
    assert 0.7 < share_of_the_likeliest_type(DemoConfig().preference) < 0.9


@pytest.mark.parametrize("preference", [0, 1, 4])
def test_ambiguous_tweets_have_the_types_that_their_words_prefer(preference):
    corpus = generate(DemoConfig(train=1500, valid=1, test=1, rate_ambiguous=1, rate_misleading=0, rate_unrelated=0,
                                 preference=preference))  # fmt: skip
    tweets = corpus.splits["train"]
    hits, expected = 0, 0.0
    for tweet in tweets:
        name = AMBIGUOUS[tweet.entity]
        assert name[tweet.type] > 0
        favourite = max(TYPES, key=lambda entity_type: name[entity_type])
        hits += tweet.type == favourite
        chances = [type_weights(name, phrase, preference) for phrase, _ in PHRASES]
        expected += sum(of[TYPES.index(favourite)] / sum(of) for of in chances) / len(chances)
    assert_rate(hits, len(tweets), expected / len(tweets))


def test_stronger_preferences_leave_less_to_the_picture():
    shares = [share_of_the_likeliest_type(preference) for preference in (0, 1, 2, 4, 8)]
    assert shares == sorted(shares)
    assert len(set(shares)) == len(shares)


def test_every_ambiguous_name_can_be_of_several_types_and_no_clear_template_is_ambiguous():
    assert all(sum(weight > 0 for weight in weights.values()) >= 2 for weights in AMBIGUOUS.values())
    assert len(AMBIGUOUS) >= 60
    assert len(ranked_ambiguous_names(0)) == len(set(ranked_ambiguous_names(0))) == len(AMBIGUOUS)
    assert not {template for _, template in PHRASES} & {t for texts in CLEAR.values() for t in texts}


def test_contexts_exist_exactly_for_the_images_that_can_be_read(corpus):
    readable = [t.id for t in tweets_of(corpus) if t.image == "ok"]
    assert set(corpus.contexts) == set(CONTEXTS) == {"tag", "cap", "ocr"}
    for texts in corpus.contexts.values():
        assert list(texts) == readable


def test_contexts_name_no_type(corpus):
    telling = {"per", "loc", "org", "misc", "location", "organization", "organisation", "miscellaneous"}
    for kind in ("tag", "cap"):
        for texts in corpus.contexts[kind].values():
            assert not telling & set(" ".join(texts).lower().split())


def test_contexts_without_noise_say_what_was_drawn():
    clean = dataclasses.replace(
        SMALL, train=300, tag_dropped=0, tag_spurious=0, caption_vague=0, caption_wrong=0, ocr_line_dropped=0,
        ocr_character=0,
    )  # fmt: skip
    corpus = generate(clean)
    for tweet in tweets_of(corpus):
        if tweet.image != "ok":
            continue
        scene, kind = tweet.scene, SCENE_KINDS[tweet.scene.kind]
        assert corpus.contexts["ocr"][tweet.id] == list(scene.words)
        assert {tag.format_map(scene.attributes) for tag in kind.tags} <= set(corpus.contexts["tag"][tweet.id])
        (caption,) = corpus.contexts["cap"][tweet.id]
        assert caption.replace("an orange", "a orange") in [c.format_map(scene.attributes) for c in kind.captions]


def test_noise_has_its_rates(corpus):
    config, tweets = corpus.config, [t for t in tweets_of(corpus) if t.image == "ok"]
    lines = sum(len(t.scene.words) for t in tweets)
    assert_rate(sum(len(corpus.contexts["ocr"][t.id]) for t in tweets), lines, 1 - config.ocr_line_dropped)
    whole = [t for t in tweets if not t.scene.parts]
    drawn = sum(len(SCENE_KINDS[t.scene.kind].tags) for t in whole)
    own = sum(
        tag in corpus.contexts["tag"][t.id]
        for t in whole
        for tag in {tag.format_map(t.scene.attributes) for tag in SCENE_KINDS[t.scene.kind].tags}
    )
    # An imagined object may happen to be one that was overlooked, hence a little more than expected.
    assert abs(own / drawn - (1 - config.tag_dropped)) < 0.02
    faithful = sum(
        corpus.contexts["cap"][t.id][0].replace("an orange", "a orange")
        in [c.format_map(t.scene.attributes) for c in SCENE_KINDS[t.scene.kind].captions]
        for t in tweets
    )
    assert abs(faithful / len(tweets) - (1 - config.caption_vague - config.caption_wrong)) < 0.03


def test_each_context_leaves_some_scenes_open_that_another_settles():
    """Scenes that only one context tells apart describe themselves alike, for all types, in the other contexts."""
    by_group = {}
    for kind in SCENE_KINDS.values():
        if kind.shows != "NONE" and kind.told_by != "plain":
            by_group.setdefault((kind.told_by, kind.name.split("-")[0]), []).append(kind)
    assert {group for group, _ in by_group} == {"caption", "tags", "words"}
    for (told_by, _), kinds in by_group.items():
        assert {kind.shows for kind in kinds} == set(TYPES)
        assert len({kind.tags for kind in kinds}) == 1
        captions = {kind.captions for kind in kinds}
        assert len(captions) == (4 if told_by == "caption" else 1)
        assert all(bool(kind.words) == (told_by == "words") for kind in kinds)


def test_shares_of_pictures_that_tell_their_type(corpus):
    told_by = [SCENE_KINDS[t.scene.kind].told_by for t in tweets_of(corpus) if t.scene.shows != "NONE"]
    tags, captions = ({"plain", "tags"}, {"plain", "caption"})
    for tellers, share in ((tags, 0.80), (captions, 0.76), (tags | captions, 0.95)):
        assert abs(sum(t in tellers for t in told_by) / len(told_by) - share) < 0.04


def test_scene_without_room_for_the_name_is_not_chosen():
    rng = random.Random(0)
    for _ in range(200):
        scene = draw_scene(rng, "MISC", ("Birmingham", "Central", "Station"), with_words=True)
        assert SCENE_KINDS[scene.kind].longest >= 26


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 0}, "train=0: a split needs at least one tweet"),
        ({"rate_ambiguous": 1.5}, "rate_ambiguous=1.5: a rate lies between 0 and 1"),
        ({"tag_dropped": -0.1}, "tag_dropped=-0.1"),
        ({"preference": -1.0}, "preference=-1.0: an exponent of at least 0 is needed"),
        ({"preference": math.nan}, "preference=nan"),
        ({"rate_held_out": 1.0}, "training needs some ambiguous names"),
        ({"rate_ambiguous": 0.9, "rate_misleading": 0.2}, "exceed 1 in sum"),
        ({"caption_vague": 0.6, "caption_wrong": 0.6}, "caption_vague .* exceed 1"),
    ],
)
def test_impossible_configurations(settings, message):
    with pytest.raises(ValueError, match=message):
        DemoConfig(**settings)


@pytest.mark.parametrize("rate", [0.0, 0.95, 0.99])
def test_extreme_shares_of_held_out_names(rate):
    corpus = generate(dataclasses.replace(SMALL, train=100, rate_held_out=rate))
    assert len(corpus.held_out) == int(rate * len(AMBIGUOUS) + 1e-9)


def test_a_rate_of_one_leaves_only_that_kind():
    corpus = generate(dataclasses.replace(SMALL, rate_ambiguous=1, rate_misleading=0, rate_unrelated=0))
    assert {t.kind for t in tweets_of(corpus)} == {"ambiguous"}
