"""How an estimator is put together: what each piece is given, the order of the pieces, and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.batch import Batch
from gradvar.core.compose import batch_arrays, compose, corrected, no_correction, required
from gradvar.core.estimator import Estimator, Paper, as_estimator, check_group_size, token_weights

RNG = np.random.default_rng(0)
SHAPE = (2, 3, 2)
MASK = np.array([[[True, True], [True, False], [True, True]], [[True, False], [True, True], [True, True]]])
LOGP, OLD, REF, VALUES = (np.where(MASK, RNG.normal(size=SHAPE), np.nan) for _ in range(4))
REWARDS = RNG.normal(size=SHAPE[:2])
PARTS = RNG.normal(size=(*SHAPE[:2], 2))
BATCH = Batch(REWARDS, OLD, MASK, logp_ref=REF, values=VALUES, reward_parts=PARTS)


def centred(rewards):
    return rewards - rewards.mean(1, keepdims=True)


def ratio(logp, logp_old, advantages, mask):
    return jnp.exp(logp - logp_old) * advantages * mask


def total(tokens, mask):
    return jnp.sum(tokens * mask)


def numbers(x):
    return np.nan_to_num(np.asarray(x))


def test_the_objective_is_its_formula():
    """sum over chosen tokens of correction * exp(logp - old) * A - penalty, and no gradient through A or correction."""

    def select(rewards):
        return rewards > rewards.min()

    def correction(logp, logp_old):
        return 2.0 + logp - logp_old

    def penalty(logp, logp_ref, *, factor=0.3):
        return factor * (logp - logp_ref)

    def advantage(rewards, values, logp_old):
        return centred(rewards)[..., None] + values

    estimator = compose(
        advantage=advantage, surrogate=ratio, aggregate=total, penalty=penalty, correction=correction, select=select,
        name="mine", paper=Paper("a", "b", "c"), laws={"finite": True}, min_group=3,
    )  # fmt: skip
    logp, old, ref, values = map(numbers, (LOGP, OLD, REF, VALUES))
    rewards = np.array(REWARDS)
    chosen = MASK & (rewards > rewards.min())[..., None]
    assert chosen.sum() < MASK.sum()
    advantages = (REWARDS - REWARDS.mean(1, keepdims=True))[..., None] + values
    tokens = (2.0 + logp - old) * np.exp(logp - old) * advantages
    expected = ((tokens - 0.3 * (logp - ref)) * chosen).sum()
    assert float(estimator(jnp.asarray(LOGP), BATCH)) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(token_weights(estimator, LOGP, BATCH), (tokens - 0.3) * chosen, rtol=1e-5)
    assert estimator.needs == ("values", "logp_ref")
    assert (estimator.name, estimator.paper.arxiv, dict(estimator.laws), estimator.min_group) == (
        "mine", "b", {"finite": True}, 3,
    )  # fmt: skip
    assert list(estimator.parts) == ["advantage", "surrogate", "correction", "penalty", "select", "aggregate"]
    assert repr(estimator) == "Estimator('mine')"


def test_pieces_that_are_left_out_do_nothing():
    plain = compose(advantage=centred, surrogate=ratio, aggregate=total)
    expected = (
        np.exp(numbers(LOGP) - numbers(OLD)) * (REWARDS - REWARDS.mean(1, keepdims=True))[..., None] * MASK
    ).sum()
    assert float(plain(jnp.asarray(LOGP), BATCH)) == pytest.approx(expected, rel=1e-6)
    assert (plain.name, plain.needs, plain.min_group, dict(plain.laws)) == ("composed", (), 2, {})
    assert plain.parts["correction"] is no_correction


def test_arguments_without_a_default_are_asked_for():
    def piece(rewards, /, lengths, *arrays, mask, eps=1.0, **others): ...

    assert required(piece) == ("lengths", "mask")
    assert required(partial(ratio, mask=1.0)) == ("logp", "logp_old", "advantages")


def test_what_no_piece_can_have_is_named():
    def wrong(rewards, tokens): ...

    def early(tokens, advantages, logp): ...

    for role in ("advantage", "select"):
        pieces = {"advantage": centred, "surrogate": ratio, "aggregate": total, role: wrong}
        with pytest.raises(
            TypeError, match=rf"^{role}: argument 'tokens' is not an array that compose provides \(rew"
        ):
            compose(**pieces)
    with pytest.raises(
        TypeError, match=r"aggregate: argument 'advantages' is not .*, tokens\); rename it, or bind it"
    ):
        compose(advantage=centred, surrogate=ratio, aggregate=early)
    for role in ("surrogate", "penalty", "correction"):
        pieces = {"advantage": centred, "surrogate": ratio, "aggregate": total, role: wrong}
        with pytest.raises(TypeError, match=rf"{role}: argument 'tokens' .*, logp, advantages\); rename"):
            compose(**pieces)


def test_arrays_by_name():
    """Masked positions are zero in arrays by token; parts of the reward have three axes and no token."""
    found = batch_arrays(BATCH, ("logp_ref", "values", "reward_parts"))
    assert sorted(found) == ["lengths", "logp_old", "logp_ref", "mask", "reward_parts", "rewards", "values"]
    for name, array in (("logp_ref", REF), ("values", VALUES), ("logp_old", OLD), ("reward_parts", PARTS)):
        np.testing.assert_allclose(found[name], numbers(array), rtol=1e-6)
    np.testing.assert_array_equal(found["lengths"], MASK.sum(2))
    assert set(batch_arrays(BATCH)) == {"lengths", "logp_old", "mask", "rewards"}
    with pytest.raises(
        ValueError, match=r"^baseline: the batch has none and this estimator needs it; pass Batch"
    ):
        batch_arrays(BATCH, ("values", "baseline"))


def test_a_correction_is_added_once():
    paper = Paper("title", "id")
    plain = compose(
        advantage=centred,
        surrogate=ratio,
        aggregate=total,
        name="mine",
        paper=paper,
        laws={"finite": True},
        min_group=1,
    )
    added = corrected(plain, lambda logp_sampler: logp_sampler, "bound")
    assert (added.name, added.needs, added.paper, added.min_group) == (
        "mine+bound",
        ("logp_sampler",),
        paper,
        1,
    )
    assert dict(added.laws) == {}  # what it keeps of them is not known
    assert corrected(plain, lambda mask: mask).name == "mine+corrected"
    with pytest.raises(ValueError, match=r"estimator: mine\+bound has a correction; give one that has none"):
        corrected(added, lambda mask: mask)
    with pytest.raises(
        ValueError, match=r"estimator: whole is one whole objective; give one that compose made"
    ):
        corrected(Estimator("whole", lambda logp, batch: logp.sum()), lambda mask: mask)


def test_objectives_of_ones_own():
    def mine(logp, batch):
        return (logp**2).sum()

    made = as_estimator(mine)
    assert (made.name, made.objective, made.min_group, made.needs, dict(made.laws)) == (
        "mine",
        mine,
        1,
        (),
        {},
    )
    assert as_estimator(made) is made
    assert as_estimator(partial(mine)).name == "objective"
    with pytest.raises(TypeError, match=r"estimator: 'grpo' is not callable; give gv\.catalogue\.get"):
        as_estimator("grpo")
    assert made != as_estimator(mine)  # by identity
    np.testing.assert_allclose(token_weights(mine, numbers(LOGP), BATCH), 2 * numbers(LOGP), rtol=1e-6)
    for wrong in (LOGP[:1], LOGP[..., :1], LOGP[..., 0], np.zeros((3, 3, 2))):
        with pytest.raises(ValueError, match=r"logp: shape \(.*\) does not match the batch's \(2, 3, 2\)"):
            token_weights(mine, wrong, BATCH)
    assert jax.numpy.asarray(made(jnp.ones((1, 1, 2)), BATCH)) == 2.0


def test_group_sizes():
    pair = Estimator("pair", lambda logp, batch: logp.sum())
    assert [check_group_size(pair, n) for n in (2, np.int64(5))] == [2, 5]
    assert type(check_group_size(pair, np.int64(2))) is int
    assert check_group_size(Estimator("one", pair.objective, min_group=1), 1) == 1
    with pytest.raises(ValueError, match=r"group_size: 1; pair needs at least 2 rollouts of a prompt"):
        check_group_size(pair, 1)
    for wrong in (0, 2.5, True, "2"):
        with pytest.raises(ValueError, match="group_size"):
            check_group_size(Estimator("one", pair.objective, min_group=1), wrong)
