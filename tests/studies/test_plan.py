"""The plan on disk: it grows, keeps what was planned before, and names what is damaged."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells import write_results
from lightning_ita.commands import align
from lightning_ita.commands.ablate import MOST_LINES, plan_table
from lightning_ita.data.source import Source
from lightning_ita.errors import DataError, UserError
from lightning_ita.models.options import CVA
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.rpbert import RpBERTOptions
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell, short_form, written_again
from lightning_ita.studies.cost import Cost
from lightning_ita.studies.plan import (
    CELLS,
    PLAN,
    Study,
    open_folder,
    plan,
    read_corpora,
    read_plan,
    read_source,
    write_plan,
)
from lightning_ita.studies.records import PlanLine
from lightning_ita.studies.study import Result, collect
from lightning_ita.studies.tables.ablation import rows_of
from tests.conftest import write_tiny_encoder

DIGESTS = {name: name * 8 for name in ("train", "valid", "test", "cap")}


def planned(*seeds: int) -> list[Cell]:
    rows = (short_form((), "off"), short_form(("cap",), "token"))
    return [Cell("demo", row, seed=seed).resolve(DIGESTS) for seed in seeds for row in rows]


def test_a_plan_that_grows_keeps_what_was_planned_before(tmp_path: Path) -> None:
    write_plan(tmp_path, planned(1, 2))
    write_plan(tmp_path, planned(3, 2))
    assert read_plan(tmp_path) == planned(3, 2, 1)
    names = [json.loads(line)["name"] for line in (tmp_path / PLAN).read_text(encoding="utf-8").splitlines()]
    assert names == [cell.name for cell in planned(3, 2, 1)]


def test_a_cell_planned_before_that_is_damaged_is_named(tmp_path: Path) -> None:
    write_plan(tmp_path, planned(1))
    path = tmp_path / PLAN
    path.write_text(path.read_text(encoding="utf-8").replace('"epochs": ', '"epochs": -'), encoding="utf-8")
    with pytest.raises(DataError, match=r"plan.jsonl: cell 'demo-bert-crf-seed1-.*epochs"):
        write_plan(tmp_path, planned(2))


def test_cells_are_planned_seed_by_seed_and_are_those_of_each_seed_alone(corpus: Path) -> None:
    rows = (short_form((), "off"), short_form(("cap",), "token"))
    study = Study(("demo",), rows, "minilm", (4, 5), Recipe())
    corpora = read_corpora(study, Source(data_dir=str(corpus)))
    cells = plan(study, corpora)
    assert [(cell.seed, cell.options) for cell in cells] == [(seed, row) for seed in (4, 5) for row in rows]
    alone = [cell for seed in (4, 5) for cell in plan(replace(study, seeds=(seed,)), corpora)]
    assert [cell.identity for cell in cells] == [cell.identity for cell in alone]


def test_a_dry_run_of_thousands_of_cells_lists_the_first() -> None:
    results = [Result(cell) for cell in planned(*range(MOST_LINES))]
    table = plan_table(results, [Cost(10, 100, 1e12)] * len(results), 1e9)
    assert table.row_count == MOST_LINES
    assert str(table.title).startswith(f"{2 * MOST_LINES} cells, about {round(2 * MOST_LINES * 1000 / 60)} minutes")
    assert str(table.caption).startswith(f"the first {MOST_LINES} cells; at 1 GFLOP/s")


def test_a_dry_run_of_less_than_a_minute_says_so() -> None:
    table = plan_table([Result(cell) for cell in planned(1)], [Cost(10, 100, 1e9)] * 2, 1e9)
    assert table.title is not None
    assert str(table.title) == "2 cells, less than a minute"
    assert "just now" in str(table.caption)


def grow(out: Path, corpus: Path, seed: int, contexts: tuple[str, ...] = (), **known: Any) -> None:
    source = Source(data_dir=str(corpus), **known)
    study = Study(("demo",), (short_form(contexts, "off"),), "minilm", (seed,), Recipe(precision="float32"))
    corpora = read_corpora(study, source)
    open_folder(out, study, corpora, plan(study, corpora), source)


def test_a_study_that_grows_keeps_where_its_data_lie(corpus: Path, tmp_path: Path) -> None:
    cap, tag = (str(next(corpus.rglob(f"*.{kind}.*jsonl"))) for kind in ("cap", "tag"))
    grow(tmp_path, corpus, 1, ("cap",), context_files={"cap": cap}, image_dir=str(corpus), types=("PER", "LOC"))
    grow(tmp_path, corpus, 2)
    grow(tmp_path, corpus, 2, ("tag",), context_files={"tag": tag})
    source = read_source(tmp_path, Source())
    assert source.context_files == {"cap": cap, "tag": tag}
    assert (source.image_dir, list(source.types or ())) == (str(corpus), ["PER", "LOC"])


def test_rows_that_were_added_are_read_where_their_command_read_them(corpus: Path, tmp_path: Path) -> None:
    cap = next(corpus.rglob("*.cap.*jsonl"))
    shutil.copy(cap, tmp_path / "mine.jsonl")
    align.main(["--import", str(cap), f"--store={tmp_path / 'store.db'}"])
    of_both = Study(("demo",), (short_form(("cap", "tag"), "off"),), "minilm", (1,), Recipe())
    grow(tmp_path / "a", corpus, 1, ("cap",), context_store=str(tmp_path / "store.db"))
    grow(tmp_path / "b", corpus, 1, ("cap",), context_files={"cap": str(tmp_path / "mine.jsonl")})
    (tmp_path / "mine.jsonl").unlink()
    grow(tmp_path / "a", corpus, 2, ("tag",))
    grow(tmp_path / "b", corpus, 2, ("cap", "tag"))
    for name in ("a", "b"):
        corpora = read_corpora(of_both, read_source(tmp_path / name, Source()))
        assert set(corpora["demo"].contexts) == {"cap", "tag"}


def test_a_study_that_two_processes_grow_at_once_keeps_the_rows_of_both(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(tmp_path, corpus, 1)
    read = schema.read_plan

    def slow(path: Path) -> list[PlanLine]:
        lines = list(read(path))
        time.sleep(0.5)
        return lines

    monkeypatch.setattr(schema, "read_plan", slow)
    with ThreadPoolExecutor() as pool:
        for grown in [pool.submit(grow, tmp_path, corpus, seed) for seed in (2, 3)]:
            grown.result()
    assert sorted(cell.seed for cell in read_plan(tmp_path)) == [1, 2, 3]


def test_an_encoder_that_is_written_again_under_its_name_is_another_study(corpus: Path, tmp_path: Path) -> None:
    encoder, source = write_tiny_encoder(tmp_path / "encoder"), Source(data_dir=str(corpus))
    study = Study(("demo",), (short_form((), "off"),), encoder, (1,), Recipe(precision="float32"))
    corpora = read_corpora(study, source)
    out = tmp_path / "study"
    open_folder(out, study, corpora, plan(study, corpora), source)
    grown = replace(study, seeds=(1, 2))
    open_folder(out, grown, corpora, plan(grown, corpora), source)
    write_tiny_encoder(tmp_path / "encoder", hidden=16)
    grown = replace(study, rows=(short_form(("cap",), "off"),))
    corpora = read_corpora(grown, source)
    with pytest.raises(UserError, match=r"another study: it differs in the content of the encoder '.*encoder' \("):
        open_folder(out, grown, corpora, plan(grown, corpora), source)
    assert [cell.seed for cell in read_plan(out)] == [1, 2]


@pytest.mark.parametrize("mode", ["off", "token"])
def test_relations_that_are_written_again_are_another_study(mode: CVA) -> None:
    cell = Cell("demo", RpBERTOptions(relation_weight=0.5), data={"relations": "a" * 64})
    later = replace(cell, options=cell.options.in_mode(mode), data={"relations": "b" * 64})
    expected = ["the content of rpbert's relations (SHA-256 aaaaaaaa… there, bbbbbbbb… now)"]
    assert written_again([cell], [replace(later, data=cell.data)]) == []
    assert written_again([cell], [later]) == expected
    other = RpBERTOptions(relation_weight=0.5, relations="other.csv")
    assert written_again([cell], [replace(later, options=other)]) == []


def test_made_up_results_are_read_as_those_of_runs(tmp_path: Path) -> None:
    cells = planned(1, 2)
    for cell in cells:
        write_results(cell, tmp_path / CELLS / cell.name)
    results = collect(cells, tmp_path)
    assert not any(result.left or result.stale for result in results)
    assert [len(row.finished) for row in rows_of(results)] == [2, 2]
