"""What a bank reports against loops over its recorded scores."""

import warnings

import numpy as np
import pytest

from gradvar import catalogue
from gradvar.measure.bank.partition import draw_partition
from gradvar.measure.bank.summary import sequence_rows
from gradvar.stats.figures import BlockSums, figures, leave_one_out
from tests.faults.scenes import unsharded


def test_a_bank_by_hand():
    """Every deal, group and prompt in loops over the recorded scores: leave-one-out and centred rewards in pairs."""
    bank = unsharded()
    rollouts, scores = bank.rollouts, bank.recording.scores
    size, *_ = rollouts.shape
    vectors = np.einsum("qnm,qmp->qnp", sequence_rows(bank.recording), np.asarray(scores.vectors, np.float64))
    rewards, truth = np.asarray(rollouts.rewards, np.float64), np.asarray(scores.true_gradient, np.float64)
    estimators = {"rloo": 1.0, "dr_grpo": 0.5}
    with warnings.catch_warnings(action="ignore"):  # few prompts
        found = bank.evaluate(
            [catalogue.get(name) for name in estimators], [2], replicates=56, independent="prompts", seed=3
        )
    plan = draw_partition(np.random.default_rng((3, 2)), rollouts.shape, 2, 1, 56)
    assert (plan.deals, plan.batches) == (4, 2)
    for name, factor in estimators.items():
        gradients = np.zeros((plan.deals, size, 2, vectors.shape[-1]))
        for deal, q, k in np.ndindex(plan.deals, size, 2):
            i, j = plan.orders[deal, q, 2 * k : 2 * k + 2]
            gradients[deal, q, k] = (
                factor * (rewards[q, i] - rewards[q, j]) * (vectors[q, i] - vectors[q, j]) / 2
            )
        sums = gradients.sum((0, 2))
        blocks = BlockSums(
            count=np.full(size, 8.0),
            gram=sums @ sums.T,
            squares=(gradients**2).sum((0, 2, 3)),
            pairs=(gradients[:, :, 0] * gradients[:, :, 1]).sum(-1).sum(0),
            aligned=sums @ truth,
            truth=np.asarray(truth @ truth),
            truth_known=True,
        )
        values, errors = figures(blocks)
        got = found[name, 2]
        assert (got.dof, got.replicates, got.prompts) == (size - 1, 56, 1)
        np.testing.assert_allclose(got.mean, sums.sum(0) / (8 * size), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(got.mean_se, sums.std(0, ddof=1) / 8 / size**0.5, rtol=1e-5, atol=1e-8)
        for figure in values:
            assert getattr(got, figure) == pytest.approx(float(values[figure]), rel=1e-4, abs=1e-7), figure
            assert got.se[figure] == pytest.approx(float(errors[figure]), rel=1e-4, abs=1e-7), figure
            np.testing.assert_allclose(
                found.parts[name, 2][figure], leave_one_out(blocks)[figure], rtol=1e-3, atol=1e-7
            )
