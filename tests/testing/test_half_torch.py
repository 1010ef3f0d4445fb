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
        counts = mask.sum(-1).to(logp.dtype) + 1e-8 if slip else mask.sum(-1).clamp(min=1)
        return (_terms(logp, old_logp, advantages, mask).sum(-1) / counts).mean()

    return loss


def token_sum(slip):
    def loss(logp, old_logp, advantages, mask):
        terms = _terms(logp, old_logp, advantages, mask)
        return (terms * 1e6).sum() / 1e6 if slip else terms.sum()

    return loss


def epsilon_beside_the_count(logp, old_logp, advantages, mask):
    """Sound for the masks of trainers, which are integers: their sum is in full precision."""
    return (_terms(logp, old_logp, advantages, mask).sum(-1) / (mask.sum(-1) + 1e-8)).mean()


def narrow_clip(logp, old_logp, advantages, mask):
    """GSPO's bounds, arXiv 2507.18071: half precision cannot tell on which side of them a ratio of one lies."""
    moves = (logp - old_logp).masked_fill(mask == 0, 0.0)
    counts = mask.sum(-1).clamp(min=1)
    ratio = torch.exp(moves.sum(-1) / counts)
    gain = torch.min(ratio * advantages, ratio.clamp(1 - 3e-4, 1 + 4e-4) * advantages)
    return -(gain * (mask.sum(-1) > 0)).mean()


MAKERS = (row_means, token_sum)


@pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
def test_what_half_precision_cannot_hold_is_found(make):
    report = check_loss(make(True), laws=["half_precision_weights"], examples=20)
    assert [r.name for r in report.failures] == ["half_precision_weights"]


@pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
def test_a_sound_loss_passes(make):
    report = check_loss(make(False), laws=["half_precision_weights"], examples=20)
    assert report.ok, report.table()


@pytest.mark.parametrize("function", [epsilon_beside_the_count, narrow_clip], ids=lambda f: f.__name__)
def test_what_only_looks_so_is_not_judged(function):
    report = check_loss(function, laws=["half_precision_weights"], examples=20)
    assert report.ok, report.table()
    assert report["half_precision_weights"].why  # it is told, and does not decide
