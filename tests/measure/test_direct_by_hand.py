"""What ``direct`` makes of a pair: prompts, keys, what estimators are given, the references, the sums of its figures.
Nothing but small stages is compiled."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from gradvar.core.batch import Batch
from gradvar.core.estimator import token_weights
from gradvar.measure import direct_stages, direct_sums
from gradvar.measure.direct import _block_sums
from gradvar.measure.direct_plan import REFERENCE, WEIGHTED_REFERENCE, PolicyOnTask


def test_each_estimator_is_held_against_grad_j_or_against_the_reference():
    """Of two estimators and the reference, which is last, in four blocks; products in loops."""
    rng = np.random.default_rng(3)
    shapes = {"gradients": (3, 4, 2), "squares": (3, 4), "pairs": (3, 4), "joint": (3, 4), "count": (4,)}
    sums = SimpleNamespace(**{name: rng.normal(size=shape) for name, shape in shapes.items()})
    gradients = sums.gradients
    slopes = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])  # [prompt, param]
    exactly = SimpleNamespace(tables=SimpleNamespace(gradients=slopes), fixed=None)
    for index in (0, 1):
        sampled = _block_sums(SimpleNamespace(tables=None, fixed=np.arange(2)), index, sums)
        known = _block_sums(exactly, index, sums)
        assert (sampled.truth_known, known.truth_known, sampled.pairs) == (False, True, None)
        np.testing.assert_array_equal(known.pairs, sums.pairs[index])
        for a in range(4):
            assert known.aligned[a] == pytest.approx(gradients[index, a] @ [1.5, 0.5])
            for b in range(4):
                assert known.gram[a, b] == pytest.approx(gradients[index, a] @ gradients[index, b])
                assert sampled.aligned[a, b] == pytest.approx(gradients[index, a] @ gradients[2, b])
                assert sampled.truth[a, b] == pytest.approx(gradients[2, a] @ gradients[2, b])
        assert known.truth == 2.5
        for name in ("squares", "joint"):
            np.testing.assert_array_equal(getattr(sampled, name), getattr(sums, name)[index])
        np.testing.assert_array_equal(sampled.count, sums.count)


def test_the_weights_of_the_references():
    """Leave-one-out over six rollouts of unequal lengths, and times the ratio to the policy that drew them."""
    rewards = np.array([[1.0, 0.0, 3.0], [2.0, 2.0, 5.0]])
    mask = np.arange(3) < np.array([[1, 3, 2], [3, 2, 1]])[..., None]
    rng = np.random.default_rng(4)
    logp, old, engine = (np.where(mask, rng.normal(size=mask.shape), np.nan) for _ in range(3))
    others = (rewards.sum(1, keepdims=True) - rewards) / 2
    plain = np.where(mask, (rewards - others)[..., None] / 6, 0.0)
    for batch, drawn in (
        (Batch(rewards, old, mask), old),
        (Batch(rewards, old, mask, logp_sampler=engine), engine),
    ):
        ratio = np.exp(np.where(mask, logp - drawn, 0.0).sum(-1))[..., None]
        weights = token_weights(WEIGHTED_REFERENCE, logp, batch)
        np.testing.assert_allclose(weights, ratio * plain, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(token_weights(REFERENCE, logp, batch), plain, rtol=1e-5, atol=1e-7)


def staged(subject, estimators, rehearsal=False):
    """Which parameters are scored, what the weights are made of, and the slots that are pulled back, by stage."""
    arrays = {"completions": "c", "rewards": "r", "mask": "m"}
    seen = {"scored": []}

    def over(stage, shared, inputs):
        if stage.func is direct_stages.sample_rollouts:
            seen["drawn by"] = shared
            return arrays
        if stage.func is direct_stages.score:
            seen["scored"].append(*shared)
            return f"logp of {shared[0]}"
        if stage.func is direct_stages.report:
            return f"report of {shared[0]}"
        if stage.func is direct_stages.supply_baselines:
            assert (stage.args[0], shared) == (("greedy_rewards", "baseline"), ("source",))
            return {"greedy_rewards": "g", "baseline": "b"}
        if stage.func is direct_stages.weigh_tokens:
            seen["fields"], seen["first"] = inputs[0], stage.args[1].first
            return "weights"
        assert (stage.func, inputs) == (direct_stages.pull_back, ("prompts", "c", "weights"))
        seen["pulled"] = shared[0], shared[1].tolist()
        return seen

    plan = SimpleNamespace(
        slots=3, vectorised=1, size=2, group_size=2, baselines="source", rehearsal=rehearsal
    )
    return direct_sums._pull_back(plan, SimpleNamespace(over=over), subject, estimators, "prompts", "keys")


def test_what_estimators_are_given():
    """Everything of a rollout but its tokens; each policy is scored once, and the reference fills the last slot."""
    needy = SimpleNamespace(needs=("baseline", "greedy_rewards")), SimpleNamespace(needs=())
    on_policy = staged(PolicyOnTask("policy", "task", "now"), needy)
    logs = dict.fromkeys(("logp", "logp_old", "logp_ref"), "logp of now")
    given = {"rewards": "r", "mask": "m", "greedy_rewards": "g", "baseline": "b"}
    assert on_policy == {
        "drawn by": (None, "now"), "scored": ["now"], "fields": given | logs, "first": 0, "pulled": ("now", [0, 2]),
    }  # fmt: skip
    off = staged(PolicyOnTask("policy", "task", "now", "old", "ref", "engine"), needy[1:], rehearsal=True)
    logs = {"logp": "logp of now", "logp_old": "logp of old", "logp_ref": "logp of ref"}
    assert off == {
        "drawn by": ("engine", "old"), "scored": ["now", "old", "ref"], "first": 0, "pulled": ("now", [0, 0]),
        "fields": {"rewards": "r", "mask": "m", "logp_sampler": "report of engine"} | logs,
    }  # fmt: skip
    stale = staged(PolicyOnTask("policy", "task", "now", "old"), (REFERENCE,))
    assert (stale["scored"], stale["first"], stale["pulled"]) == (["now", "old"], 2, ("now", [2, 3]))


def test_prompts_of_many_tokens_are_repeated_for_their_rollouts():
    """And the keys of a pair depend on its number alone."""
    fixed, key = np.arange(6).reshape(2, 3), jax.random.key(0)
    prompts, keys = direct_stages.sample_prompts(None, 2, 4, fixed, key, np.array([4, 5]))
    np.testing.assert_array_equal(prompts, [np.repeat(fixed, 4, axis=0)] * 2)
    _, swapped = direct_stages.sample_prompts(None, 2, 4, fixed, key, np.array([5, 4]))
    numbers, others = (jax.random.key_data(k).tolist() for k in (keys, swapped))
    assert numbers == others[::-1]
    assert len({str(n) for pair in numbers for n in pair}) == 4
