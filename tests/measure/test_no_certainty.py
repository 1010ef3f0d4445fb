"""No certainty out of nothing: where the data carry no interval there is none, and words say why.

Every test states a sentence or a number that was printed before, as what must not be printed.
"""

import json
import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.cli.advise import Advise, run
from gradvar.core.moments import Moments
from gradvar.files.tables import to_plain
from gradvar.measure.advise.allocation import Split
from gradvar.measure.advise.estimator_choice import compare_estimators
from gradvar.measure.advise.findings import split_words
from gradvar.measure.advise.group_size import advise
from gradvar.measure.advise.optimum import optimal_size, optimum
from gradvar.measure.bank.record import record
from gradvar.measure.bank.summary import Budget
from gradvar.measure.direct import direct
from gradvar.plot import cost
from gradvar.policies import Bandit
from gradvar.report import sections
from gradvar.stats.bootstrap import compare as compare_runs
from gradvar.stats.clusters import Clusters
from gradvar.stats.figures import FIGURES, BlockSums, effective_blocks, figures
from gradvar.stats.groups import redrawing_gain
from gradvar.stats.intervals import Interval
from gradvar.studies.findings import findings
from gradvar.studies.rows import tidy
from gradvar.tasks import Bandit as Rewards
from tests.measure.scenes import summary_of

RLOO, GRPO = catalogue.get("rloo"), catalogue.get("grpo")


def bank_of(rewards, rollouts=16):
    policy = Bandit(4, num_prompts=len(rewards))
    params = policy.init(jax.random.key(0))
    task = Rewards(rewards)
    return record(policy, params, task, jax.random.key(1), task.all_prompts(), rollouts)


@pytest.fixture(scope="module")
def dead():
    """Sixteen prompts that are never solved."""
    return bank_of(np.zeros((16, 4)))


@pytest.fixture(scope="module")
def rare():
    """Sixteen prompts, three of which are solved sometimes."""
    return bank_of(np.r_[np.eye(4)[:3], np.zeros((13, 4))])


@pytest.mark.slow
def test_no_success_gives_no_interval_of_width_zero(dead):
    found = dead.evaluate([RLOO], [2], independent="prompts")["rloo", 2]
    for figure in FIGURES:
        if figure != "true_signal":
            interval = found.estimate(figure)
            assert not interval.known, figure
            assert interval.reason == "no block contributes to it"
            assert interval.effective == 0
    policy = Bandit(4, num_prompts=12)
    task = Rewards(np.zeros((12, 4)))
    drawn = direct(
        RLOO, policy, policy.init(jax.random.key(0)), task, 2, key=jax.random.key(2), replicates=64
    )
    assert math.isnan(drawn.interval("trace_cov")[0])


def test_nan_excludes_nothing():
    assert not Interval(1.5, np.nan, np.nan).excludes(1)
    assert Interval(1.5, 1.2, np.inf).excludes(1)


@pytest.mark.slow
def test_comparisons_without_a_gradient_are_a_sentence(dead):
    """They were a ZeroDivisionError."""
    found = dead.evaluate([RLOO, GRPO], [2], independent="prompts")
    answer = found.compare(("rloo", 2), ("grpo", 2))
    assert "cannot be compared: no block contributes to it" in str(answer)
    assert not answer.ratio.excludes(1)
    assert not answer.difference.known
    assert math.isnan(found.quotient(("rloo", 2), "between", "signal").value)


@pytest.mark.slow
def test_settings_with_other_blocks_are_not_paired():
    """Slices differ between group sizes; that was a traceback of NumPy."""
    rng = np.random.default_rng(0)
    bank = bank_of((rng.random((8, 4)) < 0.5) * 1.0, 32)
    found = bank.evaluate([RLOO], [2, 4], independent="rollouts")
    assert "their blocks differ, 16 and 8" in str(found.compare(("rloo", 2), ("rloo", 4)))


def test_advice_on_equal_rewards_is_a_sentence(dead, tmp_path, capsys):
    """It was a ZeroDivisionError, of the report and the plot too."""
    advice = advise(dead)
    assert advice.best is None
    assert "Every prompt's rewards are all equal" in str(advice)
    assert not advice.optimum.known
    dead.save(tmp_path / "bank")
    assert run(Advise(bank=tmp_path / "bank", json=tmp_path / "advice.json")) == 0
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "excludes" not in printed
    content = json.loads((tmp_path / "advice.json").read_text())
    assert "nothing can be said" in content["findings"][0]
    page = sections.advice(content)
    assert page.title == "Best group size: not determined"
    assert len(cost(advice).lines)


