"""Statistics against SciPy, NumPy, brute force, and simulated studies whose truth is known."""

from __future__ import annotations

import inspect
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from scipy import stats

from lightning_ita.statistics import resampling
from lightning_ita.statistics.comparison import compare, estimate, holm, seeds_needed, share_kept, standard_error
from lightning_ita.statistics.resampling import Counts, Sample, bootstrap, micro_f1, randomise


def simulated(
    generator: np.random.Generator, rates: list[list[float]], tweets: int = 200, spread: float = 0.0
) -> list[Counts]:
    """Rows of models that find each mention with a row's rate, moved by the tweet's difficulty and the model's luck."""
    gold = generator.poisson(1.5, tweets)
    difficulty = generator.normal(0, 0.15, tweets)
    rows = []
    for row in rates:
        luck = np.asarray(row)[:, None] + spread * generator.standard_normal((len(row), 1))
        correct = generator.binomial(gold, np.clip(luck + difficulty, 0.02, 0.98))
        predicted = correct + generator.poisson(0.3, (len(row), tweets))
        rows.append(np.stack([correct, predicted, np.broadcast_to(gold, correct.shape)], axis=-1))
    return rows


def samples(rows: list[Counts], resamples: int = 400, seed: int = 0) -> list[Sample]:
    drawn = bootstrap(np.concatenate(rows), resamples, seed)
    ends = np.cumsum([len(row) for row in rows])[:-1]
    return [Sample(row, part) for row, part in zip(rows, np.split(drawn, ends, axis=1), strict=True)]


