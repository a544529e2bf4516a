"""Formats tagged posts as JSONL, CSV, CoNLL, brat's stand-off format or inline tags."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_ita.models.mentions import Tagged
from lightning_ita.posts.records import Record, format_by_ending

OUTPUTS = {".jsonl": "jsonl", ".csv": "csv", ".conll": "conll", ".ann": "brat", ".txt": "inline"}
CSV_COLUMNS = ("row", "id", "mention", "type", "start", "end", "first_word", "end_word", "probability", "view", "error")
# So many digits of a probability are written: float32 has no more.
DIGITS = 6
_LINE_ENDS = re.compile(r"[\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def output_of(name: str, given: str | None) -> str:
    """Returns the format of an output: the one given, or the one that the file's extension stands for.

    Raises:
        UserError: The format is unknown, or the extension stands for none.
    """
    if given is None and name == "-":
        return "jsonl"
    return format_by_ending("--output", name, "--output-format", given, OUTPUTS.values(), OUTPUTS)


def one_line(text: str) -> str:
    """Returns a text of the same length on one line."""
    return _LINE_ENDS.sub(" ", text)


class Writer:
    """Turns tagged posts into the content of files.

    Args:
        format_: A format of `OUTPUTS`.
        path: The output's path; brat's has a second file beside it, with the text.
        state: The writer's state after an earlier run.
    """

    def __init__(self, format_: str, path: Path, state: dict[str, int] | None = None):
        self.format = format_
        self.path = path
        # For brat: the numbers of mentions and characters so far, which mentions' ids and offsets are counted from.
        self.state = state or {"mentions": 0, "characters": 0}

    @property
    def files(self) -> list[Path]:
        """The files that are written."""
        return [self.path, self.path.with_suffix(".txt")] if self.format == "brat" else [self.path]

    def head(self) -> list[str]:
        """Returns what each file begins with."""
        return [_csv([CSV_COLUMNS])] if self.format == "csv" else [""] * len(self.files)

    def write(self, record: Record, tagged: Tagged | None, error: str | None) -> list[str]:
        """Returns what a post adds to each file.

        Args:
            record: The post as it was read.
            tagged: What was found; ``None`` where it could not be tagged.
            error: What went wrong with it, or with its picture.
        """
        makers: dict[str, Callable[[Record, Tagged | None, str | None], list[str]]] = {
            "jsonl": self._jsonl,
            "csv": self._rows,
            "conll": self._conll,
            "brat": self._brat,
            "inline": self._inline,
        }
        return makers[self.format](record, tagged, error)

    def _jsonl(self, record: Record, tagged: Tagged | None, error: str | None) -> list[str]:
        values: dict[str, Any] = {"row": record.number, "id": record.id}
        if tagged is not None:
            values |= tagged.to_dict()
            for mention in values["mentions"]:
                mention["probability"] = round(mention["probability"], DIGITS)
        if error is not None:
            values["error"] = error
        return [json.dumps(values, ensure_ascii=False) + "\n"]

    def _rows(self, record: Record, tagged: Tagged | None, error: str | None) -> list[str]:
        start, view = [record.number, record.id], tagged.view if tagged else ""
        rows = [
            [
                *start,
                mention.text,
                mention.type,
                mention.start,
                mention.end,
                mention.first_word,
                mention.end_word,
                round(mention.probability, DIGITS),
                view,
                error or "",
            ]
            for mention in (tagged.mentions if tagged else ())
        ]
        return [_csv(rows or [[*start, *[""] * 7, view, error or ""]])]

    def _conll(self, record: Record, tagged: Tagged | None, error: str | None) -> list[str]:
        if tagged is None or not tagged.words:
            return [""]
        head = [f"IMGID:{one_line(record.image)}"] if record.image else []
        lines = [f"{one_line(word.text)}\t{tag}" for word, tag in zip(tagged.words, tagged.tags, strict=True)]
        return ["\n".join([*head, *lines]) + "\n\n"]

    def _brat(self, record: Record, tagged: Tagged | None, error: str | None) -> list[str]:
        """A line of the text per post, empty where it could not be read; offsets are of the whole text."""
        text = one_line(tagged.text) if tagged else ""
        lines = []
        for mention in tagged.mentions if tagged else ():
            self.state["mentions"] += 1
            start, end = (place + self.state["characters"] for place in (mention.start, mention.end))
            # brat separates the parts of a line by white space.
            type_ = re.sub(r"\s", "_", mention.type)
            lines.append(f"T{self.state['mentions']}\t{type_} {start} {end}\t{one_line(mention.text)}\n")
        self.state["characters"] += len(text) + 1
        return ["".join(lines), text + "\n"]

    def _inline(self, record: Record, tagged: Tagged | None, error: str | None) -> list[str]:
        """A line per post, with mentions as elements; ``<`` and ``&`` of the post are escaped."""
        parts, last = [], 0
        text = one_line(tagged.text) if tagged else ""
        for mention in tagged.mentions if tagged else ():
            parts.append(html.escape(text[last : mention.start], quote=False))
            inside = html.escape(text[mention.start : mention.end], quote=False)
            parts.append(f"<{mention.type}>{inside}</{mention.type}>")
            last = mention.end
        return ["".join([*parts, html.escape(text[last:], quote=False)]) + "\n"]


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