def test_three_solved_prompts_of_sixteen_are_too_few(rare):
    found = rare.evaluate([RLOO, GRPO], [2], independent="prompts")
    assert found["rloo", 2].effective["trace_cov"] < 4
    assert "effective blocks, fewer than 6" in found["rloo", 2].estimate("trace_cov").words()
    assert not found.compare(("rloo", 2), ("grpo", 2)).ratio.known
    advice = advise(rare)
    assert "which size is best cannot be told" in str(advice)
    assert not any(point.cost.excludes(1) for point in advice.curve)
    ranking = compare_estimators(rare, {"a": lambda r: r - r.mean(), "b": lambda r: r**2}, (2, 4))
    assert "excludes" not in str(ranking)


def test_an_optimum_outside_the_data_is_beyond_them():
    """No spread between prompts bounds the size from above; 4096.0 was printed, the end of a grid."""
    rng = np.random.default_rng(0)
    size = 40
    advice = advise(summary_of(1e-9 * rng.normal(size=size), np.ones(size), 4 + rng.random(size)))
    assert math.isinf(advice.optimum.high)
    assert "beyond what this bank can tell" in str(advice)
    assert "4096" not in str(advice)


@pytest.mark.parametrize("fixed", [0.0, 10.0])
def test_the_optimum_is_that_of_the_law(fixed):
    budget = Budget(between=0.7, rollout=3.0, pair=11.0, signal=0.0)
    grid = np.linspace(1.01, 80, 400_000)
    least = grid[(budget.variance(grid) * (fixed + grid)).argmin()]
    assert float(optimal_size(budget, fixed)) == pytest.approx(least, rel=1e-3)


def test_an_interval_of_the_optimum_has_a_width():
    """On a grid all leave-one-out values were the same point, and the interval had no width."""
    rng = np.random.default_rng(0)
    columns = [1 + 1e-5 * rng.normal(size=200) for _ in range(3)]
    without = Budget(*columns, signal=np.zeros(200))
    found = optimum((Budget(1.0, 1.0, 1.0, 0.0), without), 0.0, 0.95, 200.0)
    assert 0 < found.high - found.low < 0.01
    assert found.low < 2 < found.high


def test_advice_is_corrected_for_its_choice_and_has_a_regret():
    """Interval of a pair: wider the more sizes are compared, because the best of them is chosen by the same data."""
    rng = np.random.default_rng(0)
    size = 60
    summary = summary_of(0.2 + rng.random(size), 1 + rng.random(size), 4 + 5 * rng.random(size))
    few, many = (advise(summary, group_sizes=sizes) for sizes in ((2, 4), (2, 3, 4, 5, 6, 7, 8)))
    widths = [x.curve[0].cost.high - x.curve[0].cost.low for x in (few, many)]
    assert few.best == many.best == 4
    assert 0 < widths[0] < widths[1]
    assert many.regret == pytest.approx(max(1.0, *(1 / p.cost.low for p in many.curve)))
    assert "At worst" in str(many) or "No other of these sizes" in str(many)


@pytest.mark.slow
def test_the_regret_is_a_bound():
    """The size that is chosen costs more than the regret says in 5 % of data sets at most; the truth is known."""
    rng, wrong, sizes = np.random.default_rng(1), 0, (2, 3, 4, 5, 6)
    truth = {g: (0.8 + 1.0 / g + 6.0 / (g * (g - 1))) * g for g in sizes}
    for _ in range(200):
        noise = rng.normal(size=(3, 40))
        numbers = 0.8 + 0.8 * noise[0], 0.25 + 0.5 * noise[1], 3.5 + noise[2] + noise[1]
        advice = advise(summary_of(*numbers), group_sizes=sizes)
        wrong += truth[advice.best] / min(truth.values()) > advice.regret
    assert wrong <= 200 * (0.05 + 2 * 0.0154)


def test_rewards_alone_name_no_best_size():
    """Within prompts the largest group always wins under the hypothesis; it was called the best."""
    rng = np.random.default_rng(0)
    rewards = (rng.random((30, 8)) < 0.4) * 1.0
    for per_prompt in (0.0, 5.0):
        advice = advise(rewards, cost_per_prompt=per_prompt)
        assert advice.best is None
        assert "Rewards alone do not fix the best group size" in str(advice)
    nothing = advise(np.zeros((20, 8)))
    assert "nothing can be said about group sizes" in str(nothing)
    assert nothing.curve[0].informative.high > 0.1  # "0.0 % ± 0.0" from twenty prompts
    assert sections.advice(to_plain(nothing.as_json())).title == "Best group size: not determined"


