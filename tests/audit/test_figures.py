"""Every figure against plain Python on random tables; and a wrong figure is seen."""

import numpy as np
import pytest

from gradvar.audit import audit, cell_sums, schemes
from gradvar.audit import group_sizes as sizes
from gradvar.audit import reward_counts as cells
from gradvar.stats import clusters
from tests.audit import dumps, reference

CASES = {
    "binary": {},
    "two levels, not 0 and 1": {"levels": (-1.0, 0.1)},
    "graded": {"levels": (0.0, 0.1, 0.30000000000000004, 0.3, 1.0)},
    "ragged": {"ragged": True},
    "one prompt": {"prompts": 1, "steps": 3},
    "groups given": {"group": "whole", "levels": (0.0, 0.5, 1.0)},
    "prompts split": {"group": "split"},
    "rewards that are not exact": {"levels": (0.1, 0.1 + 1e-16, 0.7)},
}
SHARES = ("equal", "solved", "hopeless", "lost", "success")
WHOLE = ("rollouts", "groups", "prompts", "group_size", "unequal_sizes")


def audited(tmp_path, rows, **settings):
    return audit([dumps.write(tmp_path / "rows.jsonl", rows)], **settings)


def agree(found, wanted):
    """A step's figures with the reference's."""
    for name in WHOLE:
        assert getattr(found, name) == wanted[name], name
    assert found.mean_reward == pytest.approx(wanted["mean_reward"], rel=1e-12, abs=1e-15)
    for name in SHARES:
        part = getattr(found, name)
        assert (part.value, part.low, part.high) == pytest.approx(wanted[name], rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_every_step_and_all_of_them_agree_with_plain_python(tmp_path, case, seed):
    every_step(tmp_path, case, seed)


def every_step(tmp_path, case, seed):
    rows = dumps.rows(seed, **CASES[case])
    found = audited(tmp_path, rows)
    above = found.rule.above
    agree(found.overall, reference.step_figures(rows, above))
    assert [s.step for s in found.steps] == sorted({r["step"] for r in rows})
    for step in found.steps:
        agree(step, reference.step_figures([r for r in rows if r["step"] == step.step], above))
    assert [b.groups for b in found.bins] == reference.histogram(rows, above)


def by_standard_deviation(self):
    """The usual wrong test for groups without a signal."""
    return self.high - self.low < 1e-6


def never(self):
    return self.low > self.high


@pytest.mark.parametrize("mutant", [by_standard_deviation, never])
def test_a_wrong_test_for_equal_groups_is_seen(tmp_path, monkeypatch, mutant):
    rows = [{"step": 0, "prompt": q, "reward": x} for q in range(4) for x in (1e-8 * q, 0.0)]
    monkeypatch.setattr(cells.Groups, "equal", property(mutant))
    found = audited(tmp_path, rows, success_above=0.5)
    with pytest.raises(AssertionError):
        agree(found.overall, reference.step_figures(rows, 0.5))


def test_inexact_sums_neither_hide_equal_rewards_nor_make_them(tmp_path):
    """0.1 three times is 0.30000000000000004 in floats, and 8 times 0.1 has a standard deviation of 1e-17."""
    assert np.std([0.1] * 6) > 0
    rows = [{"step": 0, "prompt": "same", "reward": 0.1 + 0.1 + 0.1} for _ in range(8)]
    rows += [{"step": 0, "prompt": "differ", "reward": r} for r in [0.1 + 0.1 + 0.1] * 7 + [0.3]]
    rows += [{"step": 0, "prompt": "tiny", "reward": r} for r in [0.0] * 7 + [1e-12]]
    found = audited(tmp_path, rows)
    assert found.overall.equal.value == pytest.approx(1 / 3)
    assert {f.kind: f.count for f in found.suspicions} == {"rounding": 1}


@pytest.mark.parametrize("case", ["binary", "graded", "ragged"])
def test_other_group_sizes_agree_with_a_list_of_all_subsets(tmp_path, case):
    group_sizes(tmp_path, case)


def group_sizes(tmp_path, case):
    rows = dumps.rows(5, **CASES[case])
    found = audited(tmp_path, rows)
    groups = reference.grouped(rows).values()
    for size in found.sizes:
        pairs = [
            (g[0]["prompt"], reference.informative([r["reward"] for r in g], size.group_size), 1.0)
            for g in groups
            if len(g) >= size.group_size
        ]
        part = size.informative
        if len(pairs) * 2 <= len(groups):
            assert np.isnan(part.value)
        else:
            assert (part.value, part.low, part.high) == pytest.approx(
                reference.share(pairs), rel=1e-9, abs=1e-12
            )


def test_prompts_are_classed_by_all_their_rollouts(tmp_path):
    rows = dumps.rows(7, prompts=20)
    found = audited(tmp_path, rows)
    wanted = reference.prompts(rows, found.rule.above)
    table = found.table
    seen = {
        found.labels[p]: (n, k) for p, n, k in zip(table.prompt, table.rollouts, table.successes, strict=True)
    }
    assert seen == wanted
    kinds = ["never" if k == 0 else "always" if k == n else "mixed" for n, k in wanted.values()]
    for kind in ("always", "never", "mixed"):
        pairs = [(i, float(kinds[i] == kind), 1.0) for i in range(len(kinds))]
        part = getattr(found.prompts, kind)
        assert (part.value, part.low, part.high) == pytest.approx(reference.share(pairs), rel=1e-9)
    assert dict(zip((found.labels[p] for p in table.prompt), table.kinds, strict=True)) == dict(
        zip(wanted, kinds, strict=True)
    )


@pytest.mark.parametrize(
    "name", ["reinforce", "rloo", "dr_grpo", "grpo", "grpo_sample_std", "maxrl", "softmax", "pass_at_k"]
)
def test_advantages_agree_with_the_printed_formulas(tmp_path, name):
    printed_formulas(tmp_path, name)


def printed_formulas(tmp_path, name):
    rows = dumps.rows(11, levels=(0.0, 0.25, 1.0), ragged=True)
    found = audited(tmp_path, rows, estimator=name)
    every = [
        a
        for g in reference.grouped(rows).values()
        for a in reference.advantages(name, [r["reward"] for r in g])
    ]
    sizes = sorted(abs(a) for a in every)
    assert found.advantages.largest == pytest.approx(sizes[-1], rel=1e-9)
    wanted = [sizes[int(np.ceil(q * len(sizes))) - 1] for q in (0.5, 0.9, 0.99, 0.999)]
    assert found.advantages.quantiles == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert found.advantages.beyond_three == pytest.approx(np.mean(np.array(sizes) > 3))
    other = [
        a
        for g in reference.grouped(rows).values()
        for a in reference.advantages("rloo", [r["reward"] for r in g])
    ]
    cosine = np.dot(every, other) / np.linalg.norm(every) / np.linalg.norm(other)
    assert next(e for e in found.estimators if e.name == "rloo").agreement == pytest.approx(cosine, rel=1e-9)


def test_pull_is_one_for_leave_one_out_and_the_weight_of_the_others(tmp_path):
    rows = dumps.rows(3, prompts=20, steps=10)
    pulls = [b.pull for b in audited(tmp_path, rows, estimator="rloo").bins]
    assert np.nanmax(np.abs(np.array(pulls) - 1)) < 1e-12
    found = audited(tmp_path, rows, estimator="dr_grpo")
    assert np.nanmax(np.abs(np.array([b.pull for b in found.bins]) - 5 / 6)) < 1e-12


def with_replacement(counts, starts, size):
    total = np.repeat(np.add.reduceat(counts, starts), np.diff(np.append(starts, len(counts))))
    return np.where(
        np.add.reduceat(counts, starts) >= size, 1 - np.add.reduceat((counts / total) ** size, starts), np.nan
    )


def without_clusters(self, prompt, by=None, count=1):
    truly(self, np.arange(len(prompt)), by, count)


truly = clusters.Clusters.__init__
MUTANTS = {
    "subsets with replacement": (
        sizes, "unequal_share_of_counts", with_replacement, lambda p: group_sizes(p, "binary"),
    ),
    "intervals over groups": (clusters.Clusters, "__init__", without_clusters, lambda p: every_step(p, "binary", 0)),
    "another std": (
        schemes, "SCHEMES", {**schemes.SCHEMES, "grpo": schemes.SCHEMES["grpo_sample_std"]},
        lambda p: printed_formulas(p, "grpo"),
    ),
    "no self left out": (
        schemes, "SCHEMES", {**schemes.SCHEMES, "rloo": schemes.SCHEMES["dr_grpo"]},
        lambda p: printed_formulas(p, "rloo"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_other_wrong_figures_are_seen(tmp_path, monkeypatch, mutant):
    place, name, wrong, check = MUTANTS[mutant]
    check(tmp_path)
    monkeypatch.setattr(place, name, wrong)
    with pytest.raises(AssertionError):
        check(tmp_path)


def test_length_and_surprise_are_means_over_rollouts_that_have_them(tmp_path):
    rows = dumps.rows(2)
    rng = np.random.default_rng(0)
    for row in rows:
        row["length"], row["logp"] = float(rng.integers(1, 50)), -float(rng.random())
    rows[0]["logp"] = rows[1]["length"] = None
    found = audited(tmp_path, rows)
    assert found.overall.length == pytest.approx(
        np.mean([r["length"] for r in rows if r["length"] is not None])
    )
    assert found.overall.surprise == pytest.approx(
        -np.mean([r["logp"] for r in rows if r["logp"] is not None])
    )
    assert found.faults.incomplete == {"length": 1, "logp": 1}
    tokens = sum(r["length"] or 0 for r in rows)
    lost = sum(
        r["length"] or 0
        for g in reference.grouped(rows).values()
        if reference.is_equal([r["reward"] for r in g])
        for r in g
    )
    assert found.overall.lost_tokens == pytest.approx(lost / tokens)


def test_cells_come_out_the_same_however_the_rows_are_cut(tmp_path, monkeypatch):
    rows = dumps.rows(4, levels=(0.0, 0.2, 1.0))
    whole = audited(tmp_path, rows).as_json()
    monkeypatch.setattr(cell_sums, "KEEP", 7)
    files = [dumps.write(tmp_path / f"part{i}.csv", rows[i::9]) for i in range(9)]
    parts = audit(files).as_json()
    for name in ("overall", "steps", "histogram", "prompts", "group_sizes", "estimators"):
        ours, theirs = leaves(parts[name]), leaves(whole[name])
        assert ours.keys() == theirs.keys()
        for place, value in theirs.items():
            close = pytest.approx(value, rel=1e-12, nan_ok=True) if isinstance(value, float) else value
            assert ours[place] == close, place


def leaves(content, place=()):
    """Plain values by where they stand."""
    if isinstance(content, dict | list | tuple):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        return {k: v for key, inner in items for k, v in leaves(inner, (*place, key)).items()}
    return {place: content}
