"""Options of a system besides the shared recipe, and what a study needs to know about it before it is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from lightning_ita.checks import check_fields
from lightning_ita.errors import UserError, unknown
from lightning_ita.models import MODELS
from lightning_ita.models.recipes import Recipe
from lightning_ita.registry import resolve

if TYPE_CHECKING:  # both import torch
    from lightning_ita.data.inputs import Inputs
    from lightning_ita.models.tagger import Tagger

# The text view, and the cross-modal view: the keys of every result.
TEXT, CROSS_MODAL = "T", "I+T"
VIEWS = (TEXT, CROSS_MODAL)
# Names of digests that are of pictures: their content, and places of objects in them.
OF_PICTURES = ("images", "boxes")
# Training modes. off: one view is trained. joint: both views' likelihoods, no alignment. token, sequence: both, and
# cross-view alignment (CVA).
CVA = Literal["off", "joint", "token", "sequence"]
# What a training mode adds to a system's title: in the name of a row, and in published names.
MODE_LABELS = {"off": "", "joint": ", joint", "token": "+CVA (token)", "sequence": "+CVA (sequence)"}
MODE_PUBLISHED = {"off": "", "joint": None, "token": "+CVA", "sequence": "+CVA"}
ALIGNED: tuple[CVA, ...] = ("token", "sequence")
# Whose I+T view the text view is aligned with: that of the model itself, as in the paper; that of a running average of
# its weights; that of the same system trained before in mode off, which stays as it is.
TeacherKind = Literal["itself", "average", "frozen"]
TEACHER_LABELS = {"itself": "", "average": ", averaged teacher", "frozen": ", frozen teacher"}


@dataclass(frozen=True)
class Options(ABC):
    """Options of one system; each system has a subclass, whose fields are its own hyper-parameters.

    Class attributes:
        system: Its name in `lightning_ita.models.MODELS`, and of its options on the command line.
        tagger: Import path of its model, a `lightning_ita.models.tagger.Tagger`.
        inputs: Import path of its `lightning_ita.models.inputs.Inputs`.
        arithmetic: Import path of what counts its floating-point operations, for the cost of a plan; see
            `lightning_ita.models.arithmetic.encoded`.
        needs: What it reads beside the tweet: ``contexts``, ``images``, ``labels``. Their digests enter the identity
            of a run.
        has_encoder: Whether it is built on the pretrained encoder of the run; its model then takes ``pretrained``, as
            `lightning_ita.models.encoder_tagger.EncoderTagger` does, to be loaded without the encoder's own weights.

    Raises:
        UserError: A value has a wrong type or is out of its range.
    """

    system: ClassVar[str]
    tagger: ClassVar[str]
    inputs: ClassVar[str] = "lightning_ita.models.inputs:TwoViewInputs"
    arithmetic: ClassVar[str] = "lightning_ita.models.arithmetic:encoded"
    needs: ClassVar[frozenset[str]] = frozenset()
    has_encoder: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks types and ranges."""
        check_fields(self)

    @property
    @abstractmethod
    def title(self) -> str:
        """The system's name as its paper writes it: ``BERT-CRF``, ``ITA-Cap`` ..."""

    @property
    @abstractmethod
    def trained_views(self) -> tuple[str, ...]:
        """The views the model is trained on: of `VIEWS`, in their order."""

    @property
    @abstractmethod
    def tested_views(self) -> tuple[str, ...]:
        """The views the model is tested in; the trained ones are among them."""

    @property
    def training(self) -> CVA:
        """The training mode; ``off`` for systems with a single view."""
        return "off"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of context the system reads, in the order in which they follow the tweet."""
        return ()

    @property
    def label(self) -> str:
        """The name of its row: ``ITA-Cap``, ``ITA-Cap, joint``, ``ITA-Cap+CVA (token)`` ..."""
        return self.title + self.mode_label

    @property
    def mode_label(self) -> str:
        """What the training mode adds to the title: ``+CVA (token)`` ..."""
        return MODE_LABELS[self.training]

    def in_mode(self, mode: CVA) -> Self:
        """Returns the same options in another training mode; systems with one view have no other."""
        return self

    @property
    def published_mode(self) -> str | None:
        """What the training mode adds to the title under which others published; ``None`` if nobody can have."""
        return MODE_PUBLISHED[self.training]

    @property
    def published_name(self) -> str | None:
        """The name under which others may have published its score; ``None`` for what nobody can have."""
        return None if self.published_mode is None else self.title + self.published_mode

    @property
    def slug(self) -> str:
        """What its folders are called: ``bert-crf``, ``ita-cap-token`` ..."""
        return f"{self.title}-{self.mode_slug}".lower()

    @property
    def mode_slug(self) -> str:
        """The training mode in the names of its folders: ``token``, ``token-frozen`` ..."""
        return self.training

    @property
    def of_pictures(self) -> tuple[str, ...]:
        """What it reads of pictures: ``images``, and ``boxes`` where objects are cut out; digests in the identity."""
        return ("images",) if "images" in self.needs else ()

    def layer_factor(self, recipe: Recipe) -> float:
        """Returns the factor on the learning rate of what a system adds between encoder and emission layer."""
        return recipe.head_lr_factor

    def deciding(self) -> dict[str, Any]:
        """Returns what the result depends on, as JSON values: every option that plays a part."""
        return {"system": self.system, "options": asdict(self)}

    def digests(self) -> Mapping[str, str]:
        """Returns SHA-256 by name of files that options name, such as a vision model's; they enter the identity."""
        return {}

    def without_folders(self) -> Self:
        """Returns the options as others may read them: files and folders of this machine by their names alone."""
        return self

    def make_inputs(self, types: Sequence[str], recipe: Recipe, encoder: str, cache_dir: str | None = None) -> Inputs:
        """Makes what turns tweets into the system's input.

        Args:
            types: Entity types.
            recipe: Hyper-parameters.
            encoder: ``minilm``, a folder, or a Hub id: whose tokenizer is used.
            cache_dir: Folder that keeps the sub-tokens of words from run to run.
        """
        inputs: Inputs = resolve(self.inputs)(types, self, recipe, encoder, cache_dir)
        return inputs

    def make_tagger(self, types: Sequence[str], recipe: Recipe, encoder: str, **others: Any) -> Tagger:
        """Makes the system's model.

        Args:
            types: Entity types.
            recipe: Hyper-parameters.
            encoder: ``minilm``, a folder, or a Hub id.
            **others: Further arguments of the model's class.
        """
        tagger: Tagger = resolve(self.tagger)(types=types, options=self, recipe=recipe, encoder=encoder, **others)
        return tagger

    @classmethod
    def rows(cls, given: Mapping[str, Any], contexts: Sequence[str], modes: Sequence[str]) -> list[Options]:
        """Returns the rows that an ablation has of this system.

        Args:
            given: Options that are the same in every row.
            contexts: Kinds of context to compare.
            modes: Training modes to compare.
        """
        return [cls(**given)]


