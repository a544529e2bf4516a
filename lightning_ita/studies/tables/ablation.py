"""Results of cells to rows, and rows to tables: Markdown, CSV, terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lightning_ita.files import write_text
from lightning_ita.models.options import CROSS_MODAL, TEXT, VIEWS
from lightning_ita.statistics.comparison import Estimate, estimate
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.published import Published, counterpart, published
from lightning_ita.studies.study import Result

CONVENTIONS = {
    "repair": "stray I- tags count as B- (as UMT, UMGF and ITA count)",
    "strict": "stray I- tags count as they stand: mentions that start with I- are ignored (strict IOB2)",
}
MISSING = "–"
# The system that all others are compared with.
BASELINE = "bert-crf"
# Beside the number of seeds of a row with stale cells; reports mark significance by stars.
STALE_MARK = "†"


@dataclass(frozen=True)
class Row:
    """A row of an ablation: one system on one data set, over seeds.

    Attributes:
        results: Its cells' results, in the order of seeds.
        baseline: Mean F1 of BERT-CRF's text view on the data set; ``None`` while unknown.
    """

    results: tuple[Result, ...]
    baseline: float | None

    @property
    def cell(self) -> Cell:
        """The row's first cell, which stands for what all its cells share."""
        return self.results[0].cell

    @property
    def label(self) -> str:
        """The system's name: ``ITA-Cap``, ``ITA-Cap, joint``, ``ITA-Cap+CVA (token)`` ..."""
        return self.cell.label

    @property
    def finished(self) -> list[Any]:
        """Metrics of the cells that are finished."""
        return [result.metrics for result in self.results if result.metrics is not None]

    @property
    def failures(self) -> list[Result]:
        """Cells that failed."""
        return [result for result in self.results if result.failure is not None]

    @property
    def published(self) -> Published | None:
        """The paper's number for this system, if it reports one."""
        name = self.cell.published_name
        return None if name is None else counterpart(self.cell.dataset, name, self.cell.encoder)

    def scores(self, view: str, score: str = "f1", split: str = "test") -> list[float]:
        """Returns one score of each finished cell that is tested in `view`, in percent."""
        return [metrics[split][view][score] for metrics in self.finished if view in metrics[split]]

    def difference(self, view: str) -> float | None:
        """Returns the mean F1 of a view minus BERT-CRF's, in points."""
        scores = self.scores(view)
        return estimate(scores).mean - self.baseline if scores and self.baseline is not None else None


def rows_of(results: Sequence[Result]) -> list[Row]:
    """Groups results by data set, contexts and training mode, in the order of their first cell."""
    groups: dict[Hashable, list[Result]] = {}
    for result in results:
        cell = result.cell
        groups.setdefault(cell.row, []).append(result)
    baselines = {
        group[0].cell.dataset: estimate(scores).mean
        for group in groups.values()
        if group[0].cell.system == BASELINE and (scores := Row(tuple(group), None).scores(TEXT))
    }
    return [Row(tuple(group), baselines.get(group[0].cell.dataset)) for group in groups.values()]


def spread(scores: Sequence[float]) -> str:
    """Writes mean ± standard deviation (of a sample) of scores in percent; without ± for a single one."""
    return mean_text(estimate(scores)) if scores else MISSING


def mean_text(found: Estimate) -> str:
    """Writes mean ± standard deviation of an estimate in percent; without ± for a single seed."""
    return f"{found.mean:.2f}" if found.std is None else f"{found.mean:.2f} ± {found.std:.2f}"


def signed(difference: float | None) -> str:
    """Writes a difference in points with its sign."""
    return MISSING if difference is None else f"{difference:+.2f}"


HEADER = ("system", "T", "Δ", "I+T", "Δ", "seeds", "paper")


def cells_of(row: Row) -> list[str]:
    """Returns the entries of a row under `HEADER`."""
    number = row.published
    text_difference = None if row.cell.system == BASELINE else row.difference(TEXT)
    stale = STALE_MARK if any(result.stale for result in row.results) else ""
    failed = f" ({len(row.failures)} failed)" if row.failures else ""
    return [
        row.label,
        spread(row.scores(TEXT)),
        signed(text_difference),
        spread(row.scores(CROSS_MODAL)),
        signed(row.difference(CROSS_MODAL)),
        f"{len(row.finished)}/{len(row.results)}{stale}{failed}",
        MISSING if number is None else f"{number.f1} ({number.encoder})",
    ]


def caption(rows: Sequence[Row]) -> str:
    """Says under what conditions the rows of one data set were measured."""
    cell, finished = rows[0].cell, [metrics for row in rows for metrics in row.finished]
    sources = {kind: source for metrics in finished for kind, source in metrics["contexts"].items()}
    facts = [
        f"F1 on test in %, mean ± standard deviation over seeds; encoder {cell.encoder}, {cell.recipe.precision}",
        CONVENTIONS[cell.recipe.labels],
    ]
    if finished:
        facts.append(f"{finished[0]['splits']['test']['mentions']} mentions in test, release: {finished[0]['release']}")
    if any(result.stale for row in rows for result in row.results):
        facts.append(f"{STALE_MARK} some of these cells were measured with other code than today's")
    different = sorted(
        f"{package} {', '.join(sorted(versions))}"
        for package, versions in versions_of([result for row in rows for result in row.results]).items()
        if len(versions) > 1
    )
    if different:
        facts.append(f"cells were measured with different versions of {'; '.join(different)}")
    if sources:
        facts.append("contexts: " + ", ".join(f"{kind} from {source}" for kind, source in sorted(sources.items())))
    return "; ".join(facts) + "."


