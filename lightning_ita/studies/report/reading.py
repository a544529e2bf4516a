"""A study as it is on disk: what was planned, what there is of it, and what every model predicted for every test tweet.

Whoever wrote the folder: what is damaged in it is a `UserError` that names the file, and what was changed in one file
and not in another is found.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from lightning_ita.data import DATASETS
from lightning_ita.data.source import Source
from lightning_ita.errors import DataError, UserError
from lightning_ita.models import MODELS
from lightning_ita.models.ita import SINGLE_CONTEXTS
from lightning_ita.models.options import CVA, OF_PICTURES
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell
from lightning_ita.studies.plan import CELLS, FAILED, PLAN, STUDY
from lightning_ita.studies.records import MEASURES, Config, Environment, Metrics, Prediction, types_of
from lightning_ita.studies.study import CONFIG, ENVIRONMENT, METRICS, UNKNOWN_CODE, Result
from lightning_ita.tags import bio_tags
from lightning_ita.text import quoted

if TYPE_CHECKING:
    from lightning_ita.statistics.resampling import Counts

Tags = tuple[str, ...]
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Finished:
    """A finished cell, read from its folder."""

    folder: Path
    cell: Cell
    metrics: Metrics
    environment: Environment


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder, read.

    Attributes:
        path: The folder.
        settings: Encoder and hyper-parameters of every cell.
        data: SHA-256 of the data by data set, and by split and kind of context.
        results: What became of each cell, in the order of the plan.
        finished: What was read of the finished cells, by the name of the cell.
        failures: Why cells failed that no plan describes, by the name of the cell: a study of version 1 has no plan.
    """

    path: Path
    settings: Mapping[str, Any]
    data: Mapping[str, Mapping[str, str]]
    results: tuple[Result, ...]
    finished: Mapping[str, Finished]
    failures: Mapping[str, str]


def read_study(path: Path) -> StudyFolder:
    """Reads the folder of a study.

    What was planned is what ``plan.jsonl`` says, and what is finished. A cell is stale if it was measured with other
    code than today's, if its settings or data are not those of the study, or if they have another identity now.

    Raises:
        UserError: The folder holds no study, no cell is finished, or a file is damaged.
    """
    if not (path / STUDY).is_file():
        raise UserError(f"{path} holds no study: {STUDY} is missing. Give the folder that an ablation was written to.")
    study = schema.read_study_file(path / STUDY)
    found = {_key(each.cell): each for each in _finished(path)}
    if not found:
        raise UserError(f"{path} has no finished cell yet; run the study first, then report it")
    planned = list(_planned(path))
    cells = {_key(cell): cell for cell, _ in planned}
    names = {_key(cell): name for cell, name in planned}
    known = list(study["data"])
    others = [each.cell for key, each in found.items() if key not in cells]
    cells |= {_key(cell): cell for cell in sorted(others, key=_order)}
    results = []
    for key, cell in cells.items():
        each = found.get(key)
        if each is not None:
            results.append(_result(each, study["settings"], study["data"].get(cell.dataset, {})))
        else:
            log = path / FAILED / f"{names[key]}.log"
            results.append(Result(cell, failure=schema.read_failure(log) if log.exists() else None))
        if cell.dataset not in known:
            raise DataError(f"{quoted(cell.dataset)} is missing in `data`, but is a cell's data set", path / STUDY)
    described = {*names.values(), *(each.folder.name for each in found.values())}
    failures = {
        log.stem: schema.read_failure(log) for log in sorted((path / FAILED).glob("*.log")) if log.stem not in described
    }
    return StudyFolder(
        path=path,
        settings=study["settings"],
        data=study["data"],
        results=tuple(results),
        finished={each.cell.name: each for each in found.values()},
        failures=failures,
    )


def _planned(path: Path) -> Iterator[tuple[Cell, str]]:
    """Yields the cells of the plan, and the names under which it has them."""
    plan = path / PLAN
    if plan.exists():
        for number, line in enumerate(schema.read_plan(plan), 1):
            yield _cell(line["config"], plan, number), line["name"]


