"""The ablation table: results of cells become rows, rows a grid; and the files that a study keeps beside its cells."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table

from lightning_ita.contexts.engines import READ_TWEETS
from lightning_ita.data.controls import name_of
from lightning_ita.files import write_text
from lightning_ita.models.options import CROSS_MODAL, TEXT, to_values
from lightning_ita.models.presets import describe
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.published import Published, counterpart, published_grid
from lightning_ita.studies.records import Metrics
from lightning_ita.studies.study import UNKNOWN_CODE, Result
from lightning_ita.studies.tables import render
from lightning_ita.studies.tables.grid import MISSING, Entry, Grid, records, two_digits
from lightning_ita.studies.trained import tests_another
from lightning_ita.text import without_folder

# The system with which all others are compared.
BASELINE = "bert-crf"
CONVENTIONS = {
    "repair": "stray I- tags count as B- (as UMT, UMGF and ITA count)",
    "strict": "stray I- tags count as they stand: mentions that start with I- are ignored (strict IOB2)",
}
# Beside the number of seeds of a row with stale cells; reports mark significance by stars.
STALE_MARK = "†"
NOTE = (
    "T: the text view alone. I+T: tweet and image, or what was said of the image. Δ: points above BERT-CRF. A row "
    "without CVA is trained on I+T alone (BERT-CRF on T), with CVA or as “joint” on both views (“T alone”: on T); "
    "it is tested in every view that it has. The best epoch is chosen on valid by the mean F1 of the trained views. "
    "“paper”: what was published for the system of this name, with its own encoder and contexts; not measured here."
)


@dataclass(frozen=True)
class Row:
    """A row of an ablation: one system on one data set, over seeds.

    Attributes:
        label: Its name: ``ITA-Cap``, ``ITA-Cap, joint``, ``ITA-Cap+CVA (token)`` ..., and where several rows of the
            data set would have that name, what their options differ in: ``OCSGA (heads 2)``.
        results: The results of its cells, in the order of seeds.
        baseline: Mean F1 of BERT-CRF's text view on the data set; ``None`` while unknown.
    """

    label: str
    results: tuple[Result, ...]
    baseline: float | None

    @property
    def cell(self) -> Cell:
        """The first cell of the row, which stands for what all its cells share."""
        return self.results[0].cell

    @property
    def is_baseline(self) -> bool:
        """Whether this is BERT-CRF."""
        return self.cell.system == BASELINE

    @property
    def finished(self) -> list[Metrics]:
        """Metrics of the cells that are finished."""
        return [result.metrics for result in self.results if result.metrics is not None]

    @property
    def failures(self) -> list[Result]:
        """Cells that failed."""
        return [result for result in self.results if result.failure is not None]

    @property
    def published(self) -> Published | None:
        """The number that the ITA paper has for this system, if it has one."""
        name = self.cell.published_name
        return None if name is None else counterpart(self.cell.dataset, name, self.cell.encoder)

    def scores(self, view: str, score: str = "f1", split: Literal["valid", "test"] = "test") -> list[float]:
        """Returns one score of each finished cell that is tested in `view`, in percent."""
        return [metrics[split][view][score] for metrics in self.finished if view in metrics[split]]

    def mean(self, view: str, score: str = "f1", split: Literal["valid", "test"] = "test") -> float | None:
        """Returns the mean of a score over seeds; ``None`` where no finished cell has it."""
        scores = self.scores(view, score, split)
        return float(np.mean(scores)) if scores else None

    def difference(self, view: str) -> float | None:
        """Returns the mean F1 of a view minus BERT-CRF's, in points."""
        mean = self.mean(view)
        return None if mean is None or self.baseline is None else mean - self.baseline


def rows_of(results: Sequence[Result]) -> list[Row]:
    """Groups results by data set, system and options, in the order of their first cell."""
    groups: dict[Hashable, list[Result]] = {}
    for result in results:
        groups.setdefault(result.cell.row, []).append(result)
    cells = [group[0].cell for group in groups.values()]
    labels = told_apart([(cell.dataset, cell.label) for cell in cells], [to_values(cell.options) for cell in cells])
    rows = [Row(label, tuple(group), None) for label, group in zip(labels, groups.values(), strict=True)]
    baselines = {row.cell.dataset: row.mean(TEXT) for row in rows if row.is_baseline}
    return [replace(row, baseline=baselines.get(row.cell.dataset)) for row in rows]


def told_apart(names: Sequence[tuple[str, str]], options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns labels; behind one that several have stands what their options differ in.

    Args:
        names: Group and label of each; those of other groups are not looked at.
        options: Values of the options of each; see `lightning_ita.models.options.to_values`.

    Example:
        >>> told_apart([("", "OCSGA"), ("", "OCSGA"), ("", "UMT")], [{"heads": 2}, {"heads": 4}, {}])
        ['OCSGA (heads 2)', 'OCSGA (heads 4)', 'UMT']
    """
    flat = [dict(_flat(values)) for values in options]
    labels = []
    for name, own in zip(names, flat, strict=True):
        alike = [values for other, values in zip(names, flat, strict=True) if other == name]
        differing = [option for option in own if any(values.get(option) != own[option] for values in alike)]
        values = ", ".join(f"{option} {own[option]}" for option in differing)
        labels.append(f"{name[1]} ({values})" if values else name[1])
    return labels


def _flat(values: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, str]]:
    """Yields names and values of options as text, as the command line has them: those in groups with their group."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{group}{name}.")
        elif isinstance(value, list | tuple):
            yield group + name, ",".join(map(str, value)) or "none"
        else:
            yield group + name, str(value).lower() if value is None or isinstance(value, bool) else str(value)


