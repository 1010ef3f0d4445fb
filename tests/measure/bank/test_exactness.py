"""The bank against enumeration, against autodiff batch by batch, and what it must refuse."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.compose import compose
from gradvar.measure.bank import block_sums
from gradvar.measure.bank.block_sums import large_quadratics, quadratics
from gradvar.measure.bank.coefficients import row_coefficients
from gradvar.measure.bank.data import batch_of
from gradvar.measure.bank.partition import draw_partition
from gradvar.measure.bank.record import record
from gradvar.measure.bank.recorder import RecordSettings
from gradvar.measure.exact.closed_forms import ustatistic_law, ustatistic_numbers
from gradvar.measure.exact.enumerate import exact
from gradvar.measure.exact.tables import exact_tables
from gradvar.policies import Bandit
from gradvar.stats.figures import FIGURES
from gradvar.tasks import Bandit as RewardTable

pytestmark = pytest.mark.slow

# Six figures of four estimators at two sizes, seeds fixed: |z| < 4.5 has probability above 0.9995 for all of them.
LIMIT = 4.5


def z_scores(measured, truth):
    return {
        f: (getattr(measured, f) - getattr(truth, f)) / measured.se[f]
        for f in FIGURES
        if measured.se[f] > 1e-12
    }


@pytest.fixture(scope="module")
def evaluation(bank, estimators):
    return bank.evaluate(estimators, [2, 3], prompts=1)


@pytest.mark.parametrize("group", [2, 3])
@pytest.mark.parametrize("name", ["rloo", "grpo", "dapo", "ppo"])
def test_agrees_with_enumeration_off_policy(evaluation, tables, name, group):
    truth = exact(catalogue.get(name), tables=tables, group_size=group)
    for figure, z in z_scores(evaluation[name, group], truth).items():
        assert abs(z) < LIMIT, (figure, z)
    error = np.abs(evaluation[name, group].mean - truth.mean) / np.maximum(
        evaluation[name, group].mean_se, 1e-12
    )
    assert np.median(error) < 1.5  # its median is 0.67 for normal errors


def test_batches_of_several_prompts(bank, tables):
    coupled, alone = catalogue.get("dapo"), catalogue.get("rloo")
    found = bank.evaluate([coupled, alone], [2], prompts=2)
    for estimator in (coupled, alone):
        truth = exact(estimator, tables=tables, group_size=2, prompts=2)
        for figure, z in z_scores(found[estimator.name, 2], truth).items():
            assert abs(z) < LIMIT, (estimator.name, figure, z)
    # Prompts that do not touch each other are counted one by one: as many blocks as prompts, not as batches.
    assert found["rloo", 2].dof == 199
    assert found["dapo", 2].dof == 99


def test_rejects_a_wrong_estimator(bank, tables):
    """Planted violator: leave-one-out with its factor G/(G-1) forgotten is told from the right one."""
    right = catalogue.get("rloo")
    wrong = compose(
        **{**right.parts, "advantage": catalogue.get("dr_grpo").parts["advantage"]}, name="forgotten"
    )
    found = bank.evaluate([wrong], [2])["forgotten", 2]
    z = z_scores(found, exact(right, tables=tables, group_size=2))
    assert abs(z["trace_cov"]) > 2 * LIMIT
    assert abs(z["bias_factor"]) > 2 * LIMIT


def test_one_prompt_and_errors_over_rollouts():
    policy, task = Bandit(4), RewardTable([1.0, 0.0, 0.5, 0.0])
    params = policy.init(jax.random.key(2))
    bank = record(policy, params, task, jax.random.key(3), task.all_prompts(), 1024)
    found = bank.evaluate([catalogue.get("rloo"), catalogue.get("grpo")], [2, 4])
    assert found.independent == "rollouts"
    for name, group in found:
        truth = exact(catalogue.get(name), policy, params, task, group, prompts=np.array([0]))
        for figure, z in z_scores(found[name, group], truth).items():
            assert abs(z) < LIMIT, (name, group, figure, z)


def test_naive_overlapping_groups_are_too_sure():
    """Groups that share rollouts are dependent: the variance over all of them is Var_G - Var_N, low by about
    G/N."""
    policy, task = Bandit(4), RewardTable([1.0, 0.0, 0.5, 0.0])
    params, estimator, group, size = policy.init(jax.random.key(2)), catalogue.get("rloo"), 4, 16
    truth = exact(estimator, policy, params, task, group, prompts=np.array([0])).trace_cov
    bank = record(policy, params, task, jax.random.key(3), jnp.zeros(300, int), size)
    plan = draw_partition(np.random.default_rng(0), bank.rollouts.shape, group, 1, 300 * 4 * 50)
    coefs, _ = row_coefficients(bank.recording, {"rloo": estimator}, plan)
    gram = bank.recording.scores.set_gram(1)
    groups = plan.row_groups(size, bank.recording.rows.rollout)
    squares, together = (np.asarray(x)[0] for x in quadratics(coefs, groups, gram, jnp.arange(4)))
    mean = np.asarray(coefs)[0].sum(0) / (len(plan.orders) * 4)
    naive = squares.mean((0, 2)) - np.einsum("qm,qmn,qn->q", mean, gram, mean)
    ours = squares.mean((0, 2)) - (together - squares.sum(-1)).mean(0) / 12
    error = np.std(ours, ddof=1) / np.sqrt(len(ours))
    assert abs(np.mean(ours) - truth) < LIMIT * error
    assert np.mean(naive) < truth - LIMIT * error
    tables = exact_tables(policy, params, task)
    numbers = ustatistic_numbers(
        *(np.asarray(x[0]) for x in (tables.probs, tables.rewards, tables.scores.sum(2)))
    )
    expected = truth - ustatistic_law(numbers, size).trace_cov
    spread = np.std(naive, ddof=1) / np.sqrt(len(naive))
    assert (
        abs(np.mean(naive) - expected) < LIMIT * spread + 0.02 * truth
    )  # 200 of the 1820 groups, drawn anew


def test_every_batch_equals_autodiff(scene, bank, estimators, monkeypatch):
    """||ghat||^2 of single batches, against the derivative of the objective through the policy."""
    prompts, group = 2, 3
    plan = draw_partition(np.random.default_rng(1), bank.rollouts.shape, group, prompts, 1)
    coefs, _ = row_coefficients(bank.recording, {e.name: e for e in estimators}, plan)
    groups = plan.row_groups(16, bank.recording.rows.rollout)
    by_set, members = (
        coefs.reshape(len(estimators), 1, plan.prompt_sets, -1),
        groups.reshape(1, plan.prompt_sets, -1),
    )
    gram = bank.recording.scores.set_gram(prompts)
    squares, together = quadratics(by_set, members, jnp.asarray(gram), jnp.arange(plan.batches))
    for gather in (0, 10**9):  # parts cut out of the Gram matrix, and all of it
        monkeypatch.setattr(block_sums, "_GATHER", gather)
        others = large_quadratics(np.asarray(by_set), members, gram, plan.batches)
        for one, two in zip((squares, together), others, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)
    sums = block_sums.block_sums(bank.recording, coefs, plan)
    for at, of_set in enumerate(np.asarray(squares)[0, 0, :3]):
        others = [x * y for i, x in enumerate(of_set) for y in of_set[i + 1 :]]  # of every pair of batches
        assert sums.joint[0, at] / (sums.count[at] / 2) == pytest.approx(np.mean(others))
    arrays = bank.rollouts.objective_arrays()
    for at, batch_number in ((0, 0), (7, 2), (50, 4)):
        rows = np.arange(at * prompts, (at + 1) * prompts)
        picks = plan.orders[0, rows, batch_number * group : (batch_number + 1) * group]
        _, batch = batch_of(
            {n: x[rows] if x.ndim == 1 else x[rows[:, None], picks] for n, x in arrays.items()}
        )
        completions = bank.rollouts.completions[rows[:, None], picks]
        for e, estimator in enumerate(estimators):

            def value(params, estimator=estimator, batch=batch, rows=rows, completions=completions):
                return estimator(
                    scene.policy.logprobs(params, bank.rollouts.prompts[rows], completions), batch
                )

            gradient = jax.grad(value)(scene.params)
            assert float(squares[e, 0, at, batch_number]) == pytest.approx(
                float((gradient**2).sum()), rel=1e-9, abs=1e-14
            )


def test_refuses_what_the_basis_does_not_span(scene):
    bank = record(scene.policy, scene.params, scene.task, jax.random.key(1), 8, 8, old_params=scene.old)
    bank.evaluate([catalogue.get("reinforce")], [2])
    with pytest.raises(ValueError, match=r"basis leaves .* of 'grpo' unexplained"):
        bank.evaluate([catalogue.get("grpo")], [2])


def test_cuts_serve_every_clip_at_them(scene):
    cuts = (0.8, 0.9, 1.1, 1.2)
    bank = record(
        scene.policy,
        scene.params,
        scene.task,
        jax.random.key(1),
        8,
        8,
        old_params=scene.old,
        settings=RecordSettings(cuts=cuts),
    )
    settings = {
        f"{a}-{b}": catalogue.get("grpo", clip_low=a, clip_high=b) for a in (0.1, 0.2) for b in (0.1, 0.2)
    }
    found = bank.evaluate(settings, [2, 4])
    assert max(found.residual.values()) < 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_sizes": [9]}, "group_sizes: 9 needs at least 18 rollouts"),
        ({"group_sizes": [1]}, "rloo needs at least 2"),
        ({"prompts": 300}, "fewer than 2 batches of 300"),
        ({"independent": "time"}, "independent: 'time'"),
        ({"estimators": []}, "none given"),
    ],
)
def test_bad_requests_get_one_clear_line(bank, change, message):
    request = {"estimators": [catalogue.get("rloo")], "group_sizes": [2], "independent": "prompts"} | change
    with pytest.raises(ValueError, match=message) as caught:
        bank.evaluate(request.pop("estimators"), request.pop("group_sizes"), **request)
    assert "\n" not in str(caught.value)


def test_two_slices_give_no_error_bars_and_say_so(scene):
    """Of two independent slices there is no jackknife: figures stand, errors are NaN, and a warning says what to do."""
    bank = record(scene.policy, scene.params, scene.task, jax.random.key(2), scene.task.all_prompts(), 8)
    rloo = [catalogue.get("rloo")]
    with pytest.warns(UserWarning, match="record 12 rollouts"):
        found = bank.evaluate(rloo, [2, 4], independent="rollouts")
    assert np.isfinite(found["rloo", 4].trace_cov)
    assert np.isnan(found["rloo", 4].se["trace_cov"])
    assert np.isfinite(found["rloo", 2].se["trace_cov"])


def test_one_rule_for_intervals(scene):
    """An evaluation and the moments in it give the same interval of every figure."""
    bank = record(scene.policy, scene.params, scene.task, jax.random.key(2), 40, 8)
    found = bank.evaluate([catalogue.get("rloo")], [2])
    for figure in ("trace_cov", "between", "within", "signal", "snr", "bias_factor"):
        mine = found.estimate(("rloo", 2), figure)
        np.testing.assert_allclose((mine.low, mine.high), found["rloo", 2].interval(figure))
