"""The enumeration engine against a literal one, route against route, and declared bias against enumerated bias."""

import itertools
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.compose import compose
from gradvar.measure import TooLarge, exact, exact_tables
from gradvar.measure.exact import enumerate as enumerate_
from gradvar.measure.exact.enumerate import is_symmetric, splits_by_prompt
from gradvar.measure.exact.tables import _require_distribution
from gradvar.pieces import advantage, aggregate, surrogate
from tests.measure import scenes

BIAS_LAWS = ("unbiased", "unbiased_up_to_constant", "prompt_weighted")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def enumerable():
    """Catalogued estimators that need nothing which a finite policy cannot supply."""
    return [n for n in catalogue.names() if "reward_parts" not in catalogue.get(n).needs]


def literal(estimator, policy, params, task, group_size, prompts, old):
    """Mean, second moment and E||E[g | prompts]||^2 by plain loops and jax.grad of the objective of the parameters."""
    support = np.asarray(policy.support())
    listed = task.all_prompts()

    def gradient_and_probability(x, completions, rewards):
        logp_old, mask = policy.logprobs(old, x, completions), policy.mask(completions)

        def objective(p):
            batch = Batch(rewards, logp_old, mask, logp_ref=logp_old)
            return estimator.objective(policy.logprobs(p, x, completions), batch)

        leaves = jax.tree.leaves(jax.grad(objective)(params))
        flat = jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
        return flat, jnp.exp(jnp.where(mask, logp_old, 0).sum())

    every = np.array(list(itertools.product(range(len(support)), repeat=prompts * group_size)))
    drawn = jnp.asarray(support[every].reshape(len(every), prompts, group_size, -1))
    all_of_them = jax.jit(jax.vmap(lambda x, c: gradient_and_probability(x, c, task.reward(x, c)), (None, 0)))
    first, second, conditional = 0.0, 0.0, 0.0
    assignments = list(itertools.product(range(len(listed)), repeat=prompts))
    for rows in assignments:
        inner = 0.0
        gradients, probabilities = all_of_them(listed[jnp.array(rows)], drawn)
        for gradient, probability in zip(np.asarray(gradients), np.asarray(probabilities), strict=True):
            inner = inner + probability * gradient
            second += probability * gradient @ gradient / len(assignments)
        first = first + inner / len(assignments)
        conditional += inner @ inner / len(assignments)
    return first, second, conditional


@pytest.mark.parametrize("name", ["grpo", "dapo", "reinforce_pp"])
def test_against_plain_loops_and_autodiff(name):
    """Two prompts a batch, off policy, variable length; dapo and reinforce_pp couple the prompts."""
    policy, params, task = scenes.tabular(1, binary=False)
    policy = type(policy)(2, 2, num_prompts=2, stop=1)
    params = policy.init(jax.random.key(1))
    task = type(task)(np.random.default_rng(0).normal(size=(2, 3)), policy.support())
    old = scenes.moved(policy, params, 2, 0.3)
    estimator = catalogue.get(name)
    first, second, conditional = literal(estimator, policy, params, task, 2, 2, old)
    for route in ("groups", "multisets"):
        got = exact(estimator, policy, params, task, 2, prompts=2, old_params=old, route=route)
        np.testing.assert_allclose(got.mean, first, **CLOSE)
        np.testing.assert_allclose(got.trace_cov, second - first @ first, **CLOSE)
        np.testing.assert_allclose(got.between, conditional - first @ first, **CLOSE)
        np.testing.assert_allclose(got.within, second - conditional, **CLOSE)
        np.testing.assert_allclose(got.snr, got.signal / got.trace_cov, **CLOSE)
        np.testing.assert_allclose(got.bias_factor, got.mean @ got.true_gradient / got.true_signal, **CLOSE)
        np.testing.assert_allclose(got.signal, first @ first, **CLOSE)
        lengths = np.linalg.norm(got.mean), np.linalg.norm(got.true_gradient)
        np.testing.assert_allclose(got.cosine, got.mean @ got.true_gradient / np.prod(lengths), **CLOSE)


def check_both_routes(name):
    policy, params, task = scenes.tabular(4, binary=True)
    old = scenes.moved(policy, params, 5, 0.4)
    estimator = catalogue.get(name)
    for old_params in (params, old):
        tables = exact_tables(policy, params, task, old_params, old)
        if not is_symmetric(estimator, tables, 3):
            with pytest.raises(ValueError, match="depends on the order"):
                exact(estimator, tables=tables, group_size=3, route="multisets")
            continue
        a, b = (
            exact(estimator, tables=tables, group_size=3, route=route) for route in ("groups", "multisets")
        )
        np.testing.assert_allclose(a.mean, b.mean, **CLOSE)
        np.testing.assert_allclose(a.trace_cov, b.trace_cov, **CLOSE)
        np.testing.assert_allclose(a.between, b.between, **CLOSE)


