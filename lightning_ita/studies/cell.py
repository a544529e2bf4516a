"""A cell of a study: one run as a value, whose identity is a digest of everything its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

from lightning_ita.contexts.kinds import parse_contexts, system_name
from lightning_ita.data import DATASETS
from lightning_ita.data.datamodule import MNERDataModule
from lightning_ita.errors import UserError, unknown
from lightning_ita.models.encoders import folder_digest
from lightning_ita.models.ita import CVA, trained_views
from lightning_ita.models.recipes import Recipe, available_precision

# Raised when the meaning of a cell's fields changes, so that results from before are not taken for results from after.
FORMAT = 2


@dataclass(frozen=True)
class Source:
    """Where data lie on this machine; no part of a cell's identity, which holds digests of the data instead.

    Attributes:
        data_dir: The folder of the data set, or the folder above it.
        context_files: Files of contexts by kind, where they are not found by their name.
        context_store: A store of contexts; kinds in `context_files` are not read from it.
        context_engines: Whose contexts to take from the store, by kind, where it has several engines of one kind.
        cache_dir: Folder that keeps the sub-tokens of words from cell to cell.
    """

    data_dir: str | None = None
    context_files: Mapping[str, str] = field(default_factory=dict)
    context_store: str | None = None
    context_engines: Mapping[str, str] = field(default_factory=dict)
    cache_dir: str | None = None


@dataclass(frozen=True)
class Cell:
    """One run: what is trained on what.

    Attributes:
        dataset: A name of `lightning_ita.data.DATASETS`.
        contexts: Visual contexts of the cross-modal view; none for BERT-CRF.
        cva: Training mode: ``off`` (one view), ``joint`` (both, no alignment), ``token`` or ``sequence``.
        encoder: ``minilm``, a folder, or a Hub id.
        seed: Seed of everything random.
        recipe: Hyper-parameters.
        data: SHA-256 by split and kind of context, and of an ``encoder`` that is a folder; filled by `resolve`.
    """

    dataset: str = "demo"
    contexts: tuple[str, ...] = ("cap", "tag")
    cva: CVA = "token"
    encoder: str = "minilm"
    seed: int = 1
    recipe: Recipe = field(default_factory=Recipe)
    data: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Normalises the contexts and checks the names.

        Raises:
            UserError: A data set, context or training mode is unknown, or CVA is asked for without contexts.
        """
        object.__setattr__(self, "contexts", parse_contexts(self.contexts))
        if self.dataset not in DATASETS:
            raise unknown("dataset", self.dataset, DATASETS)
        if self.cva not in get_args(CVA):
            raise unknown("cva", self.cva, get_args(CVA))
        if not self.contexts and self.cva != "off":
            raise UserError(f"cva {self.cva!r} aligns two views, but there are no contexts; give some, or cva off")

    @property
    def system(self) -> str:
        """The system's name as in the paper: ``BERT-CRF``, ``ITA-Cap`` ..."""
        return system_name(self.contexts)

    @property
    def trained_views(self) -> tuple[str, ...]:
        """The views the model is trained on."""
        return trained_views(bool(self.contexts), self.cva)

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that stand for everything the result depends on.

        A hyper-parameter that plays no part (the temperature without token CVA ...) does not change it.
        """
        values = asdict(self)
        if self.cva != "token":
            values["recipe"].pop("temperature")
        if self.cva not in ("token", "sequence"):
            values["recipe"].pop("cva_weight")
        if len(self.trained_views) == 1:
            values["recipe"].pop("cross_modal_weight")
        if not self.recipe.freeze_word_embeddings:
            values["recipe"].pop("freeze_word_embeddings")
        text = json.dumps({"format": FORMAT, **values}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """A short name for people, unique by its identity: ``twitter15-ita-cap-token-seed1-0123456789abcdef``."""
        mode = "" if not self.contexts else f"-{self.cva}"
        return f"{self.dataset}-{self.system.lower()}{mode}-seed{self.seed}-{self.identity}"

    def datamodule(self, source: Source) -> MNERDataModule:
        """Returns the data module of this cell."""
        recipe = self.recipe
        module: MNERDataModule = DATASETS[self.dataset](
            contexts=self.contexts,
            data_dir=source.data_dir,
            context_files=source.context_files,
            context_store=source.context_store,
            context_engines=source.context_engines,
            encoder=self.encoder,
            batch_size=recipe.batch_size,
            token_budget=recipe.token_budget,
            labels=recipe.labels,
            tag_scheme=recipe.tag_scheme,
            max_length=recipe.max_length,
            normalise_urls=recipe.normalise_urls,
            seed=self.seed,
            cache_dir=source.cache_dir,
        )
        return module

    def resolve(self, digests: Mapping[str, str]) -> Cell:
        """Returns the cell with its data's digests, its precision and the published temperature filled in.

        Raises:
            UserError: The cell already names other data.
        """
        data = {name: digest for name, digest in digests.items() if name in (*self.contexts, "train", "valid", "test")}
        if digest := folder_digest(self.encoder):
            data["encoder"] = digest
        changed = [name for name, digest in self.data.items() if data.get(name) != digest]
        if changed:
            raise UserError(
                f"{self.dataset}: {', '.join(changed)} changed since this cell was planned (SHA-256 differs); "
                f"restore the data, or plan anew without its `data` entry"
            )
        recipe = replace(self.recipe, precision=available_precision(self.recipe.precision))
        if self.cva == "token" and recipe.temperature is None:
            recipe = replace(recipe, temperature=DATASETS[self.dataset].temperature)
        return replace(self, data=data, recipe=recipe)

    def to_config(self) -> dict[str, Any]:
        """Returns the cell as plain values; `lightning-ita train --config` reads them back."""
        config = asdict(self)
        config["contexts"] = list(self.contexts)
        return config