@dataclass(frozen=True)
class TwoViewOptions(Options):
    """Options of a system that reads a tweet with and without its image, and can be trained in every mode.

    Attributes:
        cva: Training mode: ``off`` (the cross-modal view alone), ``joint`` (both views, no alignment), ``token`` or
            ``sequence`` (both, and cross-view alignment).
        teacher: Whose predictions in I+T the text view learns with CVA: those of the model ``itself``, of a running
            ``average`` of its weights, or of a ``frozen`` model, the same system trained in mode ``off`` before, with
            the same seed.
        text_only: Whether a model with a frozen teacher is trained and tested in the text view alone, so that no
            capacity is spent on the cross-modal view.
    """

    cva: CVA = "off"
    teacher: TeacherKind = field(default="itself", kw_only=True)
    text_only: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Checks types and ranges, and suggests the nearest training mode.

        Raises:
            UserError: A value is wrong, or has no effect in this training mode.
        """
        for name, kind in (("cva", CVA), ("teacher", TeacherKind)):
            if getattr(self, name) not in get_args(kind):
                raise unknown(name, str(getattr(self, name)), get_args(kind))
        for name, value in self.without_effect(self.cva).items():
            if getattr(self, name) != value:
                raise UserError(
                    f"{self.system}.{name} has no effect with cva {self.cva!r}: leave it out, or choose another mode"
                )
        super().__post_init__()
        if self.text_only and self.teacher != "frozen":
            raise UserError(
                f"{self.system}.text_only needs {self.system}.teacher frozen: any other one is trained in I+T"
            )

    @classmethod
    def without_effect(cls, mode: str) -> dict[str, Any]:
        """Returns the options that have no effect in a training mode, with the values that they must have there."""
        return {} if mode in ALIGNED else {"teacher": "itself", "text_only": False}

    @property
    def newer(self) -> dict[str, Any]:
        """Options that came after the first published results, where they differ from their defaults."""
        defaults = self.without_effect("off")
        return {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}

    def in_mode(self, mode: CVA) -> Self:
        """Returns the same options in another training mode; what has no effect in it has its default."""
        return replace(self, cva=mode, **self.without_effect(mode))

    @property
    def training(self) -> CVA:
        """The training mode."""
        return self.cva

    @property
    def trained_views(self) -> tuple[str, ...]:
        """I+T without CVA, as the paper trains; else both, or T alone."""
        if self.text_only:
            return (TEXT,)
        return (CROSS_MODAL,) if self.cva == "off" else VIEWS

    @property
    def mode_label(self) -> str:
        """``+CVA (token)``, ``+CVA (token), frozen teacher`` ..."""
        return super().mode_label + TEACHER_LABELS[self.teacher] + (", T alone" if self.text_only else "")

    @property
    def mode_slug(self) -> str:
        """``token``, ``token-frozen-text`` ..."""
        teacher = [] if self.teacher == "itself" else [self.teacher]
        return "-".join([super().mode_slug, *teacher, *(["text"] if self.text_only else [])])

    @property
    def published_mode(self) -> str | None:
        """``+CVA``; nobody published a score with another teacher."""
        return super().published_mode if self.teacher == "itself" else None

    def deciding(self) -> dict[str, Any]:
        """Returns what the result depends on; newer options where they differ, so that earlier identities stay."""
        values = super().deciding()
        for name in self.without_effect("off").keys() - self.newer.keys():
            del values["options"][name]
        return values

    @property
    def tested_views(self) -> tuple[str, ...]:
        """Both, or T alone."""
        return (TEXT,) if self.text_only else VIEWS

    @classmethod
    def rows(cls, given: Mapping[str, Any], contexts: Sequence[str], modes: Sequence[str]) -> list[Options]:
        """Returns one row per training mode, unless the mode is given."""
        chosen = [given["cva"]] if "cva" in given else modes
        for name, value in cls.without_effect("off").items():
            if given.get(name, value) != value and all(name in cls.without_effect(mode) for mode in chosen):
                raise UserError(f"{cls.system}.{name} has no effect with cva {', '.join(chosen)}: leave it out")
        return [cls(**{**given, "cva": mode, **cls.without_effect(mode)}) for mode in chosen]


def teacher_of(options: Options) -> TeacherKind:
    """Returns the teacher that options name; ``itself`` for systems with a single view."""
    return options.teacher if isinstance(options, TwoViewOptions) else "itself"


def to_values(options: Options) -> dict[str, Any]:
    """Returns a system's name and its options as plain values, as files keep them; `from_values` reads them back."""
    own = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}
    return {"system": options.system, **own}


def from_values(values: Mapping[str, Any]) -> Options:
    """Makes options from plain values: ``system``, and the options of that system.

    Several names may be a list, or text in which commas separate them.

    Raises:
        UserError: The system or an option is unknown, or a value is wrong.
    """
    values = dict(values)
    kind: type[Options] = MODELS[values.pop("system")]
    known = [field.name for field in fields(kind)]
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in known:
            raise unknown(f"option of {kind.system}", name, known)
        if get_origin(hints[name]) is tuple and isinstance(value, str | list):
            parts = value.split(",") if isinstance(value, str) else value
            values[name] = tuple(part.strip() if isinstance(part, str) else part for part in parts if part != "")
        if is_dataclass(hints[name]) and isinstance(value, Mapping):
            values[name] = group_of(name, getattr(kind, name), value)
    return kind(**values)


def group_of(name: str, default: Any, values: Mapping[str, Any]) -> Any:
    """Returns a group of options, such as those of ``vision``, with other values of some of them.

    Raises:
        UserError: There is no such option, or a value is wrong.
    """
    known = [field.name for field in fields(default)]
    for option in values:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    return replace(default, **values)
