"""Tagging posts: views, offsets, exact probabilities, threads."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_ita.errors import UserError
from lightning_ita.metrics.entity_f1 import find_mentions
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.models.tagging import to_bio

ROOT = Path(__file__).parents[2]
TYPES = ("PER", "LOC")
POSTS = [["Jordan", "in", "Chicago"], ["see", "you"], ["Kobe"], ["a", "b", "c", "d", "e"] * 3, []]
CONTEXTS = [{"cap": ["a man on a court"]}, None, {"cap": "a cow"}, {}, {"cap": ["x"]}]


def model(encoder: str, scheme: str = "BIOES", system: str = "ita") -> Tagger:
    """A model with large random scores, so that it finds something."""
    torch.manual_seed(3)
    options = {"contexts": ("cap",), "cva": "joint"} if system == "ita" else {}
    made = Tagger.create(system, TYPES, Recipe(tag_scheme=scheme), encoder, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        made.emission.weight.normal_(std=1.0)
    return made.eval()


@pytest.fixture(scope="module")
def ita(tiny_encoder: str) -> Tagger:
    return model(tiny_encoder)


def test_views_and_order(ita: Tagger) -> None:
    auto = ita.predict(POSTS, CONTEXTS)
    assert [post.view for post in auto] == ["I+T", "T", "I+T", "T", "I+T"]
    assert [len(post.words) for post in auto] == [len(words) for words in POSTS]
    assert auto[2].contexts == {"cap": ("a cow",)}
    text = ita.predict(POSTS, CONTEXTS, view="T")
    assert all(post.view == "T" and not post.contexts for post in text)
    cross_modal = ita.predict(POSTS, CONTEXTS, view="I+T")
    assert [post.mentions for post in cross_modal[:4:2]] == [post.mentions for post in auto[:4:2]]
    assert any(one.mentions != other.mentions for one, other in zip(text, cross_modal, strict=True))
    assert any(post.mentions for post in auto)
    assert ita.predict([]) == []


def test_mentions_are_where_they_are_said_to_be(ita: Tagger) -> None:
    found = 0
    for post in ita.predict(POSTS):
        for mention in post.mentions:
            assert post.text[mention.start : mention.end] == mention.text
            words = [word.text for word in post.words[mention.first_word : mention.end_word]]
            assert " ".join(words) == mention.text
            assert 0 < mention.probability <= 1
            found += 1
        assert sum(tag[0] == "B" for tag in post.tags) == len(post.mentions)
    assert found > 3


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_a_probability_is_that_of_the_sequences_with_the_mention(tiny_encoder: str, scheme: str) -> None:
    """Summed over every tag sequence of a short post, each read as BIO with its last tag's meaning."""
    tagger = model(tiny_encoder, scheme, "bert-crf")
    words = ["Jordan", "in", "Chicago"]
    (post,) = tagger.predict([words])
    from lightning_ita.models import predicting

    (read,) = predicting._read(tagger, {0: predicting._Post("", *([predicting.join(words)[1]]), {}, "T")})
    with torch.inference_mode():
        chain = tagger(tagger.inputs.collate([read]))["T"]
        sequences = torch.tensor(list(itertools.product(range(len(tagger.tag_set)), repeat=3)))
        repeated = type(chain)(
            chain.emissions.expand(len(sequences), -1, -1),
            torch.ones(len(sequences), 3, dtype=torch.bool),
            chain.start_transitions,
            chain.transitions,
            chain.end_transitions,
        )
        probabilities = repeated.log_prob(sequences).double().exp()
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)
    assert post.mentions
    for mention in post.mentions:
        tags, after = tagger.tag_set.mention(TYPES.index(mention.type), mention.end_word - mention.first_word)
        has = (sequences[:, mention.first_word : mention.end_word] == torch.tensor(tags)).all(1)
        if mention.end_word < 3:
            has &= sequences[:, mention.end_word] != after
        assert mention.probability == pytest.approx(probabilities[has].sum().item(), abs=1e-5)
        if scheme == "BIO":  # then these are the sequences that seqeval reads the mention in, too
            bio = find_mentions(to_bio(tagger.tag_set, sequences))
            starts = (sequences[:, mention.first_word] == tags[0]) & bio.starts[:, mention.first_word]
            assert torch.equal(has, starts & (bio.ends[:, mention.first_word] == mention.end_word))


