"""Loading the models of engines: packages, devices, precision, folders, the Hub, and what identifies a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub import constants, try_to_load_from_cache

from lightning_ita.devices import Precision, available_precision
from lightning_ita.errors import UserError
from lightning_ita.files import sha256_of_files, sha256_once, user_path
from lightning_ita.text import printable

T = TypeVar("T")

# Files of a model's folder that its results depend on.
MODEL_FILES = {".json", ".txt", ".model", ".safetensors", ".bin", ".pt", ".pth", ".npz", ".onnx"}
WEIGHT_FILES = {".safetensors", ".bin", ".pt", ".pth"}


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """Decides ``auto`` for a device: bfloat16 where it multiplies matrices in it, else float32.

    Raises:
        UserError: The precision is none of ``auto``, ``float32``, ``bfloat16``.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise UserError(f"precision {precision!r} is unknown; known are auto, float32, bfloat16")
    if precision == "auto" and device.type == "cpu" and torch.cuda.is_available():
        return "float32"  # `available_precision` would answer for the accelerator
    return available_precision(precision) if device.type in ("cpu", "cuda") or precision != "auto" else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Returns the context manager in which a model computes in a precision while its weights stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def existing_path(model: str) -> Path | None:
    """Returns the folder that a model's name stands for: the folder itself, or that of a file of weights.

    Returns:
        The folder; ``None`` where the name may be one of the Hub.

    Raises:
        UserError: The name is a path, and nothing is there.
    """
    path = user_path(model)
    if path.is_dir():
        return path
    if path.is_file():
        weights = [file.name for file in path.parent.iterdir() if file.suffix in WEIGHT_FILES]
        if weights not in ([], [path.name]):
            raise UserError(f"{path.parent} holds several files of weights, {', '.join(sorted(weights))}: leave one")
        return path.parent
    if path.is_absolute() or model.startswith((".", "~")):
        raise UserError(f"the model {model!r} does not exist: no such file or folder")
    return None


@contextmanager
def offline() -> Iterator[None]:
    """Keeps the Hub's client off the network, and silences the warnings of the libraries about it."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logging.disable(level)


def load(what: str, loader: Callable[[], T], folder: Path | None, may_download: bool, needs: str) -> T:
    """Loads a model from its folder or the Hub's cache; downloads it only where neither has it.

    Args:
        what: The engine and its model as the user writes them: ``tag=detr:facebook/detr-resnet-50``.
        loader: Loads it with the library's functions.
        folder: Its folder, if it has one.
        may_download: Whether the user has named the model: a default is not downloaded.
        needs: The files it consists of, for the message.

    Raises:
        UserError: It cannot be read or found, with the remedy.
    """
    # The libraries raise anything where a model is damaged or of another sort; `tokenizers` even bare exceptions.
    try:
        with offline():
            return loader()
    except UserError:
        raise
    except Exception as error:
        if folder is not None:
            raise UserError(f"{what}: {folder} cannot be read: {_brief(error)}. It needs {needs}.") from error
        if constants.HF_HUB_OFFLINE:
            raise UserError(
                f"{what} is not on this machine, and HF_HUB_OFFLINE forbids downloading it: {_brief(error)}. "
                f"Download it where there is a connection, or give a folder with {needs} in the place of the name."
            ) from error
        if not may_download:
            raise UserError(
                f"{what}, the default, is not on this machine. Name it so to download it, or give a folder with "
                f"{needs} in the place of the name."
            ) from error
    try:
        return loader()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{what} cannot be loaded: {_brief(error)}. A name of the Hugging Face Hub needs a connection or a filled "
            f"cache; a folder, in its place, needs {needs}."
        ) from error


def _brief(error: BaseException) -> str:
    """Returns the start of an error's message on one line: some list half of the library."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(" ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])).rstrip(".")


def package_versions(*packages: str) -> str:
    """Returns the installed versions of distributions: ``open_clip_torch 3.3.0``."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def digest(path: Path) -> str:
    """Returns a short SHA-256 of a file, or of the model files directly in a folder."""
    if path.is_file():
        return "sha256:" + sha256_once(path)[:16]
    files = sorted(file for file in path.iterdir() if file.suffix in MODEL_FILES and file.is_file())
    return "sha256:" + sha256_of_files(files)[:16]


def hub_revision(repository: str, files: tuple[str, ...]) -> str:
    """Returns a repository of the Hub with the commit that the cache has of any of these files."""
    for file in files:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return f"{repository}@{Path(cached).parent.name}"
    return repository


def as_json(values: Mapping[str, object]) -> dict[str, object]:
    """Returns parameters as JSON values: tuples become lists, paths text."""
    plain = (str, int, float, bool, type(None))
    return {
        name: list(value) if isinstance(value, tuple) else value if isinstance(value, plain) else str(value)
        for name, value in values.items()
    }
