"""Trains a relation gate on tweets with labels that say whether the picture adds to the text."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ita.models.tagger import Tagger

# Tweets per batch where the gate is tested.
HELD_OUT_BATCH = 32


def relation_loss(scores: Tensor, adds: Tensor) -> Tensor:
    """Returns the cross-entropy of each tweet, (batch,): −log σ(s) where the picture adds, −log (1 − σ(s)) elsewhere.

    Args:
        scores: (batch,), s; the softmax over two scores whose difference is s says the same.
        adds: bool (batch,), whether the picture adds.
    """
    return F.binary_cross_entropy_with_logits(scores.float(), adds.float(), reduction="none")


class RelationLoss(Tagger):
    """A tagger with a relation gate, which learns from relation data in every step beside the tags.

    The loss of a step is that of the batch plus ``relation_weight`` times the cross-entropy of ``relation_batch``
    tweets of the relation data, drawn without replacement. RpBERT's official code makes a pass over the relation data
    before each epoch instead, with a weight of 0.05; its optimiser, Adam, divides by the size of the gradient, so that
    this weight hardly changes a step that holds nothing else. In one sum a weight means what it says.

    A subclass of a system with the options `lightning_ita.models.relation_options.RelationOptions`; it writes
    `relation_scores`.
    """

    @abstractmethod
    def relation_scores(self, batch: Any) -> Tensor:
        """Returns the gate's score of each tweet, (batch,); its sigmoid is the probability that the picture adds."""

    def auxiliary(self, batch: Any) -> dict[str, Tensor]:
        """Returns the weighted cross-entropy of relation data, ``relation``, (relation_batch,)."""
        further = super().auxiliary(batch)
        own: Any = self.options
        if own.relation_weight > 0:
            sample, adds = self.relation_sample()
            further["relation"] = own.relation_weight * relation_loss(self.relation_scores(sample), adds)
        return further

    def further_scores(self, inputs: Any) -> dict[str, float]:
        """Returns how often the gate is right on relation data that were held out, in percent: ``relation/accuracy``.

        It says that a picture adds where its score is positive. ``relation/majority`` is how often the more frequent
        answer is right. Without relation data in training there are no scores.
        """
        further = super().further_scores(inputs)
        own: Any = self.options
        reads, adds = inputs.held_out if own.relation_weight > 0 else ([], [])
        if reads:
            scores = [
                self.relation_scores(inputs.collate(reads[start : start + HELD_OUT_BATCH]).to(self.device)).cpu()
                for start in range(0, len(reads), HELD_OUT_BATCH)
            ]
            gold = torch.tensor(adds)
            right, share = (torch.cat(scores) > 0).eq(gold).double().mean().item(), gold.double().mean().item()
            further |= {"relation/accuracy": 100 * right, "relation/majority": 100 * max(share, 1 - share)}
        return further

    def relation_sample(self) -> tuple[Any, Tensor]:
        """Draws tweets of the relation data: a batch as the system's inputs make it, and whether each picture adds."""
        inputs = self.relation_inputs
        reads, adds = inputs.relations
        chosen = torch.randperm(len(reads))[: self.options.relation_batch].tolist()  # type: ignore[attr-defined]
        batch = inputs.collate([reads[index] for index in chosen]).to(self.device)
        return batch, torch.tensor([adds[index] for index in chosen], device=self.device)

    @property
    def relation_inputs(self) -> Any:
        """What reads relation data: the inputs that read the training data, and have looked at all pictures."""
        trainer: Any = self._trainer
        datamodule = getattr(trainer, "datamodule", None)
        return self.inputs if datamodule is None else datamodule.inputs
