"""How rollouts are dealt into batches, and the sums over blocks of the batches' gradients, against loops over them."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.measure.bank import block_sums as module
from gradvar.measure.bank.block_sums import batch_squares, block_sums, mean_gradients, sketch_errors
from gradvar.measure.bank.coefficients import deal_weights
from gradvar.measure.bank.partition import Partition, draw_partition
from gradvar.measure.bank.scores import SketchedScores, WholeScores

SIZE, ROLLOUTS, ROWS, PARAMS = 5, 9, 10, 4
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(SIZE, ROWS, PARAMS))
ROLLOUT = np.tile([0, 1, 2, 3, 4, 5, 6, 7, 8, 3], (SIZE, 1))  # of each row; the fourth rollout has two
TRUE = np.array([0.5, -1.0, 2.0, 0.25])


def recording(scores):
    rollouts = SimpleNamespace(shape=(SIZE, ROLLOUTS, 3), on_policy=True)
    return SimpleNamespace(rollouts=rollouts, rows=SimpleNamespace(rollout=ROLLOUT), scores=scores)


@pytest.mark.parametrize(("prompts", "slices", "replicates"), [(1, 1, 61), (2, 1, 17), (2, 2, 4), (1, 4, 1)])
def test_deals_are_permutations_cut_into_groups(prompts, slices, replicates):
    """Groups of two of nine rollouts: four batches of each set of prompts in a deal, one rollout left over."""
    plan = draw_partition(np.random.default_rng(1), (SIZE, ROLLOUTS, 3), 2, prompts, replicates, slices)
    sets = SIZE // prompts
    assert (plan.prompt_sets, plan.dealt_prompts, plan.batches) == (sets, sets * prompts, 4)
    assert plan.deals == {61: 4, 17: 3, 4: 1, 1: 1}[replicates]
    assert plan.replicates == plan.deals * sets * 4
    assert (plan.group_size, plan.prompts, plan.slices) == (2, prompts, slices)
    groups, rows = plan.groups(ROLLOUTS), plan.row_groups(ROLLOUTS, ROLLOUT)
    assert groups.shape == (plan.deals, sets * prompts, ROLLOUTS)
    for deal, q in np.ndindex(plan.orders.shape[:2]):
        order = plan.orders[deal, q].tolist()
        assert len(set(order)) == 8
        width = ROLLOUTS // slices
        for place, rollout in enumerate(order):
            assert groups[deal, q, rollout] == place // 2
            assert rollout // width == place // (8 // slices)  # groups stay in their slice
        assert [groups[deal, q, i] for i in range(ROLLOUTS) if i not in order] == [-1]
        assert rows[deal, q].tolist() == [groups[deal, q, i] for i in ROLLOUT[q]]
    if plan.deals > 1:
        assert len({tuple(order) for order in plan.orders.reshape(-1, 8).tolist()}) > plan.deals


def test_what_cannot_be_dealt():
    rng = np.random.default_rng(0)
    assert draw_partition(rng, (2, 8, 1), 4, 2, 1).replicates == 2
    assert draw_partition(rng, (2, 8, 1), 4, 2, 1, slices=2).replicates == 2
    assert draw_partition(rng, (1, 8, 1), 1, 1, 0).deals == 1
    with pytest.raises(ValueError, match=r"prompts: 3 in a batch, and the bank has 2; record more"):
        draw_partition(rng, (2, 8, 1), 4, 3, 1)
    for rollouts, group_size, slices in ((7, 4, 1), (9, 5, 2), (8, 3, 4), (3, 4, 1)):
        line = (
            f"group_sizes: {group_size} needs at least {2 * group_size} rollouts .* the bank has {rollouts};"
        )
        with pytest.raises(ValueError, match=line):
            draw_partition(rng, (2, rollouts, 1), group_size, 1, 1, slices)


def gradients(coefficients, plan):
    """Each batch's gradient [estimator, deal, set, batch, param], row by row; and each prompt's part of it."""
    groups = plan.row_groups(ROLLOUTS, ROLLOUT)
    apart = np.zeros((2, plan.deals, plan.dealt_prompts, plan.batches, PARAMS))
    for e, deal, q, m in np.ndindex(coefficients.shape):
        if (batch := groups[deal, q, m]) >= 0:
            apart[e, deal, q, batch] += coefficients[e, deal, q, m] * VECTORS[q, m]
    whole = apart.reshape(2, plan.deals, plan.prompt_sets, plan.prompts, plan.batches, PARAMS).sum(3)
    return whole, apart


def across(sums):
    """Each block's products with the others."""
    return [sum(x @ y for j, y in enumerate(sums) if j != i) for i, x in enumerate(sums)]


def scene(prompts, slices=1, replicates=20):
    plan = draw_partition(np.random.default_rng(2), (SIZE, ROLLOUTS, 3), 2, prompts, replicates, slices)
    coefficients = np.random.default_rng(3).normal(size=(2, plan.deals, plan.dealt_prompts, ROWS))
    coefficients[..., 1] = 0.0  # a row that no estimator uses
    coefficients[..., 2:4] = [1.0, -1.0]  # rows that all use alike
    return plan, coefficients


