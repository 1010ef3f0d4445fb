"""Diagnostics against enumeration and against what must add up."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.gradients.sketch import PerToken
from gradvar.measure.bank.diagnose import (
    contribution,
    effective_groups,
    noise_scale,
    variance_by_layer,
    variance_by_position,
)
from gradvar.measure.bank.record import record
from gradvar.measure.exact.enumerate import exact


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
