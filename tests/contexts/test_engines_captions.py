from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_ita.contexts.engine import Engine, Reading
from lightning_ita.contexts.engines import make_engine
from lightning_ita.contexts.engines.decoding import beam_search, best_first, sample, sampling
from tests.contexts.tiny_models import PICTURES, random_blip, random_clip

START, END, SYMBOLS, MOST = 0, 1, 5, 4


@pytest.fixture(scope="module")
def captioners(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: str) -> dict[str, str]:
    """Engine and folder of each captioner, by its name."""
    folder = tmp_path_factory.mktemp("captioners")
    return {
        "coca": f"coca:{random_clip(folder / 'coca', coca=True)}",
        "blip": f"blip:{random_blip(folder / 'blip', tiny_encoder)}",
        "blip-2": f"blip:{random_blip(folder / 'blip-2', tiny_encoder, second=True)}",
    }


def captions_of(engine: Engine, together: bool) -> list[Reading]:
    prepared = [engine.prepare(picture) for picture in PICTURES]
    return engine.read(prepared) if together else [engine.read([each])[0] for each in prepared]


@pytest.mark.parametrize("decoding", ["beam", "sample"])
@pytest.mark.parametrize("name", ["coca", "blip", "blip-2"])
def test_captions_of_a_batch_are_those_of_its_images(name: str, decoding: str, captioners: dict[str, str]) -> None:
    engine = make_engine(
        "cap", captioners[name], captions=3, decoding=decoding, max_tokens=8, precision="float32", device="cpu"
    )
    together, alone = captions_of(engine, True), captions_of(engine, False)
    for one, other in zip(together, alone, strict=True):
        assert one.texts == other.texts
        assert one.scores == pytest.approx(other.scores, rel=1e-4)
        assert 1 <= len(one.texts) <= 3
        assert len(set(one.texts)) == len(one.texts) == len(one.scores)
        assert list(one.scores) == sorted(one.scores, reverse=True)
        assert all(0 < score <= 1 for score in one.scores)
        assert one.boxes == ()
    assert together[0].texts != together[2].texts  # what is said depends on the image


@pytest.mark.parametrize("name", ["coca", "blip"])
def test_chance_follows_from_seed_and_image_alone(name: str, captioners: dict[str, str]) -> None:
    def said(seed: int) -> list[tuple[str, ...]]:
        engine = make_engine("cap", captioners[name], captions=2, decoding="sample", max_tokens=6, seed=seed)
        return [reading.texts for reading in captions_of(engine, True)]

    torch.manual_seed(1)
    first = said(0)
    torch.manual_seed(2)
    assert said(0) == first
    assert said(1) != first


@pytest.mark.parametrize("name", ["coca", "blip", "blip-2"])
def test_captioners_run_in_bfloat16(name: str, captioners: dict[str, str]) -> None:
    engine = make_engine("cap", captioners[name], captions=2, max_tokens=8, precision="bfloat16", device="cpu")
    assert engine.parameters["precision"] == "bfloat16"
    assert all(reading.texts for reading in captions_of(engine, True))


def test_only_what_plays_a_part_is_a_parameter(captioners: dict[str, str]) -> None:
    beam, drawn = (
        make_engine("cap", captioners["blip"], decoding=each, seed=3).parameters for each in ("beam", "sample")
    )
    assert beam["beams"] == 5
    assert "seed" not in beam
    assert drawn["seed"] == 3
    assert "beams" not in drawn


class Grammar:
    """A language model of five symbols whose probabilities depend on the image and on the last two symbols."""

    def __init__(self, images: int):
        generator = torch.Generator().manual_seed(0)
        self.logits = 2 * torch.randn(images, SYMBOLS, SYMBOLS, SYMBOLS, generator=generator)

    def __call__(self, tokens: Tensor, rows: Tensor) -> Tensor:
        before = tokens[:, -2] if tokens.shape[1] > 1 else torch.zeros(len(tokens), dtype=torch.long)
        return self.logits[rows, before, tokens[:, -1]].clone()

    def log_probs(self, image: int, said: tuple[int, ...], least: int) -> float:
        tokens, total = [START], 0.0
        for position, symbol in enumerate(said):
            logits = self(torch.tensor([tokens]), torch.tensor([image]))[0]
            if position < least:
                logits[END] = -torch.inf
            total += float(logits.log_softmax(dim=-1)[symbol])
            tokens.append(symbol)
        return total


