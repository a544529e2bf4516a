"""Image files: found by id, read once, and decoded to upright RGB, or refused with a reason."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from lightning_ita.errors import UserError
from lightning_ita.files import open_regular
from lightning_ita.images.ids import IMAGE_SUFFIXES, image_id
from lightning_ita.text import printable

# Recognised by content, not by name. Formats that run programs (EPS) or that no tweet has are not opened.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
# Twitter serves at most 4096 × 4096. A small file can unpack to far more: a decompression bomb.
MAX_PIXELS = 8192 * 8192
MAX_BYTES = 2**28

Image.init()  # loads the plugins by which formats are known


class ImageError(Exception):
    """An image cannot be used; the message says why."""


@dataclass(frozen=True)
class FileState:
    """State of a file when it was read, which tells later whether it was changed.

    Attributes:
        size: Its size in bytes.
        modified: When it was last written, in nanoseconds.
        sha256: Digest of its content.
    """

    size: int
    modified: int
    sha256: str


def find_images(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Finds the images in a folder and in those below it.

    Corpora name an image by its tweet: ``IMGID:123`` is ``123.jpg``.

    Args:
        folder: Where to look. Links to folders are followed, each folder once; names that start with a dot are skipped.

    Returns:
        Files by image id (see `image_id`), sorted by id. An id should have one file.

    Raises:
        UserError: The folder does not exist or holds no image, or it or a folder below it cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"--images {folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    found: dict[str, list[Path]] = {}
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link back to where we were
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                found.setdefault(_id_of(path), []).append(path)
    if not found:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"--images {folder}: no image there; looked for names ending in {known}")
    return {image: tuple(found[image]) for image in sorted(found)}


def _unreadable(error: OSError) -> None:
    """Refuses a folder that cannot be listed: its images would be reported as missing."""
    raise UserError(f"--images: the folder {error.filename} cannot be read: {error.strerror}") from error


def _id_of(path: Path) -> str:
    """Returns the image id of a file; bytes of its name that are not UTF-8 are escaped."""
    return image_id(os.fsencode(path.name).decode("utf-8", "backslashreplace"))


def read_file(path: Path) -> tuple[bytes, FileState]:
    """Reads an image's file whole.

    Raises:
        ImageError: It is missing, too large, a link to itself or not a regular file.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_BYTES:
                raise ImageError(f"{status.st_size / 2**20:.0f} MiB: more than {MAX_BYTES // 2**20} MiB")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from None
    return data, FileState(status.st_size, _modified(status), hashlib.sha256(data).hexdigest())


def signature(path: Path) -> tuple[int, int] | tuple[None, None]:
    """Returns size and time of modification of an image's file, as in `FileState`; nothing where it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None, None
    readable = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES and os.access(path, os.R_OK)
    return (status.st_size, _modified(status)) if readable else (None, None)


def _modified(status: os.stat_result) -> int:
    return min(status.st_mtime_ns, 2**63 - 1)  # what a database holds: files may be dated after the year 2262


def decode(data: bytes) -> Image.Image:
    """Decodes an image's first frame to 8-bit RGB, upright as its EXIF tells, on white where it is transparent.

    Raises:
        ImageError: It cannot be read, or not within `MAX_PIXELS`.
    """
    if not data:
        raise ImageError("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata, which do not matter, and about size, which is checked here
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(f"{image.width} × {image.height}")
            image.load()
            with suppress(Exception):  # damaged metadata around a sound image, which then stays as it was stored
                ImageOps.exif_transpose(image, in_place=True)  # turns the pixels first, then rewrites the metadata
            return _to_rgb(image)
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError(_what_it_is(data)) from None
        except Image.DecompressionBombError:
            raise _too_large("its size") from None
        except MemoryError:
            raise ImageError("not enough memory to open it") from None
        except Exception as error:  # decoders raise anything on damaged files: it becomes the reason
            raise ImageError(f"damaged: {printable(str(error).strip() or type(error).__name__)}") from None


def _too_large(size: str) -> ImageError:
    return ImageError(f"{size}: more than {MAX_PIXELS / 1e6:.0f} megapixels, perhaps a decompression bomb")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits per pixel: Pillow's own conversion would make nearly all of them white
        import numpy

        levels = numpy.asarray(image).astype(numpy.int64).clip(0, 2**16 - 1) >> 8
        image = Image.fromarray(levels.astype(numpy.uint8))
    elif image.mode == "F":
        raise ImageError("floating-point pixels, whose range is not known: save it with 8 bits per channel")
    if image.has_transparency_data:
        on_white = Image.new("RGBA", image.size, "white")
        on_white.alpha_composite(image.convert("RGBA"))
        image = on_white
    return image.convert("RGB")


def _what_it_is(data: bytes) -> str:
    """Returns what a file is instead of an image, as far as its first bytes tell."""
    start = data[:1024].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "not an image but an HTML page, as a failed download leaves it"
    if start.startswith((b"<?xml", b"<svg")):
        return "not an image of pixels but XML or SVG"
    return f"not an image of a format read here ({', '.join(FORMATS)})"
