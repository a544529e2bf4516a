from __future__ import annotations

from pathlib import Path

import pytest

from lightning_ita.data.views import ViewBuilder
from lightning_ita.models.encoders import load_tokenizer

WORDS = ["Kobe", "naïve", "👍🏽", "\ufe0f", "http://t.co/aB3"]


def test_what_was_tokenised_once_is_not_tokenised_again(tiny_encoder: str, tmp_path: Path) -> None:
    first = ViewBuilder(load_tokenizer(tiny_encoder), 64, cache=tmp_path)
    view = first.text_view("1", WORDS)
    (file,) = tmp_path.iterdir()
    second = ViewBuilder(load_tokenizer(tiny_encoder), 64, cache=tmp_path)
    sep = view.input_ids[-1]
    second.tokenizer = type("Special", (), {"cls_token_id": view.input_ids[0], "sep_token_id": sep})
    assert second.text_view("1", WORDS) == view
    first.text_view("2", ["new"])
    assert "new" in file.read_text(encoding="utf-8")
    file.write_text("damaged", encoding="utf-8")
    assert ViewBuilder(load_tokenizer(tiny_encoder), 64, cache=tmp_path).text_view("1", WORDS) == view


def test_another_tokenizer_has_a_cache_of_its_own(tiny_encoder: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_encoder)
    ViewBuilder(tokenizer, 64, cache=tmp_path).text_view("1", ["Kobe"])
    tokenizer.add_tokens(["kobe"])
    ViewBuilder(tokenizer, 64, cache=tmp_path).text_view("1", ["Kobe"])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("url", ["http://t.co/aB3", "https://t.co/x…", "HTTP://T.CO", "www.nba.com"])
def test_a_normalised_url_is_one_subtoken(tiny_encoder: str, url: str) -> None:
    words = ["see", url, "now"]
    kept = ViewBuilder(load_tokenizer(tiny_encoder), 64).text_view("1", words)
    builder = ViewBuilder(load_tokenizer(tiny_encoder), 64, normalise_urls=True)
    normalised = builder.text_view("1", words)
    assert len(kept.first_subtokens) == len(normalised.first_subtokens) == 3
    assert normalised.first_subtokens[2] - normalised.first_subtokens[1] == 1
    other = ViewBuilder(load_tokenizer(tiny_encoder), 64, normalise_urls=True).text_view(
        "1", ["see", "https://b", "now"]
    )
    assert normalised.input_ids == other.input_ids
    for word in ("https", "httpd", "a.www.b"):
        assert builder.text_view("1", [word]) == ViewBuilder(load_tokenizer(tiny_encoder), 64).text_view("1", [word])
