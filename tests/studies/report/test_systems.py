"""Reports of systems that nobody here has heard of: one tested with images alone, one with options of its own."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from lightning_ita.commands import report
from lightning_ita.data.controls import Control
from lightning_ita.data.source import Source
from lightning_ita.models import MODELS
from lightning_ita.models.ocsga import OCSGAOptions
from lightning_ita.models.options import CROSS_MODAL, Options, TwoViewOptions
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.report.evidence import ALIGNMENT, BASELINE, POOLED, Evidence, weigh
from lightning_ita.studies.report.plots import colours_of
from lightning_ita.studies.report.reading import read_split, read_study
from lightning_ita.studies.tables import ablation
from tests.studies.studies import RECIPE, write_cells


@dataclass(frozen=True)
class PictureOptions(Options):
    """Of a system that cannot do without the image."""

    system: ClassVar[str] = "picture"
    tagger: ClassVar[str] = "lightning_ita.models.encoder_tagger:EncoderTagger"
    title = "Picture [/x]"
    slug = "picture"
    trained_views = tested_views = (CROSS_MODAL,)


@dataclass(frozen=True)
class TwinOptions(TwoViewOptions):
    """Of a system with two views and a size.

    Attributes:
        size: Its size.
    """

    size: int = 1

    system: ClassVar[str] = "twin"
    tagger: ClassVar[str] = "lightning_ita.models.encoder_tagger:EncoderTagger"

    @property
    def title(self) -> str:
        return f"Twin-{self.size}"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for options in (PictureOptions, TwinOptions):
        monkeypatch.setitem(MODELS.entries, options.system, f"{__name__}:{options.__name__}")
    rows = [short_form("none", "off"), short_form("cap", "off"), PictureOptions()]
    rows += [TwinOptions(cva, size) for size in (1, 2) for cva in ("off", "joint", "token")]  # type: ignore[arg-type]
    digests = {name: name * 4 for name in ("train", "valid", "test", "cap")}
    cells = [Cell("twitter15", row, "minilm", seed, RECIPE).resolve(digests) for row in rows for seed in (1, 2)]
    write_cells(tmp_path, cells, {"twitter15": digests})
    return tmp_path


def evidence_of(study: Path) -> Evidence:
    folder = read_study(study)
    return weigh(folder, "twitter15", read_split(folder, "twitter15", Source()), resamples=100)


def test_every_view_of_every_row_is_compared_with_bert_crf(study: Path) -> None:
    family = {(v.first, v.view) for v in evidence_of(study).verdicts if v.question == BASELINE}
    two = ["ITA-Cap", *(f"Twin-{size}{mode}" for size in (1, 2) for mode in ("", ", joint", "+CVA (token)"))]
    assert family == {("Picture [/x]", "I+T"), *((label, view) for label in two for view in ("T", "I+T"))}


def test_rows_trained_on_both_views_are_compared_with_the_same_system_and_options(study: Path) -> None:
    family = [(v.first, v.second, v.against) for v in evidence_of(study).verdicts if v.question == ALIGNMENT]
    expected = []
    for name in ("Twin-1", "Twin-2"):
        joint, token = f"{name}, joint", f"{name}+CVA (token)"
        expected += [(joint, name, "off")] * 2 + [(token, name, "off")] * 2 + [(token, joint, "joint")] * 2
    assert family == expected


def test_rows_that_differ_in_more_than_contexts_are_not_pooled(study: Path) -> None:
    assert not [v for v in evidence_of(study).verdicts if v.question == POOLED]


def test_rows_of_one_name_are_told_apart_and_pooled_by_their_options(tmp_path: Path) -> None:
    rows = [short_form("none", "off")]
    rows += [OCSGAOptions(kind=kind, heads=heads) for heads in (2, 4) for kind in ("tag", "cap")]
    digests = {name: name * 4 for name in ("train", "valid", "test", "tag", "cap")}
    cells = [Cell("twitter15", row, "minilm", seed, RECIPE).resolve(digests) for row in rows for seed in (1, 2)]
    write_cells(tmp_path, cells, {"twitter15": digests})
    names = [f"{title} (heads {heads})" for heads in (2, 4) for title in ("OCSGA", "OCSGA (Cap)")]
    results = read_study(tmp_path).results
    assert [row.label for row in ablation.rows_of(results)] == ["BERT-CRF", *names]
    lines = list(csv.DictReader(ablation.cells_csv(results).splitlines()))
    assert [line["label"] for line in lines[2::2]] == names
    family = {(v.first, v.second) for v in evidence_of(tmp_path).verdicts if v.question == POOLED}
    assert family == {(f"OCSGA (heads {heads})", "BERT-CRF") for heads in (2, 4)}


def test_a_view_that_a_row_has_not_is_a_gap_and_nothing_else_changes(study: Path) -> None:
    results = read_study(study).results
    assert "| Picture \\[/x] | – | – | " not in (text := ablation.markdown(results))
    assert "| Picture [/x] | – | – | " in text
    lines = list(csv.DictReader(ablation.table_csv(results).splitlines()))
    assert [line["view"] for line in lines if line["system"] == "Picture [/x]"] == ["I+T"]
    assert report.main([str(study), "--resamples=100"]) == 0
    page = (study / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5
    assert "Picture [/x] · I+T" in page


def test_rows_that_differ_by_their_training_mode_alone_have_one_colour(study: Path) -> None:
    evidence = evidence_of(study)
    colours = {row.label: colour for row, colour in colours_of(evidence, evidence.rows).items()}
    assert colours["Twin-1"] == colours["Twin-1, joint"]
    assert len({colours[label] for label in ("BERT-CRF", "ITA-Cap", "Picture [/x]", "Twin-1", "Twin-2")}) == 5


def test_a_row_of_a_control_has_a_colour_of_its_own(study: Path) -> None:
    evidence = evidence_of(study)
    row = next(row for row in evidence.rows if row.label == "ITA-Cap")
    control = Control.parse("other-image")
    results = tuple(replace(each, cell=replace(each.cell, control=control)) for each in row.runs.results)
    other = replace(row, runs=replace(row.runs, results=results))
    colours = colours_of(replace(evidence, rows=[*evidence.rows, other]), [row, other])
    assert colours[row] != colours[other]
