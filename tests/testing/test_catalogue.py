"""The whole catalogue through the kit: what is declared true holds, what is declared false has a witness."""

import numpy as np
import pytest
from hypothesis import strategies as st

from gradvar import catalogue
from gradvar.testing.laws import ADVANTAGE, LOSS
from gradvar.testing.laws.base import Law
from gradvar.testing.laws.loss_batches import parallel
from gradvar.testing.losses import LossBatch
from gradvar.testing.names import (
    ADVANTAGE_LAWS,
    KIND_LAWS,
    LAWS,
    LOSS_LAWS,
    ORACLE_LAWS,
    STATISTICAL_LAWS,
    TARGET_LAWS,
)
from gradvar.testing.runner import check_law

from .catalogue_targets import advantage_case, expected, loss_case, worlds
from .seeds import EVERY_PAIR

BY_NAME = {law.name: law for law in ADVANTAGE if law.name in ADVANTAGE_LAWS}
LOSS_BY_NAME = {law.name: law for law in LOSS if law.name in LOSS_LAWS}
NAMES = catalogue.names()
QUICK = ("rloo", "grpo")
QUICK_LAWS = (
    "unbiased",
    "unbiased_up_to_constant",
    "singleton_zero",
    "masked_inert",
)
SAMPLED = 15
WITNESS = 200  # the search for a witness ends with the first one


def declared():
    """(estimator, law, whether it should hold): all but a few are slow, and a third of those are tried each time."""
    numbers = {law: number for number, law in enumerate(LAWS)}
    for place, name in enumerate(NAMES):
        for law, holds in catalogue.get(name).laws.items():
            quick = name in QUICK and law in QUICK_LAWS
            marks = () if quick else (pytest.mark.slow,)
            if not (quick or EVERY_PAIR or (place + numbers[law]) % 3 == 0):
                continue
            yield pytest.param(name, law, holds, id=f"{name}-{law}-{holds}", marks=marks)


@pytest.mark.parametrize(("name", "law", "holds"), list(declared()))
@pytest.mark.usefixtures("unshrunk")
def test_what_is_declared_is_so(name, law, holds):
    if law in STATISTICAL_LAWS:
        found, why = statistical(name, law)
    elif law in LOSS_LAWS:
        found, why = loss_law(name, law)
    else:
        result = check_law(
            BY_NAME[law], advantage_case(name, law), holds, examples=SAMPLED if holds else WITNESS
        )
        assert result.status != "does not apply", result.why
        found, why = result.status == "holds", result.why
    assert found == holds, why


def statistical(name, law):
    """Decided by enumeration over sequences of unequal length."""
    factors = {}
    for world in worlds(name, binary=law == "prompt_weighted"):
        found, wanted = expected(name, world), world.gradient
        if law == "unbiased" and not np.allclose(found, wanted, atol=1e-9):
            return False, f"{world}: {found} for {wanted}"
        if law == "prompt_weighted" and not parallel(found, wanted, 1e-5):
            return False, f"{world}: {found} is not along {wanted}"
        if law == "unbiased_up_to_constant":
            factor = float(found @ wanted / (wanted @ wanted))
            first = factors.setdefault(world.group, factor)
            if not np.allclose(found, first * wanted, atol=1e-9) or factor <= 1e-9:
                return False, f"{world}: {found} is not {first} times {wanted}"
    return True, ""


def loss_law(name, law):
    target = loss_case(name, whole=law in ("microbatch_invariant", "order_invariant"))
    checked = LOSS_BY_NAME[law]
    if not catalogue.get(name).parts and law in WHOLE:
        checked = WHOLE[law]
    holds = catalogue.get(name).laws[law]
    result = check_law(checked, target, None, examples=SAMPLED if holds else WITNESS)
    assert result.status != "does not apply", result.why
    return result.status == "holds", result.why


def _pairs(rewards, ratio=None, away=0.0):
    """One prompt, two rollouts of two tokens; ``ratio`` moves the rollout at that place by that log-ratio, and the
    first rollout's reference is ``away`` from it."""
    old = np.array([[-0.5, -1.0], [-0.7, -0.3]])
    logp = old.copy()
    if ratio is not None:
        logp[ratio[0]] += ratio[1]
    reference = old - np.array([[away], [0.0]])
    return LossBatch(logp, old, np.asarray(rewards), np.ones((2, 2), bool), 2, reference)


