"""A post in several readings: the probability of every mention in each of them."""

from __future__ import annotations

import pytest
import torch

from lightning_ita.errors import UserError
from lightning_ita.models.comparing import compare
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger

WORDS = ["Jordan", "in", "Chicago", "with", "Kobe"]
READINGS = {"text": ("T", None), "picture": ("I+T", {"cap": ["a man on a court"]})}


def sensitive(encoder: str, kind: str = "cap") -> Tagger:
    """A model with large random weights, to which a context makes a difference."""
    torch.manual_seed(3)
    made = Tagger.create("ita", ("PER", "LOC"), Recipe(), encoder, contexts=(kind,), cva="joint")
    with torch.no_grad():
        made.emission.weight.normal_(std=0.3)
        for name, parameter in made.encoder.named_parameters():  # type: ignore[union-attr]
            if parameter.dim() > 1 and "embeddings" not in name:
                parameter.mul_(20)
    return made.eval()


@pytest.fixture(scope="module")
def ita(tiny_encoder: str) -> Tagger:
    return sensitive(tiny_encoder)


def test_every_mention_has_its_probability_in_every_reading(ita: Tagger) -> None:
    comparison = compare(ita, WORDS, READINGS)  # type: ignore[arg-type]
    assert list(comparison.readings) == ["text", "picture"]
    assert [each.view for each in comparison.readings.values()] == ["T", "I+T"]
    assert any(each.differs for each in comparison.mentions)
    for column, tagged in enumerate(comparison.readings.values()):
        own = {(m.text, m.type, m.start): m.probability for m in tagged.mentions}
        found = {(m.text, m.type, m.start): m.probabilities[column] for m in comparison.mentions if m.found[column]}
        assert found == pytest.approx(own)
    for mention in comparison.mentions:
        assert all(0 <= probability <= 1 for probability in mention.probabilities)
        assert mention.differs == (mention.found[0] != mention.found[1])


def test_readings_that_are_the_same_agree(ita: Tagger) -> None:
    comparison = compare(ita, WORDS, {"a": ("T", None), "b": ("T", {"cap": "not read"})})
    assert comparison.mentions
    assert not any(mention.differs for mention in comparison.mentions)
    assert [mention.spread for mention in comparison.mentions] == [0.0] * len(comparison.mentions)


def test_posts_that_are_empty_or_too_long(ita: Tagger) -> None:
    assert compare(ita, [], READINGS).mentions == ()  # type: ignore[arg-type]
    long = compare(ita, WORDS * 100, READINGS)  # type: ignore[arg-type]
    assert {each.words_cut for each in long.readings.values()} != {0}
    assert long.mentions
    with pytest.raises(UserError, match="is not a word"):
        compare(ita, ["a", ""], READINGS)  # type: ignore[arg-type]
