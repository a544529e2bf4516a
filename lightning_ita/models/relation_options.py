"""Options of systems with a relation gate: what it learns from. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.models.fusion_options import FusionOptions
from lightning_ita.models.recipes import Count, NotNegative
from lightning_ita.models.visual_options import VisualOptions
from lightning_ita.text import quoted

if TYPE_CHECKING:  # relations are made or read where they are needed
    from lightning_ita.data.relations import Relations


@dataclass(frozen=True)
class RelationOptions(VisualOptions, FusionOptions):
    """Options of a system with a gate for how far the picture adds to the tweet.

    Attributes:
        relations: CSV file of the data set of Vempala and Preoţiuc-Pietro (2019), with pictures beside it, that the
            gate learns from; if not given, it learns from a demo corpus of its own, whose truth is known.
        relation_weight: Weight of the gate's cross-entropy in the loss of a step; with 0 it learns from tags alone.
        relation_batch: Tweets of the relation data per step.
    """

    relations: str | None = None
    relation_weight: NotNegative = 1.0
    relation_batch: Count = 8

    inputs: ClassVar[str] = "lightning_ita.models.relation_inputs:RelationInputs"
    reduction: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """The system's name, with what is left out of it, and where its supervision of relations comes from."""
        made = "relations made" if self.relations is None else ""
        notes = [self.reduction, made if self.relation_weight else "no relation loss"]
        return self.name + (f" ({', '.join(filter(None, notes))})" if any(notes) else "")

    @property
    def slug(self) -> str:
        """What its folders are called: ``rpbert-off`` ..."""
        return f"{self.system}-{self.mode_slug}"

    def relation_data(self) -> Relations:
        """Returns the relations; see `lightning_ita.data.relations.relations`.

        Raises:
            UserError: The file is not there, or it or its pictures cannot be used.
        """
        from lightning_ita.data.relations import relations

        if self.relations is not None and not user_path(self.relations).is_file():
            raise UserError(
                f"{self.name} learns from the relations {quoted(self.relations)}, which is no file: name it by "
                f"--{self.system}.relations FILE; for a kept model, by Tagger.from_pretrained(MODEL, relations=FILE)"
            )
        return relations(self.relations)

    def deciding(self) -> dict[str, Any]:
        """Returns what the result depends on: not the path of the relations, whose digest is among `digests`."""
        values = super().deciding()
        options = values["options"]
        options["relations"] = None if self.relations is None else "file"
        if not self.relation_weight:
            del options["relations"], options["relation_batch"]
        return values

    def digests(self) -> Mapping[str, str]:
        """Returns the digests of the vision model and of the relations."""
        own = {"relations": self.relation_data().sha256} if self.relation_weight else {}
        return {**super().digests(), **own}

    def without_folders(self) -> Self:
        """Returns the options with the file of relations by its name alone; it is read in training only."""
        options = super().without_folders()
        return options if self.relations is None else replace(options, relations=Path(self.relations).name)
