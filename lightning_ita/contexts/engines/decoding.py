"""Decoding captions by beam search or sampling, so that a caption does not depend on the other images of its batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

# Takes the sequences so far, shape (rows, length), and the index of each row's image, shape (rows,); returns the logits
# of the next sub-token, shape (rows, vocabulary).
Step = Callable[[Tensor, Tensor], Tensor]


class OwnNoise(LogitsProcessor):
    """Adds Gumbel noise to the logits, so that greedy decoding samples from their softmax.

    Every row has a random generator of its own, seeded by the seed, the image's pixels and the caption's number, on
    the CPU. So the same captions are sampled for an image in any batch and on any device.

    Args:
        seeds: One seed per row.
    """

    def __init__(self, seeds: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Returns the scores with noise added, shape (rows, vocabulary)."""
        uniform = torch.stack([torch.rand(scores.shape[-1], generator=each) for each in self.generators])
        tiny = torch.finfo(uniform.dtype).tiny
        noise = -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()
        return scores.float() + noise.to(scores.device)


def sampling(images: Sequence[np.ndarray], captions: int, seed: int, top_p: float, temperature: float) -> Any:
    """Returns the logits processors with which greedy decoding is nucleus sampling (Holtzman et al. 2020).

    Args:
        images: The resized images.
        captions: Captions per image; the rows of one image follow one another.
        seed: Any integer.
        top_p: Probability mass of the most likely sub-tokens that are sampled from.
        temperature: Divides the logits.
    """
    seeds = []
    for image in images:
        pixels = hashlib.sha256(image.tobytes()).digest()
        for number in range(captions):
            digest = hashlib.sha256(f"{seed} {number} ".encode() + pixels).digest()
            seeds.append(int.from_bytes(digest[:8], "big", signed=True))
    return LogitsProcessorList([TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p), OwnNoise(seeds)])


def sample(
    step: Step, processors: Any, images: int, captions: int, start: int, end: int, least: int, most: int
) -> tuple[Tensor, Tensor]:
    """Samples captions.

    Args:
        step: The model.
        processors: What `sampling` returned.
        images: Images in the batch.
        captions: Captions per image.
        start: The sub-token that begins every caption.
        end: The one that ends it.
        least: Fewest sub-tokens between them.
        most: Most sub-tokens between them.

    Returns:
        Sub-tokens, ended by and filled with `end`, shape (images, captions, length), and the mean log-probability of
        each caption's, before noise and truncation, shape (images, captions).
    """
    rows = torch.arange(images).repeat_interleave(captions)
    tokens = torch.full((len(rows), 1), start)
    total, length = torch.zeros(len(rows)), torch.zeros(len(rows))
    done = torch.zeros(len(rows), dtype=torch.bool)
    for position in range(most):
        logits = step(tokens, rows).float().cpu()
        if position < least:
            logits[:, end] = -torch.inf
        chosen = processors(tokens, logits).argmax(dim=-1).where(~done, end)
        total += logits.log_softmax(dim=-1).gather(1, chosen[:, None])[:, 0].where(~done, 0)
        length += ~done
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        done |= chosen == end
        if done.all():
            break
    return tokens[:, 1:].view(images, captions, -1), (total / length.clamp_min(1)).view(images, captions)


def beam_search(
    step: Step, images: int, beams: int, start: int, end: int, least: int, most: int
) -> tuple[Tensor, Tensor]:
    """Finds likely captions by beam search; a beam that has ended keeps its score and its place among the beams.

    Args:
        step: The model.
        images: Images in the batch.
        beams: Captions kept per image.
        start: The sub-token that begins every caption.
        end: The one that ends it.
        least: Fewest sub-tokens between them.
        most: Most sub-tokens between them.

    Returns:
        Sub-tokens, ended by and filled with `end`, shape (images, beams, length), and the mean log-probability of each
        caption's, shape (images, beams); the best first.
    """
    rows = torch.arange(images).repeat_interleave(beams)
    tokens = torch.full((images, beams, 1), start)
    # All beams begin alike: the first one's continuations are enough.
    total = torch.full((images, beams), -torch.inf)
    total[:, 0] = 0
    length = torch.zeros(images, beams)
    done = torch.zeros(images, beams, dtype=torch.bool)
    for position in range(most):
        logits = step(tokens.flatten(0, 1), rows).float().cpu()
        if position < least:
            logits[:, end] = -torch.inf
        log_probs = logits.log_softmax(dim=-1).view(images, beams, -1)
        stay = torch.full_like(log_probs[0, 0], -torch.inf)
        stay[end] = 0
        log_probs = torch.where(done[..., None], stay, log_probs)
        total, best = (total[..., None] + log_probs).flatten(1).topk(beams, dim=1)
        parent, chosen = best // log_probs.shape[-1], best % log_probs.shape[-1]
        length = length.gather(1, parent) + ~done.gather(1, parent)
        done = done.gather(1, parent) | (chosen == end)
        tokens = tokens.gather(1, parent[..., None].expand_as(tokens))
        tokens = torch.cat([tokens, chosen[..., None]], dim=2)
        if done.all():
            break
    order = (total / length.clamp_min(1)).argsort(dim=1, descending=True, stable=True)
    means = (total / length.clamp_min(1)).gather(1, order)
    return tokens.gather(1, order[..., None].expand_as(tokens))[:, :, 1:], means


def best_first(texts: Sequence[str], means: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Orders the captions of one image by probability, the most likely first, without empty or repeated ones.

    Returns:
        The captions, and the geometric mean of the probabilities of each one's sub-tokens.
    """
    ranked: dict[str, float] = {}
    for mean, text in sorted(zip(means, texts, strict=True), key=lambda pair: -pair[0]):
        if text.strip():
            ranked.setdefault(" ".join(text.split()), float(np.exp(min(mean, 0.0))))
    return tuple(ranked), tuple(ranked.values())
