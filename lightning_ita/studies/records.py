"""The fields of the files of a study. `lightning_ita.studies.schema` reads them, ``docs/schema.md`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic reads the standard library's from Python 3.12 on

# Version of every file; see the end of `docs/schema.md`. A file that does not name its version has version 1.
VERSION = 2

Number = Annotated[float, Field(allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Name = Annotated[str, Field(min_length=1, max_length=300)]
FileName = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^/\\]+$")]
Text = Annotated[str, Field(max_length=100_000)]
View = Annotated[str, Field(pattern=r"^(T|I\+T)$")]
Split = Annotated[str, Field(pattern="^(train|valid|test)$")]
OPEN = ConfigDict(extra="allow")
MEASURES = ("precision", "recall", "f1")


def says(text: str) -> Any:
    """Returns the description of a field, for the documentation."""
    return Field(description=text)


def types_of(scores: Mapping[str, float]) -> list[str]:
    """Returns the entity types that scores name, in their order."""
    return [name.removesuffix("/f1") for name in scores if name.endswith("/f1")]


def _complete(scores: dict[str, float]) -> dict[str, float]:
    names = [f"{type_}/{measure}" for type_ in types_of(scores) for measure in MEASURES]
    if missing := sorted({*MEASURES, *names} - set(scores)):
        raise ValueError(f"{', '.join(missing)} missing")
    return scores


def _scored(epoch: dict[str, float]) -> dict[str, float]:
    if "valid/f1" not in epoch:
        raise ValueError("valid/f1 missing")
    return epoch


Scores = Annotated[dict[Name, Percent], AfterValidator(_complete)]


class SplitCounts(TypedDict):
    """``splits`` in ``metrics.json``; a system may add further counts."""

    __pydantic_config__ = OPEN  # type: ignore[misc]

    tweets: NotRequired[Annotated[Count, says("Tweets.")]]
    mentions: Annotated[Count, says("Gold mentions, as counted under the label convention of the run.")]
    text_subtokens: NotRequired[Annotated[Count, says("Sub-tokens of all text views.")]]
    cross_modal_subtokens: NotRequired[Annotated[Count, says("Sub-tokens of all cross-modal views.")]]
    without_context: NotRequired[Annotated[Count, says("Tweets whose cross-modal view has no context.")]]
    context_cut: NotRequired[Annotated[Count, says("Tweets whose context was cut to the encoder's length.")]]
    without_picture: NotRequired[Annotated[Count, says("Tweets without a readable picture, for systems that look.")]]
    without_crops: NotRequired[Annotated[Count, says("Tweets without any crop of their picture.")]]
    words_cut: NotRequired[Annotated[Count, says("Tweets whose own words were cut.")]]


class Metrics(TypedDict):
    """``metrics.json``: the scores of a finished cell, and its data and times."""

    version: Annotated[Count, says("2")]
    system: Annotated[Name, says("Name of the system: `bert-crf`, `ita` ...")]
    label: NotRequired[Annotated[Name, says("Name of its row in tables: `ITA-Cap+CVA (token)` ...")]]
    options: NotRequired[Annotated[dict[Name, Any], says("Options of the system, and its name as `system`.")]]
    types: Annotated[list[Name], says("Entity types, in the order of the model's tags.")]
    tag_scheme: NotRequired[Annotated[Literal["BIO", "BIOES"], says("Tag scheme inside the model.")]]
    tokenizer: NotRequired[Annotated[Text, says("Encoder whose tokenizer splits words into sub-tokens, if any.")]]
    test: Annotated[
        dict[View, Scores],
        says(
            "By tested view (`T`, `I+T`): `precision`, `recall`, `f1`, and `TYPE/precision` ... of each entity type; "
            "micro-averaged, in percent. Empty for trials of a sweep."
        ),
    ]
    valid: Annotated[dict[View, Scores], says("The same on valid, with the weights of the best epoch.")]
    further: NotRequired[
        Annotated[
            dict[Name, Percent],
            says(
                "Scores beside those of the tags, with the weights of the best epoch, in percent. Of RIVA and RpBERT, "
                "on relation data held out: `relation/accuracy`, how often the gate says rightly whether the picture "
                "adds to the tweet; `relation/majority`, how often the more frequent answer is right."
            ),
        ]
    ]
    best_epoch: Annotated[Count, says("Epoch whose weights were tested, counted from 1.")]
    history: Annotated[
        list[Annotated[dict[Name, Number], AfterValidator(_scored)]],
        says(
            "Per epoch: `valid/VIEW/f1`; `valid/f1`, the mean over the trained views, by which the best epoch is "
            "chosen; `valid/agreement`, F1 of the text view's mentions against the other's; all in percent; and "
            "`train/...`, the mean of each loss term."
        ),
    ]
    splits: Annotated[dict[Split, SplitCounts], says("Counts of each split.")]
    contexts: Annotated[dict[Name, Text], says("Source of each kind of context.")]
    context_engines: NotRequired[
        Annotated[dict[Name, dict[Name, Any]], says("The engine and its parameters, for contexts from a store.")]
    ]
    release: Annotated[Text, says("Release of the data set, recognised by its digests, or `unknown`.")]
    warnings: Annotated[list[Text], says("Warnings about the data.")]
    training_seconds: Annotated[Seconds, says("Time of training, validation included.")]
    seconds: Annotated[Seconds, says("Time of the whole run.")]


class Environment(TypedDict):
    """``environment.json``: the code, packages and machine that a finished cell was run with."""

    version: Annotated[Count, says("2")]
    lightning_ita: Annotated[Name, says("Version of this package.")]
    code: NotRequired[Annotated[Name, says("Digest of the code that decides the result.")]]
    python: NotRequired[Annotated[Name, says("Version of Python.")]]
    packages: Annotated[dict[Name, Name], says("Versions of the packages that the result depends on.")]
    system: NotRequired[Annotated[Name, says("Operating system.")]]
    processor: Annotated[Text, says("Processor, and its number of cores.")]
    threads: Annotated[Count, says("Threads used.")]
    accelerator: Annotated[Text | None, says("GPU, if one was used.")]
    trained_on: NotRequired[
        Annotated[list[dict[Name, Any]], says("`step` and `device` of each start: the device used from this step on.")]
    ]
    peak_memory_mib: NotRequired[Annotated[Count, says("Greatest resident memory of the process, in MiB.")]]
    started: NotRequired[Annotated[Name, says("Start of the process that finished the run (UTC, ISO 8601).")]]
    finished: Annotated[Name, says("End of the run (UTC, ISO 8601).")]


class Config(TypedDict):
    """``config.yaml``: the cell; `lightning-ita train --config` runs it again. Its version is that of metrics.json."""

    __pydantic_config__ = OPEN  # type: ignore[misc]  # of a system, or of version 1

    dataset: Annotated[Name, says("Name of the data set.")]
    system: NotRequired[
        Annotated[
            Name,
            says(
                "Name of the system; a field of this name holds its options. Version 1 has `contexts` and `cva` in its "
                "place: BERT-CRF without contexts, else ITA."
            ),
        ]
    ]
    encoder: Annotated[Text, says("`minilm`, a folder, or an id on the Hugging Face Hub.")]
    seed: Annotated[int, Field(ge=0, lt=2**32), says("Seed of everything random.")]
    recipe: Annotated[
        dict[Name, str | int | float | bool | None], says("Hyper-parameters, see `lightning-ita train --help`.")
    ]
    data: Annotated[dict[Name, Name], says("SHA-256 of everything the cell reads, by split, kind of context ...")]
    control: NotRequired[
        Annotated[Name, says("What happens to the tweets' images, see `lightning-ita ablate --help`; if anything.")]
    ]


# "I+T" is not a Python identifier, so this field cannot be written in a class.
CrossModalTags = TypedDict(
    "CrossModalTags",
    {"I+T": NotRequired[Annotated[list[Name], says("Tags (BIO) predicted from the cross-modal view.")]]},
)


class Prediction(CrossModalTags):
    """A line of ``predictions.valid.jsonl`` and ``predictions.test.jsonl``: one tweet, in the order of the corpus."""

    version: NotRequired[Annotated[Count, says("Not written yet: lines have version 1.")]]
    tweet: Annotated[Text, says("Id of the tweet.")]
    words: NotRequired[Annotated[list[Text], says("Its words.")]]
    gold: Annotated[list[Name], says("Gold tags (BIO), read under the label convention of the run.")]
    contexts: NotRequired[Annotated[dict[Name, list[str]], says("Texts about its image, by kind of context.")]]
    T: NotRequired[Annotated[list[Name], says("Tags (BIO) predicted from the text view.")]]


class Settings(TypedDict):
    """``settings`` in ``study.json``."""

    __pydantic_config__ = OPEN  # type: ignore[misc]  # further hyper-parameters

    encoder: Annotated[Text, says("Encoder of every cell.")]
    labels: Annotated[Literal["repair", "strict"], says("How stray `I-` tags are counted.")]
    precision: Annotated[Name, says("Arithmetic of the encoder.")]


class StudyFile(TypedDict):
    """``study.json``: what all cells of a study share."""

    version: Annotated[Count, says("2")]
    settings: Annotated[Settings, says("Encoder and hyper-parameters.")]
    data: Annotated[dict[Name, dict[Name, Name]], says("SHA-256 by data set, and by split and kind of context.")]


class Cost(TypedDict):
    """``cost`` in ``plan.jsonl``."""

    tweets: Annotated[Count, says("Tweets trained on, all epochs together.")]
    subtokens: Annotated[Count, says("Sub-tokens trained on, all epochs and views together.")]
    flop: Annotated[Number, Field(ge=0), says("Floating-point operations of training and evaluation.")]


class PlanLine(TypedDict):
    """A line of ``plan.jsonl``: one cell; cells are run in this order."""

    version: Annotated[Count, says("2")]
    name: Annotated[FileName, says("Name of the cell: its folder is `cells/NAME`, its failure log `failed/NAME.log`.")]
    identity: Annotated[Name, says("Digest of everything the result depends on.")]
    config: Annotated[Config, says("The content of its `config.yaml`.")]
    cost: NotRequired[Annotated[Cost | None, says("Its expected cost, if it was counted.")]]


class CellRecord(TypedDict):
    """A line of ``cells.csv``: one finished cell."""

    dataset: Annotated[Name, says("Name of the data set.")]
    system: Annotated[Name, says("Name of the system as papers write it, without its training mode.")]
    contexts: Annotated[str, says("Kinds of context, joined by `+`.")]
    cva: Annotated[Name, says("Training mode: `off`, `joint`, `token` or `sequence`.")]
    label: NotRequired[Annotated[Text, says("Name of the row: system, training mode, teacher and control.")]]
    control: NotRequired[Annotated[Name, says("What happened to the images of tweets; `none` for the right ones.")]]
    encoder: Annotated[Text, says("Encoder.")]
    seed: Annotated[Count, says("Seed.")]
    identity: Annotated[Name, says("Digest of everything the result depends on.")]
    code: Annotated[str, says("First 16 digits of the digest of the code it was measured with.")]
    stale: Annotated[bool, says("1 if that is not the code of the version that wrote the table, else 0.")]
    best_epoch: Annotated[Count, says("Epoch whose weights were tested, counted from 1.")]
    training_seconds: Annotated[Seconds, says("Time of training, validation included.")]
    seconds: Annotated[Seconds, says("Time of the whole run.")]
    scores: Annotated[
        dict[Name, Percent],
        says(
            "In the file a column per score: `SPLIT/VIEW/MEASURE` and `SPLIT/VIEW/TYPE/MEASURE`, for example "
            "`valid/I+T/PER/f1`; in percent. Version 1 calls the split `dev`."
        ),
    ]
