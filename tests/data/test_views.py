from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.data.views import ViewBuilder, context_words
from lightning_ita.models.encoders import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: str):
    return load_tokenizer(tiny_encoder)


def test_contexts_follow_in_the_order_captions_tags_ocr_and_others() -> None:
    said = {"know": ["a player"], "ocr": ["STOP"], "tag": ["red ball", "man"], "cap": ["a man plays", "a court"]}
    ordered = {kind: said[kind] for kind in parse_contexts("know,ocr,tag,cap")}
    assert " ".join(context_words(ordered)) == "a man plays , a court . red ball , man . STOP . a player ."
    assert context_words({"cap": [], "ocr": ["  "]}) == []


def test_views_read_as_they_should(tokenizer) -> None:
    builder = ViewBuilder(tokenizer, 64)
    text = builder.text_view("7", ["ab", "c"])
    view = builder.cross_modal_view(text, ["de", "."])
    assert tokenizer.convert_ids_to_tokens(text.input_ids) == ["[CLS]", "a", "##b", "c", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(view.input_ids)[5:] == ["d", "##e", ".", "[SEP]"]
    assert text.first_subtokens == view.first_subtokens == (1, 3)


@pytest.mark.parametrize("word", ["\ufe0f", "\u200d", "\u00a0"])
def test_a_word_without_subtoken_is_the_unknown_token(tokenizer, word: str) -> None:
    view = ViewBuilder(tokenizer, 64).text_view("7", ["a", word, "b"])
    assert tokenizer.convert_ids_to_tokens(view.input_ids) == ["[CLS]", "a", "[UNK]", "b", "[SEP]"]


def test_no_context_falls_back_to_the_text_view(tokenizer) -> None:
    builder = ViewBuilder(tokenizer, 64)
    text = builder.text_view("7", ["a"])
    assert builder.cross_modal_view(text, []) is text


@given(
    words=st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=20),
    context=st.lists(st.text("abc", min_size=1, max_size=9), max_size=20),
    max_length=st.integers(8, 60),
)
def test_context_is_cut_before_any_word(
    tiny_encoder: str, words: list[str], context: list[str], max_length: int
) -> None:
    tokenizer = load_tokenizer(tiny_encoder)
    builder = ViewBuilder(tokenizer, max_length)
    text = builder.text_view("7", words)
    view = builder.cross_modal_view(text, context)
    assert len(text.input_ids) <= max_length
    assert len(view.input_ids) <= max_length
    assert view.first_subtokens == text.first_subtokens
    assert len(text.first_subtokens) >= 1
    # The first word is shortened rather than left out.
    needed = min(len(words[0]), max_length - 2) + sum(map(len, words[1:])) + 2
    assert (len(text.first_subtokens) == len(words)) == (needed <= max_length)
    assert view.context_cut == max(0, sum(map(len, context)) - max(max_length - len(text.input_ids) - 1, 0))
