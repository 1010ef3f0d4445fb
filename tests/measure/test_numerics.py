"""Numbers that overflow or round away: large groups, rewards far from zero, rewards that become one number; sums over
many prompts."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.precision import say_if_equal
from gradvar.measure.bank.scores import WholeScores
from gradvar.measure.bank.summary import across
from gradvar.measure.exact.closed_forms import four_number_law, four_numbers
from gradvar.measure.exact.enumerate import exact, scaled_product
from gradvar.measure.exact.tables import exact_tables, tabulate
from gradvar.policies import Bandit
from gradvar.stats.products import BlockProducts
from gradvar.tasks import Bandit as Rewards


@pytest.mark.parametrize("group", [171, 300])
def test_groups_beyond_the_largest_factorial_are_enumerated(group):
    """171! is no float: the enumeration ended in an OverflowError. The law has no factorial in it."""
    policy, task = Bandit(2), Rewards([1.0, 0.0])
    tables = exact_tables(policy, policy.init(jax.random.key(0)), task)
    parts = (np.asarray(x[0]) for x in (tables.probs, tables.rewards, tables.scores.sum(2)))
    law = four_number_law(four_numbers(*parts), group, lambda r: (r - r.mean()) * group / (group - 1))
    found = exact(catalogue.get("rloo"), tables=tables, group_size=group)
    assert found.bias_factor == pytest.approx(1, rel=1e-12)
    assert found.trace_cov == pytest.approx(law.trace_cov, rel=1e-10)


def test_products_of_thousands_of_chances_do_not_underflow():
    mantissa, exponent = scaled_product(np.full((2, 3000), [[0.3], [0.5]]))
    np.testing.assert_allclose(np.log(mantissa) + exponent * np.log(2), 3000 * np.log([0.3, 0.5]))


def test_grad_j_in_single_precision_does_not_see_an_offset():
    """Rewards about a million: products with scores were summed first and cancelled afterwards, wrong by 10 to 90 %."""
    rewards = np.random.default_rng(0).random((3, 4)).astype(np.float32) + np.float32(1e6)
    policy = Bandit(4, num_prompts=3)
    with jax.enable_x64(False):
        params = policy.init(jax.random.key(0))
        far, near = (
            np.asarray(tabulate(policy, params, Rewards(r)).gradients) for r in (rewards, rewards - 1e6)
        )
    np.testing.assert_allclose(far, near, atol=1e-5 * np.abs(near).max())


@pytest.mark.parametrize(
    ("rewards", "dtype"),
    [([100, 100.25], jnp.bfloat16), ([1e8, 1e8 + 1], np.float32), ([0, 1e8, 1e8 + 1], None)],
)
def test_rewards_that_become_one_number_are_said(rewards, dtype):
    """Every group of them was an equal one, without a word."""
    if dtype is None:
        say_if_equal(rewards, np.float32)  # a difference of 1e-8 of the spread is rounding
        return
    with pytest.warns(UserWarning, match=r"rewards: 100.* and 100.* are one number in"):
        say_if_equal(rewards, dtype)


def test_tasks_batches_and_banks_say_it():
    rewards = [1e8, 1e8 + 1]
    with jax.enable_x64(False):
        with pytest.warns(UserWarning, match="are one number in float32"):
            Batch(rewards=[rewards], logp_old=[[[-1.0], [-1.0]]])
        policy, task = Bandit(2), Rewards(rewards)
        with pytest.warns(UserWarning, match="are one number in float32"):
            task.reward(task.all_prompts(), policy.support()[None])
    with jax.enable_x64(True):
        Batch(rewards=[rewards], logp_old=[[[-1.0], [-1.0]]])
    Batch(rewards=[[0.1 + 0.2, 0.3, 1.0]], logp_old=np.zeros((1, 3, 1)))  # equal but for rounding


def test_block_products_are_those_of_the_matrix():
    rng = np.random.default_rng(0)
    first, second, count = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 3)), np.array([1.0, 2, 3, 1, 2])
    matrix = np.einsum("ebk,eck->ebc", first, second)
    for products in (BlockProducts.of(matrix), BlockProducts.of_vectors(first, second)):
        for left_out in (None, *range(5)):
            pairs = [(i, j) for i in range(5) for j in range(5) if i != j and left_out not in (i, j)]
            mean = sum(matrix[:, i, j] for i, j in pairs) / sum(count[i] * count[j] for i, j in pairs)
            found = products.across(count, leave_out=left_out is not None)[:, left_out or 0]
            np.testing.assert_allclose(found, mean, rtol=1e-12)
        np.testing.assert_allclose(products.diagonal, np.einsum("ebk,ebk->eb", first, second), rtol=1e-12)
    np.testing.assert_allclose(BlockProducts.of_vectors(first, first).norms(), np.linalg.norm(first, axis=-1))


def test_weighted_products_across_prompts():
    rng = np.random.default_rng(1)
    vectors, weight = rng.normal(size=(5, 3)), rng.random(5)
    products = vectors @ vectors.T
    for first, second in ((1.0, 1.0), (weight, weight), (weight, 1.0)):
        a, b = np.broadcast_to(first, 5), np.broadcast_to(second, 5)
        for left_out, found in zip((None, *range(5)), across(products, first, second), strict=True):
            kept = [i for i in range(5) if i != left_out]
            terms = [a[i] * b[j] * products[i, j] for i in kept for j in kept if i != j]
            np.testing.assert_allclose(found, np.mean(terms), rtol=1e-12)


@pytest.mark.parametrize("prompts", [1, 2])
def test_memory_of_products_grows_with_prompts_and_not_with_their_square(prompts):
    """Planted: all products of prompts, which took 0.3 GB for each estimator with 6,250 of them."""
    size = 2_000
    vectors = np.random.default_rng(0).normal(size=(size, 2, 4))
    scores, rows = WholeScores(vectors=vectors), np.ones((3, size, 2))

    def peak(run):
        tracemalloc.start()
        try:
            return run(), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    (found, least), (matrix, most) = peak(lambda: scores.set_products(rows, rows, prompts)), peak(
        lambda: scores.by_prompt(rows[0], rows[0])
    )  # fmt: skip
    assert most > 8 * size**2
    assert least < size**2
    sets = size // prompts
    by_set = matrix.reshape(sets, prompts, sets, prompts).sum((1, 3))
    np.testing.assert_allclose(found.diagonal[1], np.diag(by_set), rtol=1e-9)
    np.testing.assert_allclose(found.others[2], by_set.sum(1) - np.diag(by_set), rtol=1e-9, atol=1e-9)
