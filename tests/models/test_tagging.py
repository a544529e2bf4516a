from __future__ import annotations

import torch

from lightning_ita.models.tagging import forbidden_transitions, to_bio
from lightning_ita.tags import TagSet


def test_tag_ids_of_any_shape_become_bio_tag_ids_and_padding_stays_padding() -> None:
    tag_set = TagSet(("PER", "LOC"))
    ids = torch.tensor([[[tag_set.tags.index("S-LOC"), tag_set.tags.index("E-PER")], [0, -100]]])
    assert to_bio(tag_set, ids).tolist() == [[[tag_set.bio.index("B-LOC"), tag_set.bio.index("I-PER")], [0, -1]]]


def test_forbidden_transitions_are_those_of_the_tag_set() -> None:
    tag_set = TagSet(("PER", "LOC"))
    forbidden = forbidden_transitions(tag_set, "cpu")
    for table, expected in zip(forbidden, tag_set.forbidden(), strict=True):
        assert table.dtype == torch.bool
        assert torch.equal(table, torch.tensor(expected))
