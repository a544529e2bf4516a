"""What comes in: mistakes are named, every shape works."""

import pytest
import torch
from chains import prefix_mask, random_chain, random_potentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, LinearChainCRF, NonFiniteScoresError
from lightning_ita.errors import UserError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"emissions": torch.zeros(2, 3)},
            r"emissions of shape \(batch, length, tags\), got float32 of shape \(2, 3\)",
        ),
        ({"emissions": torch.zeros(2, 3, 4, dtype=torch.int64)}, "floating-point emissions .* got int64"),
        ({"emissions": torch.zeros(0, 3, 4)}, r"emissions .* got float32 of shape \(0, 3, 4\)"),
        ({"mask": torch.ones(2, 3)}, r"bool mask of shape \(2, 3\), got float32 of shape \(2, 3\)"),
        ({"mask": torch.ones(3, 2, dtype=torch.bool)}, r"bool mask of shape \(2, 3\), got bool of shape \(3, 2\)"),
        ({"start_transitions": torch.zeros(5)}, r"start_transitions of shape \(4,\), got float32 of shape \(5,\)"),
        ({"transitions": torch.zeros(4)}, r"transitions of shape \(4, 4\), got float32 of shape \(4,\)"),
        ({"end_transitions": torch.zeros(4).long()}, r"end_transitions of shape \(4,\), got int64 of shape \(4,\)"),
        (
            {"mask": torch.tensor([[True] * 3, [True, False, True]])},
            r"come first .* got \[True, False, True\] in row 1",
        ),
        ({"mask": torch.tensor([[False] * 3, [True] * 3])}, "at least one True in every row .* got none in row 0"),
    ],
)
def test_mistakes_are_named(change, message):
    arguments = {
        "emissions": torch.zeros(2, 3, 4),
        "mask": torch.ones(2, 3, dtype=torch.bool),
        "start_transitions": torch.zeros(4),
        "transitions": torch.zeros(4, 4),
        "end_transitions": torch.zeros(4),
    }
    ChainDistribution(**arguments)
    with pytest.raises(ValueError, match=message):
        ChainDistribution(**arguments | change)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (torch.zeros(2, 4, dtype=torch.int64), r"int64 tags of shape \(2, 3\), got int64 of shape \(2, 4\)"),
        (torch.zeros(2, 3), r"int64 tags of shape \(2, 3\), got float32 of shape \(2, 3\)"),
        (torch.tensor([[0, 1, 4], [0, 0, 0]]), r"tags in 0 … 3, got 4"),
        (torch.tensor([[0, 1, -1], [0, 0, 0]]), r"tags in 0 … 3, got -1"),
    ],
)
def test_wrong_tags_are_named(tags, message):
    chain = random_chain([3, 2], 4)
    with pytest.raises(ValueError, match=message):
        chain.log_prob(tags)


@pytest.mark.parametrize("field", ["start", "transition", "end"])
def test_wrong_forbidden_transitions_are_named(field):
    nothing = ForbiddenTransitions(*(torch.zeros(shape, dtype=torch.bool) for shape in (4, (4, 4), 4)))
    chain = random_chain([3, 2], 4)
    assert torch.equal(chain.argmax(nothing), chain.argmax())
    with pytest.raises(ValueError, match=f"bool forbidden {field} of shape .* got float32 of shape"):
        chain.argmax(nothing._replace(**{field: getattr(nothing, field).float()}))
    with pytest.raises(ValueError, match=f"bool forbidden {field} of shape .* got bool of shape"):
        chain.argmax(nothing._replace(**{field: torch.zeros(3, dtype=torch.bool)}))


@pytest.mark.parametrize("validate_args", [True, False])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers_are_not_decoded(way, value, validate_args):
    """NaN in one word of one tweet: without the error its tags would all be O."""
    emissions = torch.zeros(4, 3, 5)
    emissions[2, 1, 4] = value
    emissions[3, 0] = emissions[0, 2] = value  # the latter is padding
    crf, mask = LinearChainCRF(5), prefix_mask([2, 3, 2, 1])
    chain = crf(emissions, mask, validate_args)
    with pytest.raises(
        NonFiniteScoresError, match=rf"row 2 .*2 of 4 rows .*position 1 is {value}; .*diverged"
    ) as caught:
        chain.argmax()
    assert caught.value.row == 2
    assert isinstance(caught.value, UserError)  # a command prints its message without a traceback
    with pytest.raises(NonFiniteScoresError, match="row 2"):
        crf.decode(emissions, mask)
    with pytest.raises(NonFiniteScoresError, match=r"row 0 .*2 of 2 rows"):
        chain[2:].detach().argmax()
    assert torch.equal(chain[:2].argmax(), crf(emissions[:2], mask[:2]).argmax())
    assert chain[:0].argmax().shape == (0, 3)