def test_an_estimate_is_scipys() -> None:
    scores = [72.1, 73.4, 71.9, 72.8]
    found = estimate(scores)
    assert (found.mean, found.std, found.seeds) == (
        pytest.approx(np.mean(scores)),
        pytest.approx(np.std(scores, ddof=1)),
        4,
    )
    interval = stats.ttest_1samp(scores, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    single = estimate([70.0])
    assert (single.mean, single.std, single.low, single.high, single.seeds) == (70.0, None, None, None, 1)
    with pytest.raises(ValueError, match="one seed at least, got none"):
        estimate([])


def test_means_and_deviations_need_no_scipy() -> None:
    """SciPy takes most of a second to import, torch more; a finished study prints its table without either."""
    code = """
import sys
from lightning_ita.statistics.comparison import estimate
from lightning_ita.statistics.resampling import micro_f1
found = estimate([70.0, 72.0])
assert (found.mean, found.seeds) == (71.0, 2) and abs(found.std - 2**0.5) < 1e-12
assert not {"scipy", "torch"} & set(sys.modules), sorted(sys.modules)
assert abs(found.high - 71 - 12.706204736) < 1e-6  # t of one degree of freedom
assert "scipy" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_micro_f1_counts_mentions_not_tweets() -> None:
    counts = np.array([[[1, 1, 2], [0, 1, 1]], [[0, 0, 0], [0, 0, 0]]])
    assert micro_f1(counts).tolist() == [pytest.approx(100 * 2 / 5), 0.0]


def test_the_bootstrap_is_that_of_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = simulated(np.random.default_rng(1), [[0.7, 0.75]])
    monkeypatch.setattr(resampling, "CHUNK", 700)  # so that the last chunk is smaller than the others
    drawn = bootstrap(row, 3000)
    assert drawn.shape == (3000, 2)

    def f1(*columns: np.ndarray) -> float:
        correct, predicted, gold = (column.sum() for column in columns)
        return float(200 * correct / (predicted + gold))

    # Its name before SciPy 1.15.
    generator = "rng" if "rng" in inspect.signature(stats.bootstrap).parameters else "random_state"
    for model in range(2):
        reference = stats.bootstrap(
            list(row[model].T),
            f1,
            paired=True,
            vectorized=False,
            n_resamples=3000,
            method="percentile",
            **{generator: np.random.default_rng(2)},
        )
        assert drawn[:, model].std(ddof=1) == pytest.approx(reference.standard_error, rel=0.05)
        low, high = Sample(row[model : model + 1], drawn[:, model : model + 1]).over_tweets()
        assert low == pytest.approx(reference.confidence_interval.low, abs=0.25)
        assert high == pytest.approx(reference.confidence_interval.high, abs=0.25)


def test_a_resample_takes_the_same_tweets_for_every_model() -> None:
    (row,) = simulated(np.random.default_rng(1), [[0.7]])
    drawn = bootstrap(np.concatenate([row, row]), 50)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert np.unique(drawn[:, 0]).size > 40


def test_randomisation_is_the_enumeration_of_all_swaps() -> None:
    first, second = simulated(np.random.default_rng(3), [[0.8, 0.8], [0.6, 0.7]], tweets=8)
    observed = micro_f1(first).mean() - micro_f1(second).mean()
    differences = []
    for swaps in product([False, True], repeat=8):
        mask = np.array(swaps)[None, :, None]
        a, b = np.where(mask, second, first), np.where(mask, first, second)
        differences.append(micro_f1(a).mean() - micro_f1(b).mean())
    exact = np.array(differences)
    drawn = randomise(first, second, 20_000)
    assert set(np.round(drawn, 9)) <= set(np.round(exact, 9))
    for threshold in (abs(observed), *np.quantile(np.abs(exact), [0.3, 0.6, 0.9])):
        share = (np.abs(exact) >= threshold - 1e-9).mean()
        assert (np.abs(drawn) >= threshold - 1e-9).mean() == pytest.approx(share, abs=0.015)
    pair = samples([first, second], 20_000)
    share = (np.abs(exact) >= abs(observed) - 1e-9).mean()
    assert compare(*pair).p_randomisation == pytest.approx(share, abs=0.015)


def test_a_difference_on_few_tweets_is_as_likely_by_chance_where_rows_are_averaged() -> None:
    (rows,) = simulated(np.random.default_rng(4), [[0.8, 0.8, 0.8]], tweets=700)
    better = rows.copy()
    tweets = np.flatnonzero(rows[0, :, 0] < rows[0, :, 2])[:5]
    better[0, tweets, :2] += 1  # one further mention is found, and right, in each
    for first, second in ((better[:1], rows[:1]), (better.mean(0)[None], rows.mean(0)[None])):
        found = compare(*samples([first, second], 10_000))
        assert found.p_randomisation == pytest.approx(2 / 2**5, abs=0.01)  # none is swapped, or all


@pytest.mark.parametrize("rates", [[[0.75, 0.8, 0.7], [0.6, 0.7, 0.75]], [[0.75, 0.8], [0.6, 0.7, 0.75, 0.68]]])
def test_without_chance_over_tweets_methods_are_compared_by_welchs_t(rates: list[list[float]]) -> None:
    first, second = simulated(np.random.default_rng(4), rates)
    pair = samples([first, second])
    flat = [Sample(sample.counts, np.tile(sample.f1, (400, 1))) for sample in pair]
    found = compare(*flat)
    reference = stats.ttest_ind(flat[0].f1, flat[1].f1, equal_var=False)
    interval = reference.confidence_interval(0.95)
    assert found.p_methods == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert compare(*pair).p_methods >= found.p_methods - 1e-12  # type: ignore[operator]


def test_without_chance_over_seeds_methods_are_compared_by_z() -> None:
    error, freedom = standard_error((0.0, 0.0), (3, 3), 0.7)
    assert (error, freedom) == (pytest.approx(0.7), np.inf)


def test_equal_rows_do_not_differ() -> None:
    (row,) = simulated(np.random.default_rng(5), [[0.7, 0.7]])
    found = compare(*samples([row, row]))
    assert (found.difference, found.p_bootstrap, found.p_randomisation) == (0, 1, 1)
    assert found.p_methods == pytest.approx(1)
    assert found.seeds_needed is None
    same = np.repeat(row[:1], 2, axis=0)
    assert compare(*samples([same, same])).p_methods == 1


def test_one_seed_says_nothing_of_methods() -> None:
    found = compare(*samples(simulated(np.random.default_rng(6), [[0.9], [0.5]])))
    assert found.p_methods is None
    assert found.seeds_needed is None
    assert 0 < found.low < found.difference < found.high
    assert found.p_bootstrap < 0.01
    assert found.p_randomisation < 0.01


def rejected(rates: list[list[float]], spread: float, studies: int = 400) -> dict[str, float]:
    """Share of simulated studies in which each test rejects at 5 %."""
    generator = np.random.default_rng(7)
    names = ("p_bootstrap", "p_randomisation", "p_methods")
    found = [compare(*samples(simulated(generator, rates, spread=spread), seed=s), seed=s) for s in range(studies)]
    return {name: float(np.mean([getattr(each, name) <= 0.05 for each in found])) for name in names}


# At most this share of 400 studies without a difference may be rejected, once in a thousand by chance.
BOUND = stats.binom.ppf(0.999, 400, 0.05) / 400


def test_no_difference_is_found_where_models_are_equally_good() -> None:
    shares = rejected([[0.7] * 3, [0.7] * 3], spread=0.0)
    assert all(share <= BOUND for share in shares.values())
    assert shares["p_bootstrap"] > 0.01
    assert shares["p_randomisation"] > 0.01


def test_no_difference_is_found_between_equal_methods_whose_seeds_vary() -> None:
    shares = rejected([[0.7] * 3, [0.7] * 3], spread=0.04)
    assert shares["p_methods"] <= BOUND
    # Why tests over tweets alone do not decide: they find the luck of seeds.
    assert shares["p_bootstrap"] == pytest.approx(0.25, abs=0.03)


def test_a_planted_difference_is_found() -> None:
    shares = rejected([[0.85] * 3, [0.65] * 3], spread=0.01, studies=60)
    assert all(share >= 0.95 for share in shares.values())


def test_no_difference_is_found_in_a_whole_family_after_correction() -> None:
    generator = np.random.default_rng(8)
    wrong = 0
    for study in range(200):
        baseline, *rows = samples(simulated(generator, [[0.7] * 3] * 6, spread=0.02), seed=study)
        corrected = holm([compare(row, baseline, study).p_methods for row in rows])
        wrong += min(p for p in corrected if p is not None) <= 0.05
    assert wrong <= stats.binom.ppf(0.999, 200, 0.05)


def test_holm_is_the_step_down_of_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9, 0.02]) == [1.0, None, 1.0, pytest.approx(0.06)]
    assert holm([]) == []
    p_values = np.random.default_rng(9).random(20) ** 3
    corrected = np.array(holm(p_values.tolist()), dtype=float)
    for level in (0.01, 0.05, 0.2):
        order = np.argsort(p_values)
        passes = p_values[order] <= level / np.arange(20, 0, -1)
        rejections = np.zeros(20, dtype=bool)
        rejections[order[: 20 if passes.all() else int(np.argmin(passes))]] = True
        assert ((corrected <= level) == rejections).all()


@pytest.mark.parametrize(("difference", "spreads", "error"), [(1.0, (0.5, 0.5), 0.0), (0.8, (0.3, 0.9), 0.2)])
def test_so_many_seeds_have_the_power_and_fewer_have_not(
    difference: float, spreads: tuple[float, float], error: float
) -> None:
    needed = seeds_needed(difference, spreads, error)
    assert needed is not None
    generator = np.random.default_rng(10)

    def power(seeds: int) -> float:
        """Share of simulated experiments that the test over tweets and seeds rejects, tweets' error known."""
        first = difference + generator.normal(0, error, (20_000, 1)) + generator.normal(0, spreads[0], (20_000, seeds))
        second = generator.normal(0, spreads[1], (20_000, seeds))
        over_seeds = [row.var(axis=1, ddof=1) / seeds for row in (first, second)]
        variance = over_seeds[0] + over_seeds[1] + error**2
        freedom = variance**2 / sum(part**2 / (seeds - 1) for part in over_seeds)
        distance = np.abs(first.mean(axis=1) - second.mean(axis=1)) / variance**0.5
        return float((2 * stats.t.sf(distance, freedom) <= 0.05).mean())

    assert power(needed) > 0.77
    assert power(max(needed - 2, 2)) < 0.8


def test_no_number_of_seeds_settles_what_the_tweets_leave_open() -> None:
    assert seeds_needed(0.5, (0.3, 0.3), 0.5) is None
    assert seeds_needed(0.0, (0.3, 0.3)) is None
    assert seeds_needed(50.0, (0.1, 0.1), 0.1) == 2


def test_a_clear_difference_takes_few_seeds() -> None:
    # Between them SciPy has no number for the tail beyond 0.
    assert seeds_needed(1.5, (0.05, 0.29)) == 3
    assert seeds_needed(1.5, (0.05, 0.29), 0.1) == 3


def test_the_share_kept_is_the_ratio_of_gains() -> None:
    generator = np.random.default_rng(11)
    baseline, text, cross_modal = samples(simulated(generator, [[0.6] * 3, [0.7] * 3, [0.8] * 3], tweets=1000))
    kept = share_kept(baseline, text, cross_modal)
    gain = cross_modal.f1.mean() - baseline.f1.mean()
    assert kept.value == pytest.approx((text.f1.mean() - baseline.f1.mean()) / gain)
    assert kept.low < kept.value < kept.high
    assert kept.low > 0
    assert kept.high < 1
    assert share_kept(baseline, baseline, cross_modal).value == 0
    assert share_kept(baseline, cross_modal, cross_modal) == pytest.approx((1, 1, 1))


def test_numbers_that_are_none_are_not_significant() -> None:
    """NaN is neither smaller nor larger: without an error, p was 1 / (1 + resamples)."""
    counts, resampled = np.ones((2, 5, 3), dtype=int), np.full((9, 2), 100.0)
    Sample(counts, resampled)
    with pytest.raises(ValueError, match="expected finite counts and scores"):
        Sample(counts, np.where(np.arange(2) == 0, np.nan, resampled))
    with pytest.raises(ValueError, match="expected finite counts and scores"):
        Sample(np.where(np.arange(3) == 0, np.inf, counts), resampled)
    for wrong in (np.nan, -0.1, 1.5):
        with pytest.raises(ValueError, match="expected p values in 0 … 1"):
            holm([0.01, wrong, None])
    for arguments in ((np.nan, (0.1, 0.1)), (1.0, (np.inf, 0.1)), (1.0, (0.1, 0.1), np.nan)):
        with pytest.raises(ValueError, match="expected finite values"):
            seeds_needed(*arguments)


@pytest.mark.parametrize(
    ("counts", "resampled"), [((2, 5), (9, 2)), ((2, 5, 2), (9, 2)), ((2, 5, 3), (9,)), ((2, 5, 3), (2, 9))]
)
def test_samples_of_another_form_are_an_error(counts: tuple[int, ...], resampled: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected counts \(seeds, tweets, 3\) and resampled \(resamples, seeds\)"):
        Sample(np.ones(counts), np.ones(resampled))


def test_rows_with_other_tweets_are_not_compared() -> None:
    """One tweet against many would be broadcast."""
    one, other, short = (
        Sample(np.ones((2, tweets, 3)), np.ones((resamples, 2))) for tweets, resamples in ((5, 9), (1, 9), (5, 8))
    )
    compare(one, one)
    for wrong in (other, short):
        with pytest.raises(ValueError, match=r"same tweets and resamples, got \(5, 9\) and"):
            compare(one, wrong)
