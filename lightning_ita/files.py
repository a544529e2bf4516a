"""Reads untrusted text, JSON and YAML, and writes files that appear complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml

from lightning_ita.errors import DataError, UserError

# Largest file that is read whole, and longest line: a tweet, or all that was said about one image. Real corpora have
# files of a few MiB and lines of a few KiB; without bounds one damaged file takes all memory.
MAX_TEXT_BYTES, MAX_LINE_BYTES = 2**30, 2**20


def user_path(name: str | os.PathLike[str]) -> Path:
    """Returns the path that a user wrote, with ``~`` replaced by the home folder.

    Raises:
        UserError: It names the home folder of a user that does not exist, or has a null character.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise UserError(
            f"{name}: there is no home folder of this name; write ./ before a name that starts with ~"
        ) from None
    if "\0" in str(path):
        raise UserError(f"{path}: a path has no null character")
    return path


def open_regular(path: Path) -> BufferedReader:
    """Opens a regular file for reading its bytes.

    Raises:
        OSError: It cannot be opened, or is something else: a pipe waits for a writer, a device may never end.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # asked before opening, which already acts on some devices
        raise _not_regular(path)
    # Without O_NONBLOCK, a pipe that took the file's place meanwhile would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_regular(path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _not_regular(path: Path) -> OSError:
    return OSError(errno.EINVAL, "not a regular file but a folder, a pipe or a device", str(path))


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """Returns the same, from a file that is read once per process as long as it is not changed: every cell asks."""
    status = path.stat()
    return _digest(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _digest(path: Path, *_: int) -> str:
    return sha256_of(path)


def sha256_of_files(paths: Iterable[Path]) -> str:
    """Digests files with their names in hexadecimal, wherever their folder lies; see `sha256_once`."""
    listing = "".join(f"{path.name} {sha256_once(path)}\n" for path in paths)
    return hashlib.sha256(listing.encode()).hexdigest()


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, with or without a byte-order mark.

    Raises:
        DataError: A line is not UTF-8 (names it), or this is no regular file or larger than `MAX_TEXT_BYTES`.
    """
    raw = read_bytes(path, MAX_TEXT_BYTES)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _not_utf8(raw[error.start], path, line) from None


def read_bytes(path: Path, most: int) -> bytes:
    """Reads a regular file whole.

    Args:
        path: The file.
        most: Largest file that is read, in bytes.

    Raises:
        DataError: It cannot be opened, is no regular file, or is larger than `most`.
    """
    try:
        with open_regular(path) as file:
            raw = file.read(most + 1)
    except (OSError, ValueError) as error:  # a ValueError: a null character in the path
        raise DataError(getattr(error, "strerror", None) or str(error), path) from None
    if len(raw) > most:
        raise _too_large(most, path)
    return raw


def _too_large(most: int, path: Path) -> DataError:
    return DataError(f"larger than {most / 2**20:g} MiB, the most that is read", path)


def _not_utf8(byte: int, path: Path, line: int) -> DataError:
    return DataError(f"not UTF-8 (byte 0x{byte:02x}); convert the file, for example with `iconv -t UTF-8`", path, line)


class Lines:
    """The lines of a UTF-8 file, read one by one, and the digest of exactly the bytes that were read.

    Only a line feed ends a line, with or without a carriage return before it: words and texts hold U+0085 and U+2028.

    Args:
        path: The file, with or without a byte-order mark.

    Attributes:
        sha256: Digest of the file, in hexadecimal, once all lines were read.

    Raises:
        DataError: While reading: the file cannot be read, is no regular one or larger than `MAX_TEXT_BYTES`, or a line
            is not UTF-8 or longer than `MAX_LINE_BYTES`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.sha256 = ""

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yields the lines without their ends, and their numbers from 1."""
        digest = hashlib.sha256()
        try:
            with open_regular(self.path) as file:
                number, size = 0, 0
                while raw := file.readline(MAX_LINE_BYTES + 1):
                    number, size = number + 1, size + len(raw)
                    if len(raw) > MAX_LINE_BYTES:
                        raise DataError(f"longer than {MAX_LINE_BYTES // 2**20} MiB", self.path, number)
                    if size > MAX_TEXT_BYTES:
                        raise _too_large(MAX_TEXT_BYTES, self.path)
                    digest.update(raw)
                    yield number, self._decode(raw, number)
        except (OSError, ValueError) as error:  # a ValueError: a null character in the path
            raise DataError(getattr(error, "strerror", None) or str(error), self.path) from None
        self.sha256 = digest.hexdigest()

    def _decode(self, raw: bytes, number: int) -> str:
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _not_utf8(raw[error.start], self.path, number) from None
        return line.removesuffix("\n").removesuffix("\r")


def parse_json(text: str) -> Any:
    """Reads untrusted JSON.

    Raises:
        ValueError: It is not JSON, is nested too deeply, names a key twice, or holds a number or half a character
            (lone surrogate) that Python or UTF-8 cannot hold; says which, in one line.
    """
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:  # the only way to write a lone surrogate
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    except UnicodeEncodeError:
        raise ValueError("half a character (a lone surrogate, as programs leave that cut texts by bytes)") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        # Python refuses to convert numbers of more than 4,300 digits.
        raise ValueError("a number has too many digits" if "digits" in str(error) else str(error)) from None
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_no_constant)


class _PlainLoader(yaml.SafeLoader):
    """Loads YAML without aliases: a few lines of nested ones stand for more values than any memory holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Composes a node.

        Raises:
            yaml.YAMLError: It is an alias.
        """
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)


def parse_yaml(text: str | bytes) -> Any:
    """Reads untrusted YAML: plain values, no aliases.

    Raises:
        ValueError: It is not YAML, is nested too deeply, or holds aliases, objects, or a number of too many digits;
            says which, in one line.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    # A value that is not of the type named before it ends in any of these.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None


def check_output(path: Path) -> None:
    """Checks, before any work, that a file can be written here: `write_text` replaces what stands at its path.

    Raises:
        UserError: A folder, a device or a pipe stands there.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a regular file but a folder, a pipe or a device; name another file to write")


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file in one step: a reader sees the old content or the new, never a part.

    Raises:
        UserError: Something else than a regular file stands at `path`, for example ``/dev/null``.
        OSError: The folder cannot be written; what stood at `path` is untouched.
    """
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def written_whole(path: Path, prefix: str | None = None) -> Iterator[Path]:
    """Gives the path of an empty file to write, which then takes the place of `path`, and on errors vanishes.

    Args:
        path: The file, in a folder that is there.
        prefix: Start of the temporary file's name in that folder; a dot and the file's name if not given.

    Raises:
        OSError: The folder cannot be written; what stood at `path` is untouched.
    """
    prefix = f".{path.name}." if prefix is None else prefix
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp keeps others out; these are files to share
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def disk_errors() -> Iterator[None]:
    """Has libraries written in Rust (safetensors, tokenizers) fail as others do where a disk is full.

    Raises:
        OSError: In the place of their own exception, if that tells an error of the operating system.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from None