def test_a_split_that_raises_the_variance_is_said_to():
    """A gain of 0.07 was "divides the within-prompt variance by 0.07"."""
    rng = np.random.default_rng(0)
    advice = advise(summary_of(1 + rng.random(40), 1 + rng.random(40), 4 + rng.random(40)))
    assert all(split.gain.value > 0 for split in advice.splits)
    assert "divides the within-prompt variance by 0" not in str(advice)
    words = split_words(Split("vip", np.array([2, 9]), Interval(0.07, 0.05, 0.1)))
    assert "multiplies the within-prompt variance by 14.29" in words
    noise = rng.normal(size=40)  # variances that are noise about zero
    advice = advise(summary_of(1 + rng.random(40), noise, 2 * noise))
    assert all(not split.gain.value < 0 for split in advice.splits)


def test_redrawing_is_the_exact_factor():
    """Against the signal-to-noise ratio of groups that are known to be informative, for one prompt of a bandit."""
    p, group = 0.9, 2
    rng = np.random.default_rng(0)
    rewards = (rng.random((400_000, group)) < p) * 1.0
    scores = rewards - p
    gradient = ((rewards - rewards.mean(1, keepdims=True)) * scores).sum(1)
    informative = rewards.min(1) != rewards.max(1)
    share, kept = informative.mean(), gradient[informative]
    snr = gradient.mean() ** 2 / gradient.var()
    # here an informative group's gradient is a constant but for rounding: redrawing leaves no noise
    assert kept.var() < 1e-20
    assert redrawing_gain(snr, share) > 1e3
    assert redrawing_gain(0.0, share) == 1.0


def test_few_blocks_are_counted():
    """One block in twenty carries everything: five effective blocks of a hundred."""
    rng = np.random.default_rng(0)
    gradients = np.where(np.arange(100)[:, None] % 20 == 0, rng.normal(size=(100, 5)) + 3, 0.0)
    squares = (gradients**2).sum(1)
    sums = BlockSums(
        np.ones(100), gradients @ gradients.T, squares, squares, gradients @ np.ones(5), np.array(5.0), True
    )
    found = effective_blocks(sums)
    assert all(4 < found[name] <= 5 for name in ("trace_cov", "within", "signal", "snr", "bias_factor"))
    assert found["true_signal"] == np.inf
    assert figures(sums).values["signal"] > 0


def test_shares_of_few_prompts_count_each_as_one_trial():
    """Two prompts with almost equal shares gave an interval of no width."""
    prompt = np.repeat([0, 1], 1000)
    y = np.arange(2000) % 2 + 0.0
    y[0] = 1.0
    found = Clusters(prompt).share(y)
    assert found.high - found.low > 0.8
    assert found.effective == pytest.approx(2)


def moments(**changes):
    values = dict.fromkeys(FIGURES, 1.0)
    plain = Moments(
        "rloo", 2, 4, np.zeros(1), np.zeros(1), se=dict.fromkeys(FIGURES, 0.1), dof=15, replicates=64,
        effective=dict.fromkeys(FIGURES, 40.0), **values,
    )  # fmt: skip
    return replace(plain, **changes)


def test_tables_and_findings_say_it():
    """Rows, findings and marks of tables: figures without an interval are not exact, and few blocks are a warning."""
    few = moments(effective=dict.fromkeys(FIGURES, 12.0))
    none = moments(effective=dict.fromkeys(FIGURES, 3.0), estimator="grpo")
    sentences = findings(tidy([few, none]))
    assert any("Few effective blocks, 12" in s and "rloo at G = 2" in s for s in sentences)
    assert any("No interval for tr Cov of grpo at G = 2" in s and "3.0 effective" in s for s in sentences)
    assert not any("unbiased" in s for s in sentences)
    assert {r["note"] for r in tidy(none)} == {"3.0 effective blocks, fewer than 6"}
    assert not any("effective" in s for s in findings(tidy(moments())))


def test_all_runs_better_is_no_certainty():
    """Eight of eight runs better was "1.00 [1.00, 1.00]"."""
    start = np.zeros(8)
    rng = np.random.default_rng(0)
    low, high = rng.random(8), 2 + rng.random(8)
    found = compare_runs(start, high, start, low).improvement
    assert found.value == 1
    assert 0.5 < found.low < 0.8
    same = compare_runs(start, low, start, low).final
    assert (same.low, same.high) == (1.0, 1.0)  # an arm against itself is one by algebra


def test_both_forms_of_dynamic_sampling_are_told_apart():
    """`dapo` in a table drops groups without drawing others, and did not say so."""
    sentences = findings(tidy([moments(estimator="dapo"), moments()]))
    assert any("dapo without redrawing was measured" in s and "dapo with redrawing" in s for s in sentences)
    assert not any("rloo without redrawing" in s for s in sentences)
    full = catalogue.get("dapo", dynamic_sampling=False)
    assert full.parts["select"] is not catalogue.get("dapo").parts["select"]
