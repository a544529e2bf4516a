from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_ita.data.batching import Collate, EncodedTweet, TwoViewBatch
from lightning_ita.data.views import ViewBuilder
from lightning_ita.errors import NonFiniteLossError, UserError
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.encoders import load_tokenizer
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.options import CROSS_MODAL, CVA, TEXT, Options
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.tags import TagSet

TAGS = TagSet(("PER",), "BIO")
TAU = 2.0
RECIPE = Recipe(temperature=TAU, tag_scheme="BIO", word_dropout=0.0)
TWEETS = (
    ("kobe is here", "a man plays", [1, 0, 0]),
    ("hi kobe bryant !", "ball", [0, 1, 2, 0]),
    ("ok", "", [0]),
    ("so is he", "two dogs run in snow", [0, 0, 1]),
)


@pytest.fixture(scope="module")
def tweets(tiny_encoder: str) -> list[EncodedTweet]:
    builder = ViewBuilder(load_tokenizer(tiny_encoder), 64)
    text = [builder.text_view(str(index), words.split()) for index, (words, _, _) in enumerate(TWEETS)]
    return [
        EncodedTweet(view, builder.cross_modal_view(view, context.split()), tuple(tags))
        for view, (_, context, tags) in zip(text, TWEETS, strict=True)
    ]


@pytest.fixture
def batch(tweets: list[EncodedTweet]) -> TwoViewBatch:
    return Collate(pad_token_id=0)(tweets)


def model(tiny_encoder: str, cva: CVA = "token", options: Options | None = None) -> EncoderTagger:
    torch.manual_seed(0)
    made = EncoderTagger(TAGS.types, options or ITAOptions(cva=cva, contexts=("cap",)), RECIPE, tiny_encoder)
    torch.nn.init.normal_(made.crf.transitions)
    return made.eval()


def paths(length: int) -> Tensor:
    return torch.tensor(list(product(range(len(TAGS)), repeat=length)))


def path_scores(ita: EncoderTagger, emissions: Tensor, length: int) -> Tensor:
    """Scores of all tag sequences of one tweet, float64, in the order of `paths`."""
    e = emissions[:length].double()
    start, transitions, end = (
        parameter.detach().double()
        for parameter in (ita.crf.start_transitions, ita.crf.transitions, ita.crf.end_transitions)
    )
    sequences = paths(length)
    scores = start[sequences[:, 0]] + end[sequences[:, -1]] + e[torch.arange(length), sequences].sum(1)
    return scores + transitions[sequences[:, :-1], sequences[:, 1:]].sum(1)


def reference_alignment(ita: EncoderTagger, batch: TwoViewBatch, cva: str) -> list[float]:
    """CVA by enumeration: −Σ_y p(y|ŵ) log p(y|w), or Σ_i KL of tempered unnormalised log marginals, times τ²."""
    text, cross_modal = (
        ita.emissions(ita.states(batch, (view,)), batch, (view,)).detach() for view in (TEXT, CROSS_MODAL)
    )
    found = []
    for row, length in enumerate(batch.mask.sum(1).tolist()):
        student, teacher = path_scores(ita, text[row], length), path_scores(ita, cross_modal[row], length)
        if cva == "sequence":
            found.append(-(teacher.softmax(0) * student.log_softmax(0)).sum().item())
            continue
        total = 0.0
        for position in range(length):
            tags = paths(length)[:, position]

            def marginals(scores: Tensor, tags: Tensor = tags) -> Tensor:
                a = torch.stack([scores[tags == tag].logsumexp(0) for tag in range(len(TAGS))])
                return (a / TAU).log_softmax(0)

            p, q = marginals(teacher), marginals(student)
            total += (p.exp() * (p - q)).sum().item() * TAU**2
        found.append(total)
    return found


@pytest.mark.parametrize("cva", ["token", "sequence"])
def test_alignment_equals_enumeration(tiny_encoder: str, batch: TwoViewBatch, cva: str) -> None:
    ita = model(tiny_encoder, cva=cva)
    losses = ita.losses(batch)
    assert losses.alignment is not None
    assert losses.alignment.tolist() == pytest.approx(reference_alignment(ita, batch, cva), rel=1e-4, abs=1e-5)


