"""Correct estimators pass: once with the default examples, and with twenty seeds in the slow suite."""

import pytest

from gradvar.testing import advantage_target, check_advantage, check_loss
from gradvar.testing.laws import Broken
from gradvar.testing.laws.advantage import group_isolated, scale_equivariant

from . import sound, violators
from .loss_violators import bounds_as_named, entropy_bonus, fading, sampler_truncated
from .seeds import SEEDS
from .sound import LOSSES, NUMPY, jax_dr_grpo_loss, jax_grpo, torch_sound

UNIVERSAL = [
    "zero_on_equal_rewards", "finite", "singleton_zero", "integer_rewards", "nan_contained", "pure",
    "no_amplification",
    "permutation_equivariant", "order_preserving", "group_isolated", "masked_inert",
]  # fmt: skip


def _passes(check, function, **settings):
    report = check(function, **settings)
    assert report.ok, report.table()


QUICK = ("grpo_grouped", "rloo_flat", "grpo_tokens")
NUMPY_CASES = [
    pytest.param(f, marks=() if f.__name__ in QUICK else pytest.mark.slow, id=f.__name__) for f in NUMPY
]


@pytest.mark.parametrize("function", NUMPY_CASES)
def test_numpy_estimators_pass(function):
    _passes(check_advantage, function, laws=UNIVERSAL, examples=20)


@pytest.mark.parametrize(
    "function",
    [
        *LOSSES,
        *(
            pytest.param(f, marks=pytest.mark.slow)
            for f in (bounds_as_named, entropy_bonus, sampler_truncated, fading)
        ),
    ],
    ids=lambda f: f.__name__,
)
@pytest.mark.usefixtures("unshrunk")
def test_numpy_losses_pass(function):
    _passes(check_loss, function, examples=15)


# The laws that tell estimators apart: what each of these obeys, and what it does not.
TELL_APART = {
    sound.dr_grpo: (
        "zero_sum shift_invariant scale_equivariant sign_against_mean antisymmetric_pair layout_independent "
        "duplicate_prompts dtype_preserved half_precision unbiased_up_to_constant prompt_weighted",
        "scale_invariant bounded leave_one_out_factor unbiased",
    ),
    sound.rloo_flat: (
        "zero_sum shift_invariant scale_equivariant ragged_groups layout_independent duplicate_prompts "
        "leave_one_out_factor unbiased unbiased_up_to_constant",
        "bounded scale_invariant",
    ),
    sound.grpo_num_generations: (
        "zero_sum shift_invariant scale_invariant bounded antisymmetric_pair duplicate_prompts prompt_weighted",
        "scale_equivariant unbiased unbiased_up_to_constant leave_one_out_factor",
    ),
    sound.grpo_tokens: ("ragged_groups layout_independent bounded", "unbiased"),
}


@pytest.mark.parametrize("function", TELL_APART, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unshrunk")
def test_the_laws_that_tell_estimators_apart_do(function):
    holds, fails = (names.split() for names in TELL_APART[function])
    claims = {name: True for name in holds} | {name: False for name in fails}
    _passes(check_advantage, function, claims=claims, laws=list(claims), examples=30)


@pytest.mark.usefixtures("unshrunk")
def test_a_sound_loss_obeys_what_it_should():
    holds = "on_policy_unclipped microbatch_invariant zero_beyond_clip recovers_beyond_clip padding_invariant"
    claims = dict.fromkeys([*holds.split(), "aggregation", "empty_rows_finite"], True)
    claims["unbiased_up_to_constant"] = False  # a mean over each rollout's own tokens
    settings = {"laws": list(claims), "aggregation": "sequence-mean", "examples": 15}
    _passes(check_loss, sound.ppo_loss, claims=claims, **settings)
    summed = {"unbiased_up_to_constant": True, "aggregation": True}
    settings = {"laws": list(summed), "aggregation": "sequence-sum", "examples": 15}
    _passes(check_loss, sound.reinforce_loss, claims=summed, **settings)


def test_what_a_finding_says_is_what_was_seen():
    target = advantage_target(violators.mean_over_the_batch)
    with pytest.raises(Broken, match=r"\[0, 1\] -> .* beside \[2, 2\], but .* beside \[0, 0\]"):
        group_isolated(target, ((0.0, 1.0), (2.0, 2.0)), (0.0, 0.0))
    with pytest.raises(Broken, match=r"\[0, 2\] -> \[-2, 2\], times 4 -> \[-32, 32\], expected \[-8, 8\]"):
        scale_equivariant(advantage_target(violators.squared), ((0.0, 2.0),), 4.0)


@pytest.mark.slow
@pytest.mark.usefixtures("unshrunk")
def test_a_jax_estimator_and_a_jax_loss_pass():
    _passes(check_advantage, jax_grpo, laws=["nan_contained", "order_preserving"], examples=20)
    _passes(check_loss, jax_dr_grpo_loss, laws=["masked_inert", "kl_direction"], examples=15)


def test_pytorch_estimators_pass():
    pytest.importorskip("torch")
    advantages, losses = torch_sound()
    for function in advantages:
        _passes(check_advantage, function)
    for function in losses:
        _passes(check_loss, function)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("unshrunk")
def test_no_seed_raises_a_false_alarm(seed):
    for function in NUMPY:
        _passes(check_advantage, function, laws=UNIVERSAL, random_seed=seed, examples=60)
    for function in LOSSES:
        _passes(check_loss, function, random_seed=seed, examples=30)
    _passes(check_advantage, jax_grpo, laws=UNIVERSAL, random_seed=seed, examples=30)
    _passes(check_loss, jax_dr_grpo_loss, random_seed=seed, examples=20)
    advantages, losses = torch_sound()
    for function in advantages:
        _passes(check_advantage, function, random_seed=seed, examples=60)
    for function in losses:
        _passes(check_loss, function, random_seed=seed, examples=30)
