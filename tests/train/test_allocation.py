"""Rules for spending rollouts in training: sizes against all splits, stopping against plain Python, steps by hand."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradvar as gv
from gradvar.core.batch import Batch
from gradvar.measure.advise.allocation import split_sizes
from gradvar.measure.advise.rules import rule_sizes, until_both
from gradvar.policies import Tabular
from gradvar.tasks import Lookup
from gradvar.train import arms, ragged
from gradvar.train.allocation import Allocation
from gradvar.train.plan import Plan
from gradvar.train.state import streams
from tests.train.test_step import flat, limits

RATES = np.array([0.1, 0.45, 0.9])
SQUARES = np.array([3.0, 1.0, 2.0])


def sizes(rule, total, most=40, rates=RATES):
    return np.asarray(ragged.sizes_of(rule, jnp.asarray(rates), jnp.asarray(SQUARES), total, most))


VALUES = {  # what a rule maximises, as its paper has it
    "vip": lambda n: -(RATES * (1 - RATES) / (n - 1)).sum(),
    "gvm": lambda n: -(SQUARES / (RATES + 1e-3 / RATES) / n).sum(),
    "knapsack": lambda n: (RATES * (1 - RATES) ** 2 * (1 - RATES**n - (1 - RATES) ** n)).sum(),
    "even": lambda n: -(n.astype(float) ** 2).sum(),
}


@pytest.mark.parametrize("rule", VALUES)
def test_no_split_is_worth_more_to_a_rule(rule):
    for total in (6, 13, 24):
        splits = [np.array(s) for s in itertools.product(range(2, total), repeat=3) if sum(s) == total]
        taken = sizes(rule, total)
        assert taken.sum() == total
        best = max(VALUES[rule](split) for split in splits)
        assert VALUES[rule](taken) == pytest.approx(best, rel=1e-12)
        bounded = sizes(rule, total, most=8)
        best = max(VALUES[rule](split) for split in splits if split.max() <= 8)
        assert VALUES[rule](bounded) == pytest.approx(best, rel=1e-12)


def test_sizes_are_those_of_the_rules_with_known_rates():
    """The same rules of ``measure.advise``, which round in other ways: at most one rollout apart."""
    numbers = {"p": RATES, "v1": SQUARES}
    for rule, known in (
        ("knapsack", rule_sizes),
        ("ada", rule_sizes),
        ("vip", split_sizes),
        ("gvm", split_sizes),
    ):
        apart = np.abs(sizes(rule, 30) - known(rule, numbers, 30))
        assert apart.max() <= 1, rule
    assert sizes("gvm", 30, rates=np.array([0.0, 0.5, 0.5]))[0] == 2  # no success, the least
    assert sizes("even", 12, 4).tolist() == [4, 4, 4]


@pytest.mark.slow
def test_stopping_with_both_kinds():
    rng = np.random.default_rng(0)
    right = rng.uniform(size=(400, 12)) < rng.uniform(size=(400, 1))
    drawn = np.asarray(ragged.drawn_until_both(jnp.asarray(right), 2, 3))
    kept = np.asarray(ragged.kept_of_both(jnp.asarray(right), jnp.asarray(drawn), 4))
    for row, count, places in zip(right, drawn, kept, strict=True):
        done = [n for n in (3, 6, 9) if row[:n].sum() >= 2 and (~row[:n]).sum() >= 2]
        assert count == (done[0] if done else 12)
        assert len(set(places)) == 4
        assert places.max() < count
        if done:
            assert row[places].sum() == 2
            assert set(np.flatnonzero(row[:count])[:2]) <= set(places)
    # rounds of one: the exact law of ``measure.advise.rules``
    many = rng.uniform(size=(4000, 6)) < 0.3
    share = np.bincount(np.asarray(ragged.drawn_until_both(jnp.asarray(many), 1, 1)), minlength=7) / 4000
    law = until_both(0.3, 1, 6)
    assert (np.abs(share - law) <= 4 * np.sqrt(law * (1 - law) / 4000) + 1e-12).all()


def weights_by_hand(rewards, present):
    """Leave-one-out over the rollouts that are there, prompt by prompt."""
    weights = np.zeros(rewards.shape)
    for q, there in enumerate(present):
        places = np.flatnonzero(there)
        for i in places:
            others = [rewards[q, j] for j in places if j != i]
            weights[q, i] = (rewards[q, i] - np.mean(others)) / len(places) / len(rewards)
    return weights


def test_ragged_leave_one_out():
    rng = np.random.default_rng(1)
    rewards = rng.integers(0, 2, (3, 5)) * 1.0
    logp = -rng.uniform(0.1, 2, (3, 5, 2))
    whole = Batch(rewards, logp, np.ones(logp.shape, bool))
    np.testing.assert_allclose(
        gv.token_weights(ragged.RAGGED_RLOO, jnp.asarray(logp), whole),
        gv.token_weights(gv.catalogue.get("rloo"), jnp.asarray(logp), whole), atol=1e-12,
    )  # fmt: skip
    present = np.arange(5) < np.array([[2], [5], [3]])
    mask = np.broadcast_to(present[..., None], logp.shape)
    some = Batch(rewards, logp, mask, allow_empty=True)
    taken = np.asarray(gv.token_weights(ragged.RAGGED_RLOO, jnp.asarray(logp), some))
    expected = weights_by_hand(rewards, present)[..., None] * mask
    np.testing.assert_allclose(taken, expected, atol=1e-12)
    wrong = expected * (1 + 0.01 * (rewards == 1)[..., None])  # the planted violator: 1 % on the correct ones
    assert np.abs(taken - wrong).max() > 1e-4


def test_ragged_leave_one_out_is_unbiased_at_sizes_that_were_fixed():
    """All rewards of groups of 2 and 4: sum of chance, weight and d log P(r) / dp is 1 for either prompt."""
    rates, present = np.array([0.2, 0.7]), np.arange(4) < np.array([[2], [4]])
    total = np.zeros(2)
    for outcome in itertools.product((0, 1), repeat=6):
        rewards = np.zeros((2, 4))
        rewards[present] = outcome
        chance = np.where(present, np.where(rewards == 1, rates[:, None], 1 - rates[:, None]), 1).prod()
        scores = np.where(rewards == 1, 1 / rates[:, None], -1 / (1 - rates[:, None]))
        total += chance * (weights_by_hand(rewards, present) * scores).sum(1)
    np.testing.assert_allclose(total, 1 / 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vip", "gvm", "balanced"])
def test_a_step_spends_and_weighs_as_said(name):
    """The rollouts of a step by its counts, and its gradient by weights in NumPy; a planted 1 % is seen."""
    policy = Tabular(5, 2, num_prompts=6, stop=4)
    support = policy.support()
    task = Lookup(np.random.default_rng(1).integers(0, 2, (6, len(support))) * 1.0, support)
    params = 0.5 * jax.random.normal(jax.random.key(0), policy.init(jax.random.key(0)).shape, jnp.float64)
    arm = dataclasses.replace(arms.get(f"allocation-{name}"), minibatches=1)
    training = ragged.AllocatedStep(policy, task, Plan(arm, 4, 1e-3, 2), rule=optax.identity())
    state = training.start(jnp.int32(3), params)
    drawn, rollouts, generated, spent = training.draw(0, state, limits())
    rewards, mask = np.asarray(rollouts.rewards), np.asarray(rollouts.mask)
    present = mask.any(-1)
    np.testing.assert_array_equal(
        np.where(present, task.reward(rollouts.prompts, rollouts.completions), 0),
        np.where(present, rewards, 0),
    )
    if name == "balanced":
        counts = int(generated.rollouts)
        assert present.shape == (4, 4)
        assert counts % 8 == 0
        assert 4 * 8 <= counts <= 4 * 32
        weights = (rewards - np.asarray(drawn.baseline)[:, None]) / rewards.size
    else:
        key = jax.random.fold_in(streams(jnp.int32(3)).rollouts, 0)
        probes = policy.sample(params, jax.random.fold_in(key, 2**31 - 2), rollouts.prompts, 4)
        right = np.asarray(task.reward(rollouts.prompts, probes)).sum(1)
        rates, squares = (right + 1) / 6, np.ones(4)
        if name == "gvm":
            rates = right / 4
            squares = ragged.mean_square_of_right(
                policy,
                params,
                rollouts._replace(completions=probes, rewards=task.reward(rollouts.prompts, probes)),
            )
        expected = ragged.sizes_of(name, jnp.asarray(rates, jnp.float32), jnp.asarray(squares), 48, 32)
        assert present.sum(1).tolist() == expected.tolist()
        assert len(set(expected.tolist())) > 1  # groups are of unequal sizes
        assert int(generated.rollouts) == 64
        assert int(generated.tokens) == mask.sum() + np.asarray(policy.mask(probes)).sum()
        weights = weights_by_hand(rewards, present)
    assert generated == spent
    after, shown = jax.jit(training.step)(state, limits())
    assert float(shown["length"]) == pytest.approx(mask.sum() / present.sum())
    assert float(shown["reward"]) == pytest.approx(rewards[present].mean())

    def pull(weights):
        _, back = jax.vjp(lambda p: policy.logprobs(p, rollouts.prompts, rollouts.completions), params)
        return flat(back(jnp.asarray(weights[..., None] * mask))[0])

    taken, size = flat(after.params) - flat(params), np.abs(pull(weights)).max()
    assert size > 1e-6
    np.testing.assert_allclose(taken, pull(weights), atol=1e-6 * size)
    assert np.abs(taken - pull(weights * (1 + 0.01 * (rewards == 1)))).max() > 1e-4 * size


def test_what_cannot_be_met_is_one_line():
    arm = arms.get("allocation-vip")
    for change, message in (
        ({"group": 5}, "group of arm 'allocation-vip': 5"),
        ({"attempts": 2}, "allocation of arm 'allocation-vip'"),
        ({"allocation": Allocation("vip", most=8)}, "most of arm 'allocation-vip': 8"),
        (
            {"allocation": Allocation("balanced", most=30)},
            "most of arm 'allocation-vip': 30 with rounds of 8",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(arm, **change).check()
    assert arm.as_dict()["allocation"]["rule"] == "vip"
    assert "allocation" not in arms.get("grpo-2").as_dict()  # runs that were kept before go on
