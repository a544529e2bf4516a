"""A study as it lies on disk: what was planned, what is there of it, and what every model said of every test tweet."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.nn.utils.rnn import pad_sequence

from lightning_ita.data import DATASETS
from lightning_ita.data.source import Source
from lightning_ita.errors import UserError
from lightning_ita.metrics import sentence_counts
from lightning_ita.statistics.resampling import Counts
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.plan import CELLS, PLAN, STUDY, read_plan
from lightning_ita.studies.study import CONFIG, ENVIRONMENT, METRICS, Result, collect
from lightning_ita.tags import bio_tags

Tags = tuple[str, ...]
# What a row's cells share, and the seed in which they differ.
Key = tuple[Hashable, int]


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder, read.

    Attributes:
        path: The folder.
        settings: Encoder and hyper-parameters of every cell.
        data: SHA-256 of the data by data set, and by split and kind of context.
        results: What became of each cell, in the order of the paper's rows, gaps included.
        folders: Folders of the finished cells by their name.
        stale: Names of finished cells that are of other code than today's, or whose settings have another identity now.
    """

    path: Path
    settings: Mapping[str, Any]
    data: Mapping[str, Mapping[str, str]]
    results: tuple[Result, ...]
    folders: Mapping[str, Path]
    stale: frozenset[str]

    def environment(self, cell: Cell) -> dict[str, Any]:
        """Returns what a finished cell was produced with."""
        return dict(_json(self.folders[cell.name] / ENVIRONMENT))


def read_study(path: Path) -> StudyFolder:
    """Reads a study's folder.

    What was planned and is not finished is a gap. A folder of an earlier version holds no plan: it has no gaps.

    Raises:
        UserError: The folder holds no study, or a file of it cannot be read.
    """
    if not (path / STUDY).is_file():
        raise UserError(f"{path} holds no study: {STUDY} is missing. Give the folder that an ablation was written to.")
    study = _json(path / STUDY)
    settings, data = dict(study["settings"]), study["data"]
    found = {_key(cell): (cell, folder) for folder, cell in _finished(path)}
    planned = read_plan(path) if (path / PLAN).is_file() else []
    cells = {_key(cell): cell for cell in planned} | {key: cell for key, (cell, _) in found.items()}
    if not found:
        raise UserError(f"{path} has no finished cell yet; run the study first, then report it")
    stale = frozenset(cell.name for cell, folder in found.values() if folder.name != cell.name)
    known = {_key(result.cell): result for result in collect([c for c in cells.values() if c.name not in stale], path)}
    results = [
        known[key] if key in known else Result(cell, _json(found[key][1] / METRICS)) for key, cell in cells.items()
    ]
    return StudyFolder(
        path=path,
        settings=settings,
        data=data,
        results=tuple(results),
        folders={cell.name: folder for cell, folder in found.values()},
        stale=stale | {result.cell.name for result in results if result.stale},
    )


def _finished(path: Path) -> Iterator[tuple[Path, Cell]]:
    """Yields folders and cells that are finished; of two for one row and seed the one as of today comes last."""
    finished = []
    for metrics in (path / CELLS).glob(f"*/{METRICS}"):
        folder = metrics.parent
        if folder.name.startswith("."):
            continue
        try:
            config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
            cell = Cell.from_config(config)
        except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{folder / CONFIG} cannot be read ({error}); delete {folder} to run it again") from None
        finished.append((folder.name == cell.name, folder, cell))
    for _, folder, cell in sorted(finished, key=lambda entry: entry[:2]):
        yield folder, cell


def _key(cell: Cell) -> Key:
    return cell.row, cell.seed


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete {path.parent} to run it again") from None


@dataclass(frozen=True)
class TaggedSplit:
    """The test split of a data set as every model of a study tagged it.

    Attributes:
        types: Entity types.
        ids: Ids of the tweets.
        gold: Gold tags of each tweet.
        words: Words of each tweet; ``None`` where neither the predictions nor a corpus at hand tell them.
        contexts: Texts of each tweet's image, by kind of context; as unknown as the words.
        tags: Tags of each tweet, by cell name and view.
        counts: int (tweets, types, 3) by cell name and view: correct, predicted and gold mentions.
    """

    types: tuple[str, ...]
    ids: tuple[str, ...]
    gold: tuple[Tags, ...]
    words: tuple[Tags, ...] | None
    contexts: Mapping[str, tuple[Tags, ...]]
    tags: Mapping[tuple[str, str], tuple[Tags, ...]]
    counts: Mapping[tuple[str, str], Counts]


