"""The one form in which image ids are compared: corpora, files of contexts, stores and folders of images share it."""

from __future__ import annotations

import unicodedata

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"})


def image_id(name: str) -> str:
    """Returns the id of an image: what a tweet, a line of contexts or a file calls it, in one form.

    The extension of a picture is removed, and with it any folders before the name (``twitter17/1.JPG`` is ``1``);
    characters are composed (NFC), because keyboards compose them and macOS decomposes them in file names; white space
    around the id is removed. Names without a picture's extension keep their dots and slashes: ``17_06.4705``.

    An id is its own id: ``image_id(image_id(name)) == image_id(name)``.

    Example:
        >>> image_id("twitter17/1.JPG"), image_id("17_06.4705")
        ('1', '17_06.4705')
    """
    name = unicodedata.normalize("NFC", name).strip()
    while True:
        stem, dot, suffix = name.rpartition(".")
        stem = stem.rpartition("/")[2].strip()
        if not stem or dot + suffix.lower() not in IMAGE_SUFFIXES:
            return name
        name = stem
