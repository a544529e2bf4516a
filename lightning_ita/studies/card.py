"""Writes the model card of a trained model from the records of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult, ModelCardData

from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.models.kept import public_name, usage
from lightning_ita.models.options import ALIGNED, CROSS_MODAL, TEXT, teacher_of
from lightning_ita.statistics.resampling import Floats, bootstrap, percentile_interval
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.records import MEASURES, Metrics
from lightning_ita.studies.report.reading import count_mentions
from lightning_ita.studies.tables.grid import Entry, Grid, two_digits
from lightning_ita.studies.tables.render import markdown, markdown_line, markdown_text

# Data sets whose tweets are English; of others nothing is said.
ENGLISH = ("twitter15", "twitter17", "snap", "demo")
RESAMPLES = 2000
TEACHERS = {
    "itself": "",
    "average": " of a running average of the model",
    "frozen": " of a model trained before, on that view alone,",
}
VIEW_NAMES = {TEXT: "text view (T)", CROSS_MODAL: "cross-modal view (I+T)"}
Intervals = Mapping[tuple[str, str], tuple[float, float]]


def model_card(cell: Cell, metrics: Metrics, corpus: Corpus, folder: Path) -> str:
    """Returns a model card in Markdown, with metadata as the Hugging Face Hub reads them.

    Args:
        cell: What was trained.
        metrics: What it reached.
        corpus: What it was trained on.
        folder: The cell's folder, with its predictions.
    """
    title = f"{metrics.get('label', cell.label)} for named entity recognition, trained on {cell.dataset}"
    parts = [
        f"---\n{metadata(cell, metrics)}\n---",
        f"# {markdown_text(title)}",
        _about(cell, metrics),
        usage("MODEL").strip(),
        _results(cell, metrics, folder),
        _data(cell, metrics, corpus),
        _limits(cell, metrics),
        "## License\n\nNot chosen yet: that is for whoever publishes this model, within the licenses of corpus and "
        "encoder.",
        f"Trained with lightning_ita: cell `{cell.identity}`, seed {cell.seed}; `config.json` holds all "
        "hyper-parameters under `training`.",
    ]
    return "\n\n".join(parts) + "\n"


def metadata(cell: Cell, metrics: Metrics) -> ModelCardData:
    """Returns the metadata of the card: ``model-index`` with the scores on test, encoder, task."""
    encoder = public_name(cell.encoder)
    results = [
        EvalResult(
            task_type="token-classification",
            task_name="Multimodal named entity recognition",
            dataset_type=cell.dataset,
            dataset_name=cell.dataset,
            dataset_config=view,
            dataset_split="test",
            metric_type=measure,
            metric_name=f"{measure} of entity mentions, {VIEW_NAMES[view]}",
            metric_value=float(two_digits(scores[measure])),
        )
        for view, scores in metrics["test"].items()
        for measure in MEASURES
    ]
    return ModelCardData(
        language="en" if cell.dataset in ENGLISH else None,
        library_name="lightning_ita",
        pipeline_tag="token-classification",
        tags=["named-entity-recognition", "multimodal", cell.system],
        base_model=encoder if cell.options.has_encoder and "/" in encoder else None,
        metrics=list(MEASURES),
        model_name=f"{cell.dataset}-{cell.options.slug}",
        eval_results=results or None,
    )


def _about(cell: Cell, metrics: Metrics) -> str:
    kinds = ", ".join(cell.contexts)
    encoder = f" on the encoder {public_name(cell.encoder)}" if cell.options.has_encoder else ""
    lines = [
        f"It finds mentions of {', '.join(metrics['types'])} in posts: {cell.title}{encoder}, with a linear-chain CRF "
        f"over the words of a post."
    ]
    if kinds:
        lines.append(
            f"It was trained on the {' and the '.join(VIEW_NAMES[view] for view in cell.trained_views)}. In the "
            f"cross-modal view a post is followed by what was read in its picture, as text: {kinds}."
        )
    if cell.cva in ALIGNED:
        teacher = TEACHERS[teacher_of(cell.options)]
        lines.append(
            f"Cross-view alignment taught the text view to predict what the cross-modal view{teacher} predicts."
        )
    return markdown_line(" ".join(lines))


def _results(cell: Cell, metrics: Metrics, folder: Path) -> str:
    if not metrics["test"]:
        return "## Results\n\nNot tested."
    ranges = intervals(cell, metrics, folder)
    columns = ["type", *(f"{name} {measure}" for name in metrics["test"] for measure in MEASURES)]
    rows = []
    for type_ in ("", *metrics["types"]):
        row = [Entry(type_ or "all", best=not type_)]
        for view, scores in metrics["test"].items():
            prefix = f"{type_}/" if type_ else ""
            low, high = ranges[view, type_]
            row += [Entry(two_digits(scores[prefix + measure])) for measure in MEASURES[:-1]]
            row.append(Entry(two_digits(scores[prefix + "f1"]), note=f"{low:.1f} to {high:.1f}"))
        rows.append(tuple(row))
    valid = ", ".join(f"{view} {two_digits(scores['f1'])}" for view, scores in metrics["valid"].items())
    chosen_by = " and ".join(cell.trained_views)
    chosen_by = f"the mean of {chosen_by}" if len(cell.trained_views) > 1 else chosen_by
    tweets = metrics["splits"]["test"].get("tweets", 0)
    return (
        f"## Results\n\nOn the {tweets} tweets of test, in percent, over mentions (span and type must be right); stray "
        f"`I-` tags counted by the convention *{cell.recipe.labels}*. In brackets: 95 % intervals of F1 over "
        f"{RESAMPLES} resamples of the tweets, with this model held fixed: they say nothing of other seeds.\n\n"
        f"{markdown(Grid('results', 'Results', tuple(columns), tuple(rows)))}\n\n"
        f"F1 on valid: {valid}. The epoch ({metrics['best_epoch']}) was chosen by {chosen_by}."
    )


def intervals(cell: Cell, metrics: Metrics, folder: Path) -> Intervals:
    """Returns the intervals of F1 by view and type; the type is empty for all of them together."""
    lines = schema.read_predictions(folder / "predictions.test.jsonl")
    types = metrics["types"]
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for view in metrics["test"]:
        tags = [tuple(line[view]) for line in lines]  # type: ignore[literal-required]
        # (tweets, types, 3)
        counts = count_mentions(tags, [line["gold"] for line in lines], types, cell.recipe.labels)
        systems = np.concatenate([counts.sum(1)[None], counts.swapaxes(0, 1)])
        resampled: Floats = bootstrap(systems, RESAMPLES)
        for index, type_ in enumerate(("", *types)):
            found[view, type_] = percentile_interval(resampled[:, index])
    return found


def _data(cell: Cell, metrics: Metrics, corpus: Corpus) -> str:
    rows = []
    for split in SPLITS:
        counts = metrics["splits"][split]
        size = f"{counts.get('tweets', len(corpus.splits[split]))} tweets, {counts['mentions']} mentions"
        rows.append((Entry(split), Entry(size), Entry(corpus.digests[split])))
    for kind in cell.contexts:
        source = metrics["contexts"][kind]
        engine = metrics.get("context_engines", {}).get(kind)
        about = source
        if engine is not None:
            about = f"{engine.get('engine')} {engine.get('model')} {engine.get('version')}"
            about += "".join(f", {name}={json.dumps(value)}" for name, value in engine.get("parameters", {}).items())
        rows.append((Entry(f"context {kind}"), Entry(str(about)), Entry(corpus.digests[kind])))
    grid = Grid("data", "Data", ("part", "what", "SHA-256"), tuple(rows), left=(0, 1, 2))
    notes = "".join(f"\n* {markdown_line(warning)}" for warning in metrics["warnings"])
    return (
        f"## Training data\n\n{markdown_text(cell.dataset)}, release: {markdown_text(metrics['release'])}.\n\n"
        f"{markdown(grid)}{chr(10) * 2 + 'To know of these data:' + chr(10) + notes if notes else ''}"
    )


def _limits(cell: Cell, metrics: Metrics) -> str:
    limits = [
        "Trained on short posts of one collection; on other text, times and languages it finds less.",
        "Words beyond the longest input are not read; predictions say how many were left out.",
        "A mention's probability is that of exactly this span with this type under the model's own distribution over "
        "tag sequences. How well it is calibrated was not measured for this model.",
        "Who is mentioned is not checked: it may name people wrongly, and the corpus's biases are its own.",
    ]
    if cell.contexts and CROSS_MODAL in cell.tested_views:
        limits.insert(
            1,
            "The cross-modal view expects contexts like those of training; from other engines it may be worse than the "
            "text view.",
        )
    if cell.dataset == "demo":
        limits.insert(0, "The demo corpus is generated: this model is for trying out, not for real posts.")
    return "## Limits\n\n" + "\n".join(f"* {limit}" for limit in limits)
