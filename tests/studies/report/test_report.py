"""Reports of studies written by hand, whose numbers are known."""

from __future__ import annotations

import csv
import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import lightning_ita.studies.run
from lightning_ita.commands import ablate, report
from lightning_ita.commands.cli import guard
from lightning_ita.data.controls import Control
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, write
from lightning_ita.statistics.comparison import Comparison
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.report import plots
from lightning_ita.studies.report.evidence import ALIGNMENT, BASELINE, CONTROL, IMAGE, POOLED, Verdict, weigh
from lightning_ita.studies.report.examples import galleries, mentions
from lightning_ita.studies.report.findings import findings, gaps
from lightning_ita.studies.report.gains import gains_by_context
from lightning_ita.studies.report.reading import read_split, read_study
from lightning_ita.studies.study import Result
from lightning_ita.studies.tables.ablation import conditions, markdown, models_of_their_own, rows_of
from tests.studies.studies import TWEETS, first_version, latex_with_booktabs, write_cell, write_cells, write_study

FILES = ("report.html", "report.md", "tables.tex", "rows.csv", "comparisons.csv", "types.csv")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path / "study")
    return tmp_path / "study"


def reported(study: Path, *options: str) -> dict[str, str]:
    assert report.main([str(study), "--resamples=300", *options]) == 0
    return {name: (study / "report" / name).read_text(encoding="utf-8") for name in FILES}