def read_split(study: StudyFolder, dataset: str, source: Source) -> TaggedSplit | None:
    """Reads what the finished cells of a data set said of its test split; ``None`` if none is finished.

    Args:
        study: The study.
        dataset: The data set.
        source: Where the corpus lies, for the words that predictions of earlier versions do not hold.

    Raises:
        UserError: Predictions are damaged, differ in their tweets, or do not give the score in the cell's metrics.
    """
    results = [r for r in study.results if r.cell.dataset == dataset and r.metrics is not None]
    if not results:
        return None
    types = tuple(name[:-3] for name in _metrics(results[0])["test"]["T"] if name.endswith("/f1"))
    reference: list[dict[str, Any]] = []
    words: tuple[Tags, ...] | None = None
    contexts: dict[str, tuple[Tags, ...]] = {}
    tags: dict[tuple[str, str], tuple[Tags, ...]] = {}
    counts: dict[tuple[str, str], Counts] = {}
    for result in results:
        path = study.folders[result.cell.name] / "predictions.test.jsonl"
        lines = _lines(path)
        reference = reference or lines
        if [(line["tweet"], line["gold"]) for line in lines] != [(line["tweet"], line["gold"]) for line in reference]:
            raise UserError(f"{path} holds other tweets or gold tags than the study's other cells; they do not compare")
        if words is None and "words" in lines[0]:
            words = tuple(tuple(line["words"]) for line in lines)
        for kind in set(result.cell.contexts) - set(contexts) if "contexts" in lines[0] else ():
            contexts[kind] = tuple(tuple(line["contexts"].get(kind, ())) for line in lines)
        for view, scores in _metrics(result)["test"].items():
            name = (result.cell.name, view)
            tags[name] = tuple(tuple(line[view]) for line in lines)
            counts[name] = count_mentions(
                tags[name], [line["gold"] for line in lines], types, result.cell.recipe.labels
            )
            correct, predicted, gold = counts[name].sum(axis=(0, 1))
            if abs(200 * correct / max(predicted + gold, 1) - scores["f1"]) > 1e-3:
                raise UserError(f"{path} does not give the F1 in {METRICS} ({view} {scores['f1']}): one was changed")
    if words is None:
        words, contexts = _reread(study, dataset, source, [line["tweet"] for line in reference])
    ids, gold_tags = (tuple(line["tweet"] for line in reference), tuple(tuple(line["gold"]) for line in reference))
    return TaggedSplit(types, ids, gold_tags, words, contexts, tags, counts)


def _metrics(result: Result) -> Any:
    assert result.metrics is not None
    return result.metrics


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete {path.parent} to run the cell again") from None


def count_mentions(predicted: Sequence[Tags], gold: Sequence[Tags], types: Sequence[str], labels: Any) -> Counts:
    """Counts correct, predicted and gold mentions of each tweet by type, (tweets, types, 3)."""
    index = {tag: number for number, tag in enumerate(bio_tags(types))}
    one, two = (
        pad_sequence([torch.tensor([index[tag] for tag in row]) for row in rows], batch_first=True, padding_value=-1)
        for rows in (predicted, gold)
    )
    return np.stack([each.numpy() for each in sentence_counts(one, two, len(types), labels)], axis=-1)


def _reread(
    study: StudyFolder, dataset: str, source: Source, ids: Sequence[str]
) -> tuple[tuple[Tags, ...] | None, dict[str, tuple[Tags, ...]]]:
    """Reads words and contexts from the corpus, if it is at hand and is what the study was run on."""
    if source.data_dir is None and dataset != "demo":
        return None, {}
    digests = study.data[dataset]
    kinds = tuple(kind for kind in digests if kind not in ("train", "valid", "test"))
    corpus = DATASETS[dataset]().read(source, kinds)
    if any(corpus.digests[name] != digest for name, digest in digests.items()):
        if source.data_dir is None:
            return None, {}  # this version generates another demo corpus
        raise UserError(f"{source.data_dir}: {dataset} is not what the study was run on (SHA-256 differs)")
    tweets = {tweet.id: tweet for tweet in corpus.splits["test"]}
    texts = {kind: tuple(corpus.texts(tweets[id_]).get(kind, ()) for id_ in ids) for kind in kinds}
    return tuple(tweets[id_].words for id_ in ids), texts