def whole_both_signs(target, rewards, away):
    """On policy the better rollout of a pair is pushed up and the worse one down, wherever the reference stands."""
    pushes = target.weights(_pairs(rewards, away=away))[1].sum(-1)
    order = np.sign(np.asarray(rewards) - np.mean(rewards))
    assert np.all(pushes * order >= -1e-12), pushes


def whole_on_policy_unclipped(target, rewards):
    """On policy the weights are those of the same estimator with its clip removed."""
    wide = catalogue.get(target.name, clip_low=1.0, clip_high=1e6)
    free = type(target)(wide, target.signature, target.library, target.name)
    found, wanted = target.weights(_pairs(rewards))[1], free.weights(_pairs(rewards))[1]
    assert np.allclose(found, wanted, atol=1e-12)
    assert np.any(np.abs(wanted) > 1e-6)


def whole_zero_beyond_clip(target, rewards):
    """The better rollout above the clip, and the worse one below it, have weight zero."""
    better = int(np.argmax(rewards))
    above = target.weights(_pairs(rewards, (better, np.log(2.0))))[1]
    below = target.weights(_pairs(rewards, (1 - better, np.log(0.4))))[1]
    assert np.allclose(above[better], 0, atol=1e-12)
    assert np.allclose(below[1 - better], 0, atol=1e-12)


def _rewards(target):
    return st.fixed_dictionaries({"rewards": st.sampled_from([(1.0, 0.0), (0.0, 1.0)])})


def _moved(target):
    moves = st.sampled_from([0.0, 0.1, 3.0, -3.0])
    return st.fixed_dictionaries({"rewards": st.sampled_from([(1.0, 0.0), (0.0, 1.0)]), "away": moves})


def _as_law(name, check, examples):
    def checked(target, **example):
        from gradvar.testing.laws import Broken

        try:
            check(target, **example)
        except AssertionError as error:
            raise Broken(str(error) or name) from error

    return Law(name, checked, examples)


WHOLE = {
    "both_signs": _as_law("both_signs", whole_both_signs, _moved),
    "on_policy_unclipped": _as_law("on_policy_unclipped", whole_on_policy_unclipped, _rewards),
    "zero_beyond_clip": _as_law("zero_beyond_clip", whole_zero_beyond_clip, _rewards),
}


def test_no_estimator_is_left_out():
    tested = {param.values[0] for param in declared()}
    assert tested == set(NAMES)
    for name in NAMES:
        laws = catalogue.get(name).laws
        assert set(laws) <= set(LAWS), name
        if "reward_parts" not in catalogue.get(name).needs:  # several rewards have no one grad J
            assert set(STATISTICAL_LAWS) <= set(laws), name
        assert "masked_inert" in laws, name


def test_no_law_is_left_out():
    """Every law of the kit is declared by some estimator, or cannot be broken in the catalogue's own
    layout."""
    elsewhere = {
        "ragged_groups", "duplicate_prompts",  # rewards are [Q, G] here, without prompt ids
        "kl_direction",  # declared where beta is not zero: the test below
        # about functions as trainers write them, with masks, counts and old log-probabilities of their own
        "empty_rows_silent", "empty_batch_finite", "advantages_as_given", "every_token_weighs", "rows_isolated",
        "arrays_matter", "entropy_raises", "second_mask_counts", "sampler_corrects",
        "unequal_rewards_differ", "one_baseline", "rejected_rows_silent", "few_tokens",
        "empty_mask_finite", "masked_tokens_zero", "length_free", "hole_reward_counts", "hole_ends_nothing",
        "clip_form", "kl_term", "token_count_divides",
        "half_precision_weights",
        "half_precision", "recovers_beyond_clip", "aggregation", "empty_rows_finite",  # may be planted only
    }  # fmt: skip
    used = {law for name in NAMES for law in catalogue.get(name).laws}
    # whoever names an estimator asks for the first; the others are about targets, and about further kinds
    asked_for = {*ORACLE_LAWS, *TARGET_LAWS, *KIND_LAWS}
    assert used | elsewhere | asked_for >= set(LAWS)
    assert {law.name for law in (*ADVANTAGE, *LOSS)} == set(LAWS) - asked_for


@pytest.mark.parametrize("name", ["grpo", pytest.param("dapo", marks=pytest.mark.slow)])
def test_the_penalty_pulls_towards_the_reference(name):
    if "beta" not in catalogue.describe(name).settings:
        pytest.skip("no penalty")
    assert catalogue.get(name, beta=0.1).laws["kl_direction"]
    result = check_law(LOSS_BY_NAME["kl_direction"], loss_case(name, beta=0.1), True, examples=SAMPLED)
    assert result.status == "holds", result.why
    assert not result.why
