"""CLIP models as open_clip loads them: finding and loading one, and embedding images and prompts with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_ita.contexts.engines.loading import (
    autocast,
    choose_precision,
    digest,
    existing_path,
    hub_revision,
    load,
    package_versions,
)
from lightning_ita.contexts.engines.regions import not_too_long
from lightning_ita.devices import Precision, choose_device
from lightning_ita.errors import UserError, unknown
from lightning_ita.files import user_path
from lightning_ita.registry import require
from lightning_ita.text import quoted

# Prompts are short; a text encoder that reads 32 instead of 77 sub-tokens is more than twice as fast.
PROMPT_LENGTH = 32
PROMPTS_AT_ONCE = 256
HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_config.json", "model.safetensors")
NEEDS = "open_clip_config.json and open_clip_model.safetensors"


@dataclass(frozen=True)
class Resize:
    """Resizes an image to a model's input size, as bytes: a quarter of the size of floats. Pickles without the model.

    Attributes:
        steps: open_clip's own transform, without the conversion to normalised floats.
    """

    steps: tuple[Any, ...]

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Returns the pixels, shape (3, height, width), unsigned bytes."""
        image = not_too_long(image)
        for step in self.steps:
            image = step(image)
        return np.asarray(image).transpose(2, 0, 1).copy()


@dataclass(frozen=True)
class Checkpoint:
    """The place of a model of open_clip.

    Attributes:
        name: Its name in open_clip: an architecture, ``local-dir:...`` or ``hf-hub:...``.
        weights: For an architecture, the name of published weights or a file.
        folder: The folder or file it is read from; ``None`` on the Hub.
        repository: Its repository on the Hub; empty for a folder.
        quick_gelu: Whether the weights of an architecture were trained with the activation QuickGELU.
    """

    name: str
    weights: str | None
    folder: Path | None
    repository: str = ""
    quick_gelu: bool = False

    @property
    def version(self) -> str:
        """The digest of local files, or the commit of a repository."""
        return digest(self.folder) if self.folder else hub_revision(self.repository, HUB_FILES)


def locate(model: str) -> Checkpoint:
    """Finds a model by its name.

    Args:
        model: ``ARCHITECTURE/WEIGHTS``, both as open_clip lists them or the latter a file; a folder with
            ``open_clip_config.json`` and weights; a Hub name, ``OWNER/NAME``.

    Raises:
        UserError: It is none of these; the nearest is suggested.
    """
    open_clip = require("open_clip", extra="align")
    if (folder := existing_path(model)) is not None:
        return Checkpoint(f"local-dir:{folder}", None, folder)
    architecture, _, weights = model.partition("/")
    published = open_clip.list_pretrained()
    if architecture in open_clip.list_models():
        if config := open_clip.get_pretrained_cfg(architecture, weights):
            repository = str(config.get("hf_hub", ""))
            repository = repository if repository.endswith("/") else repository.rpartition("/")[0]
            return Checkpoint(architecture, weights, None, repository.rstrip("/"), bool(config.get("quick_gelu")))
        if (file := user_path(weights)).is_file():
            return Checkpoint(architecture, str(file), file)
        known = [name for arch, name in published if arch == architecture]
        raise unknown(f"weights (or file) of {architecture}", weights, known or ["a file of weights"])
    owner, slash, name = model.removeprefix("hf-hub:").partition("/")
    if owner and slash and name and "/" not in name:
        return Checkpoint(f"hf-hub:{owner}/{name}", None, None, f"{owner}/{name}")
    raise UserError(
        f"{unknown('open_clip model', model, [f'{a}/{w}' for a, w in published if a == 'ViT-B-32'])} "
        f"Others are in open_clip.list_pretrained(); a folder or a Hub name, OWNER/NAME, works as well."
    )


def attend_position_first(net: torch.nn.Module) -> None:
    """Makes the attention layers of a model work on copies in the layout (positions, images, width).

    Given (images, positions, width), torch's attention works on a transposed view. Without gradients torch multiplies
    such a view position by position, under autocast with a copy of the weights for each: a ViT-B/32 then takes 2 to 5
    times as long.
    """
    for module in net.modules():
        if isinstance(module, torch.nn.MultiheadAttention) and module.batch_first:
            module.batch_first = False
            module.register_forward_pre_hook(_transpose_inputs)
            module.register_forward_hook(_transpose_output)


