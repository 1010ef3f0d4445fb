"""The summary's numbers, the laws built on them, and the advice: against enumeration, and at the command
line."""

from __future__ import annotations

import json
from functools import partial

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.cli.advise import Advise, run
from gradvar.core.compose import compose
from gradvar.measure.advise.allocation import split_sizes, within_variance
from gradvar.measure.advise.estimator_choice import _progress, by_successes, compare_estimators
from gradvar.measure.advise.group_size import advise
from gradvar.measure.bank.pair_kernel import prompt_numbers, squared_kernel
from gradvar.measure.bank.record import record
from gradvar.measure.bank.summary import Summary
from gradvar.measure.exact.closed_forms import four_numbers, ustatistic_law, ustatistic_numbers
from gradvar.measure.exact.enumerate import exact
from gradvar.measure.exact.tables import exact_tables
from gradvar.pieces import advantage, aggregate, surrogate
from gradvar.stats.figures import jackknife_error
from gradvar.stats.groups import unequal_share


@pytest.fixture(scope="module")
def on_policy(scene):
    return record(scene.policy, scene.params, scene.task, jax.random.key(1), 240, 16)


@pytest.fixture(scope="module")
def summary(on_policy):
    return on_policy.summary()


@pytest.fixture(scope="module")
def listed(scene):
    """For each of the six prompts: probabilities, rewards, sequence scores; exact."""
    tables = exact_tables(scene.policy, scene.params, scene.task)
    return tables, [
        (np.asarray(tables.probs[q]), np.asarray(tables.rewards[q]), np.asarray(tables.scores[q].sum(1)))
        for q in range(6)
    ]


@pytest.mark.slow
def test_numbers_of_every_prompt_are_unbiased(on_policy, summary, listed):
    """About 40 recorded copies of each prompt; 4 figures of 6 prompts, |z| < 4.5."""
    for q, parts in enumerate(listed[1]):
        four, pair = four_numbers(*parts), ustatistic_numbers(*parts)
        mine = np.asarray(on_policy.rollouts.prompts) == q
        for name, truth in (
            ("p", four.p),
            ("signal", four.signal),
            ("zeta1", pair.zeta1),
            ("zeta2", pair.zeta2),
        ):
            values = getattr(summary, name)[mine]
            assert abs(values.mean() - truth) < 4.5 * values.std(ddof=1) / np.sqrt(len(values)), (q, name)


def test_pair_numbers_by_brute_force():
    """The quadratic forms against sums over all pairs, triples and quadruples of distinct rollouts."""
    rng = np.random.default_rng(0)
    n = 5
    rewards, scores = rng.normal(size=(1, n)), rng.normal(size=(n, 3))
    gram = (scores @ scores.T)[None]
    found = prompt_numbers(rewards, gram, squared_kernel(rewards, gram))
    h = 0.5 * (rewards[0, :, None] - rewards[0])[..., None] * (scores[:, None] - scores)
    index = range(n)
    signal = np.mean(
        [
            h[i, j] @ h[k, l]
            for i in index
            for j in index
            for k in index
            for l in index
            if len({i, j, k, l}) == 4
        ]
    )
    triple = np.mean([h[i, j] @ h[i, k] for i in index for j in index for k in index if len({i, j, k}) == 3])
    pair = np.mean([h[i, j] @ h[i, j] for i in index for j in index if i != j])
    np.testing.assert_allclose(found["signal"], signal)
    np.testing.assert_allclose(found["zeta1"], triple - signal)
    np.testing.assert_allclose(found["zeta2"], pair - signal)


