"""Vision models of transformers: loading them, and making their input, the resizing part in worker processes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from lightning_ita.contexts.engines.loading import (
    choose_precision,
    digest,
    existing_path,
    hub_revision,
    load,
    package_versions,
)
from lightning_ita.contexts.engines.regions import not_too_long
from lightning_ita.devices import Precision, choose_device
from lightning_ita.errors import UserError

NEEDS = "config.json, preprocessor_config.json, model.safetensors (pickled weights are not read) and any tokenizer"


@dataclass(frozen=True)
class ResizeForHub:
    """Resizes an image as its processor of transformers does, to bytes. Pickles without the model.

    Attributes:
        processor: The image processor.
    """

    processor: Any

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Returns the pixels, shape (3, height, width), unsigned bytes."""
        resized = self.processor(
            images=not_too_long(image), do_rescale=False, do_normalize=False, do_pad=False, return_tensors="np"
        )
        return np.asarray(resized["pixel_values"][0]).clip(0, 255).round().astype(np.uint8)


def check_weights(what: str, missing: Collection[str]) -> None:
    """Checks that a file of weights had all tensors of a model: transformers fills missing ones with random numbers.

    Args:
        what: The engine as the user writes it, for the error.
        missing: The tensors that the file did not have.

    Raises:
        UserError: There are any, counters of batches aside, which play no part here.
    """
    names = sorted(name for name in missing if not name.endswith("num_batches_tracked"))
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise UserError(
            f"{what}: its file of weights lacks {shown}, which its config.json describes; "
            f"save weights and configuration again, together"
        )


class HubModel:
    """A model of transformers on its device.

    Args:
        what: The engine as the user writes it, for error messages.
        model: A folder or a Hub name.
        may_download: Whether the user has named the model.
        auto_class: The class of transformers that loads it: ``AutoModelForObjectDetection`` ...
        device: A device; the accelerator by default.
        precision: The arithmetic of the engine.
        in_precision: Whether the weights are kept in that precision too.

    Attributes:
        net: The module, in evaluation mode.
        processor: Its image processor.
        resize: The first part of making its input, for worker processes: resized images as bytes.
    """

    def __init__(
        self,
        what: str,
        model: str,
        may_download: bool,
        auto_class: str,
        device: str | None = None,
        precision: Precision = "auto",
        in_precision: bool = False,
    ):
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.what, self._may_download = what, may_download
        self._folder = folder = existing_path(model)
        self.place = str(folder or model)
        dtype = torch.bfloat16 if in_precision and self.precision == "bfloat16" else torch.float32

        def loader() -> tuple[Any, Any]:
            net, info = getattr(transformers, auto_class).from_pretrained(
                self.place, use_safetensors=True, dtype=dtype, output_loading_info=True
            )
            check_weights(what, info["missing_keys"])
            return net, transformers.AutoImageProcessor.from_pretrained(self.place)

        self.net, self.processor = load(what, loader, folder, may_download, NEEDS)
        self.net.eval().requires_grad_(False).to(self.device)
        self.resize = ResizeForHub(self.processor)
        local = digest(folder) if folder else hub_revision(model, ("config.json",))
        self.version = f"{package_versions('transformers')}, {local}"

    def load_tokenizer(self) -> Any:
        """Loads the tokenizer in the model's folder or repository."""
        return load(
            self.what,
            lambda: transformers.AutoTokenizer.from_pretrained(self.place),
            self._folder,
            self._may_download,
            NEEDS,
        )

    def inputs(self, images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Returns the model's input: resized images, normalised on the device as the processor would."""
        tensors = [torch.from_numpy(image).to(self.device) for image in images]
        batch = self.processor(images=tensors, do_resize=False, do_center_crop=False, return_tensors="pt")
        return {name: value.to(self.device) for name, value in batch.items()}