def _finished(path: Path) -> Iterator[Finished]:
    """Yields the finished cells; of two for one row and seed, the one whose folder has its name of today comes last."""
    finished = []
    for file in sorted((path / CELLS).glob(f"*/{METRICS}")):
        folder = file.parent
        if folder.name.startswith("."):  # not finished
            continue
        cell = _cell(schema.read_config(folder / CONFIG), folder / CONFIG)
        metrics, environment = schema.read_metrics(file), schema.read_environment(folder / ENVIRONMENT)
        for split in ("valid", "test"):
            if set(metrics[split]) != set(cell.tested_views):
                raise schema.damaged(f"{split}: expected scores of {', '.join(cell.tested_views)}", file)
            if any(types_of(scores) != metrics["types"] for scores in metrics[split].values()):
                raise schema.damaged(f"types: other types than those of the scores in {split}", file)
        finished.append(Finished(folder, cell, metrics, environment))
    return iter(sorted(finished, key=lambda each: each.folder.name == each.cell.name))


def _cell(config: Config, path: Path, line: int | None = None) -> Cell:
    try:
        return Cell.from_config(config)
    except (UserError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise schema.damaged(error, path, line) from None


def _key(cell: Cell) -> tuple[Hashable, int]:
    """Returns what tells a cell of a study from the others: its row and its seed."""
    return cell.row, cell.seed


def _order(cell: Cell) -> tuple[Any, ...]:
    """Sorts cells that stand in no plan as a table has them: system by system, fewer contexts first."""
    first = [SINGLE_CONTEXTS.index(kind) if kind in SINGLE_CONTEXTS else 99 for kind in cell.contexts]
    mode = get_args(CVA).index(cell.cva)
    return cell.dataset, list(MODELS).index(cell.system), len(first), first, cell.contexts, mode, cell.seed


def _result(each: Finished, settings: Mapping[str, Any], data: Mapping[str, str]) -> Result:
    """Returns the result of a finished cell; code that is not known stands for other settings and other data, too."""
    own = {"encoder": each.cell.encoder, **asdict(each.cell.recipe)}
    aside = set(each.cell.without_effect)
    if settings.get("temperature") is None:
        aside.add("temperature")  # the one published for the data set
    same = all(own[name] == value for name, value in settings.items() if name in own.keys() - aside)
    same = same and all(each.cell.data.get(name, digest) == digest for name, digest in data.items())
    same = same and each.folder.name == each.cell.name
    code = each.environment.get("code", UNKNOWN_CODE) if same else UNKNOWN_CODE
    return Result(each.cell, each.metrics, code=code, packages=each.environment["packages"])


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
    """Reads what the finished cells of a data set predicted for its test split; ``None`` if none is finished.

    Args:
        study: The study.
        dataset: The data set.
        source: Where the corpus lies, for the words that predictions of earlier versions do not hold.

    Raises:
        UserError: Predictions are damaged, differ in their tweets, or do not give the scores in the cell's metrics.
    """
    cells = [each for each in study.finished.values() if each.cell.dataset == dataset]
    if not cells:
        return None
    types = tuple(cells[0].metrics["types"])
    reference: list[Prediction] = []
    words: tuple[Tags, ...] | None = None
    contexts: dict[str, tuple[Tags, ...]] = {}
    tags: dict[tuple[str, str], tuple[Tags, ...]] = {}
    counts: dict[tuple[str, str], Counts] = {}
    for each in cells:
        path = each.folder / "predictions.test.jsonl"
        lines = schema.read_predictions(path)
        reference = reference or lines
        if tuple(each.metrics["types"]) != types:
            raise schema.damaged("types: other types than those of the study's other cells", each.folder / METRICS)
        if [(line["tweet"], line["gold"]) for line in lines] != [(line["tweet"], line["gold"]) for line in reference]:
            raise DataError("other tweets or gold tags than in the study's other cells; they do not compare", path)
        if words is None and all("words" in line for line in lines):
            words = tuple(tuple(line["words"]) for line in lines)
        # With a control, a cell's contexts are those of other images, or none.
        own = each.cell.control is None and all("contexts" in line for line in lines)
        for kind in set(each.cell.contexts) - set(contexts) if own else ():
            contexts[kind] = tuple(tuple(line["contexts"].get(kind, ())) for line in lines)
        known = set(bio_tags(types))
        for view in each.cell.tested_views:
            name = (each.cell.name, view)
            tags[name] = tuple(tuple(cast(Any, line).get(view, ())) for line in lines)
            gold = [line["gold"] for line in lines]
            for number, (found, expected) in enumerate(zip(tags[name], gold, strict=True), 1):
                if len(found) != len(expected):
                    raise schema.damaged(f"{view}: missing", path, number)
                if unknown := {*found, *expected} - known:
                    raise schema.damaged(f"{view}: tag {quoted(min(unknown))} of no type of the cell", path, number)
            counts[name] = count_mentions(tags[name], gold, types, each.cell.recipe.labels)
            _check_scores(counts[name], each.metrics["test"][view], types, path, view)
    ids = tuple(line["tweet"] for line in reference)
    if words is None:
        words, contexts = _reread(study, dataset, source, reference)
    return TaggedSplit(types, ids, tuple(tuple(line["gold"]) for line in reference), words, contexts, tags, counts)


def _check_scores(counts: Counts, scores: Mapping[str, float], types: Sequence[str], path: Path, view: str) -> None:
    """Checks that the scores in the metrics of a cell are those of its predictions."""
    by_type = counts.sum(axis=0)
    for prefix, (correct, predicted, gold) in zip(
        ("", *(f"{type_}/" for type_ in types)), (by_type.sum(axis=0), *by_type), strict=True
    ):
        expected = (correct / max(predicted, 1), correct / max(gold, 1), 2 * correct / max(predicted + gold, 1))
        for measure, value in zip(MEASURES, expected, strict=True):
            if abs(100 * value - scores[prefix + measure]) > 1e-3:
                raise DataError(
                    f"does not give the score in {METRICS} ({view} {prefix}{measure} {scores[prefix + measure]}); one "
                    f"of the two was changed",
                    path,
                )


def count_mentions(
    predicted: Sequence[Tags], gold: Sequence[Sequence[str]], types: Sequence[str], labels: Any
) -> Counts:
    """Counts correct, predicted and gold mentions of each tweet by type, (tweets, types, 3)."""
    import numpy as np
    import torch

    from lightning_ita.metrics import sentence_counts

    index = {tag: number for number, tag in enumerate(bio_tags(types))}

    def padded(rows: Sequence[Sequence[str]]) -> torch.Tensor:
        lengths = np.array([len(row) for row in rows])
        # (tweets, words)
        ids = np.full((len(rows), lengths.max(initial=0)), -1)
        ids[np.arange(ids.shape[1]) < lengths[:, None]] = [index[tag] for row in rows for tag in row]
        return torch.from_numpy(ids)

    one, two = padded(predicted), padded(gold)
    return np.stack([each.numpy() for each in sentence_counts(one, two, len(types), labels)], axis=-1)


def _reread(
    study: StudyFolder, dataset: str, source: Source, lines: Sequence[Prediction]
) -> tuple[tuple[Tags, ...] | None, dict[str, tuple[Tags, ...]]]:
    """Reads words and contexts from the corpus, if it is at hand and is what the study was run on."""
    if source.data_dir is None and dataset != "demo":
        return None, {}
    digests = study.data[dataset]
    kinds = tuple(kind for kind in digests if kind not in (*SPLITS, *OF_PICTURES))
    corpus = DATASETS[dataset]().read(source, kinds)
    if any(corpus.digests.get(name) != digests[name] for name in (*SPLITS, *kinds)):
        if source.data_dir is None:
            return None, {}  # this version generates another demo corpus
        raise UserError(f"{source.data_dir}: {dataset} is not what the study was run on (SHA-256 differs)")
    tweets = {tweet.id: tweet for tweet in corpus.splits["test"]}
    if any(line["tweet"] not in tweets or len(tweets[line["tweet"]].words) != len(line["gold"]) for line in lines):
        raise UserError(f"{study.path}: its predictions for {dataset} are of other tweets than the corpus has")
    texts = {kind: tuple(corpus.texts(tweets[line["tweet"]]).get(kind, ()) for line in lines) for kind in kinds}
    return tuple(tweets[line["tweet"]].words for line in lines), texts
