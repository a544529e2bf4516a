"""A plain training loop, with which `benchmarks.train` and `benchmarks.fidelity` compare.

It is what a user would write today: transformers for the encoder, pytorch-crf for the CRF, both views of a batch padded
together, batches in random order, float32, torch's dropout, its default AdamW. It shares nothing with the model of
`lightning_ita` but the views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torchcrf import CRF
from transformers import AutoModel, get_linear_schedule_with_warmup

from lightning_ita.data.batching import EncodedTweet
from lightning_ita.models.encoders import locate_encoder
from lightning_ita.models.recipes import Recipe


class NaiveBatch(NamedTuple):
    """Tweets in one or both views, padded to the longest of all.

    Attributes:
        input_ids: int64 (views · batch, subtokens), text views first.
        attention_mask: int64, like `input_ids`.
        first_subtokens: int64 (views · batch, words).
        tags: int64 (views · batch, words), 0 at padding.
        mask: bool, like `tags`.
    """

    input_ids: Tensor
    attention_mask: Tensor
    first_subtokens: Tensor
    tags: Tensor
    mask: Tensor


def collate(tweets: Sequence[EncodedTweet], pad: int, text: bool, cross_modal: bool) -> NaiveBatch:
    """Pads tweets, in one view or both."""
    views = [tweet.text for tweet in tweets] * text + [tweet.cross_modal for tweet in tweets] * cross_modal
    tags = [torch.tensor(tweet.tags) for tweet in tweets] * (text + cross_modal)
    return NaiveBatch(
        pad_sequence([torch.tensor(view.input_ids) for view in views], batch_first=True, padding_value=pad),
        pad_sequence([torch.ones(len(view.input_ids), dtype=torch.long) for view in views], batch_first=True),
        pad_sequence([torch.tensor(view.first_subtokens) for view in views], batch_first=True),
        pad_sequence(tags, batch_first=True),
        pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in tags], batch_first=True),
    )


class NaiveTagger(nn.Module):
    """BERT-CRF, or ITA where both views are given.

    Args:
        encoder: Name of the encoder, or the encoder.
        tags: Number of tags.
        recipe: Hyper-parameters; its temperature is that of token CVA.
        alignment: Whether both views are aligned.
    """

    def __init__(self, encoder: str | nn.Module, tags: int, recipe: Recipe, alignment: bool):
        super().__init__()
        module: Any = encoder
        if isinstance(encoder, str):
            module = AutoModel.from_pretrained(locate_encoder(encoder), use_safetensors=True)
        self.encoder = module.train()
        self.emission = nn.Linear(self.encoder.config.hidden_size, tags)
        self.crf = CRF(tags, batch_first=True)
        self.recipe = recipe
        self.alignment = alignment

    def emissions(self, batch: NaiveBatch) -> Tensor:
        """Scores each tag of each word, (views · batch, words, tags)."""
        hidden = self.encoder(batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        words = hidden.gather(1, batch.first_subtokens[..., None].expand(-1, -1, hidden.shape[-1]))
        if self.training and self.recipe.word_dropout > 0:
            words = words * (torch.rand_like(words[..., :1]) >= self.recipe.word_dropout)
        return self.emission(words)

    def loss(self, batch: NaiveBatch) -> Tensor:
        """Returns the mean loss of the tweets: NLL of one view, or NLL_T + ½·NLL_{I+T} + ½·CVA."""
        emissions = self.emissions(batch)
        nll = -self.crf(emissions, batch.tags, batch.mask, reduction="none")
        if not self.alignment:
            return nll.mean()
        text, cross_modal = nll.chunk(2)
        total = (
            text + self.recipe.cross_modal_weight * cross_modal + self.recipe.cva_weight * self.cva(emissions, batch)
        )
        return total.mean()

    def cva(self, emissions: Tensor, batch: NaiveBatch) -> Tensor:
        """Token CVA, by automatic differentiation through both recursions."""
        tau = self.recipe.temperature
        assert tau is not None, "token CVA needs a temperature"
        student, teacher = log_marginals(self.crf, emissions, batch.mask).chunk(2)
        divergence = F.kl_div((student / tau).log_softmax(-1), (teacher.detach() / tau).softmax(-1), reduction="none")
        return (divergence.sum(-1) * batch.mask.chunk(2)[0]).sum(1) * tau**2

    def optimizer(self) -> torch.optim.Optimizer:
        """Returns torch's default AdamW with the recipe's learning rates."""
        rate = self.recipe.learning_rate
        groups = [
            {"params": self.encoder.parameters(), "lr": rate},
            {"params": self.emission.parameters(), "lr": rate * self.recipe.head_lr_factor},
            {"params": self.crf.parameters(), "lr": rate * self.recipe.crf_lr_factor, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, weight_decay=self.recipe.weight_decay)

    def step(self, batch: NaiveBatch, optimizer: torch.optim.Optimizer) -> None:
        """Makes one training step."""
        optimizer.zero_grad()
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.parameters(), self.recipe.gradient_clip)
        optimizer.step()

    def fit_epoch(
        self, tweets: Sequence[EncodedTweet], pad: int, views: tuple[bool, bool], optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:  # fmt: skip
        """Trains on all tweets once, in random order."""
        self.train()
        for indices in torch.randperm(len(tweets)).split(self.recipe.batch_size):
            self.step(collate([tweets[index] for index in indices.tolist()], pad, *views), optimizer)
            schedule.step()

    def tag(self, batch: NaiveBatch) -> list[list[int]]:
        """Returns the best tags of each view of each tweet."""
        self.eval()
        with torch.no_grad():
            paths: list[list[int]] = self.crf.decode(self.emissions(batch), batch.mask)
        return paths


def log_marginals(crf: CRF, emissions: Tensor, mask: Tensor) -> Tensor:
    """Returns the unnormalised log marginals α + β, (batch, words, tags)."""
    alpha = crf.start_transitions + emissions[:, 0]
    alphas = [alpha]
    for t in range(1, emissions.shape[1]):
        arriving = torch.logsumexp(alpha[:, :, None] + crf.transitions, 1) + emissions[:, t]
        alpha = torch.where(mask[:, t, None], arriving, alpha)
        alphas.append(alpha)
    beta = crf.end_transitions.expand(len(emissions), -1)
    betas = [beta]
    for t in range(emissions.shape[1] - 1, 0, -1):
        leaving = torch.logsumexp(crf.transitions + (beta + emissions[:, t])[:, None], 2)
        beta = torch.where(mask[:, t, None], leaving, beta)
        betas.append(beta)
    return torch.stack(alphas, 1) + torch.stack(betas[::-1], 1)


def linear_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, tweets: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Returns the recipe's learning-rate schedule for a corpus with this many tweets."""
    steps = recipe.epochs * -(-tweets // recipe.batch_size)
    return get_linear_schedule_with_warmup(optimizer, round(recipe.warmup * steps), steps)
