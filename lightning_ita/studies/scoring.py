"""Tags a split with a trained model, keeps the predictions, and scores them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.errors import Terminated
from lightning_ita.metrics import EntityF1
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import ranks, schema
from lightning_ita.tags import LabelConvention, bio_tags


def evaluate(
    trainer: pl.Trainer, model: Tagger, datamodule: MNERDataModule, split: str, folder: Path | None
) -> dict[str, dict[str, float]]:
    """Tags a split in every tested view, writes ``predictions.<split>.jsonl``, and scores it.

    A line of that file is one tweet: its words and the texts of its image, so that errors can be read without the
    corpus, the gold tags, and the tags of each view.

    The processes of a run tag a share of the split each, no tweet twice; each scores the whole.

    Args:
        trainer: Runs the model.
        model: The model.
        datamodule: Its data.
        split: The split.
        folder: Where the file is written; nowhere if not given.

    Returns:
        Scores by view, as `EntityF1` names them.

    Raises:
        Terminated: SIGTERM came.
    """
    names = bio_tags(datamodule.corpus.types)
    tagged: dict[str, dict[str, list[int]]] = {}
    outputs: Any = trainer.predict(model, datamodule.eval_dataloader(split))
    if trainer.received_sigterm:  # Lightning has kept it from a process without a handler of its own
        raise Terminated
    for ids, views in outputs:
        for row, tweet_id in enumerate(ids):
            tagged[tweet_id] = {view: [tag for tag in tags[row].tolist() if tag >= 0] for view, tags in views.items()}
    tagged = ranks.merged(tagged)
    lines: list[Any] = []
    gold = []
    predicted: dict[str, list[list[int]]] = {view: [] for view in model.tested_views}
    kinds = datamodule.inputs.kinds
    for tweet in datamodule.corpus.splits[split]:
        gold.append([names.index(tag) for tag in tweet.tags])
        line: dict[str, Any] = {"tweet": tweet.id, "words": list(tweet.words), "gold": list(tweet.tags)}
        if kinds:
            texts = datamodule.corpus.texts(tweet)
            line["contexts"] = {kind: list(said) for kind, said in texts.items() if kind in kinds}
        for view, tags in tagged[tweet.id].items():
            tags += [0] * (len(tweet.tags) - len(tags))  # words beyond the encoder's length are tagged O
            predicted[view].append(tags)
            line[view] = [names[tag] for tag in tags]
        lines.append(line)
    if folder is not None:
        schema.write_predictions(folder / f"predictions.{split}.jsonl", lines)
    types, labels = datamodule.corpus.types, datamodule.labels
    return {view: score(tags, gold, types, labels) for view, tags in predicted.items()}


def score(
    predicted: Sequence[Sequence[int]], gold: Sequence[Sequence[int]], types: Sequence[str], labels: LabelConvention
) -> dict[str, float]:
    """Scores BIO tag ids of tweets; see `EntityF1` for the names of the scores, in percent."""

    def pad(rows: Sequence[Sequence[int]]) -> Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-1)

    metric = EntityF1(types, labels)
    metric.update(pad(predicted), pad(gold))
    return {name: round(value.item(), 4) for name, value in metric.compute().items()}
