"""A frozen teacher is another cell of the study, or is trained inside the run that it teaches: the same result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_ita.commands import ablate
from lightning_ita.data.controls import Control
from lightning_ita.data.source import Source
from lightning_ita.errors import Terminated
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.cost import costs
from lightning_ita.studies.report.sides import pairs_of, sides_of
from lightning_ita.studies.study import METRICS, Result, part_of
from lightning_ita.studies.tables.ablation import rows_of
from lightning_ita.studies.trained import teacher_folder, waits

TAUGHT = Cell(options=ITAOptions(cva="token", contexts=("cap",), teacher="frozen"))


def test_a_teacher_is_part_of_what_a_cell_is() -> None:
    plain = replace(TAUGHT, options=ITAOptions(cva="token", contexts=("cap",)))
    averaged = replace(TAUGHT, options=ITAOptions(cva="token", contexts=("cap",), teacher="average"))
    assert len({TAUGHT.identity, plain.identity, averaged.identity}) == 3
    assert Cell.from_config(TAUGHT.to_config()) == TAUGHT
    teacher = TAUGHT.teacher
    assert teacher == Cell(options=ITAOptions(cva="off", contexts=("cap",)))
    assert plain.teacher is averaged.teacher is teacher.teacher is None
    other = Control("other-image")
    assert replace(TAUGHT, control=other).teacher == replace(teacher, control=other)
    # A control at test changes nothing in training.
    assert replace(TAUGHT, control=replace(other, at_test=True)).teacher == teacher
    assert waits(TAUGHT, [teacher])
    assert not waits(TAUGHT, [plain])


@pytest.fixture
def study(corpus: Path, tiny_encoder: str, tmp_path: Path) -> list[str]:
    options = {"data-dir": corpus, "encoder": tiny_encoder, "preset": "small", "recipe.epochs": 1}
    return [
        *(f"--{name}={value}" for name, value in options.items()),
        "--contexts=cap",
        "--systems=ita",
        "--seeds=1",
        "--jobs=1",
    ]


def history(out: Path) -> list[dict[str, float]]:
    """Returns the losses of a study's run with CVA, by epoch."""
    (folder,) = (out / "cells").glob("demo-ita-cap-token*")
    found: list[dict[str, float]] = json.loads((folder / METRICS).read_text(encoding="utf-8"))["history"]
    return found


def test_the_teacher_is_trained_once_wherever_it_is_trained(
    study: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    fit_start = Tagger.on_fit_start
    monkeypatch.setattr(Tagger, "on_fit_start", lambda self: (trained.append(self.options.label), fit_start(self))[1])
    both, alone, own = (tmp_path / name for name in ("both", "alone", "own"))
    # The teacher comes last in the plan, and is waited for.
    assert ablate.main([*study, "--cva=token,off", "--ita.teacher=frozen", f"--out={both}"]) == 0
    assert trained == ["ITA-Cap", TAUGHT.label]
    assert not list(both.glob("cells/*/best.ckpt"))
    trained.clear()
    assert ablate.main([*study, "--cva=token", "--ita.teacher=frozen", f"--out={alone}"]) == 0
    assert trained == ["ITA-Cap", TAUGHT.label]
    assert history(both) == history(alone)
    assert ablate.main([*study, "--cva=token", f"--out={own}"]) == 0
    assert history(own) != history(alone)
    text = (both / "table.md").read_text(encoding="utf-8")
    assert TAUGHT.label in text


def test_a_run_that_is_stopped_keeps_its_teacher(
    corpus: Path, tiny_encoder: str, study: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_ita.studies.run import run_cell

    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    cell = replace(TAUGHT, encoder=tiny_encoder, recipe=replace(TAUGHT.recipe, epochs=1))
    source = Source(str(corpus))
    run_cell(cell, undisturbed, source)

    def stop(self: Tagger) -> None:
        if self.options.cva == "token":
            raise Terminated

    with monkeypatch.context() as patched:
        patched.setattr(Tagger, "on_fit_start", stop)
        with pytest.raises(Terminated):
            run_cell(cell, stopped, source)
    resolved = cell.resolve(cell.read(source).digests)
    assert resolved.teacher is not None
    assert (teacher_folder(resolved.teacher, stopped) / "best.ckpt").is_file()
    trained: list[str] = []
    monkeypatch.setattr(Tagger, "on_fit_start", lambda self: trained.append(self.options.label))
    run_cell(cell, stopped, source)
    assert trained == [cell.label]
    first, second = (json.loads((each / METRICS).read_text(encoding="utf-8")) for each in (stopped, undisturbed))
    assert first["history"] == second["history"]
    assert not part_of(stopped).exists()


def test_a_row_with_a_frozen_teacher_is_tested_under_controls(study: list[str], tmp_path: Path) -> None:
    controls = "--control=none,other-image-at-test"
    assert ablate.main([*study, "--cva=token", "--ita.teacher=frozen", controls, f"--out={tmp_path / 'out'}"]) == 0
    folders = list((tmp_path / "out" / "cells").iterdir())
    assert {folder.name.partition("-seed")[0] for folder in folders} == {
        "demo-ita-cap-token-frozen",
        "demo-ita-cap-token-frozen-other-image-at-test",
    }
    assert not list((tmp_path / "out").glob("failed/*"))


def test_a_plan_counts_what_a_teacher_takes(corpus: Path, tiny_encoder: str) -> None:
    taught = replace(TAUGHT, encoder=tiny_encoder)
    assert taught.teacher is not None
    plain = replace(taught, options=ITAOptions(cva="token", contexts=("cap",)))
    read = {"demo": taught.read(Source(str(corpus)))}
    itself, teacher, alone = (costs([cell], read)[0].flop for cell in (plain, taught.teacher, taught))
    beside = costs([taught, taught.teacher], read)[0].flop
    assert alone == beside + teacher
    assert itself < beside < 1.5 * itself


def test_rows_with_teachers_are_compared_with_their_own_simpler_modes() -> None:
    def options(cva: str, **others: object) -> ITAOptions:
        return ITAOptions(cva=cva, contexts=("cap",), **others)  # type: ignore[arg-type]

    own = {"view_parameters": ("emission",)}
    every = [
        options("off"), options("joint"), options("token"), options("token", teacher="frozen"),
        options("token", teacher="frozen", text_only=True), options("joint", **own), options("token", **own),
    ]  # fmt: skip
    sides = sides_of(rows_of([Result(Cell(options=each)) for each in every]))
    found = {
        side.label: [pair.second.label for pair in pairs_of(side, sides, None) if pair.view == "T"] for side in sides
    }
    assert found == {
        "ITA-Cap": [],
        "ITA-Cap, joint": ["ITA-Cap"],
        "ITA-Cap+CVA (token)": ["ITA-Cap", "ITA-Cap, joint"],
        "ITA-Cap+CVA (token), frozen teacher": ["ITA-Cap", "ITA-Cap, joint"],
        "ITA-Cap+CVA (token), frozen teacher, T alone": ["ITA-Cap"],
        "ITA-Cap (I+T's own emission), joint": ["ITA-Cap"],
        "ITA-Cap (I+T's own emission)+CVA (token)": ["ITA-Cap", "ITA-Cap (I+T's own emission), joint"],
    }