def _transpose_inputs(_: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # Queries, keys and values that are the same tensor stay the same: torch then projects them in one product.
    transposed = {id(tensor): tensor.transpose(0, 1).contiguous() for tensor in args}
    return tuple(transposed[id(tensor)] for tensor in args)


def _transpose_output(_: torch.nn.Module, args: object, output: tuple[Tensor, Tensor | None]) -> Any:
    return output[0].transpose(0, 1), output[1]


class OpenClip:
    """A model of open_clip on its device.

    Args:
        what: The engine as the user writes it, for error messages.
        model: What `locate` reads.
        may_download: Whether the user has named the model.
        device: A device; the accelerator by default.
        precision: The arithmetic of the two encoders; scores are always float32.

    Attributes:
        net: The module, in evaluation mode.
        resize: Makes an image the input of `encode_images`.
        version: Of open_clip and of the weights.
        precision: The precision in use.
        device: The device in use.
    """

    def __init__(
        self, what: str, model: str, may_download: bool, device: str | None = None, precision: Precision = "auto"
    ):
        self._open_clip = require("open_clip", extra="align")
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.what = what
        self.checkpoint = locate(model)
        self.net, self.tokenizer, steps = load(what, self._load, self.checkpoint.folder, may_download, NEEDS)
        self.net.eval().requires_grad_(False).to(self.device)
        attend_position_first(self.net)
        *resizing, normalise = steps
        self.resize = Resize(tuple(resizing[:-1]))
        self._mean, self._std = (
            torch.tensor(values, device=self.device)[:, None, None] for values in (normalise.mean, normalise.std)
        )
        self._shorten()

    def _load(self) -> tuple[Any, Any, Sequence[Any]]:
        """Returns the module, its tokenizer, and the steps of its image transform."""
        place = self.checkpoint
        net = self._open_clip.create_model(
            place.name,
            place.weights,
            require_pretrained=True,
            weights_only=True,
            # The activation is a property of the weights, and not always the one of the architecture's name.
            force_quick_gelu=place.quick_gelu,
        )
        transform = self._open_clip.transform
        settings = transform.PreprocessCfg(**net.visual.preprocess_cfg)
        steps = transform.image_transform_v2(settings, is_train=False).transforms
        return net, self._open_clip.get_tokenizer(place.name), steps

    def _shorten(self) -> None:
        """Cuts the text encoder at `PROMPT_LENGTH`: exact for causal attention and end-of-text pooling."""
        net = self.net
        self.prompt_length: int | None = None
        plain = isinstance(net, self._open_clip.CLIP) and net.attn_mask is not None and net.text_pool_type == "argmax"
        if plain and net.context_length > PROMPT_LENGTH:
            net.positional_embedding = torch.nn.Parameter(net.positional_embedding[:PROMPT_LENGTH], requires_grad=False)
            net.attn_mask = net.attn_mask[:PROMPT_LENGTH, :PROMPT_LENGTH]
            self.prompt_length = PROMPT_LENGTH

    @property
    def version(self) -> str:
        """Versions of the package and of the weights."""
        return f"{package_versions('open_clip_torch')}, {self.checkpoint.version}"

    def pixels(self, images: np.ndarray) -> Tensor:
        """Normalises resized images on the device; shape (images, 3, height, width) before and after."""
        return (torch.from_numpy(images).to(self.device).float() / 255 - self._mean) / self._std

    @torch.inference_mode()
    def encode_images(self, images: np.ndarray) -> Tensor:
        """Embeds resized images.

        Args:
            images: Unsigned bytes, shape (images, 3, height, width).

        Returns:
            Unit vectors, shape (images, width of the embedding), float32.
        """
        with autocast(self.device, self.precision):
            embedded = self.net.encode_image(self.pixels(images))
        return torch.nn.functional.normalize(embedded.float(), dim=-1)

    @torch.inference_mode()
    def encode_prompts(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Embeds classes, each the mean of its prompts' embeddings.

        Args:
            prompts: For each class, as many prompts as for any other.

        Returns:
            Unit vectors, shape (classes, width of the embedding), float32.

        Raises:
            UserError: A prompt is too long.
        """
        flat = [prompt for each in prompts for prompt in each]
        tokens = self.tokenizer(flat)
        if self.prompt_length is not None:
            over = tokens[:, self.prompt_length :].any(dim=1)
            if over.any():
                longest = flat[int(over.int().argmax())]
                raise UserError(
                    f"the prompt {quoted(longest)} has more than {self.prompt_length} sub-tokens: shorten its words"
                )
            tokens = tokens[:, : self.prompt_length]
        parts = []
        for part in tokens.split(PROMPTS_AT_ONCE):
            with autocast(self.device, self.precision):
                embedded = self.net.encode_text(part.to(self.device))
            parts.append(torch.nn.functional.normalize(embedded.float(), dim=-1))
        means = torch.cat(parts).view(len(prompts), -1, parts[0].shape[-1]).mean(dim=1)
        return torch.nn.functional.normalize(means, dim=-1)

    @torch.inference_mode()
    def probabilities(self, images: Tensor, classes: Tensor) -> Tensor:
        """Returns p(class | image), shape (..., classes), for embeddings of shapes (..., width) and (classes, width).

        It is the softmax of the cosines, scaled by the model's own temperature.
        """
        return (self.net.logit_scale.exp().float() * images @ classes.T).softmax(dim=-1)
