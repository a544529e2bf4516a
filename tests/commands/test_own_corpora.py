"""Corpora of one's own on the command line: which columns are read, which types, and how two stand in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_ita.commands import ablate
from lightning_ita.errors import UserError
from tests.conftest import write_corpus

LINES = "Ted\tB-person\tB-politician\nis\tO\tO\n\nAnn\tB-person\tB-actor\n"


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text(LINES, encoding="utf-8")
    return folder


@pytest.fixture
def options(tiny_encoder: str, tmp_path: Path) -> list[str]:
    recipe = ["--preset=small", "--recipe.epochs=1", "--seeds=1", "--contexts=none", "--jobs=1"]
    return [f"--encoder={tiny_encoder}", *recipe, f"--out={tmp_path / 'out'}"]


def test_further_columns_are_refused_until_two_are_chosen(options: list[str], tmp_path: Path) -> None:
    command = [*options, "--dataset=custom", f"--data-dir={write(tmp_path / 'own')}"]
    with pytest.raises(UserError, match=r"3 columns: 'Ted', 'B-person', 'B-politician'; .*--columns 0,2"):
        ablate.main(command)
    for wrong in ("0", "0,0", "0,-1", "a,b"):
        with pytest.raises(UserError, match="expected two different columns, of word and tag"):
            ablate.main([*command, f"--columns={wrong}"])
    assert ablate.main([*command, "--columns=0,2"]) == 0
    header = (tmp_path / "out" / "cells.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "test/T/politician/f1" in header
    assert "test/T/person/f1" not in header


def test_two_corpora_of_ones_own_stand_in_one_table(options: list[str], tmp_path: Path) -> None:
    for name in ("news", "posts"):
        write(tmp_path / "data" / name)
    data = ["--dataset=custom-news,custom-posts", f"--data-dir={tmp_path / 'data'}", "--columns=0,1"]
    assert ablate.main([*options, *data, "--types=person,place"]) == 0
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "## custom-news" in table
    assert "## custom-posts" in table


def test_contexts_of_one_corpus_that_another_reads_too_are_told(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("news", "posts"):  # with the same image ids
        write_corpus(tmp_path / "data" / name)
    line = '{"image": "train0", "texts": ["a man"]}'
    command = [*options, "--dataset=custom-news,custom-posts", f"--data-dir={tmp_path / 'data'}", "--dry-run"]
    for name in ("news", "posts"):
        (tmp_path / f"{name}.jsonl").write_text(line, encoding="utf-8")
    assert ablate.main([*command, "--contexts=cap", f"--context-files=cap={tmp_path / 'news.jsonl'}"]) == 0
    told = "note: posts: 3 of its images have the id of one of news, and so the same cap context from"
    assert told in capsys.readouterr().out
    assert ablate.main([*command, "--contexts=cap", f"--context-files=cap={tmp_path}/{{dataset}}.jsonl"]) == 0
    assert "have the id of one of" not in capsys.readouterr().out