def test_threads_get_what_one_thread_gets(ita: Tagger) -> None:
    batches = [[[f"{letter}{number}" for letter in "abcdef"[: 1 + number % 6]]] * 3 for number in range(40)]
    alone = [ita.predict(posts) for posts in batches]
    state = {name: tensor.clone() for name, tensor in ita.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in ita.named_modules()}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ita.predict, batches))
    assert together == alone
    assert all(torch.equal(tensor, state[name]) for name, tensor in ita.state_dict().items())
    assert {name: set(vars(module)) for name, module in ita.named_modules()} == attributes


def test_words_that_do_not_fit_are_counted(ita: Tagger) -> None:
    long, short = ita.predict([["word"] * 10_000, ["word"]])
    assert (len(long.tags), short.words_cut) == (10_000, 0)
    assert 9_900 < long.words_cut < 10_000
    assert long.to_dict()["words_cut"] == long.words_cut


def test_many_different_words_do_not_fill_the_memory(ita: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    posts = [[f"aa{number}", "b", f"cc{number}"] for number in range(30)]
    monkeypatch.setattr("lightning_ita.data.views.MOST_WORDS", 10)
    few = [ita.predict([post], [{"cap": ["b d"]}])[0].tags for post in posts]
    assert len(ita.inputs.builder._subtokens) < 20  # type: ignore[attr-defined]
    assert few == [post.tags for post in ita.predict(posts, [{"cap": ["b d"]}] * 30)]


def test_wrong_arguments(ita: Tagger, tiny_encoder: str) -> None:
    bert = model(tiny_encoder, system="bert-crf")
    for call, message in [
        (lambda: ita.predict("Kobe"), "got one text"),
        (lambda: ita.predict([["Kobe"]], view="IT"), "unknown view 'IT'"),
        (lambda: ita.predict([["Kobe"]], [None, None]), "1 posts and contexts of 2"),
        (lambda: ita.predict([["Kobe"]], [{"ocr": ["x"]}]), "post 0: contexts of the kind 'ocr', but .* reads cap"),
        (lambda: bert.predict([["Kobe"]], [{"cap": ["x"]}]), "it reads no context"),
        (lambda: bert.predict([["Kobe"]], view="I+T"), r"BERT-CRF has no view I\+T"),
        (lambda: ita.predict([["a"], ["b", ""]]), "post 1: .* is not a word"),
        (lambda: ita.predict([5]), "post 0: expected a text or a sequence of words, got 5"),  # type: ignore[list-item]
        (lambda: ita.predict([["a"]], [{"cap": ["\ud800"]}]), "half a character"),
    ]:
        with pytest.raises(UserError, match=message):
            call()


def test_words_may_come_as_an_array(ita: Tagger) -> None:
    (tagged,) = ita.predict([np.array(["Kobe", "in", "LA"])])  # type: ignore[list-item]
    assert [word.text for word in tagged.words] == ["Kobe", "in", "LA"]


def test_scores_that_are_no_numbers_name_the_post(tiny_encoder: str) -> None:
    broken = model(tiny_encoder)
    with torch.no_grad():
        broken.emission.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="post 0, view T: row 0 cannot be decoded"):
        broken.predict([["a"]])


def test_raw_text_is_cut_as_the_corpus_is(ita: Tagger, tmp_path: Path) -> None:
    pytest.importorskip("nltk")
    from lightning_ita.models.kept import save

    post = "RT @kobe AT&amp;T :)"
    assert [word.text for word in ita.predict([post])[0].words] == ["RT", "@kobe", "AT", "&", "T", ":)"]
    save(ita, tmp_path / "model", handles="split")
    tagged = Tagger.from_pretrained(tmp_path / "model").predict([post])[0]
    assert [word.text for word in tagged.words][:3] == ["RT", "@", "kobe"]
    assert all(post[mention.start : mention.end] == mention.text for mention in tagged.mentions)
