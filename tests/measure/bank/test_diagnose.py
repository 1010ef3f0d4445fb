"""Diagnostics against enumeration and against what must add up."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.gradients.sketch import PerToken
from gradvar.measure.bank import block_sums, diagnose
from gradvar.measure.bank.diagnose import (
    contribution,
    effective_groups,
    noise_scale,
    variance_by_layer,
    variance_by_position,
)
from gradvar.measure.bank.partition import draw_partition
from gradvar.measure.bank.record import record
from gradvar.measure.bank.scores import SketchedScores, WholeScores
from gradvar.measure.exact.enumerate import exact
from tests.measure.bank import test_sums as sums


@pytest.mark.slow
def test_noise_scale_splits_as_enumerated(bank, tables):
    grpo = catalogue.get("grpo")
    found, truth = noise_scale(bank, grpo, 2), exact(grpo, tables=tables, group_size=2)
    for estimate, right in (
        (found.prompts, truth.between / truth.signal),
        (found.rollouts, 2 * truth.within / truth.signal),
        (found.total, truth.trace_cov / truth.signal),
    ):
        assert abs(np.log(estimate.value / right)) < 4.5 * estimate.se / estimate.value


@pytest.mark.slow
def test_layers_add_up_and_positions_are_parts(scene, bank):
    params = scene.params.size
    shares = variance_by_layer(
        bank, {"first": slice(0, 7), "rest": slice(7, params)}, catalogue.get("grpo"), 2
    )
    assert sum(shares.values()) == pytest.approx(1, rel=1e-9)
    tokens = record(scene.policy, scene.params, scene.task, jax.random.key(1), 24, 8, scores=PerToken())
    parts = variance_by_position(tokens, [0, 1, 3], catalogue.get("rloo"), 2)
    assert all(0 < share < 1.5 for share in parts.values())
    whole = variance_by_position(tokens, [0, 3], catalogue.get("rloo"), 2)
    assert whole[0, 3] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"scores=Whole\(\)"):
        variance_by_layer(tokens, {}, catalogue.get("rloo"), 2)


@pytest.mark.slow
def test_contribution_of_the_clip_is_paired(bank):
    """Off policy, a tight clip changes the estimator; an estimator against itself has ratio 1 without any
    error."""
    grpo = catalogue.get("grpo")
    nothing = contribution(bank, grpo, grpo, 2)
    assert nothing["trace_cov"].ratio.value == 1
    assert nothing["trace_cov"].ratio.se == pytest.approx(0, abs=1e-12)
    assert 0 < effective_groups(bank, grpo, 2) < 1


def test_the_share_of_groups_that_carry_the_gradient_by_loops(monkeypatch):
    """The squared mean of ||g||^2 over the mean of its square, whatever the scale of the gradients."""
    monkeypatch.setattr(block_sums, "_LARGE_SET", 0)  # without a compiled program
    shape = (sums.SIZE, sums.ROLLOUTS, 3)
    plan = draw_partition(np.random.default_rng(0), shape, 2, 1, 30)
    coefficients = np.random.default_rng(1).normal(size=(1, plan.deals, sums.SIZE, sums.ROWS))
    groups, _ = sums.gradients(np.repeat(coefficients, 2, 0), plan)
    norms = [g @ g for g in groups[0].reshape(-1, sums.PARAMS)]
    share = sum(norms) ** 2 / len(norms) / sum(x**2 for x in norms)
    recording = sums.recording(WholeScores(vectors=sums.VECTORS))
    bank = SimpleNamespace(recording=recording, rollouts=recording.rollouts)
    for scale in (1.0, 1e-3):
        monkeypatch.setattr(
            diagnose, "row_coefficients", lambda *_, scale=scale: (scale * coefficients, None)
        )
        found = effective_groups(bank, catalogue.get("rloo"), 2, replicates=30)
        assert found == pytest.approx(share)


def test_parts_of_the_variance_are_of_parts_of_the_scores(monkeypatch):
    """With a variance that is the sum of squares of scores: parameters of a layer, rows of a position."""
    vectors, truth = np.random.default_rng(0).normal(size=(2, 3, 4)), np.arange(4.0)
    asked = []

    def variance(recording, scores, *rest):
        asked.append((scores, rest))
        return (scores.vectors**2).sum()

    monkeypatch.setattr(diagnose, "_variance", variance)
    held = WholeScores(vectors=vectors, truth=vectors @ truth, true_gradient=truth)
    bank = SimpleNamespace(recording=SimpleNamespace(scores=held))
    layers = {"a": slice(0, 1), "b": slice(1, 4)}
    shares = variance_by_layer(bank, layers, None, 2, replicates=7)
    for (name, part), (scores, rest) in zip({"": slice(None), **layers}.items(), asked, strict=True):
        assert rest == (None, 2, 7)
        np.testing.assert_allclose(scores.truth, vectors[..., part] @ truth[part])
        if name:
            assert shares[name] == pytest.approx((vectors[..., part] ** 2).sum() / (vectors**2).sum())
    position = np.array([[0, 1, 2], [2, 0, 1]])
    rows = SimpleNamespace(basis_index=position)
    tokens = SketchedScores(vectors=vectors, label="sketch tokens")
    bank = SimpleNamespace(recording=SimpleNamespace(scores=tokens, rows=rows), info={"map": "sketch"})
    by_position = variance_by_position(bank, [0, 1, 3], None, 2)
    squares = [(vectors[position == k] ** 2).sum() / (vectors**2).sum() for k in range(3)]
    assert by_position == pytest.approx({(0, 1): squares[0], (1, 3): squares[1] + squares[2]})
    bank.recording.scores = SketchedScores(vectors=vectors, label="sketch")
    with pytest.raises(ValueError, match=r"a bank of 'sketch' keeps no tokens apart; .*PerToken"):
        variance_by_position(bank, [0, 1], None, 2)