def mean_text(mean: float, std: float | None) -> str:
    """Writes mean ± standard deviation in percent; without ± for a single seed."""
    return two_digits(mean) if std is None else f"{two_digits(mean)} ± {two_digits(std)}"


def std_of(scores: Sequence[float]) -> float | None:
    """Returns the standard deviation of a sample; ``None`` for a single score."""
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else None


def spread(scores: Sequence[float]) -> Entry:
    """Returns mean ± standard deviation of the scores of seeds, in percent, as an entry."""
    if not scores:
        return Entry(MISSING)
    mean = float(np.mean(scores))
    return Entry(mean_text(mean, std_of(scores)), value=mean)


def signed(difference: float | None) -> str:
    """Writes a difference in points with its sign."""
    return MISSING if difference is None else two_digits(difference, sign=True)


def ablation(rows: Sequence[Row]) -> Grid:
    """Returns the table of one data set."""
    return Grid(
        name=f"{rows[0].cell.dataset}-ablation",
        title=rows[0].cell.dataset,
        columns=("system", "T", "Δ", "I+T", "Δ", "seeds", "paper"),
        rows=tuple(_entries(row) for row in rows),
        caption=conditions(rows),
    )


def _entries(row: Row) -> tuple[Entry, ...]:
    number = row.published
    differences = [None if row.is_baseline and view == TEXT else row.difference(view) for view in (TEXT, CROSS_MODAL)]
    of_text, of_both = (Entry(signed(difference), value=difference) for difference in differences)
    return (
        Entry(row.label),
        spread(row.scores(TEXT)),
        of_text,
        spread(row.scores(CROSS_MODAL)),
        of_both,
        Entry(seeds_text(row.results) + (f" ({len(row.failures)} failed)" if row.failures else "")),
        Entry(MISSING if number is None else f"{number.f1} ({number.encoder or 'encoder not stated'})"),
    )


def seeds_text(results: Sequence[Result]) -> str:
    """Writes how many cells of a row are finished, of how many, and whether any of them is stale."""
    stale = STALE_MARK if any(result.stale for result in results) else ""
    return f"{sum(result.metrics is not None for result in results)}/{len(results)}{stale}"


def conditions(rows: Sequence[Row]) -> str:
    """Says under what conditions the rows of one data set were measured."""
    cell, finished = rows[0].cell, [metrics for row in rows for metrics in row.finished]
    results = [result for row in rows for result in row.results]
    sources = {kind: source for metrics in finished for kind, source in metrics["contexts"].items()}
    temperatures = sorted({t for row in rows if row.cell.cva == "token" and (t := row.cell.recipe.temperature)})
    facts = [
        "F1 on test in %, mean ± standard deviation over seeds; "
        f"encoder {without_folder(cell.encoder)}, {cell.recipe.precision}",
        describe(cell.recipe),
        *([f"temperature of token CVA: {', '.join(f'{t:g}' for t in temperatures)}"] if temperatures else []),
        CONVENTIONS[cell.recipe.labels],
    ]
    if finished:
        counts = finished[0]["splits"].get("test")
        mentions = "unknown number of" if counts is None else counts["mentions"]
        facts.append(f"{mentions} mentions in test, release: {finished[0]['release']}")
        splits = [metrics["splits"]["test"] for metrics in finished if "test" in metrics["splits"]]
        limit = "the encoder's length" if cell.recipe.max_length is None else f"{cell.recipe.max_length} sub-tokens"
        contexts_cut = max((split.get("context_cut", 0) for split in splits), default=0)
        words_cut = max((split.get("words_cut", 0) for split in splits), default=0)
        if contexts_cut:
            facts.append(f"contexts of up to {contexts_cut} tweets of test were cut to {limit}")
        if words_cut:
            facts.append(f"up to {words_cut} tweets of test were cut to {limit}, and their other words are tagged O")
    if stale := [result for result in results if result.stale]:
        others = ", with other settings or on other data" if any(each.code == UNKNOWN_CODE for each in stale) else ""
        facts.append(f"{STALE_MARK} some of these cells were measured with another version of the code{others}")
    different = sorted(
        f"{package} {', '.join(sorted(versions))}"
        for package, versions in versions_of(results).items()
        if len(versions) > 1
    )
    if different:
        facts.append(f"cells were measured with different versions of {'; '.join(different)}")
    controls = {row.cell.control.kind for row in rows if row.cell.control and READ_TWEETS & {*row.cell.contexts}}
    if "other-image" in controls:
        facts.append("other image: tweets have the image of another tweet or, for contexts read from tweets, its texts")
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


