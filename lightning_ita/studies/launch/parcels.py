"""Folders as arrays of bytes, which travel between machines that share no file system."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from lightning_ita.errors import UserError
from lightning_ita.files import written_whole

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def pack(folder: Path, names: Sequence[str]) -> Bytes:
    """Returns files and folders of a folder as one array, without compression: weights do not get smaller.

    Args:
        folder: The folder.
        names: Its entries to take, relative to it.
    """
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name in names:
            archive.add(folder / name, arcname=name)
    return np.frombuffer(written.getbuffer(), np.uint8)


def unpack(parcel: Bytes, folder: Path) -> None:
    """Writes what `pack` took into a folder that is made new, and onto the disk: what is moved from there is whole.

    Raises:
        UserError: The array is damaged.
        OSError: The folder cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(parcel.data)) as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise UserError(f"what came for {folder} is damaged: {error}") from None
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


@dataclass(frozen=True)
class Shipment:
    """The files of a folder, each as a reference that is fetched where it is missing.

    Attributes:
        files: Path within the folder, size in bytes, and a list that holds the reference.
    """

    files: tuple[tuple[str, int, list[Any]], ...]

    @classmethod
    def of(cls, folder: Path, put: Callable[[Bytes], Any]) -> Shipment:
        """Reads a folder, file by file.

        Args:
            folder: The folder; one that is not there has no files.
            put: Stores an array, and returns the reference to it.
        """
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        files = [(path.relative_to(folder).as_posix(), np.fromfile(path, np.uint8)) for path in paths]
        return cls(tuple((name, content.size, [put(content)]) for name, content in files))

    def fetch(self, folder: Path, get: Callable[[Any], Bytes]) -> None:
        """Writes those files that are not there with the same size; of several processes, one does it.

        Args:
            folder: Where to.
            get: Fetches an array by its reference.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            for name, size, (reference,) in self.files:
                path = folder / name
                if path.is_file() and path.stat().st_size == size:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with written_whole(path) as temporary:
                    get(reference).tofile(temporary)
