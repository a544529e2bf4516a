"""ITA: a CRF tagger over two views of a tweet, aligned (Wang et al., NAACL 2022, arXiv 2112.06482)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, LinearChainCRF
from lightning_ita.data.batching import TwoViewBatch, ViewBatch
from lightning_ita.errors import NonFiniteLossError
from lightning_ita.metrics import EntityF1
from lightning_ita.models.packing import use_packed_attention, word_states
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagging import forbidden_transitions, to_bio
from lightning_ita.tags import TagSet

# off: one view is trained. joint: both views' likelihoods, no alignment. token, sequence: both, and alignment.
CVA = Literal["off", "joint", "token", "sequence"]
# The text view, and the cross-modal view: the keys of every result.
TEXT, CROSS_MODAL = "T", "I+T"
VIEWS = (TEXT, CROSS_MODAL)


def trained_views(has_contexts: bool, cva: CVA) -> tuple[str, ...]:
    """Returns the views a model is trained on: T without contexts, I+T without CVA, else both."""
    if not has_contexts:
        return (TEXT,)
    return (CROSS_MODAL,) if cva == "off" else VIEWS


class Losses(NamedTuple):
    """The terms of the loss, (batch,) each; ``None`` where a view is not trained.

    Attributes:
        text: NLL_T, the text view's negative log-likelihood.
        cross_modal: NLL_{I+T}, that of the cross-modal view.
        alignment: The cross-view alignment term.
    """

    text: Tensor | None
    cross_modal: Tensor | None
    alignment: Tensor | None


class ITA(pl.LightningModule):
    """Encoder, emission layer and linear-chain CRF, applied to the text view and to the cross-modal view of a tweet.

    Only tweet words have emissions: context is seen by attention, never by the CRF. Trained on both views the loss
    of a tweet is ``NLL_T + cross_modal_weight · NLL_{I+T} + cva_weight · CVA``.

    Args:
        encoder: A Hugging Face encoder.
        tag_set: The tags inside the model.
        recipe: Hyper-parameters; its `temperature` must be set for token CVA.
        has_contexts: Whether the cross-modal view has contexts; if not, only the text view is trained and tested.
        cva: The training mode: ``off``, ``joint``, ``token`` or ``sequence``.
    """

    def __init__(
        self, encoder: nn.Module, tag_set: TagSet, recipe: Recipe, has_contexts: bool = True, cva: CVA = "token"
    ):
        super().__init__()
        use_packed_attention(encoder)
        self.encoder = encoder
        self.tag_set = tag_set
        self.recipe = recipe
        self.cva = cva
        self.trained_views = trained_views(has_contexts, cva)
        self.tested_views = VIEWS if has_contexts else (TEXT,)
        self.emission = nn.Linear(encoder.config.hidden_size, len(tag_set))  # type: ignore[union-attr, arg-type]
        self.crf = LinearChainCRF(len(tag_set))
        self.scores = {view: EntityF1(tag_set.types, recipe.labels) for view in self.tested_views}
        # Of the text view against the cross-modal view in the place of gold: how far alignment has come.
        self.agreement = EntityF1(tag_set.types, recipe.labels)
        self._scores = nn.ModuleList(self.scores.values())  # so that their states move with the model
        self._forbidden = forbidden_transitions(tag_set)
        if recipe.freeze_word_embeddings:
            encoder.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]

    def emissions(self, views: Sequence[ViewBatch]) -> Tensor:
        """Scores each tag of each tweet word in each view.

        Returns:
            (views · batch, words, tags), at least float32; what stands at padding means nothing.
        """
        # (views · batch, words, hidden)
        words = word_states(self.encoder, views)
        if self.training and self.recipe.word_dropout > 0:
            # Word dropout: whole word vectors are zeroed, the others left as they are.
            words = words * (torch.rand_like(words[..., :1]) >= self.recipe.word_dropout)
        return self.emission(words).float()

    def forward(self, batch: TwoViewBatch, views: tuple[str, ...] = VIEWS) -> dict[str, ChainDistribution]:
        """Returns the distribution over tag sequences in each of `views`, which share one pass of encoder and CRF."""
        inputs = {TEXT: batch.text, CROSS_MODAL: batch.cross_modal}
        # (views · batch, words, tags)
        emissions = self.emissions([inputs[view] for view in views])
        chains = self.crf(emissions, batch.mask.repeat(len(views), 1))
        return dict(zip(views, chains.split(len(batch.ids)), strict=True))

    def losses(self, batch: TwoViewBatch) -> Losses:
        """Returns the terms of the loss for each tweet."""
        chains = self(batch, self.trained_views)
        nll = {view: -chain.log_prob(batch.tags) for view, chain in chains.items()}
        return Losses(nll.get(TEXT), nll.get(CROSS_MODAL), self.alignment(chains))

    def alignment(self, chains: dict[str, ChainDistribution]) -> Tensor | None:
        """Returns the cross-view alignment of each tweet, (batch,): the text view learns what the other predicts.

        The teacher p(y|ŵ) is detached, emissions and transitions. ``token`` is what the official code runs,
        ``sequence`` what the paper writes (its equation for L_CVA): −Σ_y p(y|ŵ) log p(y|w).
        """
        if self.cva not in ("token", "sequence") or len(self.trained_views) < 2:
            return None
        teacher, student = chains[CROSS_MODAL].detach(), chains[TEXT]
        if self.cva == "sequence":
            return teacher.cross_entropy(student)
        assert self.recipe.temperature is not None, "token CVA needs a temperature"
        return teacher.token_kl(student, self.recipe.temperature)

    def loss(self, losses: Losses) -> Tensor:
        """Weighs the terms and averages over the tweets of a batch."""
        if losses.text is None or losses.cross_modal is None:
            single = losses.text if losses.cross_modal is None else losses.cross_modal
            assert single is not None
            return single.mean()
        total = losses.text + self.recipe.cross_modal_weight * losses.cross_modal
        if losses.alignment is not None:
            total = total + self.recipe.cva_weight * losses.alignment
        return total.mean()

    def decode(self, batch: TwoViewBatch) -> dict[str, Tensor]:
        """Returns the best well-formed tags of each tested view as BIO tag ids, (batch, words), -1 at padding."""
        chains = self(batch, self.tested_views)
        forbidden = ForbiddenTransitions(*(moves.to(batch.mask.device) for moves in self._forbidden))
        return {view: to_bio(self.tag_set, chain.argmax(forbidden)) for view, chain in chains.items()}

    def training_step(self, batch: TwoViewBatch, batch_idx: int) -> Tensor:
        """Returns the loss of a batch.

        Raises:
            NonFiniteLossError: The loss is NaN or infinite.
        """
        losses = self.losses(batch)
        loss = self.loss(losses)
        # On a GPU the check waits for the device, so it is made now and then only.
        if (loss.device.type == "cpu" or batch_idx % 50 == 0) and not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss became {loss.item()} in epoch {self.current_epoch + 1}, step {self.global_step + 1}; "
                f"a smaller learning rate ({self.recipe.learning_rate:g} now) or float32 usually helps"
            )
        for name, term in zip(losses._fields, losses, strict=True):
            if term is not None:
                self.log(f"train/{name}", term.detach().mean(), on_step=False, on_epoch=True, batch_size=len(batch.ids))
        return loss

    def validation_step(self, batch: TwoViewBatch, batch_idx: int) -> None:
        """Counts the mentions of a batch."""
        gold = to_bio(self.tag_set, batch.tags.masked_fill(~batch.mask, -1))
        predicted = self.decode(batch)
        for view, tags in predicted.items():
            self.scores[view].update(tags, gold)
        if CROSS_MODAL in predicted:
            self.agreement.update(predicted[TEXT], predicted[CROSS_MODAL])

    def on_validation_epoch_end(self) -> None:
        """Logs ``dev/<view>/f1``, ``dev/agreement`` (F1 of one view's mentions against the other's), and ``dev/f1``.

        The last is the mean over the trained views, by which the best epoch is chosen.
        """
        f1 = {view: metric.compute()["f1"] for view, metric in self.scores.items()}
        for metric in self.scores.values():
            metric.reset()
        self.log_dict({f"dev/{view}/f1": value for view, value in f1.items()})
        if CROSS_MODAL in f1:
            self.log("dev/agreement", self.agreement.compute()["f1"])
            self.agreement.reset()
        self.log("dev/f1", torch.stack([f1[view] for view in self.trained_views]).mean(), prog_bar=True)

    def predict_step(self, batch: TwoViewBatch, batch_idx: int) -> tuple[list[str], dict[str, Tensor]]:
        """Returns tweet ids and the BIO tag ids of each tested view."""
        return batch.ids, {view: tags.cpu() for view, tags in self.decode(batch).items()}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the norm of the gradient.

        Lightning refuses to clip for fused optimisers under mixed precision, because float16 gradients are scaled;
        those of bfloat16 are not.
        """
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Returns AdamW with three learning rates: of the encoder, the emission layer and the CRF."""
        recipe = self.recipe
        groups = [
            {"params": self.encoder.parameters(), "lr": recipe.learning_rate},
            {"params": self.emission.parameters(), "lr": recipe.learning_rate * recipe.head_lr_factor},
            {"params": self.crf.parameters(), "lr": recipe.learning_rate * recipe.crf_lr_factor, "weight_decay": 0.0},
        ]
        # One fused kernel: the default implementation takes a third of a MiniLM step on CPU.
        return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)

    def configure_optimizers(self) -> Any:
        """Returns the optimiser, and a linear schedule by step."""
        optimizer = self.make_optimizer()
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = get_linear_schedule_with_warmup(optimizer, round(self.recipe.warmup * steps), steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
