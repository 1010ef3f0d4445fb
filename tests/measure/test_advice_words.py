"""The sentences of advice, word for word, on figures that are given."""

from dataclasses import replace

import numpy as np
import pytest

from gradvar.core.until import Until, _places
from gradvar.measure.advise.advice import Advice, Point
from gradvar.measure.advise.allocation import Split
from gradvar.measure.advise.costs import Costs
from gradvar.measure.advise.estimator_choice import EstimatorRanking, RankedEstimator
from gradvar.measure.advise.findings import (
    _choice,
    _in_words,
    _informative,
    _nothing,
    _optimum_words,
    findings,
    split_words,
)
from gradvar.measure.advise.group_size import _regret, advise
from gradvar.measure.advise.optimum import BEYOND
from gradvar.measure.bank.summary import Budget
from gradvar.stats.clusters import Clusters
from gradvar.stats.intervals import Interval
from tests.measure.scenes import summary_of

SIZE = 12
SUMMARY = summary_of(np.full(SIZE, 2.0), np.full(SIZE, 1.0), np.full(SIZE, 8.0))


def point(size, cost, informative=0.5):
    return Point(size, Interval(4.0, 3.0, 5.0), cost, 0.1, 0.1, 0.1, informative)


ONE, DEARER, ALIKE = Interval(1.0, 1.0, 1.0), Interval(1.5, 1.25, 2.0), Interval(1.2, 0.8, np.inf)
UNKNOWN = Interval(1.2, np.nan, np.nan, reason="for a reason")


def test_sentences_on_group_sizes():
    assert _in_words(DEARER) == "95 % interval 1.25 to 2.00; it excludes 1"
    assert (
        _in_words(ALIKE, 3)
        == "95 % interval 0.80 to no upper end for all pairs of sizes at once; it includes 1"
    )
    assert _in_words(UNKNOWN) == "no interval: for a reason"
    assert _choice([point(4, ONE), point(2, DEARER)], 4) == "Best of the group sizes asked for: G=4"
    assert _choice([point(2, ALIKE), point(4, ONE), point(8, UNKNOWN), point(9, DEARER)], 4) == (
        "Of the group sizes asked for G=4 has the lowest estimate; whether it is the best cannot be told "
        "(G=2, G=8 may cost no more)"
    )
    assert _choice([point(4, ONE), point(2, Interval(1.5, 1.0, 2.0))], 4).endswith("(G=2 may cost no more)")
    curve = [point(2, ONE), replace(point(8, ONE), variance=Interval(0.0, 0.0, 0.0))]
    assert _nothing(SUMMARY, curve).startswith("The variance at G=8 is estimated as zero or less")
    equal = replace(SUMMARY, rewards=np.tile([[0.0], [1.0]], (1, 8)))
    assert _nothing(equal, curve).startswith("Every prompt's rewards are all equal: no group has a gradient")


def test_sentences_on_the_optimum():
    for interval, words in (
        (Interval(4.0, 3.0, 6.0), "the optimum over all is 4.0 (95 % interval 3.0 to 6.0)"),
        (Interval(2.0, 1.0, np.inf), "the optimum over all is 2.0 (95 % interval 1.0 to no upper end)"),
        (
            Interval(1.5, 1.0, 6.0),
            "the optimum over all is 1.5 (95 % interval 1.0 to 6.0), below the smallest group",
        ),
        (Interval(8.0, 3.0, np.inf), "the optimum over all is 8.0 (95 % interval 3.0 to no upper end)"),
        (Interval(8.5, 3.0, np.inf), f"of the optimum over all, {BEYOND}; at least 3.0"),
        (Interval(np.nan, 2.0, np.inf), f"of the optimum over all, {BEYOND}"),
        (Interval(9.0, np.nan, np.nan, reason="why"), "the optimum over all is not known, why"),
        (Interval(9.0, 3.0, 20.0), "the optimum over all is 9.0 (95 % interval 3.0 to 20.0)"),
    ):
        assert _optimum_words(interval, SUMMARY) == words


def test_sentences_on_groups_without_a_gradient():
    total, costs = Budget(0.0, 0.0, 0.0, 0.4), Costs(5.0, 1.0, 3.0)
    (found,) = _informative(point(4, ONE, 0.25), total, costs)
    # 0.25 x 3 of the update is left of 4; snr 0.1 x 0.75 / 0.25 = 0.3
    assert found.startswith("25 % of groups of 4 have different rewards. Dropping the others")
    assert "cost times 0.44. Drawing" in found
    assert "costs 4.00 times the rollouts" in found
    assert "buys 1.43 times the signal" in found
    (found,) = _informative(point(4, ONE, 0.01), total, costs)
    assert "buys many times" in found
    assert [_informative(point(4, ONE, share), total, costs) for share in (0.0, 1.0, np.nan)] == [[], [], []]