def test_scores_that_are_all_impossible_are_not_decoded(way):
    emissions = torch.zeros(2, 3, 4)
    emissions[1, 1, :3] = -torch.inf
    mask = prefix_mask([1, 3])
    assert LinearChainCRF(4)(emissions, mask).argmax()[1, 1] == 3
    emissions[1, 1, 3] = -torch.inf
    with pytest.raises(NonFiniteScoresError, match=r"row 1 .*position 1 is -inf"):
        LinearChainCRF(4)(emissions, mask).argmax()


@pytest.mark.parametrize("name", ["start_transitions", "transitions", "end_transitions"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_transitions_that_are_no_numbers_are_not_decoded(way, name, value):
    crf = LinearChainCRF(4)
    with torch.no_grad():
        getattr(crf, name)[1] = value
    with pytest.raises(NonFiniteScoresError, match="transition scores are NaN or infinite") as caught:
        crf(torch.zeros(2, 3, 4), prefix_mask([3, 1])).argmax()
    assert caught.value.row is None


def test_nan_is_seen_in_every_value():
    emissions = torch.zeros(2, 3, 4)
    emissions[0, 1, 2] = torch.nan
    chain = LinearChainCRF(4)(emissions, prefix_mask([3, 3]))
    zeros = torch.zeros(2, 3, dtype=torch.int64)
    other = LinearChainCRF(4)(torch.zeros(2, 3, 4), chain.mask)
    for value in (
        chain.log_prob(zeros),
        chain.log_partition,
        chain.marginals,
        chain.log_marginals,
        chain.pair_marginals,
        chain.transition_counts,
        chain.entropy(),
        chain.cross_entropy(other),
        other.cross_entropy(chain),
        chain.kl(other),
        chain.token_kl(other, 2.0),
        other.token_kl(chain, 2.0),
    ):
        assert value[0].isnan().all()
        assert value[1].isfinite().all()


@pytest.mark.parametrize("divergence", ["cross_entropy", "kl", "token_kl"])
def test_distributions_over_other_sequences(divergence):
    chain = random_chain([3, 2], 4)
    with pytest.raises(ValueError, match=r"same sequences, got .* \(2, 3, 4\) and \(2, 3, 5\)"):
        getattr(chain, divergence)(random_chain([3, 2], 5))
    with pytest.raises(ValueError, match="two masks that differ"):
        getattr(chain, divergence)(random_chain([3, 1], 4))


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive_and_finite(temperature):
    chain = random_chain([3, 2], 4)
    with pytest.raises(ValueError, match="temperature > 0"):
        chain.token_kl(chain, temperature)


def test_only_slices_select():
    with pytest.raises(TypeError, match="expected a slice of the batch, got int"):
        random_chain([3, 2], 4)[0]


def test_validation_is_switchable():
    holes = torch.tensor([[True, False, True]])
    crf = LinearChainCRF(4)
    crf(torch.zeros(1, 3, 4), holes, validate_args=False)
    default = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        crf(torch.zeros(1, 3, 4), holes)
    finally:
        torch.distributions.Distribution.set_default_validate_args(default)
    with pytest.raises(ValueError, match="come first"):
        crf(torch.zeros(1, 3, 4), holes, validate_args=True)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    tags=st.integers(1, 12),
    spread=st.sampled_from([0.1, 3.0, 30.0, 300.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_any_shape(lengths, tags, spread, dtype, seed):
    """Laws that hold for every chain, whatever its shape, spread and precision."""
    torch.manual_seed(seed)
    mask = prefix_mask(lengths)
    p, q = (
        ChainDistribution(emissions, mask, *moves)
        for emissions, *moves in (random_potentials(*mask.shape, tags, spread, dtype) for _ in range(2))
    )
    real, counts = mask.to(dtype), torch.tensor(lengths)
    torch.testing.assert_close(p.marginals.sum(2), real)
    torch.testing.assert_close(p.pair_marginals.sum(3), p.marginals[:, :-1] * real[:, 1:, None], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(p.transition_counts.sum((1, 2)), (counts - 1).to(dtype))
    scale = 1e-6 if dtype == torch.float32 else 1e-12
    slack = scale * spread * counts * 10
    assert (p.kl(q) >= -slack).all()
    assert torch.equal(p.kl(p), torch.zeros(len(lengths), dtype=dtype))
    assert (p.token_kl(q, 2.0) >= -slack).all()
    assert (p.token_kl(p, 2.0).abs() <= slack).all()
    assert (p.entropy() >= -slack).all()
    assert (p.entropy() <= counts * torch.tensor(float(tags)).log() + slack).all()
    best = p.argmax()
    assert torch.equal(best >= 0, mask)
    log_prob = p.log_prob(best)
    assert (log_prob <= slack).all()
    for _ in range(3):
        assert (log_prob >= p.log_prob(torch.randint(tags, mask.shape)) - slack).all()
