"""Tags a stream of posts chunk by chunk, with bounded memory and in order; an interrupted run can be continued.

After every chunk the output is flushed to disk, and a state file beside it records how much of the input and of the
output is done. If the run was killed, whatever was written after the last complete chunk is removed before it
continues, so that the output is the same, byte by byte, as without the interruption.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from lightning_ita.data.words import cut
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import parse_json, read_bytes, sha256_of, write_text
from lightning_ita.images.crops import Box
from lightning_ita.metrics import EntityF1
from lightning_ita.models.kept import CONFIG, WEIGHTS
from lightning_ita.models.mentions import Tagged
from lightning_ita.models.predicting import ViewChoice, predict
from lightning_ita.models.tagger import Tagger
from lightning_ita.posts.pictures import PictureFiles, Pictures
from lightning_ita.posts.records import Record
from lightning_ita.posts.writing import Writer
from lightning_ita.text import quoted

# Posts that are read, tagged and written together.
CHUNK = 512
# Version of the state file.
VERSION = 1


@dataclass
class State:
    """The progress of a run, as its state file records it.

    Attributes:
        key: Digest of what must be the same when the run continues: model, view, formats.
        records: Posts of the input that are done.
        read: Digest of them.
        sizes: Bytes of each file of the output.
        writer: The state of the writer; see `Writer`.
        counts: Posts, mentions, errors, words that were cut ...
        scores: Correct, predicted and gold mentions by type, where the input has tags.
        finished: Whether the whole input is tagged.
    """

    key: str
    records: int = 0
    read: str = ""
    sizes: list[int] = field(default_factory=list)
    writer: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    scores: list[list[int]] = field(default_factory=list)
    finished: bool = False


def state_path(output: Path) -> Path:
    """Returns the path of a run's state file, given its output."""
    return output.with_name(f"{output.name}.state.json")


def errors_path(output: Path) -> Path:
    """Returns the path of the list of posts with errors, given the output."""
    return output.with_name(f"{output.name}.errors.jsonl")


