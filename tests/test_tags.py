from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

from lightning_ita.tags import TagSet, bio_tags, repair

TYPES = ("PER", "LOC")


def well_formed(tags: tuple[str, ...]) -> bool:
    return repair(tags) == list(tags)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_every_bio_sequence_comes_back_from_the_models_tags(scheme: str) -> None:
    tag_set = TagSet(TYPES, scheme)  # type: ignore[arg-type]
    for tags in product(bio_tags(TYPES), repeat=4):
        ids = torch.tensor([tag_set.encode(tags)])
        assert [tag_set.bio[index] for index in tag_set.to_bio(ids)[0]] == list(tags)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_exactly_the_well_formed_sequences_are_allowed(scheme: str) -> None:
    tag_set = TagSet(TYPES, scheme)  # type: ignore[arg-type]
    start, transition, end = tag_set.forbidden()

    def allowed(ids: tuple[int, ...]) -> bool:
        moves = not any(transition[a, b] for a, b in pairwise(ids))
        return bool(moves and not start[ids[0]] and not end[ids[-1]])

    found = {ids for ids in product(range(len(tag_set)), repeat=3) if allowed(ids)}
    assert found == {tuple(tag_set.encode(tags)) for tags in product(bio_tags(TYPES), repeat=3) if well_formed(tags)}


def test_bioes_marks_ends_and_single_words() -> None:
    tag_set = TagSet(TYPES, "BIOES")
    tags = ["B-PER", "I-PER", "I-PER", "B-PER", "B-LOC", "I-LOC", "O", "I-LOC"]
    expected = ["B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "E-LOC", "O", "E-LOC"]
    assert [tag_set.tags[index] for index in tag_set.encode(tags)] == expected


def test_padding_stays_padding() -> None:
    assert TagSet(TYPES).to_bio(torch.tensor([[0, -1]])).tolist() == [[0, -1]]