@pytest.mark.parametrize("prompts", [1, 2])
def test_sums_over_sets_of_prompts(monkeypatch, prompts):
    monkeypatch.setattr(module, "_LARGE_SET", 0)  # without a compiled program
    plan, coefficients = scene(prompts)
    scores = WholeScores(vectors=VECTORS, truth=VECTORS @ TRUE, true_gradient=TRUE)
    found, (whole, _) = block_sums(recording(scores), coefficients, plan), gradients(coefficients, plan)
    sets, each = plan.prompt_sets, plan.deals * plan.batches
    assert found.truth_known
    assert found.pieces is None
    np.testing.assert_allclose(found.count, [float(each)] * sets)
    np.testing.assert_allclose(found.truth, TRUE @ TRUE)
    for e in range(2):
        sums = whole[e].sum((0, 2))  # [set, param]
        np.testing.assert_allclose(found.gram.diagonal[e], [x @ x for x in sums])
        np.testing.assert_allclose(found.gram.others[e], across(sums))
        np.testing.assert_allclose(found.aligned[e], sums @ TRUE)
        for s in range(sets):
            of_deals = [list(whole[e, deal, s]) for deal in range(plan.deals)]
            apart = [
                (a, b) for deal in of_deals for i, a in enumerate(deal) for j, b in enumerate(deal) if i != j
            ]
            assert found.squares[e, s] == pytest.approx(sum(g @ g for deal in of_deals for g in deal))
            assert found.pairs[e, s] == pytest.approx(np.mean([a @ b for a, b in apart]) * each / 2)
            assert found.joint[e, s] == pytest.approx(
                np.mean([(a @ a) * (b @ b) for a, b in apart]) * each / 2
            )


def test_sums_over_slices_of_rollouts(monkeypatch):
    monkeypatch.setattr(module, "_LARGE_SET", 0)
    plan, coefficients = scene(SIZE, slices=4)
    scores = WholeScores(vectors=VECTORS, truth=VECTORS @ TRUE, true_gradient=TRUE)
    found, (whole, apart) = block_sums(recording(scores), coefficients, plan), gradients(coefficients, plan)
    np.testing.assert_allclose(found.count, [plan.deals * 1.0] * 4)
    assert found.pairs is None
    for e in range(2):
        sums = whole[e].sum((0, 1))  # [slice, param]: of four batches each is a slice
        np.testing.assert_allclose(found.gram[e], [[x @ y for y in sums] for x in sums])
        np.testing.assert_allclose(found.aligned[e], sums @ TRUE)
        np.testing.assert_allclose(found.squares[e], (whole[e] ** 2).sum((0, 1, 3)))
        parts = apart[e].sum(0).swapaxes(0, 1)  # [slice, prompt, param]
        np.testing.assert_allclose(found.pieces[e], np.linalg.norm(parts, axis=-1).ravel())


@pytest.mark.parametrize(("prompts", "slices"), [(2, 1), (1, 1), (SIZE, 4)])
def test_sums_beside_a_reference(monkeypatch, prompts, slices):
    """Where grad J is not known, all products are with the reference's own sums over as many batches."""
    monkeypatch.setattr(module, "_LARGE_SET", 0)
    plan, coefficients = scene(prompts, slices)
    reference = np.random.default_rng(4).normal(size=(slices, plan.dealt_prompts, ROWS))
    monkeypatch.setattr(module, "_reference", lambda recording, partition: reference)
    found = block_sums(recording(WholeScores(vectors=VECTORS)), coefficients, plan)
    whole, _ = gradients(coefficients, plan)
    assert not found.truth_known
    by_prompt = np.einsum("kqm,qmp->kqp", reference, VECTORS[: plan.dealt_prompts])
    blocks = by_prompt.sum(1) if slices > 1 else by_prompt[0].reshape(plan.prompt_sets, prompts, -1).sum(1)
    others = blocks * found.count[0] / prompts
    for e in range(2):
        sums = whole[e].sum((0, 1)) if slices > 1 else whole[e].sum((0, 2))
        if slices > 1:
            np.testing.assert_allclose(found.aligned[e], sums @ others.T)
            np.testing.assert_allclose(found.truth[e], others @ others.T)
        else:
            np.testing.assert_allclose(found.aligned.diagonal[e], (sums * others).sum(-1))
            np.testing.assert_allclose(found.truth.diagonal[e], (others**2).sum(-1))
            np.testing.assert_allclose(found.truth.others[e], across(others))