@pytest.mark.parametrize("name", ["rloo", "grpo", "dapo", "gspo", "dpo", "ppo"])
def test_both_routes_agree_on_and_off_policy(name):
    check_both_routes(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", enumerable())
def test_both_routes_agree_for_the_whole_catalogue(name):
    check_both_routes(name)


QUICK = ("rloo", "dr_grpo", "grpo", "maxrl", "dapo", "dpo")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in enumerable()]
)
def test_declared_bias_is_the_enumerated_bias(name):
    """Every statistical law that is declared true holds on random policies; one that is declared false fails on one.

    The prompts have parameters of their own, so one enumeration holds every prompt's own mean. The reference policy
    is another one than the policy: what holds at the reference only is not a law.
    """
    estimator = catalogue.get(name)
    holds = dict.fromkeys(BIAS_LAWS, True)
    for seed in range(5):
        for binary in (True, False):
            policy, params, task = scenes.tabular(seed, binary=binary)
            tables = exact_tables(
                policy, params, task, ref_params=scenes.moved(policy, params, seed + 50, 0.5)
            )
            mean = exact(estimator, tables=tables, group_size=max(estimator.min_group, 3)).mean.reshape(2, -1)
            truth = np.asarray(tables.gradients).reshape(2, 2, -1)[[0, 1], [0, 1]] / 2
            factors = (mean * truth).sum(-1) / (truth**2).sum(-1)
            parallel = np.allclose(mean, factors[:, None] * truth, rtol=1e-6, atol=1e-9)
            holds["unbiased"] &= parallel and np.allclose(factors, 1.0, rtol=1e-6)
            holds["unbiased_up_to_constant"] &= parallel and np.allclose(factors, factors[0], rtol=1e-6)
            if binary:
                holds["prompt_weighted"] &= parallel
    declared = {law: estimator.laws[law] for law in BIAS_LAWS if law in estimator.laws}
    assert declared
    assert declared == {law: holds[law] for law in declared}


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_the_optimal_baseline_is_unbiased_only_from_others(own):
    """And its variance nears that of the best constant, which is given, as the group grows."""
    policy, params, task = scenes.tabular(1, binary=False)
    weighted = compose(
        advantage=partial(advantage.score_weighted, include_self=own),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )
    found = exact(weighted, policy, params, task, 4)
    away = np.abs(found.mean - found.true_gradient).max() / np.abs(found.true_gradient).max()
    assert away > 0.05 if own else away < 1e-12
    best = catalogue.get("reinforce_best_constant")
    excess = [
        exact(weighted, policy, params, task, size).trace_cov
        / exact(best, policy, params, task, size).trace_cov
        for size in (3, 6, 12)
    ]
    assert 1 < excess[2] < excess[1] < excess[0] or own


@pytest.mark.slow
def test_order_dependence_and_coupling_are_found():
    """Planted: an objective that weighs the first rollout more, and one whose prompts share a baseline."""
    policy, params, task = scenes.bandit(0, binary=False, prompts=3)
    tables = exact_tables(policy, params, task)

    def ordered(logp, batch):
        return (logp[..., 0] * batch.rewards * jnp.arange(1.0, 1 + logp.shape[1])).mean()

    def coupled(logp, batch):
        return (logp[..., 0] * jax.lax.stop_gradient(batch.rewards - batch.rewards.mean())).mean()

    from gradvar.core.estimator import as_estimator

    assert not is_symmetric(as_estimator(ordered), tables, 3)
    assert is_symmetric(as_estimator(coupled), tables, 3)
    assert not splits_by_prompt(as_estimator(coupled), tables, 2, 2)
    assert splits_by_prompt(as_estimator(ordered), tables, 2, 2)
    # And the automatic route is right for both: the ordered one needs all groups.
    auto, groups = (exact(ordered, tables=tables, group_size=3, route=r) for r in ("auto", "groups"))
    np.testing.assert_allclose(auto.mean, groups.mean, **CLOSE)


def test_a_batch_of_separate_prompts_divides_both_parts_of_the_variance():
    tables = exact_tables(*scenes.bandit(7, binary=False, prompts=3))
    chances, squares = np.asarray(tables.probs), (np.asarray(tables.scores).sum(2) ** 2).sum(-1)
    best = (chances * squares * tables.rewards).sum(1) / (chances * squares).sum(1)  # a constant each
    np.testing.assert_allclose(tables.score_squares, squares, **CLOSE)
    np.testing.assert_allclose(tables.baseline, best, **CLOSE)
    one, four = (exact(catalogue.get("rloo"), tables=tables, group_size=2, prompts=q) for q in (1, 4))
    np.testing.assert_allclose([four.between, four.within], [one.between / 4, one.within / 4], **CLOSE)
    np.testing.assert_allclose(four.snr_per_rollout, one.snr_per_rollout, **CLOSE)
    fixed = exact(catalogue.get("rloo"), tables=tables, group_size=2, prompts=np.array([0, 1, 2]))
    assert fixed.between == 0
    np.testing.assert_allclose(fixed.mean, one.mean, **CLOSE)