def models_of_their_own(rows: Sequence[Row]) -> list[str]:
    """Names the cells with a control at test that tested another model than that of the row without the control.

    Such a cell trains the model again where its weights are gone or on another machine, which may round otherwise.
    """
    finished = {r.cell.name: r.metrics["valid"] for row in rows for r in row.results if r.metrics is not None}
    return [
        f"{row.label}, seed {result.cell.seed}: its model was trained again, and is not that of the row without the "
        f"control: their F1 on valid differs; run both in one study on one machine"
        for row in rows
        for result in row.results
        if tests_another(result.cell)
        and result.cell.name in finished
        and finished.get(result.cell.uncontrolled.name, finished[result.cell.name]) != finished[result.cell.name]
    ]


def terminal(rows: Sequence[Row]) -> Table:
    """Returns the table of one data set for the terminal."""
    return render.terminal(ablation(rows))


def markdown(results: Sequence[Result]) -> str:
    """Writes the tables of a study, one per data set, as Markdown."""
    lines = ["# Ablation", ""]
    rows = rows_of(results)
    for dataset in dict.fromkeys(row.cell.dataset for row in rows):
        of_dataset = [row for row in rows if row.cell.dataset == dataset]
        grid = ablation(of_dataset)
        lines += [f"## {render.markdown_line(dataset)}", "", render.markdown_line(grid.caption), ""]
        lines += [render.markdown(grid), "", NOTE, ""]
        notes = [f"failed: {row.label}, seed {r.cell.seed}: {r.failure}" for row in of_dataset for r in row.failures]
        notes += [f"stale: {row.label}, seed {r.cell.seed}" for row in of_dataset for r in row.results if r.stale]
        notes += models_of_their_own(of_dataset)
        notes += sorted({warning for row in of_dataset for metrics in row.finished for warning in metrics["warnings"]})
        lines += [*(f"- {render.markdown_line(note)}" for note in notes), ""] if notes else []
        others = published_grid(dataset)
        if others.rows:
            lines += [f"Reported by others on {render.markdown_text(dataset)}:", "", render.markdown(others), ""]
    return "\n".join(lines).rstrip() + "\n"


def table_csv(results: Sequence[Result]) -> str:
    """Writes one line per row and view."""
    lines = []
    for row in rows_of(results):
        number = row.published
        for view in row.cell.tested_views:
            scores = row.scores(view)
            if not scores:
                continue
            lines.append(
                {
                    "dataset": row.cell.dataset,
                    "system": row.label,
                    "contexts": "+".join(row.cell.contexts),
                    "cva": row.cell.cva,
                    "control": name_of(row.cell.control),
                    "view": view,
                    "f1_mean": rounded(row.mean(view)),
                    "f1_std": rounded(std_of(scores)),
                    "seeds": len(scores),
                    "stale": sum(result.stale for result in row.results),
                    "difference_to_bert_crf": rounded(row.difference(view)),
                    "precision_mean": rounded(row.mean(view, "precision")),
                    "recall_mean": rounded(row.mean(view, "recall")),
                    "valid_f1_mean": rounded(row.mean(view, "f1", "valid")),
                    "paper_f1": None if number is None else number.f1,
                    "paper_encoder": None if number is None else number.encoder,
                    "paper_source": None if number is None else number.source,
                }
            )
    return render.csv_text(records("table", lines))


def rounded(value: float | None) -> float | None:
    """Rounds a number for CSV to four digits after the point."""
    return None if value is None else round(value, 4)


def cells_csv(results: Sequence[Result]) -> str:
    """Writes one flat line per finished cell: what it is, every score, time, and its identity."""
    lines = []
    labels = {result.cell.row: row.label for row in rows_of(results) for result in row.results}
    for result in results:
        if result.metrics is None:
            continue
        cell, metrics = result.cell, result.metrics
        line: dict[str, Any] = {
            "dataset": cell.dataset,
            "system": cell.title,
            "contexts": "+".join(cell.contexts),
            "cva": cell.cva,
            "label": labels[cell.row],
            "control": name_of(cell.control),
            "encoder": without_folder(cell.encoder),
            "seed": cell.seed,
            "identity": cell.identity,
            "code": (result.code or "")[:16],
            "stale": int(result.stale),
            "best_epoch": metrics["best_epoch"],
            "training_seconds": metrics["training_seconds"],
            "seconds": metrics["seconds"],
        }
        for split, by_view in (("valid", metrics["valid"]), ("test", metrics["test"])):
            for view, scores in by_view.items():
                line |= {f"{split}/{view}/{name}": value for name, value in scores.items()}
        lines.append(line)
    return render.csv_text(records("cells", lines))


def write_tables(results: Sequence[Result], out: Path) -> list[Path]:
    """Writes ``table.md``, ``table.csv`` and ``cells.csv`` beside the cells; returns their paths."""
    files = {"table.md": markdown(results), "table.csv": table_csv(results), "cells.csv": cells_csv(results)}
    for name, text in files.items():
        write_text(out / name, text)
    return [out / name for name in files]
