"""Best of k, larger groups, parts, sources, engine and trainer: against enumeration, NumPy and the pieces."""

from itertools import combinations, groupby

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.audit import audit
from gradvar.pieces import correction
from tests.audit import dumps


def test_best_of_k_is_the_mean_over_all_subsets(tmp_path):
    rows = dumps.rows(4, steps=2, prompts=6, size=5, levels=(0.0, 0.25, 1.0))
    found = audit([dumps.write(tmp_path / "a.jsonl", rows)], success_above=0.2)
    ordered = sorted(rows, key=lambda r: (r["step"], r["prompt"]))
    groups = [[r["reward"] for r in g] for _, g in groupby(ordered, key=lambda r: (r["step"], r["prompt"]))]
    assert [point.k for point in found.best_of] == [1, 2, 4, 5]
    for point in found.best_of:
        best = np.array([[max(s) for s in combinations(g, point.k)] for g in groups])  # [group, subset]
        assert point.largest.value == pytest.approx(best.mean())
        assert point.passing.value == pytest.approx((best > 0.2).mean())
        # where all groups are alike nothing scatters
        assert point.largest.known == (np.ptp(best.mean(1)) > 0)
        assert not point.largest.known or point.largest.low < point.largest.value < point.largest.high
    assert "max@k" in str(found)


def binary(rates, size, seed):
    rng = np.random.default_rng(seed)
    return [
        {"prompt": f"q{q}", "reward": float(rng.random() < p), "step": 0}
        for q, p in enumerate(rates)
        for _ in range(size)
    ]


@pytest.mark.slow
def test_larger_groups_lie_within_their_bounds(tmp_path):
    """Half of the prompts are never solved; the others have rates that a Beta distribution does not have."""
    rates = np.where(np.arange(300) % 2, 0.0, np.where(np.arange(300) % 4, 0.1, 0.6))
    found = audit([dumps.write(tmp_path / "a.jsonl", binary(rates, 4, 0))])
    assert [size for size, _ in found.larger] == [8, 16, 32]
    for size, share in found.larger:
        true = (1 - rates**size - (1 - rates) ** size).mean()
        assert share.low <= true <= share.high
        assert share.high - share.low < 0.8
        assert share.high < 1  # not everything is possible
    assert found.larger[0][1].value > found.sizes[2].informative.value  # more than at 4
    assert "In groups of 32:" in str(found)
    few = audit([dumps.write(tmp_path / "b.jsonl", binary(rates[:4], 4, 0))])
    assert not few.larger