def test_sentences_on_splits():
    start = "Splitting the rollouts unevenly over the prompts (vip: 2 to 9 each)"
    for gain, words in (
        (
            Interval(1.25, 1.1, 1.5),
            " divides the within-prompt variance by 1.25 (95 % interval 1.10 to 1.50; it exclu",
        ),
        (
            Interval(1.0, 0.9, 1.5),
            " divides the within-prompt variance by 1.00 (95 % interval 0.90 to 1.50; it inclu",
        ),
        (
            Interval(0.8, 0.5, 1.6),
            " multiplies the within-prompt variance by 1.25 (95 % interval 0.62 to 2.00; it inc",
        ),
        (
            Interval(0.8, 0.0, 1.6),
            " multiplies the within-prompt variance by 1.25 (95 % interval 0.62 to no upper end",
        ),
        (
            replace(UNKNOWN, value=0.8),
            " multiplies the within-prompt variance by 1.25 (no interval: for a reason).",
        ),
        (Interval(np.nan, 0.0, 1.6, reason="of this"), ": its effect cannot be told, of this."),
    ):
        assert split_words(Split("vip", np.array([4, 2, 9]), gain)).startswith(start + words)


def test_which_sentences_there_are():
    curve = (point(2, DEARER), point(4, ONE), point(8, ALIKE))
    advice = Advice(4, Interval(4.0, 3.0, 6.0), curve, (), True, SIZE, 8, 1.25, ())

    def said(summary=SUMMARY, **fields):
        return findings(replace(advice, **fields), summary, Budget(0.0, 0.0, 0.0, 0.0), Costs(0.0, 1.0), 0.95)

    choice, small, large, worst, _ = said()
    assert choice.endswith("may cost no more); the optimum over all is 4.0 (95 % interval 3.0 to 6.0).")
    together = " for all pairs of sizes at once; it"
    assert small == (
        "With these prompts G=4 needs 1.50x less than G=2 for the same variance "
        f"(95 % interval 1.25 to 2.00{together} excludes 1)."
    )
    assert large.startswith(
        "With these prompts G=4 needs 1.20x less than G=8 for the same variance (95 % interval 0.80"
    )
    assert worst == "At worst G=4 costs 1.25 times as much as another of these sizes would."
    assert (
        said(regret=1.0)[3] == "No other of these sizes is as good as G=4, at 95 % for all of them at once."
    )
    assert len(said(regret=np.nan)) == 4
    assert len(said(curve=(point(2, replace(DEARER, value=np.nan)), *curve[1:]))) == 4
    assert said(best=2, curve=(point(2, ONE), *curve[1:]))[1].startswith(
        "With these prompts G=2 needs 1.20x less than G=8"
    )
    few = said(optimum=Interval(4.0, 3.0, 6.0, effective=2.0))
    assert (
        few[1]
        == "There are 2.0 effective blocks, fewer than 6: which size is best cannot be told from these prompts."
    )
    some = said(optimum=Interval(4.0, 3.0, 6.0, effective=12.0))
    assert some[1].startswith("Of these intervals: only 12 effective blocks carry it")
    assert said(replace(SUMMARY, on_policy=False))[-1].startswith(
        "The rollouts are off policy; the law assumes"
    )
    assert len(said(splits=(Split("vip", np.array([4, 2]), DEARER),))) == 6
    assert _regret(curve, 4) == 1.25
    assert _regret((point(2, Interval(1.5, 0.0, 2.0)), *curve[1:]), 4) == np.inf
    assert _regret(curve[1:2], 4) == 1.0
    assert np.isnan([_regret(curve, None), _regret((point(2, UNKNOWN), *curve[1:]), 4)]).all()
    rows = replace(advice, curve=(*curve, replace(point(16, UNKNOWN), informative=np.nan))).sheet().rows
    assert rows[:3] == (
        ("2", "1.50 [1.25, 2.00]", "50 %"),
        ("*4", "1", "50 %"),
        ("8", "1.20 [0.80, inf]", "50 %"),
    )
    assert (rows[3][0], rows[3][1][-3:], rows[3][2]) == ("16", " ±?", "-")


