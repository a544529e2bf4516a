"""Text files that are read with an eye on their encoding, files that appear whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from lightning_ita.errors import DataError


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, with or without a byte-order mark.

    Raises:
        DataError: A line is not UTF-8; names it.
    """
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"not UTF-8 (byte 0x{raw[error.start]:02x}); convert the file, for example with `iconv -t UTF-8`",
            path,
            line,
        ) from None


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file in one step: a reader sees the old content or the new, never a part.

    Raises:
        OSError: The folder cannot be written; what stood at `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp keeps others out; these are files to share
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