def evidence_of(study: Path, dataset: str = "twitter15"):  # type: ignore[no-untyped-def]
    folder = read_study(study)
    return weigh(folder, dataset, read_split(folder, dataset, Source()), resamples=300)


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_report_is_written_whole_and_the_same_again(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = reported(study)
    shown = capsys.readouterr().out
    assert "Does it beat BERT-CRF?" in shown
    assert "ITA-Cap+CVA (token)" in shown
    assert all(first.values())
    assert reported(study) == first


def test_nothing_is_trained(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning_ita.studies.run, "run_cell", lambda *_: pytest.fail("a report ran a cell"))
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    reported(study)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_rows_hold_what_numpy_and_scipy_compute(study: Path) -> None:
    files = reported(study)
    scores: dict[tuple[str, str], list[float]] = {}
    for folder in sorted((study / "cells").iterdir()):
        label = "BERT-CRF" if "bert" in folder.name else "ITA-Cap+CVA (token)" if "token" in folder.name else "ITA-Cap"
        for view, found in json.loads((folder / "metrics.json").read_text())["test"].items():
            scores.setdefault((label, view), []).append(found["f1"])
    base = scores["BERT-CRF", "T"]
    lines = records(files["rows.csv"])
    assert {(line["system"], line["view"]) for line in lines} == set(scores)
    for line in lines:
        values = scores[line["system"], line["view"]]
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        expected = (np.mean(values), np.std(values, ddof=1), low, high)
        found = [float(line[f"f1_{name}"]) for name in ("mean", "std", "low", "high")]
        assert found == pytest.approx(expected, abs=1e-3)
        if line["system"] != "BERT-CRF":
            assert float(line["gain"]) == pytest.approx(np.mean(values) - np.mean(base), abs=1e-3)
    by_view = {line["view"]: line for line in lines if line["system"] == "ITA-Cap+CVA (token)"}
    kept = float(by_view["T"]["gain"]) / float(by_view["I+T"]["gain"])
    assert float(by_view["T"]["kept"]) == pytest.approx(kept, abs=1e-3)
    assert 0.2 < kept < 0.9
    assert {line["mark"] for line in lines if line["view"] == "I+T"} == {"*"}


def test_corrected_p_values_stand_beside_the_uncorrected(study: Path) -> None:
    lines = records(reported(study)["comparisons.csv"])
    families = {line["family"] for line in lines}
    assert families == {BASELINE, ALIGNMENT, IMAGE}
    assert [line["family"] for line in lines].count(BASELINE) == 4
    for line in lines:
        assert float(line["holm_p_methods"]) >= float(line["p_methods"])
        assert float(line["low"]) < float(line["difference"]) < float(line["high"])


def test_types_hold_precision_recall_and_f1(study: Path) -> None:
    lines = records(reported(study)["types.csv"])
    assert {line["type"] for line in lines} == {"PER", "LOC", "ORG", "OTHER"}
    line = next(line for line in lines if line["system"] == "BERT-CRF" and line["type"] == "LOC")
    metrics = [json.loads(p.read_text()) for p in (study / "cells").glob("*bert*/metrics.json")]
    assert float(line["recall_mean"]) == pytest.approx(
        np.mean([m["test"]["T"]["LOC/recall"] for m in metrics]), abs=1e-3
    )


def test_the_papers_numbers_stand_beside_with_both_encoders_named(study: Path) -> None:
    files = reported(study)
    assert "74.79 (BERT)" in files["report.md"]
    assert "minilm − BERT" in files["report.md"]
    line = next(line for line in records(files["rows.csv"]) if line["system"] == "BERT-CRF")
    assert float(line["minus_paper"]) == pytest.approx(float(line["f1_mean"]) - 74.79, abs=1e-3)
    assert line["paper_source"]


def test_missing_failed_and_stale_cells_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    cells = write_study(out, missing=[("token", 2), ("token", 3)])
    failed = next(cell for cell in cells if (cell.cva, cell.seed) == ("token", 3))
    (out / "failed" / f"{failed.name}.log").write_text("the loss became nan\n\nTraceback ...")
    old = out / "cells" / cells[0].name
    old.rename(old.with_name(old.name[:-16] + "0" * 16))
    (out / "cells" / ".twitter15-half.part").mkdir()
    text = reported(out)["report.md"]
    assert "- ITA-Cap+CVA (token), seed 2: not run" in text
    assert "- ITA-Cap+CVA (token), seed 3: failed: the loss became nan" in text
    assert "- BERT-CRF, seed 1: stale" in text
    assert "1/3 (1 failed)" in text
    assert "note: ITA-Cap+CVA (token), seed 3: failed: the loss became nan" in capsys.readouterr().out
    # One seed: no interval over seeds, no test of methods, but a test over tweets.
    verdict = next(v for v in evidence_of(out).verdicts if v.first == "ITA-Cap+CVA (token)" and v.view == "I+T")
    assert verdict.comparison.seeds == (1, 3)
    assert (verdict.p_methods, verdict.mark) == (None, "°")


def test_a_row_none_of_whose_cells_is_finished_is_a_gap(tmp_path: Path) -> None:
    out = tmp_path / "study"
    cells = write_study(out, kinds=("cap", "tag"), seeds=(1,))
    for cell in cells:
        if cell.contexts == ("tag",):
            shutil.rmtree(out / "cells" / cell.name)
    text = reported(out)["report.md"]
    assert re.search(r"\| ITA-Tag \| – \| – \| – \| – \| – \| 0/1 \|", text)
    assert "- ITA-Tag+CVA (token), seed 1: not run" in text


def test_the_temperature_is_told_where_it_plays_a_part(study: Path, tmp_path: Path) -> None:
    said = conditions(rows_of(read_study(study).results))
    assert "; temperature of token CVA: 4; " in said
    write_study(tmp_path / "off", modes=("off",))
    assert "temperature" not in conditions(rows_of(read_study(tmp_path / "off").results))


def test_cut_contexts_are_told_below_the_table(study: Path) -> None:
    rows = rows_of(read_study(study).results)
    assert "were cut" not in conditions(rows)
    metrics = next((study / "cells").glob("*-ita-cap-*")) / "metrics.json"
    content = json.loads(metrics.read_text(encoding="utf-8"))
    content["splits"]["test"]["context_cut"] = 7
    metrics.write_text(json.dumps(content), encoding="utf-8")
    said = conditions(rows_of(read_study(study).results))
    assert "contexts of up to 7 tweets of test were cut to the encoder's length" in said


def test_one_seed_has_no_interval_and_says_so(tmp_path: Path) -> None:
    write_study(tmp_path / "study", seeds=(4,))
    files = reported(tmp_path / "study")
    assert "±" not in files["rows.csv"]
    assert all(line["f1_std"] == line["f1_low"] == "" for line in records(files["rows.csv"]))
    assert all(line["f1_low_over_tweets"] for line in records(files["rows.csv"]))
    assert "Every row has one seed" in files["report.md"]
    assert "no standard deviation and no interval over seeds" in files["report.html"]


def test_a_study_without_bert_crf_tells_what_alignment_changes(tmp_path: Path) -> None:
    cells = [cell for cell in write_study(tmp_path / "study", seeds=(4,)) if cell.contexts]
    write_cells(tmp_path / "own", cells, {"twitter15": cells[0].data})
    study = read_study(tmp_path / "own")
    found = findings(weigh(study, "twitter15", read_split(study, "twitter15", Source())))
    assert found[0].startswith("In the text view, ")
    assert found[1].startswith("Every row has one seed")
    assert len(found) == 2


def test_several_data_sets_are_sections_of_one_page(tmp_path: Path) -> None:
    write_study(tmp_path / "study", datasets=("twitter15", "twitter17"), seeds=(1, 2))
    page = reported(tmp_path / "study")["report.html"]
    assert [f'<section id="{name}">' in page for name in ("twitter15", "twitter17")] == [True, True]
    assert '<a href="#twitter17">' in page


def test_a_page_to_publish_quotes_no_tweet(study: Path) -> None:
    assert '<p class="tweet"' in reported(study)["report.html"]
    page = reported(study, "--examples=false")["report.html"]
    assert '<p class="tweet"' not in page
    assert "Tweets were left out of this page" in page
    assert page.count("<svg") == 5


def test_without_a_gain_nothing_is_kept(tmp_path: Path) -> None:
    write_study(tmp_path / "study", rates=lambda cell, view: 0.7)
    found = evidence_of(tmp_path / "study")
    assert all(row.kept is None for row in found.rows)
    assert "there is no gain for the text view to keep" in " ".join(findings(found))


def test_a_text_view_below_bert_crf_is_told(tmp_path: Path) -> None:
    write_study(
        tmp_path / "study", rates=lambda cell, view: 0.7 if not cell.contexts else 0.9 if view == "I+T" else 0.6
    )
    found = evidence_of(tmp_path / "study")
    assert all(row.kept.value < 0 for row in found.rows if row.kept is not None)
    assert "; negative: it is below BERT-CRF)" in " ".join(findings(found))


def test_a_report_of_many_rows_stays_readable(tmp_path: Path) -> None:
    kinds = [f"know{letter}" for letter in "abcdefghij"]
    write_study(tmp_path / "study", kinds=kinds, seeds=(1, 2), missing=[("off", 2)])
    study = read_study(tmp_path / "study")
    split = read_split(study, "twitter15", Source())
    found = weigh(study, "twitter15", split, resamples=2000)  # p values of 20 comparisons are corrected
    text = findings(found)
    assert max(map(len, text)) < 400
    shares = {row.label: row.kept.value for row in found.rows if row.kept is not None}
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    assert f"the text views of {len(shares)} rows keep from {least} " in text[1]
    assert f" to {most} " in text[1]
    tested = [verdict for verdict in found.verdicts if (verdict.question, verdict.view) == (ALIGNMENT, "T")]
    assert f"in {sum(bool(each.mark) for each in tested)} of {len(tested)} comparisons" in text[2]
    told = gaps(study, found)
    assert "10 runs of 10 rows, from ITA-Knowa on: not run" in told

    best = sorted(found.rows[1:], key=lambda row: -(row.runs.mean("I+T", "f1", "valid") or 0))[: plots.MOST_LINES]
    labels = re.findall(r">((?:BERT|ITA)[^<]*) · (?:I\+)?T<", plots.learning_plot(found))
    assert sorted(labels) == sorted(["BERT-CRF", *(row.label for row in best)])
    drawn = found.rows[1::2][: plots.MOST_LINES]  # of one mode
    assert len(set(plots.colours_of(found, drawn).values())) == len(drawn)


class Page(html.parser.HTMLParser):
    """Notes what a page would load, and which elements it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.elements: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") and value:
                self.loads.append(value)
            if name == "id" and value:
                self.ids.append(value)


def test_a_page_needs_nothing_but_itself_and_escapes_tweets(study: Path) -> None:
    text = reported(study)["report.html"]
    page = Page()
    page.feed(text)
    assert all(value.startswith("#") or value == "data:," for value in page.loads)
    assert "script" not in page.elements
    assert page.elements.count("svg") == 5
    assert len(page.ids) == len(set(page.ids))
    assert {value[1:] for value in page.loads if value.startswith("#")} <= set(page.ids)
    assert "&lt;script&gt;alert(1)" in text
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    # Every colour of a plot is one of the page's own, light or dark.
    svg = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff", "#000000"}
    assert set(re.findall(r"var\(--([\w-]+)\)", svg)) <= set(re.findall(r"--([\w-]+):", style[1]))


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_shows_a_page_without_a_request_or_a_complaint(study: Path, tmp_path: Path) -> None:
    reported(study)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    options += [
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    options += ["--enable-logging=stderr", "--dump-dom", f"--log-net-log={tmp_path / 'net.json'}"]
    shown = subprocess.run(
        [str(CHROMIUM), *options, (study / "report" / "report.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert shown.stdout.count("<svg") == 5
    assert "CONSOLE" not in shown.stderr
    requested = re.findall(r'"url":"([^"]*)"', (tmp_path / "net.json").read_text(errors="replace"))
    assert not [url for url in requested if "t.co" in url or "w3.org" in url]


@pytest.mark.skipif(not latex_with_booktabs(), reason="no pdfLaTeX with booktabs and graphicx here")
def test_latex_compiles(study: Path, tmp_path: Path) -> None:
    reported(study)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}"
        rf"\begin{{document}}\input{{{study / 'report' / 'tables.tex'}}}\end{{document}}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "paper.tex"]
    compiled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert compiled.returncode == 0, compiled.stdout[-2000:]


def test_latex_has_rules_bold_best_and_marks(study: Path) -> None:
    text = reported(study)["tables.tex"]
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{table*}") == 6
    assert r"\textbf{" in text
    assert "$^{*}$" in text
    assert text.count("{") == text.count("}")


def test_examples_are_those_that_context_decides(tmp_path: Path) -> None:
    write_study(tmp_path / "study", rates=lambda cell, view: 0.0 if view == "T" else 1.0)
    found = {gallery.title: gallery for gallery in galleries(evidence_of(tmp_path / "study"))}
    assert set(found) == {"Fixed by the image", "T against I+T"}
    gallery = found["Fixed by the image"]
    assert gallery.total == TWEETS
    example = gallery.examples[0]
    assert [span.type for span in example.gold] == ["", "PER", "", "PER", ""]
    assert example.seeds == (3, 3)
    wrong, right = example.systems.values()
    assert {span.status for span in wrong} <= {"wrong", "missed"}
    assert [(span.text, span.status) for span in right] == [
        ("<script>alert(1)</script> Jordan0", "right"),
        ("Nike", "right"),
    ]
    with_context = next(each for each in gallery.examples if each.tweet == "id2")
    assert with_context.contexts == {"Cap": "cap says · cap says"}


def test_examples_have_their_own_contexts_beside_rows_with_other_images(tmp_path: Path) -> None:
    out = tmp_path / "study"
    for cell in write_study(out, modes=("off",), seeds=(1,)):
        if cell.contexts:
            control = replace(cell, control=Control("other-image", at_test=True))
            assert control.name < cell.name  # and is read before it
            write_cell(out, control)
    assert evidence_of(out).split.contexts["cap"][1] == ("cap says",)


@pytest.mark.parametrize("at_test", [True, False])
def test_the_text_view_of_a_control_at_test_is_tested_once(tmp_path: Path, at_test: bool) -> None:
    """Its models are those of the row without: in two families of tests, one difference would have two marks."""
    out = tmp_path / "study"
    for cell in write_study(out, modes=("off", "joint"), seeds=(1, 2)):
        if cell.contexts:
            write_cell(out, replace(cell, control=Control("other-image", at_test)))
    tested = {(v.against, v.view) for v in evidence_of(out).verdicts if v.question == CONTROL}
    in_text = set() if at_test else {("BERT-CRF", "T"), ("off", "T")}
    assert tested == {("BERT-CRF", "I+T"), ("off", "I+T"), ("T", "I+T"), ("right images", "I+T")} | in_text


def test_a_control_at_test_of_another_model_is_told(tmp_path: Path) -> None:
    out = tmp_path / "study"
    for cell in write_study(out, modes=("off",), seeds=(1,)):
        if cell.contexts:
            folder = write_cell(out, replace(cell, control=Control("other-image", at_test=True)))
    assert not models_of_their_own(rows_of(read_study(out).results))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    metrics["valid"]["T"]["f1"] += 0.01
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (line,) = models_of_their_own(rows_of(read_study(out).results))
    assert line.startswith("ITA-Cap, other image at test, seed 1: its model was trained again")
    assert line in reported(out)["report.md"]
    assert line in markdown(read_study(out).results)


def test_a_folder_of_an_encoder_is_not_published(tmp_path: Path) -> None:
    cell = replace(Cell("twitter15", short_form((), "off")), encoder="/home/someone/deep/bert")
    result = Result(cell)
    assert "encoder bert, " in conditions(rows_of([result]))


def test_rows_together_are_not_compared_where_one_mode_lacks_contexts(tmp_path: Path) -> None:
    out = tmp_path / "study"
    cells = write_study(out, kinds=("cap", "tag"))
    for cell in cells:
        if cell.contexts == ("cap",) and cell.cva == "off":
            more = Cell("twitter15", short_form("ocr", "off"), "minilm", cell.seed, cell.recipe)
            write_cell(out, more.resolve(read_study(out).data["twitter15"]))
    pairs = {(v.first, v.second) for v in evidence_of(out).verdicts if v.question == POOLED}
    assert pairs == {("ITA", "BERT-CRF"), ("ITA+CVA (token)", "BERT-CRF")}


def test_mentions_are_read_as_seqeval_reads_them() -> None:
    assert mentions(("B-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG", "I-ORG")) == [
        (0, 2, "PER"),
        (2, 3, "PER"),
        (4, 5, "LOC"),
        (5, 7, "ORG"),
    ]


def test_gains_are_told_apart_by_how_much_context_there_is(tmp_path: Path) -> None:
    write_study(tmp_path / "study")
    found = evidence_of(tmp_path / "study")
    row = next(row for row in found.rows if row.label == "ITA-Cap")
    bins = gains_by_context(found, row)
    assert [each.tweets for each in bins] == [TWEETS // 4] * 4
    assert [each.words for each in bins] == [0.0, 3.0, 6.0, 9.0]  # texts of two words, commas and a full stop
    assert all(each.low <= each.gain <= each.high for each in bins)


def test_predictions_without_words_give_a_report_without_examples(tmp_path: Path) -> None:
    write_study(tmp_path / "study", with_words=False)
    page = reported(tmp_path / "study")["report.html"]
    assert "Give --data-dir to read the words" in page
    assert "Gain and context" not in page


def verdict(p_bootstrap: float, p_randomisation: float, p_methods: float | None) -> Verdict:
    comparison = Comparison(1.0, 0.1, 1.9, 0.5, 0.5, 0.5, (3, 3), None)
    return Verdict(BASELINE, "a", "b", "b", "T", comparison, p_bootstrap, p_randomisation, p_methods)


@pytest.mark.parametrize(
    ("p_values", "mark"),
    [((0.01, 0.01, 0.01), "*"), ((0.01, 0.01, 0.2), "°"), ((0.01, 0.2, 0.01), ""), ((0.01, 0.01, None), "°")],
)
def test_marks_need_every_test_of_their_level(p_values: tuple[float, float, float | None], mark: str) -> None:
    assert verdict(*p_values).mark == mark


def damaged(study: Path, name: str, change: str) -> None:
    path = sorted((study / "cells").glob("*token*"))[0] / name
    lines = path.read_text(encoding="utf-8").split("\n")
    if change == "cut":
        path.write_text("\n".join(lines)[:-40], encoding="utf-8")
    elif change == "score":
        path.write_text(re.sub(r'"LOC/recall": [\d.]+', '"LOC/recall": 12.5', "\n".join(lines)), encoding="utf-8")
    else:
        path.write_text("\n".join([lines[0].replace("id0", "other"), *lines[1:]]), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("metrics.json", "cut", "metrics.json: damaged: not JSON"),
        ("metrics.json", "score", "does not give the score"),
        ("predictions.test.jsonl", "cut", "damaged: not JSON"),
        ("predictions.test.jsonl", "tweets", "other tweets or gold tags"),
        ("config.yaml", "cut", "config.yaml: damaged"),
    ],
)
def test_damaged_cells_end_with_a_message(
    study: Path, name: str, change: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(study, name, change)
    with pytest.raises(SystemExit) as ended:
        guard(lambda _: report.main([str(study)]))
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert expected in error
    assert "Traceback" not in error
    assert not (study / "report").exists()


def test_bad_arguments_end_with_a_message(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    shutil.copytree(study, empty)
    shutil.rmtree(empty / "cells")
    cases = {
        str(tmp_path): "holds no study",
        str(empty): "no finished cell yet",
        f"{study} --resamples=5": "--resamples 5: expected 100 or more",
        f"{study} --out={study / 'study.json' / 'below'}": "study.json",
    }
    for command, expected in cases.items():
        with pytest.raises(SystemExit) as ended:
            guard(lambda _, command=command: report.main(command.split(" ")))  # type: ignore[misc]
        assert ended.value.code == 2
        assert expected in capsys.readouterr().err


def test_a_study_just_run_is_reported_with_its_words(tiny_encoder: str, tmp_path: Path) -> None:
    write(DemoConfig(train=24, valid=12, test=40), tmp_path / "demo")
    out = tmp_path / "out"
    options = {"data-dir": tmp_path / "demo", "encoder": tiny_encoder, "out": out, "preset": "small"}
    options |= {"recipe.epochs": 1, "contexts": "cap,tag", "seeds": "1,2", "jobs": 1}
    assert ablate.main([f"--{name}={value}" for name, value in options.items()]) == 0
    found = evidence_of(out, "demo")
    assert len(found.rows) == 7
    assert found.split.words is not None
    assert set(found.split.contexts) == {"cap", "tag"}
    assert reported(out)["report.html"].count("<svg") >= 4

    # Predictions of earlier versions: the words come from the corpus, after its digests.
    for path in out.glob("cells/*/predictions.test.jsonl"):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        bare = [{key: value for key, value in line.items() if key not in ("words", "contexts")} for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in bare), encoding="utf-8")
    folder = read_study(out)
    split = read_split(folder, "demo", Source(str(tmp_path / "demo")))
    assert split is not None
    assert (split.words, split.contexts) == (found.split.words, found.split.contexts)
    without = read_split(folder, "demo", Source())  # the generated demo corpus is another one
    assert without is not None
    assert without.words is None
    write(DemoConfig(train=24, valid=12, test=40, seed=9), tmp_path / "other" / "demo")
    with pytest.raises(SystemExit):
        guard(lambda _: report.main([str(out), f"--data-dir={tmp_path / 'other'}"]))


def test_a_cell_found_twice_counts_once(study: Path) -> None:
    cell = read_study(study).results[0].cell
    folder = study / "cells" / cell.name
    shutil.copytree(folder, folder.with_name(folder.name[:-16] + "f" * 16))
    found = read_study(study)
    assert len(found.results) == 9
    assert found.finished[cell.name].folder == folder
    assert not any(result.stale for result in found.results)


def test_a_study_of_version_1_has_no_plan_and_is_read_all_the_same(study: Path, tmp_path: Path) -> None:
    new = reported(study)
    first_version(study)
    (study / "failed" / "twitter15-ita-tag-off-seed1-0123456789abcdef.log").write_text(
        "the loss became nan\n\nTraceback"
    )
    old = reported(study)
    gap = "- twitter15-ita-tag-off-seed1-0123456789abcdef: failed: the loss became nan\n"
    assert gap in old["report.md"]
    assert old["report.md"].replace(gap, "") == new["report.md"]
    assert {name: old[name] for name in FILES[2:]} == {name: new[name] for name in FILES[2:]}


def test_settings_other_than_those_of_the_study_make_a_cell_stale(study: Path) -> None:
    cell = next(result.cell for result in read_study(study).results if result.cell.cva == "token")
    shutil.rmtree(study / "cells" / cell.name)
    write_cell(study, replace(cell, recipe=replace(cell.recipe, epochs=77)))
    stale = [result.cell.seed for result in read_study(study).results if result.stale]
    assert stale == [cell.seed]


def test_data_other_than_those_of_the_study_make_a_cell_stale(study: Path) -> None:
    cell = next(result.cell for result in read_study(study).results if result.cell.cva == "token")
    shutil.rmtree(study / "cells" / cell.name)
    write_cell(study, replace(cell, data={**cell.data, "cap": "0" * 64}))
    results = read_study(study).results
    assert [result.cell.seed for result in results if result.stale] == [cell.seed]
    assert "with another version of the code, with other settings or on other data" in conditions(rows_of(results))


def test_settings_without_effect_make_no_cell_stale(study: Path) -> None:
    cells = [result.cell for result in read_study(study).results if result.cell.seed == 1]
    for cell in cells:
        shutil.rmtree(study / "cells" / cell.name)
        write_cell(study, replace(cell, recipe=replace(cell.recipe, cva_weight=0.77)))
    assert [result.cell.cva for result in read_study(study).results if result.stale] == ["token"]


def test_finished_cells_that_no_plan_names_are_rows(study: Path) -> None:
    cells = read_study(study).results
    extra = Cell("twitter15", short_form("cap", "sequence"), "minilm", 1, cells[0].cell.recipe).resolve(
        read_study(study).data["twitter15"]
    )
    write_cell(study, extra)
    found = read_study(study).results
    assert [r.cell.seed for r in found if r.cell.cva == "sequence"] == [1]
    assert len(found) == len(cells) + 1


def test_alignment_is_compared_with_one_view_and_with_two_views_unaligned(tmp_path: Path) -> None:
    write_study(tmp_path / "study", modes=("off", "joint", "token", "sequence"), seeds=(1, 2))
    family = [v for v in evidence_of(tmp_path / "study").verdicts if v.question == ALIGNMENT]
    token = "ITA-Cap+CVA (token)"
    assert {(v.first, v.second) for v in family if v.first == token} == {(token, "ITA-Cap"), (token, "ITA-Cap, joint")}
    assert len(family) == 2 * (1 + 2 + 2)
    text = reported(tmp_path / "study")["report.md"]
    assert "| ITA-Cap+CVA (sequence) | joint | I+T |" in text


def test_all_contexts_together_are_compared_by_the_mean_of_their_counts(tmp_path: Path) -> None:
    out = tmp_path / "study"
    cells = write_study(out, kinds=("cap", "tag"), seeds=(1, 2, 3), missing=[("token", 3)])
    for cell in cells:
        if cell.contexts == ("cap",):
            both = Cell("twitter15", short_form("tag,cap", cell.cva), "minilm", cell.seed, cell.recipe)
            write_cell(out, both.resolve(read_study(out).data["twitter15"]))
    family = {(v.first, v.second, v.view): v for v in evidence_of(out).verdicts if v.question == POOLED}
    assert {key[:2] for key in family} == {
        ("ITA", "BERT-CRF"),
        ("ITA+CVA (token)", "BERT-CRF"),
        ("ITA+CVA (token)", "ITA"),
    }
    assert len(family) == 6
    counts = read_split(read_study(out), "twitter15", Source()).counts  # type: ignore[union-attr]

    def f1(mode: str, seed: int) -> float:
        summed = sum(
            table.sum(axis=(0, 1))
            for (name, view), table in counts.items()
            if view == "T" and f"-{mode}-seed{seed}-" in name
        )
        return 200 * summed[0] / (summed[1] + summed[2])  # type: ignore[index]

    # Seed 3 lacks a row with CVA, so that it counts for the rows without alone.
    expected = np.mean([f1("token", seed) for seed in (1, 2)]) - np.mean([f1("off", seed) for seed in (1, 2, 3)])
    verdict = family["ITA+CVA (token)", "ITA", "T"]
    assert verdict.comparison.difference == pytest.approx(expected)
    assert verdict.comparison.seeds == (2, 3)
    # Rows of whose average the mode consists are swapped with BERT-CRF tweet by tweet, as heavy as it.
    against = family["ITA+CVA (token)", "BERT-CRF", "I+T"].comparison
    assert against.difference > 10
    assert against.p_randomisation == against.p_bootstrap == pytest.approx(1 / 301)
    text = reported(out)["report.md"]
    assert "What holds over all rows of a system together?" in text
    assert "| ITA+CVA (token) | off | T |" in text
    assert "| ITA | BERT-CRF | I+T |" in text
    assert "In the text view, all rows of a system together: ITA " in text


def test_a_single_context_is_not_pooled(study: Path) -> None:
    assert not [v for v in evidence_of(study).verdicts if v.question == POOLED]
    assert "What holds over all rows of a system together?" not in reported(study)["report.md"]