def model_digest(tagger: Tagger, name: str) -> str:
    """Returns a digest of a kept model's configuration and weights; of its name, if that is an id on the Hub."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return hashlib.sha256(name.encode()).hexdigest()
    return hashlib.sha256((sha256_of(folder / CONFIG) + sha256_of(folder / WEIGHTS)).encode()).hexdigest()


def open_state(files: Sequence[Path], key: str, overwrite: bool) -> State:
    """Reads the state of an earlier run, or returns an empty one.

    Args:
        files: The files of the output, the one that was named first.
        key: See `State`.
        overwrite: Whether to start again.

    Raises:
        UserError: The output is not that of a run, or was made with another model or other arguments.
    """
    output = files[0]
    path = state_path(output)
    if overwrite:
        path.unlink(missing_ok=True)
    elif path.exists():
        try:
            values = parse_json(read_bytes(path, 2**24).decode())
            if values.pop("version") != VERSION:
                raise ValueError("of another version")
            state = State(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"damaged ({error}); --overwrite starts again", path) from None
        if state.key != key:
            raise UserError(
                f"{output} was made with another model or other arguments; name another --output, or give --overwrite"
            )
        return state
    elif there := [file for file in files if file.exists()]:
        raise UserError(f"{there[0]} exists; name another --output, or give --overwrite")
    return State(key)


def tag_stream(
    tagger: Tagger,
    records: Iterator[Record],
    writer: Writer,
    state: State,
    view: ViewChoice = "auto",
    pictures: Pictures | PictureFiles | None = None,
    evaluate: bool = False,
    watch: Callable[[State], None] = lambda state: None,
) -> State:
    """Tags the posts of an input that are left.

    Args:
        tagger: The model.
        records: The posts that are left, as `left` gives them.
        writer: Formats the output; it goes to standard output if the writer's path is ``-``.
        state: The state of an earlier run, or an empty one; updated while this one runs.
        view: See `Tagger.predict`.
        pictures: Returns the contexts of the posts' images, or their files for a system that looks at images; ``None``
            to use no images.
        evaluate: Whether mentions are counted against the input's tags.
        watch: Called with the state after every chunk.

    Raises:
        UserError: The input cannot be read.
        OSError: The output cannot be written.
    """
    metric = EntityF1(tagger.tag_set.types, tagger.recipe.labels) if evaluate else None
    if metric is not None and state.scores:
        metric.correct, metric.predicted, metric.gold = (torch.tensor(row) for row in state.scores)
    to_stdout = str(writer.path) == "-"
    tagger.predict([["a"]], view=view)  # fails where the model has no such view, or its scores are no numbers
    with ExitStack() as stack:
        files = _open(writer, state, stack) if not to_stdout else [sys.stdout]
        while chunk := list(islice(records, CHUNK)):
            texts: list[list[str]] = [[] for _ in files]
            for record, tagged, error in _tagged(tagger, chunk, view, pictures, state):
                for parts, text in zip(texts, writer.write(record, tagged, error), strict=False):
                    parts.append(text)
                if error is not None and not to_stdout:
                    line = {"row": record.number, "line": record.line, "id": record.id, "error": error}
                    texts[-1].append(json.dumps(line, ensure_ascii=False) + "\n")
                if metric is not None:
                    _score(metric, record, tagged, state)
            for file, parts in zip(files, texts, strict=True):
                file.write("".join(parts))
                file.flush()
            state.records += len(chunk)
            for record in chunk:
                state.read = record.digest(state.read)
            if metric is not None:
                state.scores = [row.tolist() for row in (metric.correct, metric.predicted, metric.gold)]
            if not to_stdout:
                _save(writer, state, files)
            watch(state)
        state.finished = True
        if not to_stdout:
            _save(writer, state, files)
    return state


def left(records: Iterator[Record], writer: Writer, state: State) -> Iterator[Record]:
    """Returns the posts that are not done, once it is sure that the others are still the same, and their output.

    Args:
        records: The posts, from the first on.
        writer: Knows the files of the output.
        state: The state of an earlier run, or an empty one.

    Raises:
        UserError: The posts that are done were changed, or the files of a finished output.
    """
    digest = ""
    for done in range(state.records):
        record = next(records, None)
        if record is None:
            raise UserError(
                f"the input has {done} posts, but {state.records} were tagged before, so it was changed; --overwrite "
                f"starts again"
            )
        digest = record.digest(digest)
    if digest != state.read:
        raise UserError(
            f"the first {state.records} posts of the input were changed since they were tagged, or this is another "
            f"input; name another --output, or give --overwrite, which starts again"
        )
    if state.finished:
        for path, size in zip(_files(writer), state.sizes, strict=True):
            if not path.is_file() or path.stat().st_size != size:
                raise DataError("removed or changed since the run was finished; --overwrite starts again", path)
    return records


def _files(writer: Writer) -> list[Path]:
    return [*writer.files, errors_path(writer.path)]


def _open(writer: Writer, state: State, stack: ExitStack) -> list[IO[str]]:
    """Opens the output and the list of errors for appending, cut to what is known to be whole."""
    paths = _files(writer)
    writer.path.parent.mkdir(parents=True, exist_ok=True)
    if not state.sizes:
        _write(writer, state)  # before the output is there, which without a state would be somebody else's
        for path, head in zip(paths, [*writer.head(), ""], strict=True):
            path.write_bytes(head.encode())
    else:
        for path, size in zip(paths, state.sizes, strict=True):
            if not path.is_file() or path.stat().st_size < size:
                raise DataError("shorter than its state file says, so it was changed; --overwrite starts again", path)
            os.truncate(path, size)
        if state.finished:  # and the input has grown
            state.finished = False
            _write(writer, state)
    return [stack.enter_context(path.open("a", encoding="utf-8", newline="")) for path in paths]


def _save(writer: Writer, state: State, files: Sequence[IO[str]]) -> None:
    for file in files:
        file.flush()
        os.fsync(file.fileno())
    state.sizes = [os.fstat(file.fileno()).st_size for file in files]
    state.writer = dict(writer.state)
    _write(writer, state)


def _write(writer: Writer, state: State) -> None:
    write_text(state_path(writer.path), json.dumps({"version": VERSION, **vars(state)}) + "\n")


def _tagged(
    tagger: Tagger, chunk: Sequence[Record], view: ViewChoice, pictures: Pictures | PictureFiles | None, state: State
) -> Iterator[tuple[Record, Tagged | None, str | None]]:
    """Yields the posts of a chunk in their order, each with what was found in it, and what went wrong."""
    kinds = tagger.inputs.kinds
    notes: dict[int, str] = {}
    files: dict[int, Path] = {}
    boxes: Mapping[int, Sequence[Box]] | None = None
    if isinstance(pictures, PictureFiles) and view != "T":
        files, unread = pictures.files(chunk)
        boxes, without = pictures.boxes(chunk)
        notes = without | unread
    elif isinstance(pictures, Pictures) and view != "T":
        found, notes = pictures.contexts(chunk)
        chunk = [replace(record, contexts={**found.get(record.number, {}), **record.contexts}) for record in chunk]
    good = [record for record in chunk if record.error is None]
    contexts = [{kind: texts for kind, texts in record.contexts.items() if kind in kinds} for record in good]
    if any(isinstance(record.post, str) for record in good):
        cut("")  # fails where NLTK is missing, which is no fault of a post
    results: dict[int, Tagged] = {}
    failed: dict[int, str] = {}

    def tag(records: Sequence[Record], texts: Sequence[Mapping[str, Sequence[str]]]) -> list[Tagged]:
        posts = [record.post for record in records]
        if not isinstance(pictures, PictureFiles):
            return tagger.predict(posts, texts, view)

        def unreadable(index: int, reason: str) -> None:
            notes[records[index].number] = reason

        images = [files.get(record.number) for record in records]
        places = None if boxes is None else [boxes.get(record.number, ()) for record in records]
        return predict(tagger, posts, texts, view, images, unreadable, places)

    try:
        tagged = tag(good, contexts)
        results = {record.number: each for record, each in zip(good, tagged, strict=True)}
    except UserError:
        for record, texts in zip(good, contexts, strict=True):  # one of them is at fault
            try:
                results[record.number] = tag([record], [texts])[0]
            except UserError as error:
                failed[record.number] = str(error).removeprefix("post 0: ")
    counts = state.counts
    for record in chunk:
        wrong = record.error or failed.get(record.number)
        if wrong is None and record.number in notes:
            wrong = f"image {quoted(record.image)}: {notes[record.number]}"
        result = results.get(record.number)
        for name, number in (
            ("posts", 1),
            ("mentions", len(result.mentions) if result else 0),
            ("not tagged", int(result is None)),
            ("images failed", int(record.number in notes)),
            ("empty", int(result is not None and not result.words)),
            ("cut", int(result is not None and result.words_cut > 0)),
            ("read with context", int(result is not None and bool(result.contexts))),
            (
                "with contexts that the model does not read",
                int(any(texts and kind not in kinds for kind, texts in record.contexts.items())),
            ),
        ):
            counts[name] = counts.get(name, 0) + number
        yield record, result, wrong


def _score(metric: EntityF1, record: Record, tagged: Tagged | None, state: State) -> None:
    """Counts the mentions of a post against its tags, if it has some."""
    if record.gold is None or tagged is None:
        state.counts["without tags"] = state.counts.get("without tags", 0) + 1
        return
    names = {tag: index for index, tag in enumerate(["O"] + [f"{p}-{t}" for t in metric.types for p in "BI"])}
    for tag in record.gold:
        if tag not in names:
            raise UserError(
                f"row {record.number} is tagged {quoted(tag)}, but the model knows {', '.join(metric.types)}: the "
                f"two cannot be compared"
            )
    rows = [torch.tensor([names[tag] for tag in tags], dtype=torch.int64) for tags in (tagged.tags, record.gold)]
    predicted, gold = (pad_sequence([row], batch_first=True) for row in rows)
    metric.update(predicted, gold)


def scores_of(tagger: Tagger, state: State) -> dict[str, Any]:
    """Returns precision, recall and F1 of all posts with tags, as `EntityF1` names them, in percent."""
    metric = EntityF1(tagger.tag_set.types, tagger.recipe.labels)
    if state.scores:
        metric.correct, metric.predicted, metric.gold = (torch.tensor(row) for row in state.scores)
        metric.update(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64))
    return {name: round(value.item(), 4) for name, value in metric.compute().items()} if state.scores else {}