def sentences(least: int) -> list[tuple[int, ...]]:
    """All that can be said: ended, or cut at the greatest length."""
    others = [symbol for symbol in range(SYMBOLS) if symbol != END]
    ended = [(*words, END) for n in range(least, MOST) for words in product(others, repeat=n)]
    return ended + list(product(others, repeat=MOST))


@pytest.mark.parametrize("least", [0, 2])
def test_a_wide_beam_finds_the_likeliest_sentences(least: int) -> None:
    model = Grammar(images=2)
    beams = len(sentences(least))
    found, means = beam_search(model, 2, beams, START, END, least, MOST)
    for image in range(2):
        expected = {said: model.log_probs(image, said, least) / len(said) for said in sentences(least)}
        for tokens, mean in zip(found[image].tolist(), means[image].tolist(), strict=True):
            said = tuple(tokens[: tokens.index(END) + 1]) if END in tokens else tuple(tokens)
            assert mean == pytest.approx(expected.pop(said), abs=1e-4)  # each once
        assert not expected
        assert means[image].tolist() == sorted(means[image].tolist(), reverse=True)


def test_a_beam_of_one_is_greedy() -> None:
    model = Grammar(images=3)
    found, means = beam_search(model, 3, 1, START, END, 0, MOST)
    for image in range(3):
        tokens = [START]
        while (len(tokens) <= MOST and tokens[-1] != END) or len(tokens) == 1:
            tokens.append(int(model(torch.tensor([tokens]), torch.tensor([image]))[0].argmax()))
        assert found[image, 0, : len(tokens) - 1].tolist() == tokens[1:]
        assert float(means[image, 0]) == pytest.approx(
            model.log_probs(image, tuple(tokens[1:]), 0) / (len(tokens) - 1), abs=1e-5
        )


def test_samples_have_the_models_frequencies() -> None:
    model, count = Grammar(images=1), 4000
    pixels = [np.zeros((3, 2, 2), dtype=np.uint8)]
    luck = sampling(pixels, count, seed=0, top_p=1.0, temperature=1.0)
    found, means = sample(model, luck, 1, count, START, END, 0, MOST)
    said = [tuple(t[: t.index(END) + 1]) if END in t else tuple(t) for t in found[0].tolist()]
    frequencies = Counter(said)
    for sentence in sentences(0):
        expected = np.exp(model.log_probs(0, sentence, 0))
        deviation = (expected * (1 - expected) / count) ** 0.5
        assert abs(frequencies[sentence] / count - expected) < 5 * deviation + 1e-3
    assert means[0, :50].tolist() == pytest.approx([model.log_probs(0, s, 0) / len(s) for s in said[:50]], abs=1e-4)


def test_a_nucleus_of_nothing_is_greedy_and_least_length_is_kept() -> None:
    model = Grammar(images=1)
    pixels = [np.ones((3, 2, 2), dtype=np.uint8)]
    found, _ = sample(model, sampling(pixels, 5, 0, 1e-6, 1.0), 1, 5, START, END, 3, MOST)
    greedy, _ = beam_search(model, 1, 1, START, END, 3, MOST)
    assert (found[0] == greedy[0]).all()
    assert (found[0, :, :3] != END).all()


@pytest.mark.parametrize(
    ("texts", "means", "expected"),
    [
        (["a", "b "], [-2.0, -1.0], ("b", "a")),
        (["a  cat", "a cat", " "], [-1.0, -0.5, 0.0], ("a cat",)),
        ([], [], ()),
    ],
)
def test_captions_are_ordered_and_none_stands_twice(texts: Any, means: Any, expected: tuple[str, ...]) -> None:
    found, scores = best_first(texts, means)
    assert found == expected
    assert len(scores) == len(found)


def test_too_long_captions_for_the_model_are_an_error(captioners: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="max_tokens must lie between 6 and 30"):
        make_engine("cap", captioners["coca"], max_tokens=31)