@pytest.mark.slow
def test_double_precision_whatever_the_default():
    policy, params, task = scenes.bandit(8, binary=True)
    with jax.enable_x64(False):
        low = exact(catalogue.get("rloo"), policy, params, task, 3)
    high = exact(catalogue.get("rloo"), policy, params, task, 3)
    np.testing.assert_allclose(low.trace_cov, high.trace_cov, rtol=1e-6)
    np.testing.assert_allclose(low.mean, low.true_gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_size": 1}, "group_size: 1; rloo needs at least 2 rollouts"),
        ({"group_size": 2.5}, "group_size: 2.5; give a whole number from 1 up"),
        ({"prompts": 0}, "prompts: 0; give 1 or more"),
        ({"prompts": np.array([0, 9])}, "prompts: row 9 of a task that lists 1 prompts"),
        ({"prompts": np.array([-1, 0])}, "prompts: row -1 of a task that lists 1 prompts"),
        ({"prompts": np.array([0, 1])}, "prompts: row 1 of a task that lists 1 prompts"),
        ({"route": "magic"}, "route: 'magic'; choose"),
        ({"estimator": "rloo"}, "estimator: 'rloo' is not callable"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    policy, params, task = scenes.bandit(0, binary=True)
    arguments = {"estimator": catalogue.get("rloo"), "group_size": 2} | change
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        exact(arguments.pop("estimator"), policy, params, task, **arguments)
    assert "\n" not in str(caught.value)


def test_as_many_batches_as_the_limit_are_listed(monkeypatch):
    """Three prompts of four answers, two rollouts: 10 multisets, in 16 ways together, or 16 ordered groups."""
    tables, separate, coupled = SimpleNamespace(probs=np.ones((3, 4))), object(), object()
    monkeypatch.setattr(enumerate_, "is_symmetric", lambda *_, trials: trials >= 64)  # 64 decide, at least
    monkeypatch.setattr(enumerate_, "splits_by_prompt", lambda estimator, *_: estimator is separate)
    for estimator, prompts, route, cases, picks in (
        (separate, 1, "auto", 3, 10),
        (separate, 5, "groups", 3, 16),
        (separate, np.array([0, 2]), "multisets", 2, 10),
        (coupled, 2, "auto", 9, 100),
        (coupled, np.array([1, 1]), "groups", 1, 256),
    ):
        ask = partial(enumerate_._list_batches, estimator, tables, 2, prompts, route)
        monkeypatch.setattr(enumerate_, "LARGEST_ENUMERATION", cases * picks)
        listing = ask()
        each = 1 if estimator is separate else 2
        assert (listing.rows.shape, listing.picks.shape) == ((cases, each), (picks, each, 2))
        assert np.ldexp(listing.ways, listing.exponents).sum() == pytest.approx(16**each)
        assert len(np.unique(listing.picks.reshape(picks, -1), axis=0)) == picks
        monkeypatch.setattr(enumerate_, "LARGEST_ENUMERATION", cases * picks - 1)
        with pytest.raises(TooLarge, match="group_size: 2 makes"):
            ask()


def test_chances_of_a_sampler_add_up_to_one():
    probs = jnp.array([[0.5, 0.5], [0.5, 0.4], [0.9, 0.4]])
    _require_distribution(probs, None)
    _require_distribution(probs[:1], object())
    with pytest.raises(
        ValueError, match=r"sampler: its chances add up to 1\.3 for a prompt; give log_chances"
    ):
        _require_distribution(probs, object())
    with pytest.raises(ValueError, match=r"chances add up to 0\.9 for a prompt"):
        _require_distribution(probs[:2], object())


@pytest.mark.slow
def test_too_large_an_enumeration_is_refused_before_it_starts():
    with pytest.raises(TooLarge, match="group_size: 64 makes"):
        exact(catalogue.get("rloo"), *scenes.bandit(0, binary=True, answers=16), 64)
    # A coupled estimator over many prompts: 3^64 lists of prompts, which must not be made.
    with pytest.raises(TooLarge, match="group_size: 2 makes"):
        exact(catalogue.get("reinforce_pp"), *scenes.bandit(0, binary=True, prompts=3), 2, prompts=64)
