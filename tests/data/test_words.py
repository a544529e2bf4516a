"""Raw posts to words: offsets, entities, handles, and what cannot be read."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ita.data import words
from lightning_ita.data.words import cut, join
from lightning_ita.errors import UserError


@pytest.fixture
def nltk() -> None:
    pytest.importorskip("nltk")


@pytest.mark.usefixtures("nltk")
@pytest.mark.parametrize(
    ("post", "expected"),
    [
        ("RT @kobe: see http://t.co/x #NBA :)", ["RT", "@kobe", ":", "see", "http://t.co/x", "#NBA", ":)"]),
        ("AT&amp;T &lt;3 you&nbsp;", ["AT", "&", "T", "<3", "you", "&", "nbsp", ";"]),
        ("caf\u00e9 \U0001f44d\U0001f3fd don't", ["caf\u00e9", "\U0001f44d\U0001f3fd", "don't"]),
        ("", []),
        (" \t\n", []),
    ],
)
def test_words(post: str, expected: list[str]) -> None:
    assert [word.text for word in cut(post)] == expected


@pytest.mark.usefixtures("nltk")
def test_offsets_are_of_the_post_as_it_is() -> None:
    post = "AT&amp;T in &#75;obe &amp;"
    assert [post[start:end] for _, start, end in cut(post)] == ["AT", "&amp;", "T", "in", "&#75;obe", "&amp;"]


@pytest.mark.usefixtures("nltk")
def test_handles_may_be_two_words() -> None:
    assert [word for word, *_ in cut("@kobe at #NBA @ home", "split")] == ["@", "kobe", "at", "#", "NBA", "@", "home"]


@pytest.mark.usefixtures("nltk")
@given(st.text(max_size=60))
def test_every_word_is_where_it_is_said_to_be(post: str) -> None:
    last = 0
    for word, start, end in cut(post):
        assert last <= start < end <= len(post)
        assert word.strip()
        assert word == post[start:end] or "&" in post[start:end]
        last = end


@pytest.mark.parametrize(
    ("post", "message"), [("a\ud800b", "half a character"), ("a" * 200_001, "200,001 characters; at most 200,000")]
)
def test_what_cannot_be_read(post: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cut(post)


@pytest.mark.parametrize("bad", [["a", ""], ["a", 1], [None], ["\ud800"]])
def test_words_must_be_words(bad: list[Any]) -> None:
    with pytest.raises(UserError, match=r"is not a word|half a character"):
        join(bad)


def test_joined_words_have_their_places() -> None:
    text, found = join(("Kobe", "in", "Spain"))
    assert [text[start:end] for _, start, end in found] == ["Kobe", "in", "Spain"]


def test_without_nltk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("nltk"):
            raise ModuleNotFoundError("No module named 'nltk'", name="nltk")
        return real(name, *args, **kwargs)

    words._pattern.cache_clear()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"pip install lightning-ita\[predict\]"):
        cut("Kobe")
