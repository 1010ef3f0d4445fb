"""What lies exactly on a bound is kept, what is divided by nothing is zero, and a setting that is left out has the
value of its signature's page: where continuous random numbers never come to lie."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.pieces import (
    advantage,
    advantage_adaptive,
    correction,
    correction_reject,
    surrogate,
    surrogate_trust,
    tracker,
)
from gradvar.pieces.piece import on_rewards

MASK = jnp.ones((1, 1, 2), bool)
MINUS = jnp.full((1, 1, 2), -1.0)
LOGS = {"logp_old": MINUS, "logp_sampler": MINUS}  # w is exactly one
MASKED = LOGS | {"mask": MASK}

# A bound on either side of one, or of zero, that w or its logarithm comes to lie on; and one that is just beyond.
KEPT = {
    "token_band": (correction.token_band, LOGS, [{"low": 1.0}, {"high": 1.0}], [{"low": 1.01}, {"high": 0.99}]),
    "sequence_mask": (
        correction.sequence_mask, MASKED, [{"cap": 1.0}, {"floor": 1.0}], [{"cap": 0.99}, {"floor": 1.01}],
    ),
    "geometric_mask": (
        correction.geometric_mask, MASKED, [{"low": 1.0}, {"high": 1.0}], [{"low": 1.01}, {"high": 0.99}],
    ),
    "outlier_mask": (
        correction_reject.outlier_mask, MASKED, [{"low": 1.0}, {"high": 1.0}], [{"low": 1.01}, {"high": 0.99}],
    ),
    "probability_mask": (
        correction_reject.probability_mask, LOGS, [{"low": 0.0}, {"high": 0.0}], [{"low": -0.01}, {"high": -0.01}],
    ),
    "rejection by k1": (
        correction_reject.rejection, MASKED | {"divergence": "k1"}, [{"low": 1.0}, {"high": 1.0}],
        [{"low": 1.01}, {"high": 0.99}],
    ),
    "rejection by k3": (correction_reject.rejection, MASKED, [{"high": 0.0}], [{"high": -0.01}]),
    "off_policy_sequence_mask": (
        correction_reject.off_policy_sequence_mask,
        {"logp": MINUS, "logp_sampler": MINUS, "mask": MASK, "advantages": MINUS},
        [{"threshold": 0.0}], [{"threshold": -0.01}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_lies_on_a_bound_is_kept(name):
    piece, arrays, bounds, beyond = KEPT[name]
    for settings in bounds:
        np.testing.assert_array_equal(piece(**arrays, **settings), [[[1.0, 1.0]]])
    for settings in beyond:
        np.testing.assert_array_equal(piece(**arrays, **settings), [[[0.0, 0.0]]])


def test_padding_decides_nothing():
    """The k1 of a token that the trainer finds likelier is negative, and the zero of padding was larger than it."""
    log_ratios = jnp.array([[[3.0, 2.0, 9.0], [-3.0, 3.0, 9.0], [0.2, 0.3, 9.0], [-3.0, -3.0, 9.0]]])
    counts = jnp.ones(log_ratios.shape, bool).at[..., 2].set(False)
    for divergence, kept in (("k1", [0, 0, 1, 0]), ("k2", [0, 0, 1, 0]), ("k3", [0, 0, 1, 0])):
        rule = partial(correction_reject.rejection, divergence=divergence, level="max")
        for length in (2, 3):
            weights = rule(log_ratios[..., :length], jnp.zeros((1, 4, length)), counts[..., :length])
            np.testing.assert_array_equal(weights[0, :, 0], kept)


def test_a_mean_of_squares_on_its_threshold_is_not_below_it():
    squares = {
        "logp_old": jnp.zeros((1, 1, 3)),
        "logp_sampler": jnp.full((1, 1, 3), 0.5),
        "mask": jnp.ones((1, 1, 3), bool),
    }
    kept = correction_reject.second_moment_mask(**squares, threshold=0.25)
    np.testing.assert_array_equal(kept, [[[1.0, 0.0, 0.0]]])  # one is left anyway
    np.testing.assert_array_equal(
        correction_reject.second_moment_mask(**squares, threshold=0.26), [[[1.0, 1.0, 1.0]]]
    )


def test_a_probability_that_moved_as_far_as_it_may_keeps_its_weight():
    logp, sampler = jnp.log(jnp.array([[[0.5], [0.5]]])), jnp.log(jnp.array([[[0.25], [0.75]]]))
    change = (
        float((jnp.exp(logp) - jnp.exp(sampler))[0, 0, 0]),
        float((jnp.exp(sampler) - jnp.exp(logp))[0, 1, 0]),
    )
    for sign, place, far in ((1.0, 0, change[0]), (-1.0, 1, change[1])):
        arrays = {"logp": logp, "logp_sampler": sampler, "advantages": jnp.full((1, 2, 1), sign)}
        bound = "high" if sign > 0 else "low"
        assert float(surrogate_trust.dppo_tv(**arrays, **{bound: far})[0, place, 0]) != 0
        assert float(surrogate_trust.dppo_tv(**arrays, **{bound: far * 0.999})[0, place, 0]) == 0


def test_nothing_is_divided_by_nothing():
    """Nor is a NaN made and thrown away, which would end a run with ``jax_debug_nans``."""
    zero, equal = jnp.zeros((1, 2)), jnp.ones((2, 2))
    with jax.debug_nans(True):
        _divide_by_nothing(zero, equal)


def _divide_by_nothing(zero, equal):
    np.testing.assert_array_equal(advantage_adaptive.shrunk(equal), 0.0)
    np.testing.assert_array_equal(
        advantage_adaptive.beta_normalised(jnp.array([[1.0, 1.0], [0.0, 0.0]])), 0.0
    )
    np.testing.assert_array_equal(advantage_adaptive.pass_at_k_standardised(equal, eps=0.0), 0.0)
    nowhere = {"logp": MINUS, "logp_old": MINUS, "advantages": MINUS, "mask": ~MASK}
    np.testing.assert_array_equal(surrogate_trust.kl_cov(**nowhere), MINUS)
    rewards, nothing = jnp.array([[1.0, 3.0]]), jnp.zeros((1, 2))
    np.testing.assert_array_equal(advantage.score_weighted(rewards, nothing, include_self=True), [[0.0, 2.0]])
    np.testing.assert_array_equal(advantage.score_weighted(rewards, nothing), 0.0)
    silent = advantage_adaptive.token_baseline(rewards, jnp.zeros((1, 2, 1)), jnp.ones((1, 2, 1), bool))
    np.testing.assert_array_equal(silent, [[[0.0], [2.0]]])  # relative to the first
    seen = tracker.add(tracker.empty(), zero)
    assert float(tracker.shrinkage(seen, seen, 2)) == 0.0
    with pytest.raises(ValueError, match="level: 'rollout'; choose one of token, sequence"):
        correction_reject.batch_normalised(correction.token_ratio, level="rollout")
    dropped = correction_reject.batch_normalised(lambda *, logp_old: jnp.zeros_like(logp_old))
    np.testing.assert_array_equal(dropped(logp_old=LOGS["logp_old"], mask=MASK), 0.0)
    for level in ("token", "sequence"):
        mean_of_none = correction_reject.batch_normalised(correction.token_ratio, level=level)
        np.testing.assert_array_equal(mean_of_none(**LOGS, mask=~MASK), 1.0)


def test_a_rollout_without_tokens_has_no_part_in_the_batchs_mean():
    logs = {
        "logp_old": jnp.zeros((1, 3, 2)),
        "logp_sampler": -jnp.log(jnp.array([[[1.0, 1.0], [3.0, 5.0], [7.0, 7.0]]])),
    }
    mask = jnp.array([[[True, False], [True, True], [False, False]]])
    whole = correction_reject.batch_normalised(correction.token_ratio, level="sequence")(**logs, mask=mask)
    np.testing.assert_allclose(whole, jnp.exp(-logs["logp_sampler"]) / 2.5, rtol=1e-6)  # the mean of 1 and 4


@pytest.mark.parametrize(
    ("piece", "settings"),
    [
        (advantage.standardised, {"ddof": 0, "eps": 1e-6, "clamp": False}),
        (advantage.batch_standardised, {"group_centred": False, "ddof": 0, "eps": 1e-8, "clamp": False}),
        (advantage.over_tokens, {"ddof": 0, "eps": 1e-8, "clamp": False}),
        (advantage.length_weighted, {"include_self": True}),
        (advantage.score_weighted, {"include_self": False}),
        (advantage.gae, {"discount": 1.0, "decay": 1.0}),
        (advantage_adaptive.mixed_rescaled, {"f_norm": "none", "ddof": 1, "eps": 1e-6}),
        (advantage_adaptive.over_mean, {"eps": 0.0}),
        (advantage_adaptive.softmax, {"temperature": 0.3}),
        (advantage_adaptive.pass_at_k, {"k": 2}),
        (advantage_adaptive.pass_at_k_standardised, {"k": 2, "eps": 1e-6}),
        (advantage_adaptive.beta_normalised, {"low": 0.0, "high": 1.0, "cap": 1e6}),
        (
            advantage_adaptive.kalman,
            {"process": 1e-5, "measurement": 1e-2, "mean": 0.0, "variance": 1.0, "eps": 1e-8},
        ),
        (advantage_adaptive.shrunk, {"eps": 1e-8}),
        (advantage_adaptive.given_batch_standardised, {"ddof": 1, "eps": 1e-8}),
        (advantage_adaptive.decoupled, {"weights": None, "ddof": 0, "eps": 1e-6}),
        (advantage_adaptive.token_baseline, {"tail": True}),
        (tracker.start, {"trials": 8.0, "low": 0.875}),
        (tracker.forgetting, {"half": 0.06, "low": 0.875, "high": 0.96}),
        (correction.token_truncation, {"cap": 2.0, "floor": 0.0}),
        (correction.token_band, {"low": 0.5, "high": 5.0}),
        (correction.sequence_truncation, {"cap": 2.0, "floor": 0.0}),
        (correction.sequence_mask, {"cap": 3.0, "floor": 0.0}),
        (correction.geometric_mask, {"low": 0.999, "high": 1.002}),
        (correction_reject.rejection, {"divergence": "k3", "level": "token", "low": 0.5, "high": 2.0}),
        (correction_reject.second_moment_mask, {"threshold": 0.04}),
        (correction_reject.outlier_mask, {"low": 1e-4, "high": 100.0}),
        (correction_reject.probability_mask, {"low": 0.2, "high": 0.2}),
        (correction_reject.off_policy_sequence_mask, {"threshold": 0.5}),
        (surrogate.ppo_clip, {"low": 0.2, "high": 0.2}),
        (surrogate.dual_clip, {"low": 0.2, "high": 0.2, "cap": 3.0}),
        (surrogate.sequence_clip, {"low": 3e-4, "high": 4e-4}),
        (surrogate.sequence_clip_per_token, {"low": 3e-4, "high": 4e-4}),
        (surrogate.clipped_weight, {"low": 1.0, "high": 4.0}),
        (surrogate.geometric_clip, {"low": 0.4, "high": 0.4}),
        (surrogate.soft_gate, {"positive": 1.0, "negative": 1.05}),
        (surrogate.truncated_importance, {"cap": 2.0}),
        (surrogate.masked_importance, {"low": 0.5, "high": 5.0}),
        (surrogate_trust.dppo_tv, {"low": 0.2, "high": 0.2, "cap": 10.0}),
        (surrogate_trust.dppo_kl, {"threshold": 0.05, "cap": 10.0}),
        (surrogate_trust.kl_cov, {"share": 2e-4, "coefficient": 1.0}),
        (surrogate_trust.clip_cov, {"share": 2e-4, "bounds": (1.0, 5.0), "clip": (0.2, 0.2), "seed": None}),
        (surrogate_trust.vespo, {"positive": (2.0, 3.0), "negative": (3.0, 2.0)}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_the_published_values_are_the_defaults(piece, settings):
    """Of the papers and trainers that the docstrings name; a default that moves is another method."""
    parameters = inspect.signature(piece).parameters.values()
    assert {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} == settings


def test_every_advantage_takes_rewards_of_any_type():
    pieces = [f for m in (advantage, advantage_adaptive) for f in vars(m).values() if inspect.isfunction(f)]
    public = {
        f.__name__: f for f in pieces if f.__module__.startswith(advantage.__name__) and f.__name__[0] != "_"
    }
    asking = [name for name, f in public.items() if next(iter(inspect.signature(f).parameters)) == "rewards"]
    assert len(asking) > 15
    assert [name for name in asking if not hasattr(public[name], "__wrapped__")] == []


def test_a_piece_that_takes_any_rewards_keeps_its_name():
    def mine(rewards):
        """The page."""
        return rewards

    assert (on_rewards(mine).__name__, on_rewards(mine).__doc__) == ("mine", "The page.")


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_single_token_is_its_own_mean(level):
    """And where none counts nothing is divided by."""
    one = jnp.array([[[True, False]]])
    weight = correction_reject.batch_normalised(correction.token_ratio, level=level)
    logs = {"logp_old": jnp.log(jnp.array([[[3.0, 7.0]]])), "logp_sampler": jnp.zeros((1, 1, 2))}
    np.testing.assert_allclose(weight(**logs, mask=one)[0, 0, 0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(weight(**logs, mask=~one & one), [[[3.0, 7.0]]], rtol=1e-6)
