"""Intervals that know their tails: what they are made of, and how often they cover in cells that broke Student's t."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import t as student

from benchmarks.calibration import advice, engines, report, rule
from benchmarks.calibration.cells import Cell, grid
from benchmarks.calibration.measure import coverage
from benchmarks.calibration.twin import draw, scale, truth
from gradvar import catalogue
from gradvar.files.cache import MomentsCache
from gradvar.measure.direct import direct
from gradvar.policies import Bandit
from gradvar.stats.figures import figures
from gradvar.stats.tails import Pivot, skewed_quantile
from gradvar.tasks import Bandit as Rewards


def without_each(x):
    """The mean with each block left out."""
    return (x.sum(-1, keepdims=True) - x) / (x.shape[-1] - 1)


def test_contributions_like_normal_ones_give_students_interval():
    """Symmetric, of the normal's kurtosis: a is zero, and the degrees of freedom are B - 1."""
    x = student.ppf((np.arange(400) + 0.5) / 400, 1e6)
    low, high = Pivot.from_parts(np.array(x.mean()), without_each(x)).bounds(np.array(0.0))
    half = student.ppf(0.975, 399) * x.std(ddof=1) / 20
    assert (-low, high) == (pytest.approx(half, rel=1e-3), pytest.approx(half, rel=1e-3))


@pytest.mark.parametrize("t", [-3.0, 0.5, 3.0])
def test_the_quantile_undoes_the_cubic(t):
    """It is the inverse of G -> a + G + 2 a G^2 + 4/3 a^2 G^3, multiplied out by hand."""
    a = 0.08
    g = float(skewed_quantile(np.array(t), np.array(a)))
    assert a + g + 2 * a * g**2 + 4 / 3 * a**2 * g**3 == pytest.approx(t)


def test_a_tail_to_the_right_moves_both_ends_to_the_right():
    x = np.random.default_rng(0).exponential(size=40)
    low, high = Pivot.from_parts(np.array(x.mean()), without_each(x)).bounds(np.array(x.mean()))
    mirrored = Pivot.from_parts(np.array(-x.mean()), without_each(-x)).bounds(np.array(-x.mean()))
    assert high - x.mean() > 1.2 * (x.mean() - low)
    assert (-mirrored[0], -mirrored[1]) == (pytest.approx(high), pytest.approx(low))


@pytest.mark.parametrize("scale_name", ["linear", "log", "quotient", "root"])
def test_units_do_not_matter(scale_name):
    x = np.random.default_rng(1).exponential(size=60)
    pivot = Pivot.from_parts(np.array(x.mean()), without_each(x), scale_name, 0.5)
    ends = np.array(pivot.bounds(np.array(x.mean())))
    scaled = Pivot.from_parts(np.array(5 * x.mean()), without_each(5 * x), scale_name, 0.5)
    np.testing.assert_allclose(scaled.bounds(np.array(5 * x.mean())), 5 * ends)
    np.testing.assert_allclose(pivot.scaled(5.0).bounds(np.array(5 * x.mean())), 5 * ends)
    np.testing.assert_allclose(Pivot.of(pivot.numbers()).bounds(np.array(x.mean())), ends)
    assert scale_name == "linear" or ends.min() > 0


def test_the_upper_end_reaches_by_the_largest_block():
    """Of a mean: by a share of what the largest of B adds to it, (largest - mean) / (B - 1); the lower end stays."""
    x = np.random.default_rng(2).exponential(size=30)
    value, parts = np.array(x.mean()), without_each(x)
    plain, reached = (np.array(Pivot.from_parts(value, parts, reach=r).bounds(value)) for r in (0.0, 0.5))
    np.testing.assert_allclose(reached - plain, [0.0, 0.5 * (x.max() - x.mean()) / 29], atol=1e-12)


def test_a_squared_norm_has_its_interval_on_the_scale_of_roots():
    """Of the square of a mean that is far from zero: the squares of the mean's own ends."""
    x = 3 + np.random.default_rng(3).normal(size=50)
    roots = np.array(Pivot.from_parts(np.array(x.mean()), without_each(x)).bounds(np.array(x.mean())))
    value = np.array(x.mean() ** 2)
    ends = Pivot.from_parts(value, without_each(x) ** 2, "root").bounds(value)
    np.testing.assert_allclose(ends, roots**2)
    through_zero = without_each(x - x.mean())
    assert Pivot.from_parts(np.array(0.1), through_zero, "root").scale == 0


def test_of_few_blocks_the_upper_end_is_that_of_signed_roots():
    """Where a block left out leads below zero, and only if it is further than the linear one."""
    x = np.random.default_rng(4).standard_t(3, size=(200, 12)) + 0.3
    parts = without_each(x)
    value, few = parts.mean(-1), np.arange(200) % 2 == 0
    crossing = ~(parts > 0).all(-1)
    plain, reached = (
        np.array(Pivot.from_parts(value, parts, "root", few=f).bounds(value)) for f in (False, few)
    )
    roots = np.sign(parts) * np.sqrt(np.abs(parts))
    middle = np.sign(value) * np.sqrt(np.abs(value))
    ends = Pivot.from_parts(middle, roots).bounds(middle)[1]
    expected = np.where(few & crossing, np.maximum(ends * np.abs(ends), plain[1]), plain[1])
    np.testing.assert_allclose(reached[1], expected)
    np.testing.assert_array_equal(reached[0], plain[0])
    assert (reached[1] > plain[1]).sum() > 10


