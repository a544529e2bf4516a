"""Pictures as values: each knows the digest of its content, and opens when it is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from lightning_ita.errors import UserError
from lightning_ita.images.files import ImageError, decode, find_images, read_file, signature
from lightning_ita.text import printable


class Picture(Protocol):
    """A picture of a tweet."""

    @property
    def name(self) -> str:
        """What messages call it: its image id."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of its content: equal pictures are looked at once."""
        ...

    def open(self) -> Image.Image:
        """Returns it as an upright RGB image.

        Raises:
            ImageError: It cannot be read; says why.
        """
        ...


@dataclass(frozen=True)
class PictureFile:
    """A picture in a file, which is read again when it is opened.

    Attributes:
        name: Its image id.
        sha256: Digest of the file.
        path: The file.
    """

    name: str
    sha256: str
    path: Path

    def open(self) -> Image.Image:
        """Returns it as an upright RGB image; see `Picture.open`.

        Raises:
            ImageError: It cannot be decoded.
            UserError: The file was changed since it was digested.
        """
        data, state = read_file(self.path)
        if state.sha256 != self.sha256:
            raise UserError(f"{self.path} was changed while it was in use; run the same command again")
        return decode(data)


@dataclass(frozen=True)
class PictureImage:
    """A picture that was given as an image of Pillow.

    Attributes:
        name: What messages call it.
        image: The image.
    """

    name: str
    image: Image.Image

    @property
    def sha256(self) -> str:
        """Digest of its pixels."""
        return hashlib.sha256(repr((self.image.mode, self.image.size)).encode() + self.image.tobytes()).hexdigest()

    def open(self) -> Image.Image:
        """Returns it in RGB."""
        return self.image.convert("RGB")


# Digests by path, size and time of modification: a process that runs many cells reads each file once.
_DIGESTS: dict[tuple[Path, int | None, int | None], str] = {}


def read_picture(name: str, path: Path) -> PictureFile:
    """Digests a picture's file.

    Raises:
        ImageError: It cannot be read; whether it can be decoded is seen when it is opened.
    """
    state = (path, *signature(path))
    if None in state or state not in _DIGESTS:
        _DIGESTS[state] = read_file(path)[1].sha256
    return PictureFile(name, _DIGESTS[state], path)


def pictures_in(folder: Path, ids: Iterable[str]) -> tuple[dict[str, PictureFile], dict[str, str]]:
    """Finds the pictures of tweets in a folder, and digests them.

    Args:
        folder: Where they lie, in folders below it too; see `lightning_ita.images.files.find_images`.
        ids: The image ids of the tweets.

    Returns:
        The pictures by id, and why others cannot be read, by id; what is in neither has no file.

    Raises:
        UserError: The folder is not there or holds no picture, none of them is a tweet's, or two different files have
            one id.
    """
    files = find_images(folder)
    found: dict[str, PictureFile] = {}
    failed: dict[str, str] = {}
    known = list(ids)
    for image in known:
        for path in files.get(image, ()):
            try:
                picture = read_picture(image, path)
            except ImageError as error:
                failed[image] = str(error)
                continue
            if image in found and found[image].sha256 != picture.sha256:
                raise UserError(
                    f"two different pictures have the id {image!r}: {found[image].path} and {path}; remove one"
                )
            found[image] = picture
    if known and not found and not failed:
        raise UserError(
            f"--images {folder}: none of its {len(files)} pictures is a tweet's: it has {next(iter(files))!r}, tweets "
            f"have {known[0]!r}. Is it the folder of another data set?"
        )
    return found, {image: reason for image, reason in failed.items() if image not in found}


def digest_of(pictures: Mapping[str, Picture]) -> str:
    """Returns a SHA-256 over the content of pictures, by id."""
    lines = "".join(f"{image} {pictures[image].sha256}\n" for image in sorted(pictures))
    return hashlib.sha256(lines.encode()).hexdigest()


def listed(what: str, names: Iterable[str], most: int = 5) -> str:
    """Returns names with what is said of them, as many as a message holds: ``3 pictures are missing: a, b, c``."""
    names = sorted(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {what}: {', '.join(printable(name, 120) for name in names[:most])}{more}"
