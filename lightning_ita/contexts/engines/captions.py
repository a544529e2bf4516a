"""Caption engines: CoCa by open_clip, BLIP and BLIP-2 by transformers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.clip import OpenClip
from lightning_ita.contexts.engines.decoding import beam_search, best_first, sample, sampling
from lightning_ita.contexts.engines.hub import HubModel
from lightning_ita.contexts.engines.loading import as_json, autocast
from lightning_ita.contexts.engines.options import check_count, check_share
from lightning_ita.devices import Precision
from lightning_ita.errors import UserError, unknown

Decoding = Literal["beam", "sample"]
# More captions per image, or sub-tokens per caption, are a mistake that would fill the memory.
MOST_CAPTIONS, MOST_TOKENS = 100, 1000


class _Captioner(ABC):
    """What caption engines share: their settings, and how captions are decoded.

    Args:
        model: A name or a folder that the engine understands; `default_model` if not given, which is not downloaded.
        captions: Captions per image, at most; fewer where some are equal.
        decoding: ``beam``: the most likely captions that a beam search finds, often similar to each other; ``sample``:
            nucleus sampling, more varied.
        beams: Width of the beam search; the number of captions if not given.
        top_p: For sampling: probability mass of the most likely sub-tokens that are sampled from.
        temperature: For sampling: divides the logits.
        seed: For sampling: any integer. The samples of an image depend on it and on the image's pixels alone.
        max_tokens: Sub-tokens per caption, at most.
        batch_size: Images read at once.
        device: A device; the accelerator by default.
        precision: ``bfloat16``, ``float32``, or ``auto``: bfloat16 where it is fast.

    Raises:
        UserError: The model cannot be read or is of another kind, or a value is out of its range.
    """

    kind = "cap"
    name: str
    default_model: str

    def __init__(
        self,
        model: str | None = None,
        *,
        captions: int = 5,
        decoding: Decoding = "beam",
        beams: int | None = None,
        top_p: float = 0.9,
        temperature: float = 1.0,
        seed: int = 0,
        max_tokens: int = 30,
        batch_size: int = 16,
        device: str | None = None,
        precision: Precision = "auto",
    ):
        if decoding not in ("beam", "sample"):
            raise unknown("decoding", decoding, ["beam", "sample"])
        self.captions = check_count("captions", captions, MOST_CAPTIONS)
        self.beams = check_count("beams", captions if beams is None else beams, MOST_CAPTIONS)
        if self.beams < captions:
            raise UserError(f"beams={beams} is less than captions={captions}: a beam search keeps no more captions")
        self.top_p, self.seed = check_share("top_p", top_p), seed
        if not 0 < temperature < math.inf or top_p == 0:
            raise UserError("temperature and top_p must be greater than 0 and finite; decoding=beam does not sample")
        self.decoding, self.temperature = decoding, float(temperature)
        self.max_tokens = check_count("max_tokens", max_tokens, MOST_TOKENS)
        self.batch_size = check_count("batch_size", batch_size)
        self.model = model or self.default_model
        self._load(f"cap={self.name}:{self.model}", model is not None, device, precision)

    @abstractmethod
    def _load(self, what: str, may_download: bool, device: str | None, precision: Precision) -> None:
        """Loads the model, called `what` in errors, and sets the attributes of an `Engine`."""

    def _parameters(self, **more: object) -> dict[str, object]:
        """Returns the settings that the captions depend on; those of the other way of decoding are left out."""
        sampled: dict[str, object] = {"top_p": self.top_p, "temperature": self.temperature, "seed": self.seed}
        how = {"beams": self.beams} if self.decoding == "beam" else sampled
        return as_json(
            {"captions": self.captions, "decoding": self.decoding, "max_tokens": self.max_tokens} | how | more
        )


class CoCa(_Captioner):
    """Engine ``cap=coca``: captions by CoCa, as open_clip loads it.

    Captions are decoded here, not by open_clip's ``generate``: that one needs a class that transformers 5 no longer
    has, and samples for all images of a batch from one random generator.

    Its arguments are those of all caption engines; `model` is a CoCa, named as `clip.locate` takes it.
    """

    name = "coca"
    default_model = "coca_ViT-B-32/mscoco_finetuned_laion2b_s13b_b90k"
    # As in open_clip: very short captions are likely but tell nothing.
    min_tokens = 5

    def _load(self, what: str, may_download: bool, device: str | None, precision: Precision) -> None:
        self.clip = OpenClip(what, self.model, may_download, device, precision)
        if not hasattr(self.clip.net, "text_decoder"):
            raise UserError(f"{what} writes no captions: it is a CLIP; name a CoCa, for example {self.default_model}")
        tokenizer = self.clip.tokenizer
        if not hasattr(tokenizer, "sot_token_id"):
            raise UserError(f"{what} has another tokenizer than CLIP's: its end-of-text token is not known here")
        room = self.clip.net.context_length - 2
        if not self.min_tokens < self.max_tokens <= room:
            raise UserError(f"max_tokens must lie between {self.min_tokens + 1} and {room} for {what}")
        self.prepare = self.clip.resize
        self.version = self.clip.version
        self.parameters = self._parameters(precision=self.clip.precision, min_tokens=self.min_tokens)

    @torch.inference_mode()
    def read(self, prepared: Sequence[np.ndarray]) -> list[Reading]:
        """Captions a batch of prepared images."""
        clip, tokenizer = self.clip, self.clip.tokenizer
        with autocast(clip.device, clip.precision):
            latent, tokens_of_image = clip.net._encode_image(clip.pixels(np.stack(prepared)))

            def step(tokens: Tensor, rows: Tensor) -> Tensor:
                rows = rows.to(clip.device)
                output = clip.net(
                    None, tokens.to(clip.device), latent[rows], tokens_of_image[rows], output_labels=False
                )
                return output["logits"][:, -1]

            ends = (tokenizer.sot_token_id, tokenizer.eot_token_id, self.min_tokens, self.max_tokens)
            if self.decoding == "beam":
                found, means = beam_search(step, len(prepared), self.beams, *ends)
            else:
                processors = sampling(prepared, self.captions, self.seed, self.top_p, self.temperature)
                found, means = sample(step, processors, len(prepared), self.captions, *ends)
        return [
            Reading(*_most(self.captions, *best_first([self._text(each) for each in tokens], mean)))
            for tokens, mean in zip(found.tolist(), means.tolist(), strict=True)
        ]

    def _text(self, tokens: list[int]) -> str:
        """Returns the text of the sub-tokens before the end."""
        tokenizer = self.clip.tokenizer
        end = tokens.index(tokenizer.eot_token_id) if tokenizer.eot_token_id in tokens else len(tokens)
        special = set(tokenizer.all_special_ids)
        return str(tokenizer.decode([token for token in tokens[:end] if token not in special]))


class Blip(_Captioner):
    """Engine ``cap=blip``: captions by BLIP or BLIP-2, as transformers loads them.

    Its arguments are those of all caption engines; `model` is a folder or a Hub name, with weights as safetensors. Its
    configuration says whether it is a BLIP or a BLIP-2. The weights are kept in `precision`.
    """

    name = "blip"
    default_model = "Salesforce/blip-image-captioning-base"

    def _load(self, what: str, may_download: bool, device: str | None, precision: Precision) -> None:
        self._hub = HubModel(
            what, self.model, may_download, "AutoModelForImageTextToText", device, precision, in_precision=True
        )
        if (found := self._hub.net.config.model_type) not in ("blip", "blip-2"):
            raise UserError(f"{what} is a model of type {found!r}; this engine reads blip and blip-2")
        self._tokenizer = self._hub.load_tokenizer()
        self.prepare = self._hub.resize
        self.version = self._hub.version
        self.parameters = self._parameters(precision=self._hub.precision)

    @torch.inference_mode()
    def read(self, prepared: Sequence[np.ndarray]) -> list[Reading]:
        """Captions a batch of prepared images."""
        hub, beam = self._hub, self.decoding == "beam"
        pixels = hub.inputs(prepared)["pixel_values"].to(hub.net.dtype)
        options: dict[str, Any] = {"num_beams": self.beams, "num_return_sequences": self.captions}
        if not beam:
            pixels = pixels.repeat_interleave(self.captions, dim=0)
            processors = sampling(prepared, self.captions, self.seed, self.top_p, self.temperature)
            options = {"num_beams": 1, "logits_processor": processors, "output_logits": True}
        out = hub.net.generate(
            pixel_values=pixels,
            max_new_tokens=self.max_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=beam,
            **options,
        )
        texts = self._tokenizer.batch_decode(out.sequences, skip_special_tokens=True)
        means = (out.sequences_scores if beam else self._means(out)).tolist()
        groups = range(0, len(texts), self.captions)
        return [Reading(*best_first(texts[i : i + self.captions], means[i : i + self.captions])) for i in groups]

    def _means(self, out: Any) -> Tensor:
        """Returns the mean log-probability of each sampled caption's sub-tokens, the end included, shape (rows,)."""
        # (rows, length, sub-tokens)
        log_probs = torch.stack(out.logits, dim=1).float().log_softmax(dim=-1)
        chosen = out.sequences[:, -log_probs.shape[1] :]
        pad = self._tokenizer.pad_token_id
        kept = chosen != pad
        picked = log_probs.gather(2, chosen[..., None])[..., 0]
        return (picked * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1)


def _most(count: int, texts: tuple[str, ...], scores: tuple[float, ...]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    return texts[:count], scores[:count]
