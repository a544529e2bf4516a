"""One form of an image's id, wherever it is written."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ita.images.ids import IMAGE_SUFFIXES, image_id


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1", "1"),
        ("1.jpg", "1"),
        (" 1.JPEG\t", "1"),
        ("1.jpg.png", "1"),
        ("17_06.4705", "17_06.4705"),
        ("O_1.2.tiff", "O_1.2"),
        ("images/twitter17/1.jpg", "1"),
        ("a/1", "a/1"),
        ("e\u0301te\u0301.jpg", "été"),
        ("e\u0301te\u0301", "été"),
        (".jpg", ".jpg"),
        ("a/.jpg", "a/.jpg"),
        ("", ""),
    ],
)
def test_extensions_folders_blanks_and_decomposed_characters_do_not_count(name: str, expected: str) -> None:
    assert image_id(name) == expected


@given(
    st.lists(st.sampled_from([*sorted(IMAGE_SUFFIXES), ".JPG", "e\u0301", "/", ".", " ", "1", "\u212b"])).map("".join)
)
def test_an_id_is_its_own_id(name: str) -> None:
    image = image_id(name)
    assert image_id(image) == image
    assert unicodedata.is_normalized("NFC", image)


def test_ids_need_no_image_library() -> None:
    import subprocess

    code = "import sys, lightning_ita.images.ids; sys.exit('PIL' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