def part_rows(step_of=lambda i: i // 40):
    rng = np.random.default_rng(5)
    right, form, length = rng.integers(0, 2, 320), rng.random(320), rng.integers(10, 90, 320)
    return [
        {"prompt": f"q{i // 4}", "completion": "c", "step": step_of(i), "reward": float(right[i] + 0.1 * form[i]),
         "right_reward": float(right[i]), "form_score": float(form[i]) if i % 7 else None, "length": int(length[i])}
        for i in range(320)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_parts_are_those_of_numpy(tmp_path, name):
    rows = part_rows()
    for i, part in enumerate((rows[:100], rows[100:])):
        dumps.write(tmp_path / f"{i}{name}", part)
    found = audit([tmp_path]).parts
    by_name = {f.name: f for f in found.figures}
    assert set(by_name) == {"right_reward", "form_score", "the length"}
    reward = np.array([r["reward"] for r in rows])
    for column in ("right_reward", "form_score"):
        values = np.array([np.nan if r[column] is None else r[column] for r in rows])
        there, f = ~np.isnan(values), by_name[column]
        assert f.count == there.sum()
        assert f.mean == pytest.approx(values[there].mean())
        assert f.deviation == pytest.approx(values[there].std(ddof=1))
        assert (f.low, f.high) == (values[there].min(), values[there].max())
        assert f.correlation == pytest.approx(np.corrcoef(values[there], reward[there])[0, 1])
        assert f.share == pytest.approx(
            np.cov(values[there], reward[there])[0, 1] / reward[there].var(ddof=1)
        )
        early = there & (np.arange(320) < 80)
        assert f.early == pytest.approx(values[early].mean())
    assert any("'right_reward' makes" in q for q in found.questions)


@pytest.mark.slow
def test_what_parts_ask(tmp_path):
    rows = [
        {"prompt": f"q{i % 8}", "step": i // 64, "reward": float(i % 3), "format_reward": 1.0,
         "style_score": float(i % 2) if i < 256 else 1.0, "length": 10 + 10 * (i // 64)}
        for i in range(512)
    ]  # fmt: skip
    found = audit([dumps.write(tmp_path / "a.jsonl", rows)])
    said = "\n".join(found.parts.questions)
    assert "'format_reward' is 1 in every rollout" in said
    assert "The variance of 'style_score' falls to 0 %" in said
    assert "'style_score' is at 1 of at most 1: saturated" in said
    assert any("mean length goes from 15 to 75" in sentence for sentence in found.advice)


@pytest.mark.slow
def test_every_source_has_the_figures_of_its_rows(tmp_path):
    rows = [{**r, "data_source": "math" if r["prompt"] < "prompt 5" else "code"} for r in dumps.rows(6)]
    found = audit([dumps.write(tmp_path / "a.jsonl", rows)])
    assert set(found.sources) == {"math", "code"}
    for name, figures in found.sources.items():
        alone = [r for r in rows if r["data_source"] == name]
        other = audit([dumps.write(tmp_path / "b.jsonl", alone)]).overall
        assert figures == other
    assert "math" in str(found)


@pytest.mark.slow
def test_engine_and_trainer_against_the_pieces(tmp_path):
    rng = np.random.default_rng(7)
    sizes = rng.integers(1, 6, 24)
    engine = [-rng.exponential(1.0, n) for n in sizes]
    trainer = [e + 0.6 * rng.standard_normal(len(e)) for e in engine]
    rows = [
        {
            "prompt": f"q{i // 4}",
            "reward": float(i % 2),
            "rollout_log_probs": e.tolist(),
            "log_probs": t.tolist(),
        }
        for i, (e, t) in enumerate(zip(engine, trainer, strict=True))
    ]
    rows.append({"prompt": "q0", "reward": 1.0, "rollout_log_probs": [0.0], "log_probs": None})
    found = audit([dumps.write(tmp_path / "a.jsonl", rows)]).mismatch
    apart = np.concatenate(trainer) - np.concatenate(engine)
    assert (found.rollouts, found.tokens, found.unlike) == (24, sizes.sum(), 1)
    assert found.divergence == pytest.approx(-apart.mean())
    assert found.largest == pytest.approx(np.abs(apart).max())
    mask = np.arange(5) < sizes[:, None]  # [rollout, time]
    padded = [np.zeros((24, 5)), np.zeros((24, 5))]
    for i in range(24):
        padded[0][i, : sizes[i]], padded[1][i, : sizes[i]] = trainer[i], engine[i]
    old, sampler, there = (jnp.asarray(x)[None] for x in (*padded, mask))
    by_token = [
        correction.token_ratio(old, sampler), correction.token_truncation(old, sampler),
        correction.token_band(old, sampler), correction.geometric_mask(old, sampler, there),
    ]  # fmt: skip
    by_rollout = [
        correction.sequence_ratio(old, sampler, there), correction.sequence_truncation(old, sampler, there),
        correction.sequence_mask(old, sampler, there),
    ]  # fmt: skip
    weights = [np.asarray(w)[0][mask] for w in by_token] + [np.asarray(w)[0][:, 0] for w in by_rollout]
    for figures, w in zip(found.corrections, weights, strict=True):
        assert figures.mean == pytest.approx(w.mean(), rel=1e-5)
        effective = w.sum() ** 2 / (len(w) * (w**2).sum()) if w.any() else 0.0
        assert figures.effective == pytest.approx(effective, rel=1e-5)
