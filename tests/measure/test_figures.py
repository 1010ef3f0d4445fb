"""The figures of block sums against loops over pairs of blocks that are written out, on a few small blocks."""

import itertools

import numpy as np
import pytest

from gradvar.stats.figures import (
    FIGURES,
    BlockSums,
    effective_blocks,
    figures,
    jackknife_error,
    jackknife_interval,
    leave_one_out,
    point_estimates,
    ratio_interval,
    varies,
)
from gradvar.stats.intervals import SAME

RATIOS = {"snr", "bias_factor", "cosine"}


def scene(known, paired, blocks=5):
    """Two experiments of sums with unequal counts; the second's reference lies elsewhere."""
    rng = np.random.default_rng(3)
    count = np.array([3.0, 4.0, 2.0, 6.0, 4.0])[:blocks]
    sums = count[:, None] * (rng.normal(size=(2, blocks, 3)) * 0.4 + [2.0, 1.0, -1.0])
    reference = count[:, None] * (rng.normal(size=(2, blocks, 3)) * 0.3 + [1.5, 1.0, -0.5])
    squares = count * rng.uniform(9.0, 14.0, (2, blocks))
    pairs = count / 2 * rng.uniform([[1.0], [20.0]], [[3.0], [30.0]], (2, blocks)) if paired else None
    truth = np.array([1.5, 1.0, -0.5])
    return sums, reference, truth, BlockSums(
        count=count,
        gram=sums @ sums.swapaxes(1, 2),
        squares=squares,
        pairs=pairs,
        aligned=sums @ truth if known else sums @ reference.swapaxes(1, 2),
        truth=np.asarray(truth @ truth) if known else reference @ reference.swapaxes(1, 2),
        truth_known=known,
    )  # fmt: skip


