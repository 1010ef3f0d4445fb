"""How many prompts tell two settings apart: against simulations in which the truth is known."""

import re

import numpy as np

from gradvar.core.moments import Moments
from gradvar.measure.advise.estimator_choice import EstimatorRanking, RankedEstimator
from gradvar.measure.advise.group_size import advise
from gradvar.measure.bank.comparison import Evaluation
from gradvar.measure.bank.summary import Summary
from gradvar.stats.figures import ratio_interval
from gradvar.stats.intervals import Interval
from gradvar.stats.power import prompts_to_tell, prompts_words


def pool(rng, prompts):
    """The means of two paired, skewed contributions of every prompt, and their leave-one-out values."""
    shared = rng.exponential(size=prompts)
    pairs = np.stack([1.1 * shared + rng.exponential(size=prompts), shared + rng.exponential(size=prompts)])
    return pairs.mean(1), (pairs.sum(1, keepdims=True) - pairs) / (prompts - 1)


def told(prompts, repeats=400):
    """The share of pools whose interval of the ratio excludes 1; in truth it is 2.1 / 2."""
    rng, excluded = np.random.default_rng(3), 0
    for _ in range(repeats):
        means, parts = pool(rng, prompts)
        excluded += ratio_interval(means[0] / means[1], parts[0] / parts[1]).excludes(1)
    return excluded / repeats


def test_so_many_prompts_tell_with_the_power_stated():
    means, parts = pool(np.random.default_rng(0), 40_000)
    error = ratio_interval(means[0] / means[1], parts[0] / parts[1]).se / (means[0] / means[1])
    enough = round(prompts_to_tell(np.log(2.1 / 2), error, 40_000))
    assert 1000 < enough < 4000
    slack = 3 * (0.8 * 0.2 / 400) ** 0.5
    assert abs(told(enough) - 0.8) < slack
    assert told(enough // 2) < 0.8 - slack  # planted: half as many do not


def evaluation(means, parts, prompts, independent="prompts"):
    settings = [("a", 2), ("b", 2)]
    rest = dict.fromkeys(
        ("between", "within", "signal", "snr", "true_signal", "bias_factor", "cosine"), np.nan
    )
    made = {
        s: Moments(s[0], 2, 1, np.zeros(1), np.zeros(1), trace_cov=float(x), se={"trace_cov": 0.1}, **rest)
        for s, x in zip(settings, means, strict=True)
    }
    leave_one_out = {s: {"trace_cov": x} for s, x in zip(settings, parts, strict=True)}
    return Evaluation(made, leave_one_out, independent, {}, {}, prompts)


def test_a_comparison_says_how_many_and_only_where_it_cannot_tell():
    means, parts = pool(np.random.default_rng(1), 60)
    compared = evaluation(means, parts, 60).compare(("a", 2), ("b", 2))
    assert not compared.ratio.excludes(1)
    assert compared.enough > 2 * 60
    assert re.search(r"; they cannot be told apart with fewer than about [\d,]+ prompts", str(compared))
    apart = evaluation(means * [2, 1], parts * [[2], [1]], 60).compare(("a", 2), ("b", 2))
    assert np.isnan(apart.enough)
    assert "prompts" not in str(apart)
    given = evaluation(means, parts, 60, "rollouts").compare(("a", 2), ("b", 2))
    assert "prompts" not in str(given)  # they are all there are
    assert "estimated as equal" in prompts_words(prompts_to_tell(0.0, 1.0, 60))


def summary(rng, prompts):
    """Prompts with such numbers that G=2 and G=8 cost about as much."""
    gradients = rng.normal(size=(prompts, 4)) * 0.72
    noise = rng.exponential(size=prompts)
    one = np.ones(prompts)
    return Summary(
        rewards=np.tile([0.0, 1.0], (prompts, 8)), p=one / 2, signal=(gradients**2).sum(1), v1=one, v0=one,
        zeta1=noise * 0.25, zeta2=noise * 11, length=one, gradients=gradients @ gradients.T, se={}, on_policy=True,
    )  # fmt: skip


def test_advice_says_how_many_where_it_cannot_tell():
    rng = np.random.default_rng(0)
    advices = [advise(summary(rng, 40), group_sizes=(2, 8)) for _ in range(10)]
    for advice in advices:
        other = next(p for p in advice.curve if p.group_size != advice.best)
        assert ("cannot be told apart" in str(advice)) == (not other.cost.excludes(1))
    assert any("cannot be told apart" in str(advice) for advice in advices)


def test_a_ranking_says_how_many_where_it_cannot_tell():
    best, rival = Interval(1.0, 1.0, 1.0, 0.0), Interval(1.1, 0.9, 1.35, se=0.11)
    ranked = [RankedEstimator(n, 4, (1.0, 1.0), best, cost) for n, cost in (("rloo", best), ("grpo", rival))]
    (sentence,) = EstimatorRanking(tuple(ranked), 60).findings()
    # (1.96 + 0.84)^2 (0.1 / log 1.1)^2 60, in two digits
    assert "cannot be told apart with fewer than about 520 prompts" in sentence
