from __future__ import annotations

from pathlib import Path

import pytest

from lightning_ita.contexts.kinds import RESERVED, parse_contexts, system_name
from lightning_ita.errors import UserError


@pytest.mark.parametrize(
    ("text", "kinds", "system"),
    [
        ("none", (), "BERT-CRF"),
        ("", (), "BERT-CRF"),
        ("tag,cap", ("cap", "tag"), "ITA-Tag+Cap"),
        (" OCR ", ("ocr",), "ITA-OCR"),
        ("ocr,tag,cap", ("cap", "tag", "ocr"), "ITA-All"),
        ("know,cap", ("cap", "know"), "ITA-Cap+Know"),
        ("ret,know", ("ret", "know"), "ITA-Ret+Know"),
        ("know,ocr,tag,cap", ("cap", "tag", "ocr", "know"), "ITA-Tag+Cap+OCR+Know"),
    ],
)
def test_combinations_are_read_and_named(text: str, kinds: tuple[str, ...], system: str) -> None:
    assert parse_contexts(text) == parse_contexts(list(kinds)) == kinds
    assert system_name(kinds) == system


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tags", "unknown context 'tags'. Did you mean 'tag'"),
        ("tag,tag", "'tag' is named twice"),
        ("cap,none", "none stands alone, without other kinds"),
        ("cap,train", "is reserved"),
        ("cap,all", "is reserved"),  # ITA-All is the paper's
        ("boxes", "is reserved"),  # of detectors, in identities
        ("../x", "is named by a small letter and at most 15 small letters and digits$"),
        ("a b", "small letters and digits"),
        ("know-2", "'know-2': a kind is named by a small letter and at most 15 small letters and digits"),
        ("cap,know+ret", "'know\\+ret': .*; separate kinds by commas"),
        ("capp", "a kind of your own is a short name"),
        ("know,know", "named twice"),
    ],
)
def test_mistakes_are_said(text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        parse_contexts(text)


def test_reserved_names_are_documented() -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "own-context.md"
    assert [name for name in sorted(RESERVED) if f"`{name}`" not in page.read_text(encoding="utf-8")] == []