def test_sentences_on_estimators():
    def setting(name, cost, size=4, effective=np.inf):
        return RankedEstimator(name, size, (0.5, 2.0), Interval(0.9, 0.8, 1.0, effective=effective), cost)

    best = setting("a", Interval(1.0, 1.0, 1.0, 0.0))
    same = setting("twin", Interval(1.0, 1.0, 1.0, 1e-12))
    dear, alike = (
        setting(n, replace(x, se=0.1), 8) for n, x in (("b", DEARER), ("c", replace(ALIKE, high=1.75)))
    )
    assert EstimatorRanking((best, same), 60).findings() == []
    assert EstimatorRanking((best, same, dear), 60).findings() == [
        "Most progress for its cost: a at G=4. b at its best (G=8) needs 1.50x as much (95 % interval 1.25 to 2.00 for "
        "all pairs of settings at once)."
    ]
    (sentence,) = EstimatorRanking((best, dear, alike), 60).findings()
    assert sentence.startswith(
        "Which estimator makes the most progress for its cost cannot be told; a at G=4 has the lowest estimate, and b"
    )
    (sentence,) = EstimatorRanking((best, setting("b", Interval(1.5, 1.0, 2.0, 0.1))), 60).findings()
    assert sentence.startswith("Which estimator makes")
    assert "prompts" in sentence
    assert "prompts" not in EstimatorRanking((best, alike)).findings()[0]  # of how many is not known
    unknown = setting("d", replace(UNKNOWN, se=0.1))
    assert "(no interval: for a reason)" in EstimatorRanking((best, unknown), 60).findings()[0]
    cautious = replace(best, cosine=Interval(0.9, 0.8, 1.0, effective=12.0))
    assert (
        EstimatorRanking((cautious, dear), 60)
        .findings()[1]
        .startswith("Of these intervals: only 12 effective")
    )
    nothing = setting("a", Interval(np.nan, np.nan, np.nan, reason="none"))
    assert (
        EstimatorRanking((nothing, dear), 60)
        .findings()[0]
        .startswith("Which estimator makes the most progress for its")
    )
    rows = EstimatorRanking((best, dear, setting("b", ALIKE, 2), unknown), 60).sheet().rows
    assert rows == (
        ("a", "4", "0.50 to 2.00", "0.900", "1"),
        ("b", "8", "0.50 to 2.00", "0.900", "1.50 [1.25, 2.00]"),
        ("d", "4", "0.50 to 2.00", "0.900", "1.20 ±?"),
    )
    blank = replace(nothing, weights=(np.nan, 1.0), cosine=Interval(np.nan, np.nan, np.nan))
    (row,) = EstimatorRanking((blank,), 60).sheet().rows
    assert row[2:] == ("n/a", "n/a", "n/a")


def test_widths_in_two_digits():
    assert [_places(x) for x in (0.0, 0.0812, 1.234, 0.5, 12.3, 1e-4)] == [
        "0",
        "0.081",
        "1.2",
        "0.50",
        "12",
        "0.00010",
    ]
    asked = Until.read(["trace_cov:0.05", "snr:0.1"], most=512)
    assert asked.as_dict() == {"precision": {"trace_cov": 0.05, "snr": 0.1}, "most": 512}
    assert not asked.warn  # the words of a command are answered by its own line


def test_sentences_on_rewards_alone():
    """Of four rewards with one failure half of the pairs differ; the cost within prompts is (2 + 1.5 G) / (G - 1)."""
    rewards = np.array([[0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    advice = advise(rewards, 2.0, 1.0, cost_per_update=0.5, group_sizes=(8, 4, 2))
    assert (advice.prompts, advice.rollouts, advice.mean_reward) == (3, 4, 2 / 3)
    assert (advice.hopeless, advice.solved, advice.best) == (0.0, 1 / 3, None)
    first, second = advice.sentences
    assert "(G=2 costs 2.50 times as much as G=8)" in first
    assert second.startswith("At G=4, 67 % of groups have different rewards;")
    assert second.endswith("costs 1.50 times the rollouts.")
    shares = [Clusters(np.arange(3)).share(np.array(x)) for x in ([0.5, 0.0, 0.5], [1.0, 0.0, 1.0])]
    ends = [f"{100 * x.value:.1f} % [{100 * x.low:.1f}, {100 * x.high:.1f}]" for x in shares]
    assert advice.sheet().rows == (("2", ends[0], "2.50"), ("4", ends[1], "1.33"), ("8", "-", "1.00"))
    (one, _) = advise(rewards, group_sizes=(2,)).sentences
    assert "costs" in one
    assert "G=2" not in one
    hopeless = advise(np.zeros((3, 4)))
    assert (hopeless.hopeless, hopeless.solved) == (1.0, 0.0)
    high = 100 * Clusters(np.arange(3)).share(np.zeros(3)).high
    assert hopeless.sentences[0].endswith(f"Up to {high:.0f} % of groups of 4 may still have one (95 %).")
    for wrong in (
        rewards[0],
        rewards[None],
        rewards[:, :1],
        np.zeros((0, 4)),
        np.where(rewards, np.inf, 0.0),
    ):
        with pytest.raises(
            ValueError, match=r"^rewards: shape \(.*\); give finite numbers, a row per prompt"
        ):
            advise(wrong)