@pytest.mark.slow
def test_budget_law_gives_enumerated_variances(summary, listed):
    whole, without = summary.budget()
    tables, parts = listed
    for group in (2, 3):
        truth = exact(catalogue.get("rloo"), tables=tables, group_size=group).trace_cov
        values = without.variance(group)
        error = np.sqrt((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum())
        assert abs(float(whole.variance(group)) - truth) < 4.5 * error
    # The law itself, with exact numbers: within-prompt variance at a size nobody enumerates.
    within = np.mean([ustatistic_law(ustatistic_numbers(*x), 64).trace_cov for x in parts])
    assert within == pytest.approx(float(whole.rollout / 64 + whole.pair / (64 * 63)), rel=0.1)


@pytest.mark.slow
def test_forecast_matches_the_bank(on_policy, summary):
    """The four-number law from the summary against the bank's own measurement of the same estimator."""
    measured = on_policy.evaluate([catalogue.get("rloo")], [4])["rloo", 4]
    law = summary.forecast(lambda r: (r - r.mean()) * 4 / 3, 4)
    assert abs(law.trace_cov - measured.trace_cov) < 3 * measured.se["trace_cov"]
    np.testing.assert_allclose(law.weight[(summary.p > 0) & (summary.p < 1)], 1.0)


def test_advice_names_the_enumerated_optimum(summary, listed):
    """Every copy of a prompt has parameters of its own here, so spread is large and small groups win;
    costlier prompts move the optimum up. The truth is from exact numbers."""
    tables, parts = listed
    numbers = [ustatistic_numbers(*x) for x in parts]
    gradients = np.asarray(tables.gradients)
    between = (gradients**2).sum(1).mean() - (gradients.mean(0) ** 2).sum()
    own, pair = np.mean([4 * x.zeta1 for x in numbers]), np.mean([2 * x.zeta2 - 4 * x.zeta1 for x in numbers])
    grid = np.linspace(2, 60, 4000)
    for fixed in (0.0, 10.0):
        truth = grid[((between + own / grid + pair / (grid * (grid - 1))) * (fixed + grid)).argmin()]
        found = advise(summary, fixed, 1.0)
        assert found.optimum.low * 0.95 <= truth <= found.optimum.high * 1.05
        assert abs(found.best - truth) < 2.5
    assert found.curve[0].cost.excludes(1)
    assert "it excludes 1" in str(found)


def standardised(rewards):
    return (rewards - rewards.mean()) / (rewards.std() + 1e-6)


def leave_one_out(rewards):
    return (rewards - rewards.mean()) * rewards.size / (rewards.size - 1)


@pytest.mark.parametrize("group", [2, 3])
def test_useful_signal_is_the_enumerated_one(summary, listed, group):
    """Both schemes' progress per cost against enumeration of the whole estimator, in jackknifed standard errors; a
    scheme without a baseline, passed off as leave-one-out, must be seen."""
    tables, _ = listed

    def z(scheme, piece):
        estimator = compose(
            advantage=piece, surrogate=surrogate.likelihood, aggregate=aggregate.sequence_token_sum
        )
        truth = exact(estimator, tables=tables, group_size=group)
        law = summary.forecast(by_successes(scheme), group)
        cosine, useful = _progress(law.weight, law.spread, summary.gradients)
        want = truth.cosine**2 * truth.snr
        return (
            abs(np.log(useful[0] / want)) / jackknife_error(np.log(useful[1:])),
            abs(cosine[0] - truth.cosine) / jackknife_error(cosine[1:]) if truth.cosine < 1 - 1e-9 else 0.0,
        )

    assert max(z(standardised, partial(advantage.standardised, eps=1e-6))) < 4.5
    assert max(z(leave_one_out, advantage.leave_one_out)) < 4.5
    assert max(z(lambda r: r + 2.0, advantage.leave_one_out)) > 4.5


def test_choices_are_ordered_and_paired(summary):
    found = compare_estimators(
        summary,
        {"a": leave_one_out, "b": standardised, "half": lambda r: leave_one_out(r) / 2},
        (2, 4, 8),
    )
    costs = [c.cost.value for c in found.settings]
    assert costs[0] == 1
    assert costs == sorted(costs)
    # A constant factor changes nothing, in every leave-one-out value; two of a kind are told to be equal.
    by = {(c.scheme, c.group_size): c for c in found.settings}
    assert by["a", 4].cost.value == pytest.approx(by["half", 4].cost.value)
    assert by["a", 4].cosine.value == pytest.approx(1)
    # At two rollouts standardising only rescales a mixed pair: the weights are one; at eight they are not.
    assert by["b", 2].weights == pytest.approx((1, 1), abs=1e-5)
    assert by["b", 8].weights[1] > 1.05
    with pytest.raises(ValueError, match="below the least of every"):
        compare_estimators(summary, {"a": leave_one_out}, (2,), least={"a": 3})


def test_informative_share_without_replacement():
    rewards = np.array([[1, 1, 0, 0.0], [1, 1, 1, 1], [0, 0, 0, 1]])
    np.testing.assert_allclose(unequal_share(rewards, 2), [4 / 6, 0, 3 / 6])
    found = advise(rewards, cost_per_prompt=1.0, group_sizes=[2, 4, 8])
    assert np.isnan(found.curve[-1].informative.value)
    assert found.solved == pytest.approx(1 / 3)


@pytest.mark.slow
def test_command(on_policy, tmp_path, capsys):
    on_policy.save(tmp_path / "bank")
    asked = Advise(
        bank=tmp_path / "bank", cost_per_prompt=1.0, group_sizes=(2, 4, 8), json=tmp_path / "out.json"
    )
    assert run(asked) == 0
    assert "Best of the group sizes asked for" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["best"] >= 2
    assert {c["scheme"] for c in written["estimators"]} == set(Advise().estimators)
    with pytest.raises(ValueError, match="estimators: 'ppo' has no advantages that rewards alone determine"):
        run(Advise(bank=tmp_path / "bank", estimators=("ppo",)))
    np.savetxt(tmp_path / "r.csv", np.array([[1, 0, 1.0, 0], [0, 0, 0, 1]]), delimiter=",")
    assert run(Advise(rewards=tmp_path / "r.csv")) == 0
    assert "Rewards alone do not fix" in capsys.readouterr().out
    with pytest.raises(ValueError, match="one of them"):
        run(Advise())
    (tmp_path / "bad.csv").write_text("1,2\n3\n")
    with pytest.raises(ValueError, match="cannot be read"):
        run(Advise(rewards=tmp_path / "bad.csv"))


def test_published_splits_by_hand():
    """VIP: G - 1 in proportion to sqrt(p (1 - p)); GVM: G in proportion to sqrt(v1 / p), nothing where p = 0; two at
    least, and the budget kept."""
    numbers = {"p": np.array([0.5, 0.1, 0.0]), "v1": np.array([1.0, 4.0, np.nan])}
    wanted = 1 + np.array([0.5, 0.3]) / 0.8 * (43 - 3)
    np.testing.assert_allclose(split_sizes("vip", numbers, 43), [*np.floor(wanted - 0.5), 2], atol=1)
    share = np.sqrt([1 / (0.5 + 0.001 / 0.5), 4 / (0.1 + 0.001 / 0.1)])
    found = split_sizes("gvm", numbers, 43)
    np.testing.assert_allclose(found, [*(share / share.sum() * 43), 2], atol=2)
    assert found.sum() == split_sizes("vip", numbers, 43).sum() == 43
    assert split_sizes("gvm", {"p": np.zeros(2), "v1": np.full(2, np.nan)}, 8).tolist() == [4, 4]


def test_the_exact_split_is_no_worse_than_any_other():
    rng = np.random.default_rng(0)
    numbers = {"rollout": rng.random(3), "pair": rng.random(3), "p": np.full(3, 0.5)}
    best = within_variance(numbers, split_sizes("optimal", numbers, 12).astype(float)).sum()
    every = [
        within_variance(numbers, np.array([a, b, 12.0 - a - b])).sum()
        for a in range(2, 9)
        for b in range(2, 11 - a)
    ]
    assert best == pytest.approx(min(every))


@pytest.mark.slow
def test_a_summary_is_a_source_of_its_own(on_policy, summary, tmp_path, capsys):
    path = summary.save(tmp_path / "summary.safetensors")
    text = str(advise(on_policy))
    assert str(advise(Summary.open(path))) == text
    assert "gvm" in text
    assert run(Advise(summary=path, group_sizes=(2, 4))) == 0
    said = capsys.readouterr().out
    assert "Best of the group sizes asked for" in said
    assert "most progress for its cost" in " ".join(said.split()).lower()  # found, or said not to be told
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"summary: .* is no summary"):
        Summary.open(path)
    with pytest.raises(ValueError, match=r"summary: .* is no summary"):
        Summary.open(on_policy.save(tmp_path / "bank") / "shard-00000" / "rows.safetensors")
    with pytest.raises(ValueError, match="cost_per_update: nan"):
        compare_estimators(summary, {"a": leave_one_out}, (2,), cost_per_update=float("nan"))
