"""Reads posts from files and from standard input, one by one: CSV, TSV, JSONL, Parquet, plain lines, CoNLL.

A post that cannot be read becomes a `Record` with an error, and reading continues; a file that cannot be read raises an
error.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lightning_ita.data.conll import DOCUMENT, MAX_WORDS, image_of
from lightning_ita.data.raw_tags import clean
from lightning_ita.errors import DataError, UserError, unknown
from lightning_ita.files import MAX_LINE_BYTES, open_regular, parse_json, user_path
from lightning_ita.posts.records import Record, format_by_ending, texts_of
from lightning_ita.tags import AS_BIO, as_bio
from lightning_ita.text import quoted

STDIN = "-"
FORMATS = ("csv", "tsv", "jsonl", "parquet", "lines", "conll")
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "lines",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
}
# Longest field of a CSV file, in characters.
MAX_FIELD = 2**22
# Rows of a Parquet file that are held at once.
PARQUET_ROWS = 1000


@dataclass(frozen=True)
class Columns:
    """The names of columns, or of fields in JSONL.

    Attributes:
        text: The column with the text of the post.
        image: The column with its image's file name; ``None`` if there is none.
        id: The column with its id; ``None`` if there is none.
        contexts: The column with its contexts, in JSONL and Parquet.
        tags: The column with its tags, in JSONL and Parquet.
        numbers: Columns of the word and its tag in CoNLL, counted from 0; the first and the last if not given.
    """

    text: str = "text"
    image: str | None = None
    id: str | None = None
    contexts: str = "contexts"
    tags: str = "tags"
    numbers: tuple[int, int] | None = field(default=None, repr=False)  # what they change is seen in the posts


def format_of(name: str, given: str | None) -> str:
    """Returns the format of an input: the one given, or the one that the file's extension stands for.

    Raises:
        UserError: The format is unknown, or the extension stands for none.
    """
    if given is None and name == STDIN:
        return "lines"
    return format_by_ending("--input", name, "--format", given, FORMATS, SUFFIXES)


def read_posts(name: str, format_: str, columns: Columns, encoding: str = "utf-8") -> Iterator[Record]:
    """Reads the posts of a file, or of standard input (``-``).

    Raises:
        UserError: The file or a column is not there, or the file is not of this format or encoding.
    """
    try:
        "".encode(encoding)
        encoding = codecs.lookup(encoding).name  # UTF8 is utf-8
    except (LookupError, ValueError):
        raise UserError(f"--encoding {quoted(encoding)}: not one that is known, as utf-8, cp1252, utf-16 are") from None
    if format_ == "parquet":
        if name == STDIN:
            raise UserError("Parquet cannot be read from standard input; give a file")
        yield from _parquet(user_path(name), columns)
        return
    path = user_path("standard input" if name == STDIN else name)
    try:
        stream = sys.stdin.buffer if name == STDIN else open_regular(path)
    except OSError as error:
        raise DataError(error.strerror or str(error), path) from None
    readers: dict[str, Callable[..., Iterator[Record]]] = {"jsonl": _jsonl, "lines": _lines, "conll": _conll}
    with stream:
        try:
            if format_ in ("csv", "tsv"):
                yield from _table(stream, path, format_, columns, encoding)
            else:
                yield from readers[format_](_decoded(stream, encoding), path, columns)
        except UnicodeError as error:  # of the whole file; of a line it is recorded
            raise DataError(f"not {encoding}: {error}; name its encoding with --encoding", path) from None


def _decoded(stream: BinaryIO, encoding: str) -> Iterator[tuple[int, str, str | None]]:
    """Yields number, text and error of each line; only a line feed ends one, with or without a carriage return."""
    if encoding.startswith(("utf-16", "utf-32")):
        with io.TextIOWrapper(stream, encoding, newline="") as text:
            yield from _decoded(io.BufferedReader(_Recoded(text)), "utf-8")
        return
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(MAX_LINE_BYTES)
            yield number, "", f"a line longer than {MAX_LINE_BYTES // 2**20} MiB"
            continue
        if number == 1 and encoding == "utf-8":
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, raw.decode(encoding).removesuffix("\n").removesuffix("\r"), None
        except UnicodeDecodeError as error:
            yield number, "", f"not {encoding} (byte 0x{raw[error.start]:02x}); --encoding cp1252 is another usual one"


class _Recoded(io.RawIOBase):
    """Re-encodes UTF-16 and UTF-32 as UTF-8, where a line feed is one byte that occurs in no other character."""

    def __init__(self, text: io.TextIOWrapper):
        self.text, self.rest = text, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.rest:
            self.rest = self.text.read(len(buffer)).encode()
        count = min(len(buffer), len(self.rest))
        buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        return count


def _lines(lines: Iterator[tuple[int, str, str | None]], path: Path, columns: Columns) -> Iterator[Record]:
    for number, line, error in lines:
        if number == 1 and (image_of(line) or _is_word_and_tag(line)):
            raise DataError("this is a file of words and tags; give --format conll", path, number)
        yield Record(number, number, str(number), line, error=error)


def _is_word_and_tag(line: str) -> bool:
    word, *_, tag = line.split("\t") if "\t" in line else (line, "")
    try:
        return not any(each.isspace() for each in word) and bool(tags_of([tag]))
    except ValueError:
        return False


def _jsonl(lines: Iterator[tuple[int, str, str | None]], path: Path, columns: Columns) -> Iterator[Record]:
    count = 0
    for number, line, error in lines:
        if not line.strip() and error is None:
            continue
        count += 1
        try:
            if error is not None:
                raise ValueError(error)
            values = parse_json(line)
            if not isinstance(values, dict):
                raise ValueError("not a JSON object")
            yield _record(count, number, values, columns)
        except ValueError as reason:
            yield Record(count, number, str(count), error=str(reason))


def _record(count: int, line: int, values: Mapping[str, Any], columns: Columns) -> Record:
    """Makes a record of named values.

    Raises:
        ValueError: One is missing or of another kind.
    """
    if columns.text not in values:
        raise ValueError(f"no {columns.text!r}; it has {', '.join(map(repr, values)) or 'nothing'}")
    post = values[columns.text]
    if isinstance(post, list) and all(isinstance(word, str) and word for word in post):
        post = tuple(post)
    elif post is None:
        post = ""
    elif not isinstance(post, str):
        raise ValueError(f"{columns.text!r} is neither a text nor a list of words")
    image = values.get(columns.image) if columns.image else None
    if image is not None and not isinstance(image, str):
        raise ValueError(f"{columns.image!r} is not a text")
    given = values.get(columns.id) if columns.id else None
    gold = values.get(columns.tags)
    tags = None
    if isinstance(gold, list) and isinstance(post, tuple):
        if not len(gold) == len(post) or not all(isinstance(tag, str) for tag in gold):
            raise ValueError(f"{len(post)} words and {len(gold)} {columns.tags}")
        tags = tags_of(gold)
    return Record(
        count,
        line,
        str(count if given is None else given),
        post,
        image or None,
        texts_of(values.get(columns.contexts)),
        tags,
    )


def tags_of(tags: Sequence[str]) -> tuple[str, ...]:
    """Reads the tags of one post, in BIO, BIOES or a similar scheme, as BIO with stray ``I-`` as they are.

    Raises:
        ValueError: One is not a tag.
    """
    cleaned = []
    for tag in tags:
        prefix, hyphen, type_ = clean(tag).partition("-")
        type_ = clean(type_)
        if (prefix, hyphen) != ("O", "") and not (prefix in AS_BIO and type_):
            raise ValueError(f"{quoted(tag)} is not a tag: expected O, B-TYPE or I-TYPE")
        cleaned.append(f"{prefix}{hyphen}{type_}")
    return tuple(as_bio(cleaned))


def _table(stream: BinaryIO, path: Path, format_: str, columns: Columns, encoding: str) -> Iterator[Record]:
    csv.field_size_limit(MAX_FIELD)
    # A tweet may begin with a quotation mark: tab-separated files quote nothing.
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if format_ == "tsv" else {}
    text = io.TextIOWrapper(stream, "utf-8-sig" if encoding == "utf-8" else encoding, newline="")
    with text:
        yield from _rows(csv.reader(text, strict=format_ == "csv", **dialect), path, columns, encoding)


def _rows(rows: Any, path: Path, columns: Columns, encoding: str) -> Iterator[Record]:
    count = 0
    try:
        header = next(rows, None)
        if header is None:
            raise DataError("empty: the first line names the columns", path)
        wanted = [columns.text, *filter(None, (columns.image, columns.id))]
        for name in wanted:
            if name not in header:
                raise DataError(str(unknown("column", name, header)), path, 1)
            if header.count(name) > 1:
                raise DataError(f"two columns are called {quoted(name)}", path, 1)
        for row in rows:
            if not row:
                continue
            count += 1
            if len(row) != len(header):
                reason = f"{len(row)} columns, the header has {len(header)}"
                yield Record(count, rows.line_num, str(count), error=reason)
                continue
            values = dict(zip(header, row, strict=True))
            yield Record(
                count,
                rows.line_num,
                values[columns.id] if columns.id else str(count),
                values[columns.text],
                (values[columns.image].strip() or None) if columns.image else None,
            )
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"after row {count}: not {encoding} (byte 0x{byte:02x}); name its encoding, for example --encoding cp1252",
            path,
        ) from None
    except csv.Error as error:
        raise DataError(f"not CSV: {error}", path, rows.line_num) from None


def _conll(lines: Iterator[tuple[int, str, str | None]], path: Path, columns: Columns) -> Iterator[Record]:
    count = 0
    first, image, words, tags, reason = 0, None, [], [], None  # type: ignore[var-annotated]
    place, place_of_tag = columns.numbers or (0, -1)
    width = max(columns.numbers or (0,)) + 1

    def made() -> Iterator[Record]:
        nonlocal count, image, words, tags, reason
        if words or reason or image:
            count += 1
            gold, error = None, reason
            if not words and error is None:
                error = "no words"
            try:
                gold = tags_of(tags) if tags and len(tags) == len(words) else None
            except ValueError as wrong:
                error = error or str(wrong)
            if error is None:
                yield Record(count, first, image or str(count), tuple(words), image, gold=gold)
            else:
                yield Record(count, first, image or str(count), image=image, error=error)
        image, words, tags, reason = None, [], [], None

    for number, line, error in lines:
        named = image_of(line) if error is None else None
        if named is not None or (error is None and not line.strip(" \t")):
            yield from made()
            first, image = number, named or None
            continue
        if not (words or reason or image):
            first = number
        cells = line.split("\t") if "\t" in line else line.split(" ")
        if error is None and cells[0] == DOCUMENT:
            continue
        if error is not None or len(cells) < width:
            reason = reason or error or f"line {number}: {len(cells)} columns, --columns needs {width}"
        elif not cells[place]:
            reason = reason or f"line {number}: no word before the tag"
        elif len(words) == MAX_WORDS:
            reason = reason or f"more than {MAX_WORDS} words; posts are separated by empty lines"
        else:
            words.append(cells[place])
            tags += [cells[place_of_tag]] if len(cells) > 1 else []
    yield from made()


def _parquet(path: Path, columns: Columns) -> Iterator[Record]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(
            f"Parquet needs the package pyarrow, which cannot be imported ({error}); "
            "`pip install lightning-ita[predict]` brings it"
        ) from None
    try:
        with open_regular(path) as stream, ParquetFile(stream) as file:
            names = file.schema_arrow.names
            for name in filter(None, (columns.text, columns.image, columns.id)):
                if name not in names:
                    raise DataError(str(unknown("column", name, names)), path)
            optional = [name for name in (columns.contexts, columns.tags) if name in names]
            wanted = [name for name in (columns.text, columns.image, columns.id) if name] + optional
            count = 0
            for batch in file.iter_batches(PARQUET_ROWS, columns=list(dict.fromkeys(wanted))):
                for values in batch.to_pylist():
                    count += 1
                    try:
                        yield _record(count, count, values, columns)
                    except ValueError as reason:
                        yield Record(count, count, str(count), error=str(reason))
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"not a readable Parquet file: {' '.join(str(error).split())}", path) from None
