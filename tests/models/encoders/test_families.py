from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers import CONFIG_MAPPING

from docs.encoders import FAMILIES, PAGE, SIZES, try_family, write_tiny
from lightning_ita.errors import UserError
from lightning_ita.models.encoders import encoder_shape, load_encoder
from lightning_ita.models.encoders.locating import OFFSET_FAMILIES

ROWS = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
DOCUMENTED = {row[0]: (row[1], row[2].removesuffix(" |") if len(row) > 2 else "") for row in ROWS[2:]}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing from threads, and lose much where other processes want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_page_has_every_family() -> None:
    assert list(DOCUMENTED) == list(FAMILIES), "run python -m docs.encoders"
    assert len(FAMILIES) >= 40


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_with_views_of_full_length_or_is_refused_for_the_documented_reason(family: str) -> None:
    if family not in CONFIG_MAPPING:
        pytest.skip("this version of transformers does not know it")
    outcome = try_family(family)
    read, remark = DOCUMENTED[family]
    assert outcome.read == read, outcome
    # The rest is an error's text, which is the library's.
    assert outcome.remark.partition(":")[0] == remark.partition(":")[0]


@pytest.mark.parametrize("family", sorted(OFFSET_FAMILIES))
def test_positions_that_start_behind_padding_leave_no_room_for_more(family: str, tmp_path: object) -> None:
    write_tiny(family, str(tmp_path))
    encoder, longest = load_encoder(str(tmp_path)), encoder_shape(str(tmp_path)).max_length
    assert longest == SIZES["max_position_embeddings"]
    ids = torch.full((1, longest + 1), 5)
    with pytest.raises((IndexError, RuntimeError)):
        encoder(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_positions_that_a_family_counts_in_another_way_than_known_are_found(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_ita.models.encoders.locating.OFFSET_FAMILIES", frozenset())
    write_tiny("longformer", str(tmp_path))
    with pytest.raises(
        UserError, match=r"does not take views of 50 sub-tokens.* up to 48 work: give --recipe.max_length 4"
    ):
        load_encoder(str(tmp_path))
    load_encoder(str(tmp_path), max_length=48)