def by_hand(known, paired, experiment, kept):
    """Every figure from the blocks in ``kept``, by the definitions."""
    sums, reference, truth, made = scene(known, paired)
    s, h, count = sums[experiment], reference[experiment], made.count
    pairs = list(itertools.permutations(kept, 2))
    weight = sum(count[i] * count[j] for i, j in pairs)

    def across(x, y):
        return sum(x[i] @ y[j] for i, j in pairs) / weight

    total = sum(count[i] for i in kept)
    signal, second = across(s, s), sum(made.squares[experiment, i] for i in kept) / total
    between = sum(made.pairs[experiment, i] for i in kept) / (total / 2) - signal if paired else 0.0
    if known:
        aligned, true_signal = sum(s[i] @ truth for i in kept) / total, truth @ truth
    else:
        aligned, true_signal = across(s, h), across(h, h)
    trace_cov = second - signal
    return {
        "trace_cov": trace_cov,
        "between": between,
        "within": trace_cov - between,
        "signal": signal,
        "snr": signal / trace_cov,
        "true_signal": true_signal,
        "bias_factor": aligned / true_signal,
        "cosine": aligned / (signal * true_signal) ** 0.5,
    }


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_figures_are_their_definitions(known, paired):
    sums = scene(known, paired)[-1]
    values, errors = figures(sums)
    parts = leave_one_out(sums)
    assert set(values) == set(errors) == set(parts) == set(FIGURES)
    for experiment in range(2):
        whole = by_hand(known, paired, experiment, range(5))
        without = [by_hand(known, paired, experiment, [i for i in range(5) if i != out]) for out in range(5)]
        for name in FIGURES:
            left = np.array([x[name] for x in without])
            np.testing.assert_allclose(parts[name][experiment], left, rtol=1e-10, atol=1e-12)
            value = 5 * whole[name] - 4 * left.mean() if name in RATIOS else whole[name]
            value = min(max(value, -1), 1) if name == "cosine" else value
            assert values[name][experiment] == pytest.approx(value, rel=1e-10, abs=1e-12), name
            error = (4 / 5 * ((left - left.mean()) ** 2).sum()) ** 0.5
            assert errors[name][experiment] == pytest.approx(error, rel=1e-8, abs=1e-12), name
            assert jackknife_error(left) == pytest.approx(error, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_cosine_beyond_one_is_one(sign):
    """Gradients along grad J, or against it: taking the bias off leads beyond one in some samples, which are cut."""
    truth, beyond = np.array([2.0, 1.0]), 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        sums = sign * truth * rng.uniform(0.5, 2.0, (8, 1)) + 0.3 * rng.normal(size=(8, 2))
        blocks = BlockSums(
            np.ones(8), sums @ sums.T, (sums**2).sum(1), None, sums @ truth, np.asarray(truth @ truth), True
        )
        raw = 8 * point_estimates(blocks)["cosine"] - 7 * leave_one_out(blocks)["cosine"].mean()
        assert float(figures(blocks).values["cosine"]) == pytest.approx(np.clip(raw, -1, 1), rel=1e-12)
        beyond += abs(raw) > 1
    assert 0 < beyond < 30


def number(amounts):
    return np.abs(amounts).sum() ** 2 / (np.asarray(amounts) ** 2).sum()


@pytest.mark.parametrize("pieces", [None, [[1.0, 3.0, 0.5], [2.0, 2.0, 9.0]]])
@pytest.mark.parametrize("known", [True, False])
def test_effective_blocks_are_those_of_what_a_figure_is_made_of(known, pieces):
    sums, reference, _, made = scene(known, paired=pieces is None)
    made = BlockSums(**vars(made) | {"pieces": None if pieces is None else np.array(pieces)})
    found = effective_blocks(made)
    for experiment in range(2):
        second = number(made.squares[experiment])
        mean = number(np.linalg.norm(sums[experiment], axis=1))
        other = np.inf if known else number(np.linalg.norm(reference[experiment], axis=1))
        between = min(number(made.pairs[experiment]), mean) if made.pairs is not None else np.inf
        if pieces is not None:
            mean, second = number(pieces[experiment]), number(np.square(pieces[experiment]))
            other = np.inf if known else mean
        expected = {
            "trace_cov": second, "between": between, "within": second, "signal": mean, "snr": min(second, mean),
            "true_signal": other, "bias_factor": min(mean, other), "cosine": min(mean, other),
        }  # fmt: skip
        for name in FIGURES:
            assert found[name][experiment] == pytest.approx(expected[name]), name


def test_why_a_jackknifed_figure_has_no_interval():
    parts = np.array([1.0, 1.2, 0.9, 1.1])
    made = jackknife_interval(1.0, parts)
    assert (made.low < 1.0 < made.high, made.dof, made.se) == (True, 3, pytest.approx(jackknife_error(parts)))
    for value, left in ((np.nan, parts), (1.0, np.array([1.0, np.inf, 1.0, 1.0]))):
        assert jackknife_interval(value, left).reason == "the figure itself is not known"
    assert jackknife_interval(1.0, np.array([1e300, -1e300, 1e300, 0.0])).reason.endswith("a standard error")
    assert jackknife_interval(1.0, np.ones(4)).reason == SAME
    assert jackknife_interval(1.0, np.ones(4), by_identity=True).known
    assert jackknife_interval(1.0, parts, effective=2.0).reason == "2.0 effective blocks, fewer than 6"
    assert jackknife_interval(1.0, parts, effective=8.0).effective == 8.0
    # on another scale: the ends are led back, and the error is relative
    logs = np.log(parts)
    back = jackknife_interval(2.0, logs, back=np.exp)
    line = jackknife_interval(0.0, logs)
    assert (back.low, back.high) == pytest.approx((2 * np.exp(line.low), 2 * np.exp(line.high)))
    assert back.se == pytest.approx(2 * jackknife_error(logs))
    assert (
        jackknife_interval(1.0, 1e-13 * parts, back=np.exp).reason == SAME
    )  # a factor of one, but for rounding
    assert jackknife_interval(1e-13, 1e-13 * parts).known


def test_a_ratio_is_on_the_logarithmic_scale_or_has_no_value():
    parts = np.array([1.0, 1.2, 0.9, 1.1])
    made, logs = (
        ratio_interval(1.1, parts, 0.9, 8.0),
        jackknife_interval(1.1, np.log(parts), 0.9, np.exp, 8.0),
    )
    assert made == logs
    for value, left in ((0.0, parts), (np.inf, parts), (1.0, parts - 0.9), (1.0, parts * np.inf)):
        none = ratio_interval(value, left, effective=8.0)
        assert np.isnan(none.value)
        assert none.dof == 3
        assert none.reason == "one of the two cannot be distinguished from zero"
    assert ratio_interval(-1.0, parts, effective=2.0).reason == "2.0 effective blocks, fewer than 6"


def test_what_varies():
    assert varies(np.array([1.0, 1.1]))
    assert not varies(np.ones(3))
    assert not varies(np.array([1.0, 1.0 + 1e-15]))
