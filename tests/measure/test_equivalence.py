"""Two one-sided tests of a quotient: their level at both ends of the margin, and their power inside."""

import numpy as np
import pytest

from gradvar.stats.equivalence import ratio_equivalence
from gradvar.stats.starts import ratio_of

RUNS, UNITS = 2000, 8


def samples(quotient, seed):
    """Paired units whose means have this quotient: a shared start, and noise of their own."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.5, 0.03, (RUNS, UNITS))
    return quotient * shared + rng.normal(0, 0.03, shared.shape), shared + rng.normal(0, 0.03, shared.shape)


def share_held(quotient, seed, margin=0.05):
    pairs = zip(*samples(quotient, seed), strict=True)
    return np.mean([ratio_equivalence(*pair, 0.976, margin).holds() for pair in pairs])


def test_at_the_margin_it_is_wrong_in_one_of_twenty():
    """A quotient that is just not equivalent is called so in 5 %, to four standard errors of that."""
    tolerance = 4 * np.sqrt(0.05 * 0.95 / RUNS)
    for end, seed in ((0.926, 0), (1.026, 1)):
        # one of the two tests alone decides where the margin is wide beside the error
        assert share_held(end, seed) <= 0.05 + tolerance
    wide = [ratio_equivalence(a, b, 0.7, 0.226).holds() for a, b in zip(*samples(0.926, 2), strict=True)]
    assert np.mean(wide) == pytest.approx(0.05, abs=tolerance)


def test_an_interval_that_includes_the_claim_is_no_equivalence():
    """The planted violator: with few noisy units, intervals include 0.976 where the truth is 0.85."""
    first, second = samples(0.85, 3)
    pairs = list(zip(first[:200, :3], second[:200, :3], strict=True))
    included = [not ratio_of(*pair).excludes(0.976) for pair in pairs]
    held = [ratio_equivalence(*pair, 0.976, 0.05).holds() for pair in pairs]
    assert np.mean(included) > 0.3
    assert np.mean(held) <= 0.05


def test_power_and_what_has_no_spread():
    assert share_held(0.976, 4, margin=0.15) > 0.9
    same = np.full(4, 0.5)
    assert np.isnan(ratio_equivalence(same, same, 1.0, 0.1).p_value)
    assert not ratio_equivalence(same, same, 1.0, 0.1).holds()
    assert np.isnan(ratio_equivalence(same[:1], same[:1], 1.0, 0.1).p_value)
    with pytest.raises(ValueError, match="margin: 0"):
        ratio_equivalence(same, same, 1.0, 0)
