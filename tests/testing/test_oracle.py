"""The oracle's formulas are the catalogue's: two writings, in NumPy and in JAX, of every estimator."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.pieces import aggregate, penalty, surrogate
from gradvar.testing import oracle
from gradvar.testing.losses import LossBatch
from gradvar.testing.oracle import Grouping, RolloutRows
from gradvar.testing.oracle.averages import coefficients, kl_tokens
from gradvar.testing.oracle.batchwise import pass_at_k_by_sets
from gradvar.testing.oracle.named import SURROGATES
from gradvar.testing.oracle.surrogates import TokenPoint

NAMES = catalogue.names()
PROMPTS, GROUP, TIME = 3, 4, 5
SETTINGS = {
    "dr_grpo": [{"beta": 0.1}],
    "grpo": [{"ddof": 1, "eps": 1e-2}, {"eps": 0.0, "beta": 0.3, "clip_high": 0.5}],
    "grpo_pair": [{"ddof": 1}, {"standardise": False, "eps": 0.1}],
    "reinforce_pp": [{"over": "tokens"}, {"beta": 0.2}, {"eps": 0.1}],
    "reinforce_pp_baseline": [{"over": "tokens"}, {"beta": 0.2}],
    "opo": [{"include_self": False}],
    "ppo": [{"discount": 0.9, "decay": 0.8}, {"dual": 1.5}],
    "ppo_dual_clip": [{"dual": 1.4, "decay": 0.5}],
    "dapo": [{"dynamic_sampling": False}, {"ddof": 1}],
    "gspo": [{"clip_low": 0.2, "clip_high": 0.3}],
    "gspo_token": [{"clip_low": 0.2, "clip_high": 0.3}],
    "cispo": [{"clip_low": 0.2, "clip_high": 0.3}],
    "gmpo": [{"clip_low": 0.1, "clip_high": 0.2}],
    "sapo": [{"tau_positive": 0.5, "tau_negative": 2.0}],
    "gpg": [{"f_norm": "std"}, {"f_norm": "std", "ddof": 0, "eps": 0.1}],
    "maxrl": [{"eps": 0.1}],
    "softmax": [{"temperature": 2.0}],
    "pass_at_k": [{"k": 3}, {"k": 4}],
    "pass_at_k_standardised": [{"k": 3}, {"k": 1}],
    "bnpo": [{"low": -1.0, "high": 2.0}],
    "krpo": [{"process": 0.1, "measurement": 0.5}],
    "spo": [{"ddof": 0, "eps": 0.1}],
    "gdpo": [{"weights": (1.0, 0.5)}, {"ddof": 1}],
    "dpo": [{"beta": 0.5}],
    "ipo": [{"beta": 0.5}],
    "lpo_forward": [{"temperature": "mean"}, {"temperature": 0.5}, {"moving": True}],
    "lpo_reverse": [{"temperature": "mean"}, {"temperature": 0.5, "moving": True}],
}
CASES = [(name, settings) for name in NAMES for settings in [{}, *SETTINGS.get(name, [])]]


def arrays(seed, far=False):
    """A batch off policy, its mask with holes and of unequal lengths, an empty row in every third."""
    draw = np.random.default_rng(seed)
    shape = (PROMPTS, GROUP, TIME)
    rewards = draw.choice([0.0, 0.25, 1.0], shape[:2]) if seed % 2 else draw.choice([0.0, 1.0], shape[:2])
    rewards[0] = [1.0, 0.0, 0.0, 1.0]
    rewards[2] = rewards[2, 0] if seed % 5 == 0 else rewards[2]
    mask = draw.random(shape) < 0.7
    mask[..., 0] |= ~mask.any(-1)
    if seed % 3 == 0:
        mask[1, 2] = False
    old = -draw.random(shape) * 3 - 0.1
    move = draw.normal(size=shape) * (3.0 if far else 0.2)
    return {
        "rewards": rewards,
        "mask": mask,
        "logp": old + move,
        "logp_old": old,
        "logp_ref": old + draw.normal(size=shape) * 0.3,
        "values": draw.normal(size=shape),
        "baseline": draw.random(PROMPTS),
        "greedy_rewards": draw.random(PROMPTS),
        "reward_parts": draw.choice([0.0, 0.5, 1.0], (*shape[:2], 2)),
    }


def rollouts(batch):
    rows = PROMPTS * GROUP
    flat = {
        name: np.repeat(batch[name], GROUP)
        if name in ("baseline", "greedy_rewards")
        else np.reshape(batch[name], (rows, *np.shape(batch[name])[2:]))
        for name in batch
    }
    names = {"logp_old": "old_logp", "logp_ref": "ref_logp"}
    return RolloutRows(
        ids=np.repeat(np.arange(PROMPTS), GROUP), **{names.get(n, n): v for n, v in flat.items()}
    )


def compared(name, settings, seed, far=False):
    batch = arrays(seed, far)
    estimator = catalogue.get(name, **settings)
    logp = jnp.asarray(batch["logp"])
    jax_batch = Batch.from_arrays(batch, allow_empty=True)
    value, weights = jax.value_and_grad(lambda x: estimator(x, jax_batch))(logp)
    other_value, other = oracle.named(name, **settings).objective(rollouts(batch))
    scale = max(1.0, float(np.abs(weights).max()))
    np.testing.assert_allclose(other_value, value, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(other.reshape(np.shape(weights)), weights, rtol=1e-8, atol=1e-9 * scale)
    return float(value), np.asarray(weights)


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_is_the_catalogue(name):
    seen = [compared(name, {}, 1), compared(name, {}, 3)]
    assert any(np.abs(weights).max() > 0 for _, weights in seen)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_the_oracle_is_the_catalogue_with_other_settings(name, settings):
    for seed in range(8):
        compared(name, settings, seed, far=seed % 4 == 3)


@pytest.mark.parametrize("name", NAMES)
def test_settings_and_defaults_are_the_catalogues(name):
    known = oracle.named(name).settings
    for setting, default in catalogue.describe(name).settings.items():
        assert known[setting] == default, setting


@pytest.mark.parametrize("seed", range(4))
def test_every_aggregation_is_the_catalogues(seed):
    batch = arrays(seed)
    mask = batch["mask"].reshape(-1, TIME)
    groups = Grouping(np.repeat(np.arange(PROMPTS), GROUP))
    for empty in ("count", "drop"):
        for kind, function in {
            "token-mean": aggregate.token_mean,
            "sequence-mean": aggregate.sequence_token_mean,
            "sequence-sum": aggregate.sequence_token_sum,
            "prompt-mean": aggregate.prompt_mean,
            "constant-length": aggregate.constant_length,
        }.items():
            more = {"length": 7.0} if kind == "constant-length" else {}
            choice = {} if kind == "token-mean" else {"empty": empty}
            wanted = jax.grad(lambda x, f=function, m={**more, **choice}: f(x, batch["mask"], **m))(
                jnp.asarray(batch["logp"])
            )
            seen = coefficients(kind, mask, groups, empty=empty, **more)
            np.testing.assert_allclose(seen.reshape(np.shape(wanted)), wanted, atol=1e-12, err_msg=kind)


@pytest.mark.parametrize(
    ("kl", "piece"),
    [
        ("k1", penalty.k1),
        ("k2", penalty.k2),
        ("k3", penalty.k3),
        ("k1-through-k2", penalty.straight_through(penalty.k1)),
        ("k3-through-k2", penalty.straight_through(penalty.k3)),
        ("weighted-k1", penalty.importance_weighted(penalty.k1)),
        ("weighted-k3", penalty.importance_weighted(penalty.k3)),
    ],
)
def test_every_kl_term_is_the_catalogues(kl, piece):
    batch = arrays(2)
    logs = {"logp_old": batch["logp_old"], "logp_ref": batch["logp_ref"]}
    names = inspect.signature(piece).parameters

    def total(x):
        return jnp.sum(piece(**{n: x if n == "logp" else logs[n] for n in names if n in logs or n == "logp"}))

    value, slope = kl_tokens(kl, batch["logp"], batch["logp_old"], batch["logp_ref"])
    np.testing.assert_allclose(np.sum(value), total(batch["logp"]), rtol=1e-12)
    np.testing.assert_allclose(slope, jax.grad(total)(jnp.asarray(batch["logp"])), rtol=1e-10)


def test_the_importance_ratio_is_the_catalogues():
    batch = arrays(2)
    a = batch["rewards"][..., None] * np.ones(TIME)
    seen = SURROGATES["importance"](TokenPoint(batch["logp"], batch["logp_old"], a, batch["mask"]))
    wanted = surrogate.importance_ratio(jnp.asarray(batch["logp"]), batch["logp_old"], a)
    np.testing.assert_allclose(seen.values, wanted, rtol=1e-12)


def test_pass_at_k_is_the_mean_over_sets():
    rewards = np.array([0.0, 1.0, 0.5, 0.5, 2.0])
    for k in (2, 3, 5):
        np.testing.assert_allclose(
            oracle.named("pass_at_k", k=k).advantages(rewards), pass_at_k_by_sets(rewards, k), atol=1e-12
        )


def test_groups_may_be_of_unequal_size_and_in_any_order():
    rewards, ids = [1.0, 5.0, 0.0, 7.0, 5.0, 3.0], ["a", "b", "a", "c", "b", "a"]
    seen = oracle.named("rloo").advantages(rewards, np.array(ids, dtype=object))
    np.testing.assert_allclose(seen, [-0.5, 0.0, -2.0, 0.0, 0.0, 2.5])


def test_edge_settings():
    rewards, ids = np.array([1.0, 3.0, 8.0, 0.5]), np.array([0, 0, 0, 1])
    mask = np.array([[1, 1], [1, 0], [0, 0], [1, 1]])
    grpo = oracle.named("dr_grpo")
    np.testing.assert_allclose(grpo.advantages(rewards, ids, mask), [-3, -1, 4, 0])
    skip = grpo.with_settings(rejected="skip", single="raw")
    np.testing.assert_allclose(skip.advantages(rewards, ids, mask), [-1, 1, 0, 0.5])
    with_nan = np.where(rewards == 3.0, np.nan, rewards)
    np.testing.assert_allclose(grpo.advantages(with_nan, ids), [0, 0, 0, 0])
    pair = oracle.named("grpo", eps=0.5, eps_at="clamped").advantages([0.0, 0.5])
    np.testing.assert_allclose(pair, [-0.5, 0.5])
    pair = oracle.named("grpo", eps=0.0625, eps_at="variance").advantages([0.0, 1.0])
    np.testing.assert_allclose(pair, np.array([-0.5, 0.5]) / np.sqrt(0.3125))


def test_a_loss_batch_is_taken_as_it_is():
    logp = np.log([[0.5, 0.5], [0.25, 0.5]])
    batch = LossBatch(logp, np.log([[0.5, 0.25], [0.5, 0.5]]), np.array([1.0, -1.0]), np.ones((2, 2), bool))
    value, weights = oracle.named("grpo").loss(batch)
    # ratios 1 and 2 (clipped at 1.2), 1/2 (clipped at 0.8) and 1
    assert value == pytest.approx((2.2 - 1.8) / 4)
    np.testing.assert_allclose(weights, [[0.25, 0.0], [0.0, -0.25]])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("grppo", {}, "estimator: no 'grppo'; did you mean"),
        ("grpo", {"epsilon": 1.0}, "epsilon: 'grpo' has no such setting; did you mean eps"),
        ("grpo", {"ddof": 2}, "ddof: 2; give 0 or 1"),
        ("grpo", {"kl": "k9"}, "kl: 'k9'; give k1"),
        ("dapo", {"dynamic_sampling": 2}, "dynamic_sampling: 2; give true or false"),
        ("grpo", {"aggregation": "mean"}, "aggregation: 'mean'; give token-mean"),
    ],
)
def test_errors_are_one_line_and_name_the_nearest(name, settings, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        oracle.named(name, **settings)
    assert message in str(error.value)


def test_estimators_without_a_function_of_rewards_say_so():
    refused = {name for name in NAMES if oracle.named(name).refusal}
    assert {"ppo", "remax", "spo", "gdpo", "dpo", "ipo", "reinforce_best_constant"} <= refused
    assert not oracle.named("grpo").refusal
    with pytest.raises(ValueError, match="pairs"):
        oracle.named("dpo").advantages([1.0, 0.0])