@pytest.mark.parametrize("gather", [0, 10**9])
@pytest.mark.parametrize("large", [0, 10**9])
def test_squares_of_batches_by_any_way(monkeypatch, large, gather):
    monkeypatch.setattr(module, "_LARGE_SET", large)
    monkeypatch.setattr(module, "_GATHER", gather)
    plan, coefficients = scene(2)
    (whole, _), sets = gradients(coefficients, plan), plan.prompt_sets
    groups = plan.row_groups(ROLLOUTS, ROLLOUT).reshape(plan.deals, sets, -1)
    gram = WholeScores(vectors=VECTORS).set_gram(2)
    by_set = coefficients.reshape(2, plan.deals, sets, -1)
    squares, sums = batch_squares(by_set, groups, gram, plan.batches)
    np.testing.assert_allclose(squares, (whole**2).sum(-1))
    np.testing.assert_allclose(sums, (whole.sum(3) ** 2).sum(-1))
    if large == 0:
        alone, left = batch_squares(by_set, groups, gram, plan.batches, together=False)
        np.testing.assert_allclose(alone, squares)
        assert not left.any()


def test_sets_of_many_rows_meet_only_what_they_need(monkeypatch):
    """Multiplied with zeros up to so many rows of a set; of those in large sets up to so many batches, squared, times
    estimators."""
    seen = []
    monkeypatch.setattr(
        module, "large_quadratics", lambda *x, **y: seen.append(y) or (np.zeros(1), np.zeros(1))
    )
    monkeypatch.setattr(module, "quadratics", lambda *x: (np.ones(1), np.ones(1)))
    for rows, is_large in ((1024, False), (1025, True)):
        shape = (1, 1, 1, rows)
        squares, _ = batch_squares(
            np.zeros(shape), np.zeros(shape[1:], int), np.zeros((1, 1, 1)), 2, together=False
        )
        assert bool(squares[0]) != is_large
    assert seen == [{"together": False}]


def test_mean_gradients():
    for prompts, slices in ((1, 1), (2, 1), (2, 2)):
        plan, coefficients = scene(prompts, slices)
        groups = plan.row_groups(ROLLOUTS, ROLLOUT)
        coefficients = np.where(groups >= 0, coefficients, 0.0)
        means, errors = mean_gradients(recording(WholeScores(vectors=VECTORS)), coefficients, plan)
        whole, _ = gradients(coefficients, plan)
        for e in range(2):
            of_sets = whole[e].sum((0, 2)) / (plan.deals * plan.batches)  # [set, param]
            if slices > 1:
                np.testing.assert_allclose(means[e], of_sets.sum(0))
                assert np.isnan(errors[e]).all()
            else:
                np.testing.assert_allclose(means[e], of_sets.mean(0))
                spread = ((of_sets - of_sets.mean(0)) ** 2).sum(0) / (len(of_sets) - 1)
                np.testing.assert_allclose(errors[e], np.sqrt(spread / len(of_sets)))
    sketched = recording(SketchedScores(vectors=VECTORS, label="sketch"))
    for found in mean_gradients(sketched, coefficients, plan):
        assert found.shape == (2, 0)


def test_the_error_of_a_sketch_is_asked_of_the_first_deal(monkeypatch):
    plan, coefficients = scene(1, replicates=61)
    assert plan.deals == 4
    assert sketch_errors(recording(WholeScores(vectors=VECTORS)), coefficients, plan).tolist() == [0.0, 0.0]
    held = SketchedScores(vectors=VECTORS, label="sketch")
    for most in (16, 3):
        monkeypatch.setattr(module, "_SKETCH_BATCHES", most)
        groups = plan.row_groups(ROLLOUTS, ROLLOUT)[0]
        members = np.array([groups == batch for batch in range(min(4, most))])
        expected = held.relative_error(coefficients[:, 0], members, SIZE)
        np.testing.assert_allclose(sketch_errors(recording(held), coefficients, plan), expected)
    assert isinstance(plan, Partition)


def test_token_weights_of_batches_by_loops():
    """Two sets of two prompts, two groups of three rollouts: rewards less the prompt's own number, times the batch's
    mean reward; so that every batch has its own prompts and rollouts."""
    rng = np.random.default_rng(5)
    arrays = {"rewards": rng.normal(size=(4, 7)), "greedy_rewards": rng.normal(size=4)}
    logs = dict.fromkeys(("logp", "logp_old", "logp_ref"), np.zeros((4, 7, 2)))
    arrays |= logs | {"mask": rng.random((4, 7, 2)) < 0.7}
    order = np.array([rng.permutation(7)[:6] for _ in range(4)])

    def objective(logp, batch):
        advantage = (batch.rewards - batch.greedy_rewards[:, None]) * batch.rewards.mean()
        return (advantage[..., None] * batch.mask * logp).sum()

    held = {name: jnp.asarray(x) for name, x in arrays.items()}
    found = np.asarray(deal_weights((SimpleNamespace(objective=objective),), held, order, 3, 2))
    assert found.shape == (1, 4, 6, 2)
    for q, place in np.ndindex(4, 6):
        batch, prompts = place // 3, [q // 2 * 2, q // 2 * 2 + 1]
        mean = np.mean(
            [arrays["rewards"][p, n] for p in prompts for n in order[p, 3 * batch : 3 * batch + 3]]
        )
        n = order[q, place]
        advantage = (arrays["rewards"][q, n] - arrays["greedy_rewards"][q]) * mean
        np.testing.assert_allclose(found[0, q, place], advantage * arrays["mask"][q, n], rtol=1e-5, atol=1e-7)