@pytest.mark.slow
def test_an_engine_hands_them_on(tmp_path):
    """Not Student's interval; it survives the cache."""
    policy, task = Bandit(4, num_prompts=3), Rewards(np.eye(4)[:3])
    moments = direct(
        catalogue.get("rloo"),
        policy,
        policy.init(jax.random.key(0)),
        task,
        2,
        key=jax.random.key(1),
        replicates=64,
    )
    found = moments.estimate("trace_cov")
    low, high = Pivot.of(moments.pivots["trace_cov"]).bounds(np.array(moments.trace_cov))
    assert (found.low, found.high) == (float(low), float(high))
    assert found.high / found.value != pytest.approx(found.value / found.low, rel=1e-3)
    with MomentsCache(tmp_path) as cache:
        cache.put({"a": 1}, moments)
        assert cache.get({"a": 1}).interval("trace_cov") == moments.interval("trace_cov")


@pytest.mark.parametrize(
    "cell", [grid()[0], Cell("direct", rewards="graded", group_size=8, estimator="grpo", replicates=256)]
)
def test_the_twins_estimate_what_they_say(cell):
    """Unbiased figures agree with the exact ones within four standard errors, over 300 repeats."""
    scales, rng = scale(cell), np.random.default_rng(3)
    values = figures(draw(rng, cell, scales, 300)[0]).values
    for name in ("trace_cov", "within", "between", "signal"):
        error = values[name].std() / np.sqrt(300)
        assert abs(values[name].mean() - truth(cell, scales)[name]) < 4 * error, name


@pytest.mark.slow
@pytest.mark.parametrize("number", [6, 8])  # stale and clipped in direct, groups of eight in a bank
def test_the_twins_of_the_engines_estimate_what_is_enumerated(number):
    scene, rng = engines.SCENES[number], np.random.default_rng(4)
    problem = engines.Problem(scene)
    twin = engines.Twin(scene, problem)
    values = [figures(twin.sums(rng)).values for _ in range(200)]
    for name in ("trace_cov", "within", "between", "signal"):
        x = np.array([v[name] for v in values])
        assert abs(x.mean() - getattr(problem.exact, name)) < 4 * x.std() / np.sqrt(200), name


def test_an_engine_that_covers_otherwise_than_its_twin_is_named():
    row = {
        "cell": "a",
        "repeats": "100",
        "figure": "signal",
        "given": "1",
        "twin covered": "0.95",
        "twin given": "1",
    }
    assert not engines.differences([row | {"covered": "0.9"}])
    (line,) = engines.differences([row | {"covered": "0.8"}])
    assert line == "a: signal covered 0.800, its twin 0.950"


BAD = {
    "80 % of prompts dead": Cell("bank", success="80 % dead"),
    "violent staleness": Cell("direct", staleness=1.5),
    "few prompts, long and short": Cell("bank", prompts=16, long=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("cell", BAD.values(), ids=BAD)
def test_coverage_in_bad_cells(cell):
    """At least 85 % of the intervals of trace_cov hold it, less three standard errors, where Student's t held less."""
    found = coverage(cell, 400, seed=2)["trace_cov"]
    assert found["given"] > 0.05
    spread = 3 * np.sqrt(0.85 * 0.15 / (400 * found["given"]))
    assert found["after"] >= 0.85 - spread
    assert found["after"] <= 1.0
    assert found["before"] < 0.95


def test_rows_of_another_rule_are_run_again(tmp_path, monkeypatch, capsys):
    """A planted older row goes, today's stays; comments are no rule, a changed number is."""
    path = tmp_path / "calibration_advice.csv"
    names = [*advice.SCENES, *advice.SEQUENCES]
    made, today = {"repeats": "3", "cost": "0"}, rule.rule_of(rule.ADVICE)
    rule.append(path, [made | {"policy": n, "rule": today} for n in names[1:]])
    rule.append(path, [made | {"policy": names[0], "rule": "an older one"}])
    monkeypatch.setattr(advice, "measure", lambda name, repeats: [made | {"policy": name}])
    monkeypatch.setattr("sys.argv", ["advice", "--repeats", "3", "--out", str(tmp_path)])
    advice.main()
    assert "1 rows were made by another rule" in capsys.readouterr().out
    assert [row["policy"] for row in rule.rows(path)] == [*names[1:], names[0]]
    assert {row["rule"] for row in rule.rows(path)} == {today}

    kept, config = tmp_path / "calibration.json", {"repeats": 3}
    kept.write_text(json.dumps({"rule": today, "config": config, "rows": [made]}))
    assert rule.json_rows_of(kept, today, config) == [made]
    assert rule.json_rows_of(kept, "another", config) == rule.json_rows_of(kept, today, {"repeats": 4}) == []
    assert rule.json_rows_of(tmp_path / "none.json", today, config) == []

    def hashed(text):
        (tmp_path / "x.py").write_text(text)
        return rule.rule_of(["x.py"], tmp_path)

    said = hashed('"""Text."""\nFEWEST = 6\n"""More."""\n')
    assert said == hashed("FEWEST = 6  # a comment\n") != hashed("FEWEST = 8\n")


def test_the_page_says_by_which_rule_its_rows_were_made(monkeypatch):
    folder = Path(rule.__file__).parents[1]
    page = (folder / "CALIBRATION.md").read_text(encoding="utf-8")
    kept = folder / "results" / "calibration.csv"
    assert report._rules(kept) in page
    monkeypatch.setattr(report, "rule_of", lambda files: "changed")
    assert "by another" in report._rules(kept)
