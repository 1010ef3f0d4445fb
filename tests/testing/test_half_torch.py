"""Losses in half precision: an epsilon that is zero there and a sum beyond its range are found, sound losses pass."""

import pytest

from gradvar.testing.runner import check_loss

torch = pytest.importorskip("torch")


def _terms(logp, old_logp, advantages, mask):
    ratio = torch.exp((logp - old_logp).masked_fill(mask == 0, 0.0))
    a = advantages.unsqueeze(1)
    return -torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask


def row_means(slip):
    def loss(logp, old_logp, advantages, mask):
        counts = mask.sum(-1) + 1e-8 if slip else mask.sum(-1).clamp(min=1)
        return (_terms(logp, old_logp, advantages, mask).sum(-1) / counts).mean()

    return loss


def token_sum(slip):
    def loss(logp, old_logp, advantages, mask):
        terms = _terms(logp, old_logp, advantages, mask)
        return (terms * 1e6).sum() / 1e6 if slip else terms.sum()

    return loss


MAKERS = (row_means, token_sum)


@pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
def test_what_half_precision_cannot_hold_is_found(make):
    report = check_loss(make(True), laws=["half_precision_weights"], examples=20)
    assert [r.name for r in report.failures] == ["half_precision_weights"]


@pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
def test_a_sound_loss_passes(make):
    report = check_loss(make(False), laws=["half_precision_weights"], examples=20)
    assert report.ok, report.table()