def test_likelihoods_equal_enumeration(tiny_encoder: str, batch: TwoViewBatch) -> None:
    ita = model(tiny_encoder)
    losses = ita.losses(batch)
    assert losses.text is not None
    assert losses.cross_modal is not None
    for view, nll in ((TEXT, losses.text), (CROSS_MODAL, losses.cross_modal)):
        emissions = ita.emissions(ita.states(batch, (view,)), batch, (view,)).detach()
        for row, length in enumerate(batch.mask.sum(1).tolist()):
            gold = (paths(length) == batch.tags[row, :length]).all(1)
            expected = -path_scores(ita, emissions[row], length).log_softmax(0)[gold]
            assert nll[row].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


def test_the_loss_weighs_its_terms(tiny_encoder: str, batch: TwoViewBatch) -> None:
    ita = model(tiny_encoder, cva="token")
    ita.recipe = replace(RECIPE, cross_modal_weight=0.25, cva_weight=3.0)
    text, cross_modal, alignment = ita.losses(batch)
    assert ita.loss(ita.losses(batch)).item() == pytest.approx(
        (text + 0.25 * cross_modal + 3.0 * alignment).mean().item()
    )
    single = model(tiny_encoder, cva="off").losses(batch)
    assert (single.text, single.alignment) == (None, None)
    baseline = model(tiny_encoder, options=BertCRFOptions()).losses(batch)
    assert (baseline.cross_modal, baseline.alignment) == (None, None)
    assert model(tiny_encoder, cva="joint").losses(batch).alignment is None


@pytest.mark.parametrize("cva", ["token", "sequence"])
def test_no_gradient_reaches_the_teacher(tiny_encoder: str, batch: TwoViewBatch, cva: str) -> None:
    ita = model(tiny_encoder, cva=cva)
    emissions = {view: torch.randn(4, 4, len(TAGS), requires_grad=True) for view in (TEXT, CROSS_MODAL)}
    chains = {view: ita.crf(scores, batch.mask) for view, scores in emissions.items()}
    alignment = ita.alignment(chains, batch)
    assert alignment is not None
    alignment.sum().backward()
    assert emissions[CROSS_MODAL].grad is None
    assert emissions[TEXT].grad is not None
    assert emissions[TEXT].grad.abs().sum() > 0

    # The transitions' gradient is the student's alone: the same as if the teacher's were other parameters.
    gradient = ita.crf.transitions.grad.clone()
    ita.zero_grad()
    frozen = {parameter: value.detach().clone() for parameter, value in ita.crf.named_parameters()}
    teacher = type(chains[TEXT])(emissions[CROSS_MODAL].detach(), batch.mask, *frozen_in_order(frozen))
    again = ita.alignment({TEXT: ita.crf(emissions[TEXT].detach(), batch.mask), CROSS_MODAL: teacher}, batch)
    assert again is not None
    again.sum().backward()
    torch.testing.assert_close(ita.crf.transitions.grad, gradient)


