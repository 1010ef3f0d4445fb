"""Replicates until an interval is as narrow as asked: the rule, its coverage, and ``direct`` in rounds."""

import warnings

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.moments import Moments
from gradvar.core.until import Until
from gradvar.measure import Work, direct, exact
from gradvar.measure.direct import _until
from gradvar.stats.intervals import Interval
from gradvar.stats.sequential import next_size, relative_half_width
from gradvar.studies.config import MeasureConfig
from tests.compilations import compilations
from tests.measure import scenes


def moments(trace_cov, se, replicates, effective=100.0):
    names = ("between", "within", "signal", "snr", "true_signal", "bias_factor", "cosine")
    return Moments(
        "rloo", 2, 1, np.zeros(2), np.zeros(2), trace_cov, **dict.fromkeys(names, 1.0),
        se={"trace_cov": se}, dof=np.inf, replicates=replicates, effective={"trace_cov": effective},
    )  # fmt: skip


def share_that_covers(first, rule, repeats=400):
    """Coverage of the interval of an exponential's mean, to a tenth of it, when a rule decides where to stop."""
    rng = np.random.default_rng(5)
    held = 0
    for draws in rng.exponential(size=(repeats, 2000)):
        size, rounds = first, 0
        while True:
            mean, half = draws[:size].mean(), 1.96 * draws[:size].std(ddof=1) / size**0.5
            rounds += 1
            following = rule(size, half / mean / 0.1, rounds)
            if following <= size:
                break
            size = following
        held += abs(mean - 1) <= half
    return held / repeats


def test_few_looks_keep_the_coverage_and_many_early_ones_do_not():
    error = (0.95 * 0.05 / 400) ** 0.5
    assert abs(share_that_covers(128, next_size) - 0.95) < 3 * error
    # Planted: a look at every size from two on stops where the sample happens to be alike.
    assert share_that_covers(2, lambda size, excess, _: size if excess <= 1 else size + 1, 100) < 0.88


def test_a_first_round_predicts_and_the_second_goes_half_way():
    assert [next_size(256, 8.0, 1), next_size(8192, 1.5, 2), next_size(20000, 1.0, 3)] == [8192, 19354, 20000]
    assert next_size(256, 1.2, 1) == 388  # half the prediction is there already
    assert relative_half_width(Interval(1.0, np.nan, np.nan)) == np.inf


def test_one_of_a_number_and_a_width_is_asked_for():
    assert _until(None, None) == 1024
    assert _until(64, None) == 64
    assert _until(None, {"trace_cov": 0.05}) == Until({"trace_cov": 0.05})
    with pytest.raises(ValueError, match=r"until: .* and replicates: 64; give one of them"):
        _until(64, {"trace_cov": 0.05})


def test_what_is_missing_is_said_in_one_line():
    until = Until({"trace_cov": 0.05}, most=1024)
    line = until.shortfall(moments(2.0, 0.08163, 1024))
    assert line == (
        "rloo G=2: 0.05 for trace_cov not reached after 1024 replicates: now 0.080; about 1700 more are needed"
    )
    assert until.shortfall(moments(2.0, 0.04, 1024)) == ""
    assert "only 12 effective blocks" in until.shortfall(moments(2.0, 0.04, 1024, effective=12.0))
    assert until.next_size([moments(2.0, 0.08163, 1024)], 1) == 1024  # no more than ``most``


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"trace_kov": 0.05}, "until: no 'trace_kov'; nearest: trace_cov"),
        ({"trace_cov": -0.05}, "until: trace_cov = -0.05; give a share above 0"),
        ({"trace_cov": 0}, "until: trace_cov = 0; give a share above 0"),
        ({"trace_cov": 1}, "until: trace_cov = 1; give a share above 0 and below 1"),
        ({"trace_cov": float("nan")}, "until: trace_cov = nan; give a share above 0"),
        ({"trace_cov": "small"}, "until: trace_cov = 'small'; give a share above 0"),
        ({}, "until: {}; give a figure and a share"),
    ],
)
def test_bad_requests_are_one_line(asked, line):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        Until(asked)
    assert str(error.value).startswith(line)


def test_bad_settings_of_a_study_are_one_line():
    for settings, line in (
        (
            {"precision": 0.05, "replicates": 64},
            "replicates: 64, and a precision of trace_cov:0.05; give one",
        ),
        ({"until": ("snr",)}, "until: 'snr'; give FIGURE:SHARE"),
        ({"precision": 2.0}, "until: trace_cov = 2.0; give a share"),
        ({"precision": 0.05, "most": 100}, "most: 100; give 256 or more"),
        ({"precision": 0.05, "most": 0}, "most: 0; give a whole number from 1 up"),
        ({"replicates": 17}, "replicates: 17; give an even number"),
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
            MeasureConfig(**settings).check()
        assert str(error.value).startswith(line)
    asked = MeasureConfig(precision=0.05, until=("snr:0.1",))
    assert asked.asked.precision == {"snr": 0.1, "trace_cov": 0.05}
    assert (asked.dtype, MeasureConfig().asked, MeasureConfig().batches) == ("float32", None, 96)


@pytest.mark.slow
def test_rounds_are_the_same_replicates_by_the_same_programs():
    scene = scenes.bandit(1, binary=False, prompts=2)
    rloo, key = catalogue.get("rloo"), jax.random.key(0)
    met = direct(rloo, *scene, 2, key=key, until={"Trace-Cov": 0.08})
    figure = met.estimate("trace_cov")
    assert 256 < met.replicates < 4096
    assert (figure.high - figure.low) / 2 <= 0.08 * figure.value
    assert figure.low < exact(rloo, *scene, group_size=2).trace_cov < figure.high
    asked = direct(rloo, *scene, 2, key=key, replicates=met.replicates)
    np.testing.assert_allclose(met.mean, asked.mean, rtol=1e-10)
    np.testing.assert_allclose(met.within, asked.within, rtol=1e-10)  # of products across blocks, it has none
    assert met.se["trace_cov"] == pytest.approx(asked.se["trace_cov"], rel=0.1)
    # more rounds compile nothing further, and chunks change nothing
    with compilations() as made:
        narrower = direct(rloo, *scene, 2, key=key, until={"trace_cov": 0.04})
    assert not made
    assert narrower.replicates > 2 * met.replicates
    parts = direct(rloo, *scene, 2, key=key, until={"trace_cov": 0.08}, work=Work(chunk=20))
    assert (parts.replicates, parts.trace_cov) == (met.replicates, pytest.approx(met.trace_cov, rel=1e-12))
    with pytest.warns(UserWarning, match=r"0\.01 for trace_cov not reached after 512 replicates: now 0\.1"):
        capped = direct(rloo, *scene, 2, key=key, until=Until({"trace_cov": 0.01}, most=600))
    assert capped.replicates == 512
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        direct(rloo, *scene, 2, key=key, until=Until({"trace_cov": 0.01}, most=256, warn=False))
    with pytest.raises(ValueError, match=r"until: .* and replicates: 64; give one of them"):
        direct(rloo, *scene, 2, key=key, until={"trace_cov": 0.1}, replicates=64)
