"""Text from files and people is printed on one line, without doing anything to the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ita.errors import DataError, UserError, unknown
from lightning_ita.text import MAX_LINE, printable, quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße №1 “東京” 👍🏽 [bold]", "Straße №1 “東京” 👍🏽 [bold]"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("two\r\nlines\t", r"two\r\nlines\t"),
        ("abc\u202egpj.exe\u2028", r"abc\u202egpj.exe\u2028"),
        ("\ud800", r"\ud800"),
        (12, "12"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown(text: object, expected: str) -> None:
    assert printable(text) == expected


def test_long_texts_are_cut() -> None:
    assert printable("a" * 10, 10) == "a" * 10
    assert printable("a" * 11, 10) == "a" * 9 + "…"
    assert printable("\0" * 10, 10) == r"\x00\x00\…"
    assert quoted("it's") == '"it\'s"'
    assert quoted("a" * 100, 10) == "'" + "a" * 9 + "…'"
    assert quoted(["a" * 100], 10) == "['aaaaaaa…"


@given(
    st.text(st.characters()) | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")), st.integers(1, 40)
)
def test_any_text_becomes_one_printable_line(text: str, most: int) -> None:
    for shown in (printable(text, most), quoted(text, most)):
        assert shown.isprintable()
        assert len(shown) <= most + 2
    if text.isprintable() and len(text) <= most:
        assert printable(text, most) == text


def test_messages_keep_their_lines_and_nothing_else() -> None:
    error = UserError("choose one:\n  \x1b[31mred" + "é" * 10_000)
    first, second = str(error).split("\n")
    assert first == "choose one:"
    assert second.startswith(r"  \x1b[31mredéé")
    assert len(second) == 4000
    assert str(UserError("\n" * 10_000)).endswith("… and 9801 more lines")
    assert str(DataError("bad", path="a\nb\x07", line=3)) == r"a\nb\x07, line 3: bad"  # type: ignore[arg-type]


def test_unknown_names_are_cut() -> None:
    message = str(unknown("tag", "x" * 10**6, ["y" * 10**6, *map(str, range(10**3))]))
    assert len(message) < 3 * MAX_LINE + 500
    assert message.endswith("97, 98 and 901 more.")
    assert str(unknown("tag", "\x1b[2J", ["a"])) == r"unknown tag '\x1b[2J'. Known: a."