def versions_of(results: Sequence[Result]) -> dict[str, set[str]]:
    """Returns the versions of each package that finished cells were measured with."""
    versions: dict[str, set[str]] = {}
    for result in results:
        for package, version in result.packages.items():
            versions.setdefault(package, set()).add(version)
    return versions


NOTE = (
    "T: the text view alone. I+T: tweet and visual contexts. Δ: points above BERT-CRF. Rows without CVA are trained on "
    "I+T alone, the others on both views; each is tested in both. The best epoch is chosen on valid by the mean F1 of "
    "the trained views. “paper”: what the paper reports for the system of this name, with its encoder and contexts; "
    "not measured here."
)


def markdown(results: Sequence[Result]) -> str:
    """Writes the tables of a study, a data set each, as Markdown."""
    lines = ["# Ablation", ""]
    rows = rows_of(results)
    for dataset in dict.fromkeys(row.cell.dataset for row in rows):
        of_dataset = [row for row in rows if row.cell.dataset == dataset]
        lines += [f"## {dataset}", "", caption(of_dataset), ""]
        lines += markdown_table(HEADER, [cells_of(row) for row in of_dataset])
        lines += ["", NOTE, ""]
        for row in of_dataset:
            lines += [f"- failed: {row.label}, seed {r.cell.seed}: {r.failure}" for r in row.failures]
            lines += [f"- stale: {row.label}, seed {r.cell.seed}" for r in row.results if r.stale]
        lines += _reported(dataset)
        warnings = {warning for row in of_dataset for metrics in row.finished for warning in metrics["warnings"]}
        lines += [f"- {warning}" for warning in sorted(warnings)] + ([""] if warnings else [])
    return "\n".join(lines).rstrip() + "\n"


def _reported(dataset: str) -> list[str]:
    numbers = published(dataset)
    if not numbers:
        return []
    body = [[n.system, n.encoder or MISSING, n.f1, n.source] for n in numbers]
    return [f"Reported by others on {dataset}:", "", *markdown_table(("system", "encoder", "F1", "source"), body), ""]


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Writes a table as lines of Markdown."""
    lines = [header, ["---"] * len(header), *body]
    return ["| " + " | ".join(line) + " |" for line in lines]


def terminal(rows: Sequence[Row]) -> Table:
    """Returns the table of one data set for the terminal."""
    table = Table(title=rows[0].cell.dataset, caption=caption(rows), caption_justify="left", title_justify="left")
    for name in HEADER:
        table.add_column(name, justify="left" if name == "system" else "right", no_wrap=name == "system")
    for row in rows:
        table.add_row(*cells_of(row))
    return table


def table_csv(results: Sequence[Result]) -> str:
    """Writes one line for each row and view."""
    lines = []
    for row in rows_of(results):
        number = row.published
        for view in VIEWS:
            scores = row.scores(view)
            if not scores:
                continue
            found, difference = estimate(scores), row.difference(view)
            lines.append(
                {
                    "dataset": row.cell.dataset,
                    "system": row.label,
                    "contexts": "+".join(row.cell.contexts),
                    "cva": row.cell.cva,
                    "view": view,
                    "f1_mean": round(found.mean, 4),
                    "f1_std": "" if found.std is None else round(found.std, 4),
                    "seeds": found.seeds,
                    "stale": sum(result.stale for result in row.results),
                    "difference_to_bert_crf": "" if difference is None else round(difference, 4),
                    "precision_mean": round(estimate(row.scores(view, "precision")).mean, 4),
                    "recall_mean": round(estimate(row.scores(view, "recall")).mean, 4),
                    "valid_f1_mean": round(estimate(row.scores(view, "f1", "valid")).mean, 4),
                    "paper_f1": "" if number is None else number.f1,
                    "paper_encoder": "" if number is None else number.encoder,
                    "paper_source": "" if number is None else number.source,
                }
            )
    return csv_text(lines)


def cells_csv(results: Sequence[Result]) -> str:
    """Writes one flat line for each finished cell: what it is, every score, time, and its identity."""
    lines = []
    for result in results:
        if result.metrics is None:
            continue
        cell, metrics = result.cell, result.metrics
        line: dict[str, Any] = {
            "dataset": cell.dataset,
            "system": cell.title,
            "contexts": "+".join(cell.contexts),
            "cva": cell.cva,
            "encoder": cell.encoder,
            "seed": cell.seed,
            "identity": cell.identity,
            "code": (result.code or "")[:16],
            "stale": int(result.stale),
            "best_epoch": metrics["best_epoch"],
            "training_seconds": metrics["training_seconds"],
            "seconds": metrics["seconds"],
        }
        for split in ("valid", "test"):
            for view, scores in metrics[split].items():
                line |= {f"{split}/{view}/{name}": value for name, value in scores.items()}
        lines.append(line)
    return csv_text(lines)


def csv_text(lines: Sequence[dict[str, Any]]) -> str:
    """Writes records as CSV; a field that a record lacks stays empty."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def write_tables(results: Sequence[Result], out: Path) -> list[Path]:
    """Writes ``table.md``, ``table.csv`` and ``cells.csv`` beside the cells; returns their paths."""
    files = {"table.md": markdown(results), "table.csv": table_csv(results), "cells.csv": cells_csv(results)}
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]
