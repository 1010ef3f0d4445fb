"""Weights of the current policy must be constants, which takes a library with gradients."""

import pytest

from gradvar.testing.kinds import check_kind

torch = pytest.importorskip("torch")


def with_gradient(log_probs, rollout_log_probs, mask, cap=2.0):
    gaps = (log_probs - rollout_log_probs).masked_fill(mask == 0, 0.0)
    return torch.exp(gaps).clamp(max=cap)


def detached(log_probs, rollout_log_probs, mask, cap=2.0):
    return with_gradient(log_probs, rollout_log_probs, mask, cap).detach()


def test_a_weight_that_carries_a_gradient_is_named():
    report = check_kind(with_gradient)
    assert {r.name for r in report.failures} == {"correction_detached"}


def test_a_detached_weight_passes():
    report = check_kind(detached)
    assert report.ok, report.table()
