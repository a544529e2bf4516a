from __future__ import annotations

from itertools import pairwise, product

import pytest

from lightning_ita.errors import UserError
from lightning_ita.tags import TagSet, bio_tags, repair

TYPES = ("PER", "LOC")


def well_formed(tags: tuple[str, ...]) -> bool:
    return repair(tags) == list(tags)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_every_bio_sequence_comes_back_from_the_models_tags(scheme: str) -> None:
    tag_set = TagSet(TYPES, scheme)  # type: ignore[arg-type]
    for tags in product(bio_tags(TYPES), repeat=4):
        assert [tag_set.bio[tag_set.bio_ids[index]] for index in tag_set.encode(tags)] == list(tags)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_exactly_the_well_formed_sequences_are_allowed(scheme: str) -> None:
    tag_set = TagSet(TYPES, scheme)  # type: ignore[arg-type]
    start, transition, end = tag_set.forbidden()

    def allowed(ids: tuple[int, ...]) -> bool:
        moves = not any(transition[a][b] for a, b in pairwise(ids))
        return bool(moves and not start[ids[0]] and not end[ids[-1]])

    found = {ids for ids in product(range(len(tag_set)), repeat=3) if allowed(ids)}
    assert found == {tuple(tag_set.encode(tags)) for tags in product(bio_tags(TYPES), repeat=3) if well_formed(tags)}


def test_bioes_marks_ends_and_single_words() -> None:
    tag_set = TagSet(TYPES, "BIOES")
    tags = ["B-PER", "I-PER", "I-PER", "B-PER", "B-LOC", "I-LOC", "O", "I-LOC"]
    expected = ["B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "E-LOC", "O", "E-LOC"]
    assert [tag_set.tags[index] for index in tag_set.encode(tags)] == expected


@pytest.mark.parametrize(
    ("types", "scheme", "expected"),
    [
        (("PER",), "bio", "unknown tag scheme 'bio'. Did you mean 'BIO'"),
        (("PER", "LOC", "PER"), "BIO", "'PER' occurs twice"),
        (("PER", ""), "BIO", "'' is empty"),
    ],
)
def test_tag_sets_that_say_nothing_true_are_refused(types: tuple[str, ...], scheme: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        TagSet(types, scheme)  # type: ignore[arg-type]


def test_tag_sets_of_the_same_types_and_scheme_are_equal() -> None:
    assert TagSet(["PER"], "BIO") == TagSet(("PER",), "BIO") != TagSet(("PER",), "BIOES")  # type: ignore[arg-type]
