"""A cell of a study: one run as a value, whose identity is a digest of everything its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from lightning_ita.contexts.kinds import parse_contexts
from lightning_ita.data import DATASETS
from lightning_ita.data.controls import Control
from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.data.dataset import Dataset
from lightning_ita.data.source import Source
from lightning_ita.devices import available_precision
from lightning_ita.errors import UserError
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.encoders.locating import folder_digest
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.options import ALIGNED, CROSS_MODAL, CVA, Options, TwoViewOptions, from_values, to_values
from lightning_ita.models.recipes import Recipe, published_temperature
from lightning_ita.text import quoted

# Raised when the meaning of a cell's fields changes, so that results from before are not taken for results from after.
FORMAT = 2


@dataclass(frozen=True)
class Cell:
    """One run: a system, trained on a data set with one seed.

    Attributes:
        dataset: A name of `lightning_ita.data.DATASETS`.
        options: The system, and what it is told; ITA with captions, tags and token CVA if not given.
        encoder: ``minilm``, a folder, or a Hub id.
        seed: Seed of everything random.
        recipe: Hyper-parameters.
        data: SHA-256 by split and kind of context, of pictures (``images``, ``boxes``), and of an ``encoder`` or a
            ``vision`` model; filled by `resolve`.
        control: What happens to the tweets' images, if anything.

    Raises:
        UserError: The data set is unknown, or there is a control for a system that reads nothing of images.
    """

    dataset: str = "demo"
    options: Options = field(default_factory=lambda: ITAOptions(cva="token"))
    encoder: str = "minilm"
    seed: int = 1
    recipe: Recipe = field(default_factory=Recipe)
    data: Mapping[str, str] = field(default_factory=dict)
    control: Control | None = None

    def __post_init__(self) -> None:
        """Checks the data set's name, the seed and the control."""
        DATASETS.check(self.dataset)
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or not 0 <= self.seed < 2**32:
            raise UserError(f"seed {self.seed!r}: expected a whole number from 0 to 4294967295")
        if self.control is not None and not can_control(self.options, self.control):
            raise UserError(
                f"control {self.control.name}: {self.options.label} reads nothing of images that it changes"
            )

    @property
    def system(self) -> str:
        """The system's name in `lightning_ita.models.MODELS`."""
        return self.options.system

    @property
    def contexts(self) -> tuple[str, ...]:
        """Kinds of context that the system reads."""
        return self.options.kinds

    @property
    def cva(self) -> CVA:
        """The training mode."""
        return self.options.training

    @property
    def title(self) -> str:
        """The system as its paper names it: ``BERT-CRF``, ``ITA-Cap`` ..."""
        return self.options.title

    @property
    def label(self) -> str:
        """The name of the row it belongs to: ``ITA-Cap+CVA (token)``, ``ITA-Cap, other image at test`` ..."""
        return self.options.label if self.control is None else f"{self.options.label}, {self.control.label}"

    @property
    def published_name(self) -> str | None:
        """The name under which others may have published a score; ``None`` with a control."""
        return self.options.published_name if self.control is None else None

    @property
    def trained_views(self) -> tuple[str, ...]:
        """The views the model is trained on."""
        return self.options.trained_views

    @property
    def tested_views(self) -> tuple[str, ...]:
        """The views the model is tested in."""
        return self.options.tested_views

    @property
    def row(self) -> Hashable:
        """What the cells of one row share: all but the seed."""
        return self.dataset, self.options, self.control

    @property
    def uncontrolled(self) -> Cell:
        """The same cell with the right images."""
        return replace(self, control=None)

    @property
    def teacher(self) -> Cell | None:
        """The cell whose model is the frozen teacher of this one; ``None`` where there is no such teacher."""
        if not isinstance(self.options, TwoViewOptions) or self.options.teacher != "frozen":
            return None
        control = None if self.control is not None and self.control.at_test else self.control
        return replace(self, options=self.options.in_mode("off"), control=control)

    @property
    def without_effect(self) -> frozenset[str]:
        """Names of the recipe's hyper-parameters that play no part in this cell."""
        parts = {
            "temperature": self.cva == "token",
            "cva_weight": self.cva in ALIGNED,
            "cross_modal_weight": len(self.trained_views) > 1,
        }
        return frozenset(name for name, plays in parts.items() if not plays)

    @cached_property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that stand for everything the result depends on.

        A hyper-parameter that plays no part (the temperature without token CVA ...) does not change it; neither does
        the path of an encoder's folder, whose content does.
        """
        recipe, data = self.recipe.recorded(), dict(self.data)
        for name in self.without_effect:
            recipe.pop(name)
        if not self.recipe.freeze_word_embeddings:
            recipe.pop("freeze_word_embeddings")
        values = {"dataset": self.dataset, "seed": self.seed, "recipe": recipe, "data": data, **self.options.deciding()}
        if self.options.has_encoder:
            values["encoder"] = "folder" if "encoder" in data else self.encoder
        if self.control is not None:
            values["control"] = self.control.name
        text = json.dumps({"format": FORMAT, **values}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """A short name for people, unique by its identity: ``twitter15-ita-cap-token-seed1-0123456789abcdef``."""
        control = "" if self.control is None else f"-{self.control.name.replace(':', '-')}"
        return f"{self.dataset}-{self.options.slug}{control}-seed{self.seed}-{self.identity}"

    def read(self, source: Source) -> Corpus:
        """Reads the data set with the contexts and pictures that the system reads; a control is not applied yet.

        Raises:
            UserError: A file is missing or malformed.
        """
        dataset: Dataset = DATASETS[self.dataset]()
        corpus = dataset.read(source, self.contexts, self.recipe.labels)
        return dataset.with_pictures(corpus, source, self.options.of_pictures)

    def resolve(self, digests: Mapping[str, str]) -> Cell:
        """Returns the cell with its data's digests, its precision and the published temperature filled in.

        Args:
            digests: SHA-256 by split, by kind of context, and of ``images``; what the system does not read is left out.

        Raises:
            UserError: The cell already names other data.
        """
        wanted = {*SPLITS, *self.contexts, *self.options.of_pictures}
        data = {name: digest for name, digest in digests.items() if name in wanted} | dict(self.options.digests())
        if self.options.has_encoder and (digest := folder_digest(self.encoder)):
            data["encoder"] = digest
        changed = [name for name, digest in self.data.items() if data.get(name) != digest]
        if changed:
            raise UserError(
                f"{self.dataset}: {', '.join(changed)} changed since this cell was planned (SHA-256 differs); restore "
                f"the data, or name their folder (--data-dir); a configuration without `data` takes what is there now"
            )
        recipe = replace(self.recipe, precision=available_precision(self.recipe.precision))
        if self.cva == "token" and recipe.temperature is None:
            recipe = replace(recipe, temperature=published_temperature(self.dataset))
        return replace(self, data=data, recipe=recipe)

    def to_config(self) -> dict[str, Any]:
        """Returns the cell as plain values; `lightning-ita train --config` reads them back."""
        options = to_values(self.options)
        system = options.pop("system")
        return {
            "dataset": self.dataset,
            "system": system,
            **({system: options} if options else {}),
            "encoder": self.encoder,
            "seed": self.seed,
            "recipe": asdict(self.recipe),
            "data": dict(self.data),
            **({} if self.control is None else {"control": self.control.name}),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Cell:
        """Makes a cell from `to_config`'s values, or from those of versions that knew BERT-CRF and ITA alone.

        Raises:
            UserError: A name is unknown, or a value is wrong.
        """
        values = dict(config)
        if "system" in values:
            system = values.pop("system")
            options = from_values({"system": system, **values.pop(system, {})})
        else:
            options = short_form(values.pop("contexts"), values.pop("cva"))
        known = {"dataset", "encoder", "seed", "recipe", "data", "control"}
        if values.keys() - known:
            raise UserError(f"{', '.join(sorted(values.keys() - known))}: not known to this version")
        if values.get("control") is not None:
            values["control"] = Control.parse(values["control"])
        try:
            return cls(**{**values, "options": options, "recipe": Recipe(**values.get("recipe", {}))})
        except TypeError as error:
            raise UserError(f"not a cell of this version: {error}") from None


def written_again(before: Sequence[Cell], after: Sequence[Cell]) -> list[str]:
    """Names the folders and files, beside the data sets, whose content is another one for some cells than for others.

    Args:
        before: Cells of a study.
        after: Cells of the same study, that were planned later.
    """
    known: dict[Hashable, str] = {what: digest for cell in before for what, _, digest in _named(cell)}
    return list(
        dict.fromkeys(
            f"the content of {name} (SHA-256 {known[what][:8]}… there, {digest[:8]}… now)"
            for cell in after
            for what, name, digest in _named(cell)
            if known.get(what, digest) != digest
        )
    )


def _named(cell: Cell) -> Iterator[tuple[Hashable, str, str]]:
    """Yields what a cell reads beside its data set: what cells share that read the same, a name for it, its SHA-256."""
    for name, digest in cell.data.items():
        if name == "encoder":
            yield name, f"the encoder {quoted(cell.encoder)}", digest
        elif name not in {*SPLITS, *cell.contexts, *cell.options.of_pictures}:
            yield (name, cell.options.in_mode("off")), f"{cell.system}'s {name}", digest


def can_control(options: Options, control: Control) -> bool:
    """Tells whether a control can change what a system does: it reads images, and if need be at test."""
    return bool(options.needs) and (not control.at_test or CROSS_MODAL in options.tested_views)


def short_form(contexts: str | Sequence[str], cva: str) -> Options:
    """Returns BERT-CRF where there are no contexts, else ITA with them.

    Raises:
        UserError: A context or the training mode is unknown, or CVA is asked for without contexts.
    """
    kinds = parse_contexts(contexts)
    if kinds:
        return ITAOptions(cva=cva, contexts=kinds)  # type: ignore[arg-type]
    if cva != "off":
        raise UserError(f"cva {cva!r} aligns two views, but there are no contexts; give some, or cva off")
    return BertCRFOptions()
