from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lightning_ita.data.views import ViewBuilder
from lightning_ita.data.word_cache import WordCache
from lightning_ita.errors import UserError
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


@pytest.mark.parametrize("damage", ["text", "id", "word", "cut", "foreign", "pipe", "deep"])
def test_a_damaged_or_foreign_file_is_written_again(tiny_encoder: str, tmp_path: Path, damage: str) -> None:
    view = ViewBuilder(load_tokenizer(tiny_encoder), 64, cache=tmp_path).text_view("1", WORDS)
    (file,) = tmp_path.iterdir()
    good = file.read_text(encoding="utf-8")
    header, _, content = good.partition("\n")
    first = json.loads(content)["Kobe"][0]
    (tmp_path / "other").mkdir()
    tokenizer = load_tokenizer(tiny_encoder)
    tokenizer.add_tokens(["kobe"])
    ViewBuilder(tokenizer, 64, cache=tmp_path / "other").text_view("1", WORDS)
    (foreign,) = (tmp_path / "other").iterdir()
    damaged = {
        "text": "damaged",
        "id": good.replace(f'"Kobe":[{first},', f'"Kobe":[{first + 1},'),
        "word": good.replace('"Kobe"', '"Kobi"'),
        "cut": good[:-5],
        "foreign": foreign.read_text(encoding="utf-8"),
        "pipe": "",
        "deep": header + "\n" + "[" * 100_000,
    }
    assert damaged[damage] != good
    if damage == "pipe":
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(UserError, match="not a regular file"):  # a person put it there
            ViewBuilder(load_tokenizer(tiny_encoder), 64, cache=tmp_path).text_view("1", WORDS)
        return
    file.write_text(damaged[damage], encoding="utf-8")
    assert WordCache(tmp_path, load_tokenizer(tiny_encoder)).read() == {}
    assert ViewBuilder(load_tokenizer(tiny_encoder), 64, cache=tmp_path).text_view("1", WORDS) == view
    assert file.read_text(encoding="utf-8") == good


@pytest.mark.parametrize("value", [[], [-1], [10**6], [True], [1.0], ["1"], 5, None, [[1]]])
def test_values_are_ids_of_the_vocabulary(tiny_encoder: str, tmp_path: Path, value: object) -> None:
    cache = WordCache(tmp_path, load_tokenizer(tiny_encoder))
    cache.write({"a": [5], "b": value})  # type: ignore[dict-item]  # with the right digest
    assert cache.read() == {}
    cache.write({"a": [5], "b": [6, 7]})
    assert cache.read() == {"a": [5], "b": [6, 7]}


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