def frozen_in_order(parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return parameters["start_transitions"], parameters["transitions"], parameters["end_transitions"]


@pytest.mark.parametrize("cva", ["off", "joint", "token", "sequence"])
def test_padding_and_order_change_nothing(tiny_encoder: str, tweets: list[EncodedTweet], cva: str) -> None:
    ita = model(tiny_encoder, cva=cva)
    collate = Collate(pad_token_id=0)
    batch, permuted = collate(tweets), collate([tweets[index] for index in (2, 0, 3, 1)])
    garbage = collate(tweets)
    for view in (garbage.text, garbage.cross_modal):
        view.input_ids[view.attention_mask == 0] = 17
    garbage.tags[~garbage.mask] = 2
    for name, term in zip(ita.losses(batch)._fields, ita.losses(batch), strict=True):
        if term is not None:
            torch.testing.assert_close(getattr(ita.losses(garbage), name), term)
            torch.testing.assert_close(getattr(ita.losses(permuted), name), term[[2, 0, 3, 1]])
            alone = torch.cat([getattr(ita.losses(collate([tweet])), name) for tweet in tweets])
            torch.testing.assert_close(alone, term)
    for view, tags in ita.decode(batch).items():
        assert ita.decode(garbage)[view].tolist() == tags.tolist()
        assert ita.decode(permuted)[view].tolist() == tags[[2, 0, 3, 1]].tolist()


def test_decoding_is_well_formed_in_every_view(tiny_encoder: str, batch: TwoViewBatch) -> None:
    ita = model(tiny_encoder)
    with torch.no_grad():
        ita.emission.bias.copy_(torch.tensor([0.0, 0.0, 9.0]))  # I-PER everywhere, were it allowed
    for tags in ita.decode(batch).values():
        for row, mask in zip(tags, batch.mask, strict=True):
            assert row[~mask].eq(-1).all()
            assert row[0] != 2
            assert not ((row[1:] == 2) & (row[:-1] == 0)).any()


def test_a_tweet_without_context_has_one_view(tiny_encoder: str, batch: TwoViewBatch) -> None:
    losses = model(tiny_encoder).losses(batch)
    assert losses.text is not None
    assert losses.cross_modal is not None
    assert losses.text[2].item() == pytest.approx(losses.cross_modal[2].item(), abs=1e-5)
    assert losses.text[0].item() != pytest.approx(losses.cross_modal[0].item(), abs=1e-5)


def test_word_dropout_zeroes_whole_words_in_training_only(tiny_encoder: str, batch: TwoViewBatch) -> None:
    ita = model(tiny_encoder)
    ita.recipe = replace(RECIPE, word_dropout=0.5)
    ita.encoder.eval()
    kept = ita.emissions(ita.states(batch, (TEXT,)), batch, (TEXT,))
    ita.training = True
    torch.manual_seed(0)
    dropped = ita.emissions(ita.states(batch, (TEXT,)), batch, (TEXT,))[batch.mask]
    is_bias = (dropped == ita.emission.bias).all(-1)
    assert 0 < is_bias.sum() < len(is_bias)
    torch.testing.assert_close(dropped[~is_bias], kept[batch.mask][~is_bias])


def test_a_loss_that_is_no_number_stops_the_run(tiny_encoder: str, batch: TwoViewBatch) -> None:
    ita = model(tiny_encoder, cva="off")
    with torch.no_grad():
        ita.emission.weight.fill_(float("nan"))
    ita.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    with pytest.raises(NonFiniteLossError, match=r"nan in epoch 1, step 1; a smaller learning rate"):
        ita.training_step(batch, 0)


@pytest.mark.parametrize(
    ("types", "recipe", "expected"),
    [
        ("PER", None, r"types 'PER': expected several names"),
        (("PER",), "demo", r"recipe 'demo': expected a Recipe, such as RECIPES\['demo'\]"),
    ],
)
def test_a_text_in_place_of_types_or_a_recipe_is_refused(types: Any, recipe: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        Tagger.create("bert-crf", types, recipe)


def test_views_trained() -> None:
    assert BertCRFOptions().trained_views == BertCRFOptions().tested_views == (TEXT,)
    assert ITAOptions(cva="off").trained_views == (CROSS_MODAL,)
    assert ITAOptions(cva="joint").trained_views == ITAOptions(cva="token").trained_views == (TEXT, CROSS_MODAL)


def test_scores_that_are_no_numbers_are_not_decoded_and_name_their_tweet(
    tiny_encoder: str, batch: TwoViewBatch
) -> None:
    tagger = model(tiny_encoder)
    emissions = tagger.emissions

    def broken(states: Tensor, read: TwoViewBatch, views: tuple[str, ...]) -> Tensor:
        scores = emissions(states, read, views)
        scores[len(batch.ids) + 1, 0, 0] = torch.nan  # the second tweet in the second view
        return scores

    tagger.emissions = broken  # type: ignore[method-assign]
    with torch.no_grad(), pytest.raises(NonFiniteLossError, match=r"tweet '1', view I\+T: "):
        tagger.decode(batch)
