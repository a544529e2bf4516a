"""What every system shares: word states become emissions, a CRF tags them, and two views can be aligned."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, LinearChainCRF
from lightning_ita.crf.validation import NonFiniteScoresError
from lightning_ita.data.batching import processes, weighed
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.data.inputs import Batch, Inputs
from lightning_ita.errors import NonFiniteLossError, UserError
from lightning_ita.files import user_path
from lightning_ita.metrics import EntityF1
from lightning_ita.models.optimization import make_optimizer, make_schedule
from lightning_ita.models.options import ALIGNED, CROSS_MODAL, TEXT, Options, from_values, teacher_of, to_values
from lightning_ita.models.recipes import Recipe, published_temperature
from lightning_ita.models.tagging import forbidden_transitions, to_bio
from lightning_ita.models.teachers import AveragedTeacher, FrozenTeacher, Teacher, check_teacher
from lightning_ita.registry import resolve
from lightning_ita.tags import TagSet
from lightning_ita.text import quoted

if TYPE_CHECKING:
    from lightning_ita.models.kept import Handles, Kept
    from lightning_ita.models.mentions import Tagged
    from lightning_ita.models.predicting import GivenContexts, GivenImage, ViewChoice


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


class Tagger(pl.LightningModule):
    """A system for multimodal NER: word states by the system, emissions and a linear-chain CRF on top of them.

    Only tweet words have emissions; what a system reads beside them is never tagged. Trained on both views the loss of
    a tweet is ``NLL_T + cross_modal_weight · NLL_{I+T} + cva_weight · CVA``.

    A subclass makes its parts, calls `add_head` last, and writes `states`.

    Args:
        types: Entity types.
        options: The system's options, or their values with the system's name, as `to_values` gives them.
        recipe: Hyper-parameters, or their values.
        encoder: ``minilm``, a folder, or a Hub id; systems without a pretrained encoder ignore it.

    Attributes:
        kept: What is known of the folder that the model was loaded from (`from_pretrained`).
        handles: How the corpus that it was fitted to writes @names; ``None`` where that is not known.
        teacher: Whose I+T view the text view is aligned with; ``None`` for the model itself.
        part_groups: Groups of parts by name, see `parameter_groups`; all other parts are ``layers``.
    """

    kept: Kept | None = None
    handles: Handles | None = None
    part_groups: ClassVar[Mapping[str, str]] = {
        "encoder": "encoder",
        "vision": "encoder",  # pretrained, too
        "emission": "head",
        "crf": "crf",
    }

    def __init__(
        self,
        types: Sequence[str],
        options: Options | Mapping[str, Any],
        recipe: Recipe | Mapping[str, Any] | None = None,
        encoder: str = "minilm",
    ):
        super().__init__()
        if not isinstance(options, Options):
            options = from_values(options)
        if not isinstance(recipe, Recipe):
            recipe = Recipe(**(recipe or {}))
        self.options = options
        self.recipe = recipe
        self.encoder_name = encoder
        self.tag_set = TagSet(tuple(types), recipe.tag_scheme)
        self.trained_views, self.tested_views = options.trained_views, options.tested_views
        self.teacher: Teacher | None = AveragedTeacher() if teacher_of(options) == "average" else None
        # What a checkpoint needs to make the model again: plain values, which are read without unpickling.
        self.save_hyperparameters(
            {
                "types": list(types),
                "options": to_values(options),
                "recipe": asdict(recipe),
                "encoder": encoder,
            }
        )

    def add_head(self, width: int) -> None:
        """Adds the emission layer, the CRF and the scores.

        Args:
            width: Width of the word states.
        """
        types, labels = self.tag_set.types, self.recipe.labels
        self.emission = nn.Linear(width, len(self.tag_set))
        self.crf = LinearChainCRF(len(self.tag_set))
        self.scores = {view: EntityF1(types, labels) for view in self.tested_views}
        # Of the text view against the cross-modal view in the place of gold: how far alignment has come.
        self.agreement = EntityF1(types, labels)
        self._scores = nn.ModuleList(self.scores.values())  # so that their states move with the model
        self._forbidden = forbidden_transitions(self.tag_set)

    @classmethod
    def create(
        cls, system: str, types: Sequence[str], recipe: Recipe | None = None, encoder: str = "minilm", **options: Any
    ) -> Tagger:
        """Makes a system by its name.

        Args:
            system: A name of `lightning_ita.models.MODELS`.
            types: Entity types.
            recipe: Hyper-parameters.
            encoder: ``minilm``, a folder, or a Hub id.
            **options: The system's own, such as ``contexts=("cap",)`` and ``cva="token"``.

        Raises:
            UserError: The system or an option is unknown, or the encoder cannot be read.
        """
        if isinstance(types, str):
            raise UserError(f"types {quoted(types)}: expected several names, such as ('PER', 'LOC'), not one text")
        if isinstance(recipe, str):
            raise UserError(f"recipe {quoted(recipe)}: expected a Recipe, such as RECIPES[{quoted(recipe)}]")
        return from_values({"system": system, **options}).make_tagger(types, recipe or Recipe(), encoder)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Loads a checkpoint that Lightning wrote; called on `Tagger` itself, of whatever system it is."""
        if cls is Tagger:
            checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
            options = checkpoint.get("hyper_parameters", {}).get("options", {})
            if "system" not in options:
                raise UserError(f"{checkpoint_path} is no checkpoint of a tagger: it does not say of which system")
            loaded: Self = resolve(from_values(options).tagger).load_from_checkpoint(checkpoint_path, *args, **kwargs)
            return loaded
        return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        revision: str | None = None,
        token: str | bool | None = None,
        relations: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Loads a kept model, of whatever system it is; see `lightning_ita.models.kept.load`.

        Args:
            name: Its folder, which needs no network, or its id on the Hugging Face Hub.
            revision: Branch, tag or commit on the Hub.
            token: For models on the Hub that are not public.
            relations: The file that a relation gate learns from (RIVA, RpBERT), to train the model further.

        Raises:
            UserError: There is no such model, it cannot be read, or it is of another system than this class.
        """
        from lightning_ita.models.kept import load

        tagger = load(name, revision, token, relations)
        if not isinstance(tagger, cls):
            raise UserError(f"{name} is a {type(tagger).__name__}, not a {cls.__name__}; load it with Tagger")
        return tagger

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes a folder that `from_pretrained` loads: weights, configuration, tokenizer and model card.

        Raises:
            UserError: Something else is in the folder, or the model was made of an encoder object.
        """
        from lightning_ita.models.kept import save

        save(self, user_path(folder))

    def push_to_hub(self, repo_id: str, private: bool | None = None, token: str | bool | None = None) -> str:
        """Uploads the model to the Hugging Face Hub, and returns the address; see `lightning_ita.models.kept.push`."""
        from lightning_ita.models.kept import push

        return push(self, repo_id, private, token)

    @cached_property
    def inputs(self) -> Inputs:
        """What makes tweets this model's input."""
        return self.options.make_inputs(self.tag_set.types, self.recipe, self.encoder_name)

    @abstractmethod
    def states(self, batch: Any, views: tuple[str, ...]) -> Tensor:
        """Returns a state for each tweet word in each of `views`.

        Returns:
            (views · batch, words, width), view behind view; what stands at padding means nothing.
        """

    def auxiliary(self, batch: Any) -> dict[str, Tensor]:
        """Returns further losses of a batch by name, weighted, (batch,) each; called after `states` in training."""
        return {}

    def emissions(self, states: Tensor, batch: Any, views: tuple[str, ...]) -> Tensor:
        """Scores each tag of each word.

        Args:
            states: (views · batch, words, width), from `states`.
            batch: The tweets that they are of.
            views: The views that they are of.

        Returns:
            (views · batch, words, tags), at least float32; what stands at padding means nothing.
        """
        if self.training and self.recipe.word_dropout > 0:
            # Word dropout: whole word vectors are zeroed, the others left as they are.
            states = states * (torch.rand_like(states[..., :1]) >= self.recipe.word_dropout)
        return self.emit(states, batch, views).float()

    def emit(self, states: Tensor, batch: Any, views: tuple[str, ...]) -> Tensor:
        """Applies the emission layer: (views · batch, words, width) to (views · batch, words, tags)."""
        scores: Tensor = self.emission(states)
        return scores

    def forward(self, batch: Batch, views: tuple[str, ...] | None = None) -> dict[str, ChainDistribution]:
        """Returns the distribution over tag sequences in each of `views`, which share one pass of model and CRF."""
        views = self.tested_views if views is None else views
        # (views · batch, words, tags)
        emissions = self.emissions(self.states(batch, views), batch, views)
        chains = self.crf(emissions, batch.mask.repeat(len(views), 1))
        return dict(zip(views, chains.split(len(batch.ids)), strict=True))

    def losses(self, batch: Batch) -> Losses:
        """Returns the terms of the loss for each tweet."""
        chains = self(batch, self.trained_views)
        nll = {view: -chain.log_prob(batch.tags) for view, chain in chains.items()}
        return Losses(nll.get(TEXT), nll.get(CROSS_MODAL), self.alignment(chains, batch))

    def learn_from(self, teacher: Tagger) -> None:
        """Sets the frozen teacher of cross-view alignment (option ``teacher="frozen"``).

        Args:
            teacher: A model trained in I+T that reads the same inputs and has the same tags. It is put into evaluation
                mode, and stays as it is.

        Raises:
            UserError: The teacher was not trained in I+T, reads other inputs or has other tags; or this model's options
                name no frozen teacher.
        """
        if teacher_of(self.options) != "frozen":
            raise UserError(f"{self.options.label} has no frozen teacher; make it with the option teacher='frozen'")
        check_teacher(teacher, self)
        self.teacher = FrozenTeacher(teacher)

    def configure_callbacks(self) -> list[Callback]:
        """Returns the teacher, where it is another than the model itself."""
        return [] if self.teacher is None else [self.teacher]

    def on_fit_start(self) -> None:
        """Checks that a teacher is there, and notes how the corpus writes @names, for who keeps the model.

        Raises:
            UserError: There is to be a frozen teacher, and `learn_from` was not called.
        """
        from lightning_ita.models.kept import handles_of

        if self.teacher is None and teacher_of(self.options) == "frozen":
            raise UserError(f"{self.options.label}: call learn_from with the trained teacher before training")
        data: Any = getattr(self.trainer, "datamodule", None)
        if isinstance(data, MNERDataModule):
            self.handles = handles_of(data.corpus)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes how the corpus writes @names."""
        checkpoint["handles"] = self.handles

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over what `on_save_checkpoint` noted; earlier versions noted nothing."""
        self.handles = checkpoint.get("handles", self.handles)

    def alignment(self, chains: dict[str, ChainDistribution], batch: Batch) -> Tensor | None:
        """Returns the cross-view alignment of each tweet, (batch,): the text view learns what the other predicts.

        The teacher p(y|ŵ) is detached, emissions and transitions. ``token`` is what ITA's official code runs,
        ``sequence`` what its paper writes (the equation for L_CVA): −Σ_y p(y|ŵ) log p(y|w).
        """
        mode = self.options.training
        if mode not in ALIGNED:
            return None
        student = chains[TEXT]
        teacher = chains[CROSS_MODAL].detach() if self.teacher is None else self.teacher.chain(self, batch)
        if mode == "sequence":
            return teacher.cross_entropy(student)
        return teacher.token_kl(student, self.temperature)

    @property
    def temperature(self) -> float:
        """τ of token CVA: the recipe's, or the one published for the data set that the trainer's data module reads."""
        if self.recipe.temperature is not None:
            return self.recipe.temperature
        datamodule: Any = getattr(self._trainer, "datamodule", None)
        return published_temperature(getattr(datamodule, "name", None) or "")

    def loss(self, losses: Losses) -> Tensor:
        """Weighs the terms and averages over the tweets of a batch."""
        if losses.text is not None and losses.cross_modal is not None:
            total = losses.text + self.recipe.cross_modal_weight * losses.cross_modal
        else:
            single = losses.text if losses.cross_modal is None else losses.cross_modal
            assert single is not None
            total = single
        if losses.alignment is not None:
            total = total + self.recipe.cva_weight * losses.alignment
        return total.mean()

    def decode(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the best well-formed tags of each tested view as BIO tag ids, (batch, words), -1 at padding.

        Raises:
            NonFiniteScoresError: The model's scores of a tweet are NaN or infinite; names the tweet and the view.
        """
        chains = self(batch, self.tested_views)
        forbidden = ForbiddenTransitions(*(moves.to(batch.mask.device) for moves in self._forbidden))
        tags = {}
        for view, chain in chains.items():
            try:
                tags[view] = to_bio(self.tag_set, chain.argmax(forbidden))
            except NonFiniteScoresError as error:
                tweet = "" if error.row is None else f"tweet {quoted(batch.ids[error.row])}, "
                raise NonFiniteScoresError(f"{tweet}view {view}: {error}", error.row) from None
        return tags

    def further_scores(self, inputs: Any) -> dict[str, float]:
        """Returns scores beside those of the tags, in percent, by name; called in evaluation mode.

        Args:
            inputs: What made the tweets the model's input.
        """
        return {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of a batch.

        Raises:
            NonFiniteLossError: The loss is NaN or infinite.
        """
        losses = self.losses(batch)
        loss = self.loss(losses)
        terms: dict[str, Tensor | None] = dict(zip(losses._fields, losses, strict=True))
        for name, further in self.auxiliary(batch).items():
            terms[name] = further
            loss = loss + further.mean()
        # On a GPU the check waits for the device, so it is made now and then only.
        if (loss.device.type == "cpu" or batch_idx % 50 == 0) and not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss became {loss.item()} in epoch {self.current_epoch + 1}, step {self.global_step + 1}; "
                f"a smaller learning rate ({self.recipe.learning_rate:g} now) or float32 usually helps"
            )
        for name, term in terms.items():
            if term is not None:
                # Lightning rounds the mean of the counts over processes down; of such multiples it is whole.
                count, mean = len(batch.ids) * processes()[1], term.detach().mean()
                self.log(f"train/{name}", mean, on_step=False, on_epoch=True, batch_size=count, sync_dist=True)
        return weighed(loss, len(batch.ids))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts the mentions of a batch."""
        self._count(batch)

    def on_validation_epoch_end(self) -> None:
        """Logs ``valid/<view>/f1``, ``valid/agreement`` (F1 of one view's mentions against the other's), ``valid/f1``.

        The last is the mean over the trained views, by which the best epoch is chosen.
        """
        self._log_scores("valid")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Counts the mentions of a batch."""
        self._count(batch)

    def on_test_epoch_end(self) -> None:
        """Logs the same as validation, under ``test/``."""
        self._log_scores("test")

    def _count(self, batch: Batch) -> None:
        gold = to_bio(self.tag_set, batch.tags.masked_fill(~batch.mask, -1))
        predicted = self.decode(batch)
        for view, tags in predicted.items():
            self.scores[view].update(tags, gold)
        if len(predicted) > 1:
            self.agreement.update(predicted[TEXT], predicted[CROSS_MODAL])

    def _log_scores(self, split: str) -> None:
        f1 = {view: metric.compute()["f1"] for view, metric in self.scores.items()}
        for metric in self.scores.values():
            metric.reset()
        self.log_dict({f"{split}/{view}/f1": value for view, value in f1.items()})
        if len(f1) > 1:
            self.log(f"{split}/agreement", self.agreement.compute()["f1"])
            self.agreement.reset()
        self.log(f"{split}/f1", torch.stack([f1[view] for view in self.trained_views]).mean(), prog_bar=True)

    def predict(
        self,
        posts: Sequence[str | Sequence[str]],
        contexts: Sequence[GivenContexts] | None = None,
        view: ViewChoice = "auto",
        images: Sequence[GivenImage] | None = None,
    ) -> list[Tagged]:
        """Tags posts, on the device that the model is on; several threads may do so at once.

        A model in training mode is put into evaluation mode.

        Args:
            posts: Texts, which are cut into words by `lightning_ita.data.words.cut`; or sequences of words.
            contexts: What is known of each post's picture, by kind: ``{"cap": ["a man on a court"], "ocr": [...]}``;
                ``None`` for a post without any.
            view: ``T`` reads the post alone, ``I+T`` its contexts or picture, too, ``auto`` these where there are any.
            images: Each post's picture, for a system that looks at pictures: its file, the bytes of one, or an image of
                Pillow; ``None`` for a post without one. Crops of it are parts of a grid.

        Returns:
            One result per post, in their order.

        Raises:
            UserError: A post, a context or a picture cannot be read, or the model has no such view or reads no such
                context.

        Example: ``Tagger.from_pretrained("model").predict(["Jordan in Chicago"])[0].mentions[0].type``
        """
        from lightning_ita.models.predicting import predict

        return predict(self, posts, contexts, view, images)

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[list[str], dict[str, Tensor]]:
        """Returns tweet ids and the BIO tag ids of each tested view."""
        return batch.ids, {view: tags.cpu() for view, tags in self.decode(batch).items()}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradient as the trainer says, or its norm by the recipe where the trainer says nothing.

        Lightning refuses to clip for fused optimisers under mixed precision, because float16 gradients are scaled;
        those of bfloat16 are not.

        Raises:
            UserError: The trainer says to clip by value, and not at which.
        """
        if gradient_clip_algorithm == "value" and gradient_clip_val is None and self.recipe.gradient_clip:
            raise UserError(
                "gradient_clip_algorithm='value' needs gradient_clip_val, the largest value: the recipe's "
                f"gradient_clip, {self.recipe.gradient_clip:g}, is the largest norm"
            )
        largest = self.recipe.gradient_clip if gradient_clip_val is None else gradient_clip_val
        if largest and gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(self.parameters(), largest)
        elif largest:
            nn.utils.clip_grad_norm_(self.parameters(), largest)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns all parameters by the learning rate they have: ``encoder``, ``layers``, ``head``, ``crf``."""
        groups: dict[str, list[nn.Parameter]] = {"encoder": [], "layers": [], "head": [], "crf": []}
        for name, parameter in self.named_parameters():
            groups[self.part_groups.get(name.partition(".")[0], "layers")].append(parameter)
        return groups

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Returns the optimiser, with a learning rate for each group of parameters."""
        factors = {
            "encoder": 1.0,
            "layers": self.options.layer_factor(self.recipe),
            "head": self.recipe.head_lr_factor,
            "crf": self.recipe.crf_lr_factor,
        }
        return make_optimizer(self.parameter_groups(), factors, self.recipe)

    def configure_optimizers(self) -> Any:
        """Returns the optimiser, and the recipe's schedule by step."""
        optimizer = self.make_optimizer()
        steps, epochs = int(self.trainer.estimated_stepping_batches), self.trainer.max_epochs or -1
        recipe = replace(self.recipe, epochs=epochs) if epochs > 0 else self.recipe  # a trainer may make others
        schedule = make_schedule(optimizer, recipe, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
