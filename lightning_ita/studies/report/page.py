"""A report as one HTML page that loads no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

import lightning_ita
from lightning_ita.models.options import VIEWS
from lightning_ita.studies.report.evidence import Evidence
from lightning_ita.studies.report.examples import galleries
from lightning_ita.studies.report.findings import findings, gaps
from lightning_ita.studies.report.gains import FEWEST_MENTIONS
from lightning_ita.studies.report.grids import encoder_name, grids
from lightning_ita.studies.report.plots import (
    MOST_LINES,
    context_plot,
    control_plot,
    cost_plot,
    learning_plot,
    scores_plot,
    types_plot,
)
from lightning_ita.studies.report.reading import StudyFolder
from lightning_ita.studies.tables.grid import MISSING, Entry, Grid, two_digits
from lightning_ita.studies.tables.render import html
from lightning_ita.text import without_folder

TEMPLATES = Path(__file__).with_name("templates")
# Colours of entity types in the style sheet; more types share them.
ENTITY_COLOURS = 6
NO_WORDS = (
    "The predictions of these runs hold no words: they are of an earlier version. Give --data-dir to read the words "
    "from the corpus; its digests are checked."
)
LEFT_OUT = "Tweets were left out of this page: --examples true shows them."
NO_EXAMPLES = "No tweet is of a kind shown here: no row with an I+T view is finished, or its views never disagree."
NO_TABLE = "No cell of this data set is finished or planned."


@dataclass(frozen=True)
class Plot:
    """A plot with its title and caption."""

    title: str
    caption: str
    svg: str


def page(study: StudyFolder, evidence: Sequence[Evidence], examples: bool = True) -> str:
    """Writes the page; with `examples`, it quotes tweets."""
    finished = sum(result.metrics is not None for result in study.results)
    return _template().render(
        title=study.path.resolve().name,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        facts=[
            ("encoder", encoder_name(study)),
            ("data", ", ".join(study.data)),
            ("runs", f"{finished} of {len(study.results)}"),
            ("seeds", ", ".join(str(seed) for seed in sorted({result.cell.seed for result in study.results}))),
            ("labels", study.settings["labels"]),
            ("precision", study.settings["precision"]),
        ],
        sections=[section(study, each, examples) for each in evidence],
        settings={**study.settings, "encoder": without_folder(study.settings["encoder"])},
        version=lightning_ita.__version__,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.globals["table"] = html
    return environment.get_template("report.html")


def section(study: StudyFolder, evidence: Evidence, examples: bool = True) -> dict[str, Any]:
    """Returns what the page says of one data set."""
    types = () if evidence.split is None else evidence.split.types
    unknown = evidence.split is not None and evidence.split.words is None
    return {
        "name": evidence.dataset,
        "findings": findings(evidence),
        "gaps": gaps(study, evidence),
        "grids": grids(study, evidence),
        "plots": plots(evidence),
        "galleries": galleries(evidence) if examples else [],
        "why_no_table": NO_TABLE,
        "why_no_examples": LEFT_OUT if not examples else NO_WORDS if unknown else NO_EXAMPLES,
        "colours": {type_: index % ENTITY_COLOURS for index, type_ in enumerate(types)},
        "provenance": provenance(study, evidence),
        "digests": study.data[evidence.dataset],
    }


def plots(evidence: Evidence) -> list[Plot]:
    """Returns the plots of a data set; those without anything to show are left out."""
    if evidence.split is None:
        return []
    found = [
        Plot(
            "F1 by row",
            "Strokes: seeds. Dot: mean. Bar: 95 % interval of the mean over seeds (Student’s t; none with one seed; "
            "cut at the frame). Dashed: BERT-CRF.",
            scores_plot(evidence),
        ),
        Plot(
            "Gain by entity type",
            "Mean F1 of each type minus BERT-CRF’s, in points. No test was made by type.",
            types_plot(evidence),
        ),
        Plot(
            "Gain and context",
            "Gain of the I+T view over BERT-CRF on test tweets with as many words of context: none, and three bins of "
            f"about equal size; not drawn with fewer than {FEWEST_MENTIONS} mentions. Bars: 95 % interval over tweets. "
            f"Rows that read contexts, without CVA; at most {MOST_LINES}, the best on valid.",
            context_plot(evidence),
        ),
        Plot(
            "Wrong and missing images",
            "Mean F1 of the I+T view when a share of the test tweets has another tweet’s image (dots), or none "
            f"(crosses); the models are the same along a line. At most {MOST_LINES} rows, the best on valid.",
            control_plot(evidence),
        ),
        Plot(
            "Learning curves",
            f"F1 on valid by epoch, mean over seeds; BERT-CRF and at most {MOST_LINES} rows, the best on valid.",
            learning_plot(evidence),
        ),
        Plot(
            "Cost",
            "Mean over seeds. Runs that shared a machine slowed each other; compare only what ran alone.",
            cost_plot(evidence),
        ),
    ]
    return [plot for plot in found if plot.svg]


def provenance(study: StudyFolder, evidence: Evidence) -> Grid:
    """Where every number comes from: one line per run."""
    rows = []
    for row in evidence.rows:
        for result in row.runs.results:
            entries = [Entry(row.label), Entry(str(result.cell.seed))]
            if result.metrics is None:
                entries += [Entry(MISSING)] * 8 + [Entry("failed" if result.failure else "not run")]
            else:
                finished = study.finished[result.cell.name]
                made = finished.environment
                test = result.metrics["test"]
                entries += [Entry(two_digits(test[view]["f1"]) if view in test else MISSING) for view in VIEWS]
                entries += [
                    Entry(str(result.metrics["best_epoch"])),
                    Entry(f"{result.metrics['training_seconds'] / 60:.1f}"),
                    Entry(made.get("accelerator") or made["processor"], note=f"{made['threads']} threads"),
                    Entry(made["lightning_ita"], note=f"torch {made['packages'].get('torch', 'unknown')}"),
                    Entry(made["finished"][:16].replace("T", " ")),
                    Entry(finished.folder.name.rsplit("-", 1)[-1]),
                    Entry("stale" if result.stale else "finished"),
                ]
            rows.append(tuple(entries))
    return Grid(
        name=f"{evidence.dataset}-provenance",
        title="Provenance",
        columns=(
            *("system", "seed", "T", "I+T", "best epoch", "minutes", "machine", "version"),
            *("finished (UTC)", "identity", "state"),
        ),
        left=(0, 6, 7, 8, 9, 10),
        rows=tuple(rows),
        caption=(
            "The identity is a digest of everything the run’s result depends on. Any run is repeated by "
            "lightning-ita train --config with the config.yaml in its folder under cells/."
        ),
    )
