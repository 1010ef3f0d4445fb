"""What a dump should not show is found where it was planted, and nowhere else."""

import json

import numpy as np
import pytest

from gradvar.audit import Columns, audit
from tests.audit import dumps, reference


def kinds(found):
    return {f.kind: f.count for f in found.suspicions}


def clean_rows(seed=0, **settings):
    return dumps.rows(seed, steps=6, size=8, **settings)


def audited(tmp_path, rows, **settings):
    return audit([dumps.write(tmp_path / "rows.jsonl", rows)], **settings)


@pytest.mark.parametrize("group", [False, "whole"])
def test_a_sound_dump_has_nothing_suspicious(tmp_path, group):
    found = audited(tmp_path, clean_rows(group=group))
    assert kinds(found) == {}
    assert not found.suspicious
    assert "Nothing suspicious" in str(found)


def lose_a_row(rows):
    rows.pop()


def repeat_a_prompt(rows):
    rows += [dict(r) for r in rows if (r["step"], r["prompt"]) == (rows[0]["step"], rows[0]["prompt"])]


def round_a_group(rows):
    prompt = rows[0]["prompt"]
    members = [r for r in rows if r["prompt"] == prompt and r["step"] == rows[0]["step"]]
    for i, row in enumerate(members):
        row["reward"] = 1.0 + 1e-16 * (2 if i else 0)


def repeat_a_step(rows):
    copies = [{**r, "step": 6} for r in rows if r["step"] == 5]
    rows += copies


def deaden_a_step(rows):
    for row in rows:
        if row["step"] == 2:
            row["reward"] = 0.0


def each_alone(rows):
    for i, row in enumerate(rows):
        row["prompt"] = f"{row['prompt']} {i}"


PLANTED = {
    "unequal sizes": (lose_a_row, 1),
    "prompts repeated": (repeat_a_prompt, 1),
    "rounding": (round_a_group, 1),
    "steps repeated": (repeat_a_step, 1),
    "no signal": (deaden_a_step, 1),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_what_was_planted_is_found_alone(tmp_path, kind):
    plant, count = PLANTED[kind]
    rows = clean_rows()
    plant(rows)
    assert kinds(audited(tmp_path, rows)) == {kind: count}


def test_prompts_that_are_all_different_are_groups_of_one(tmp_path):
    rows = clean_rows()
    each_alone(rows)
    found = audited(tmp_path, rows)
    assert found.suspicions[0].kind == "groups of one"
    assert found.suspicions[0].count == len(rows)


def test_a_prompt_in_several_groups_and_a_group_of_several_prompts(tmp_path):
    assert kinds(audited(tmp_path, clean_rows(group="split"))) == {"prompts in several groups": 48}
    rows = clean_rows(group="whole")
    one, two = (
        rows[0],
        next(r for r in rows if r["step"] == rows[0]["step"] and r["prompt"] != rows[0]["prompt"]),
    )
    one["group"], two["group"] = two["group"], one["group"]
    found = kinds(audited(tmp_path, rows))
    assert found == {"groups of several prompts": 2, "prompts in several groups": 2}
    assert audited(tmp_path, rows, columns=Columns(group="prompt")).suspicions == ()


def group_mean_over(ddof, eps):
    def advantages(rewards):
        r = np.array(rewards)
        return (r - r.mean()) / (r.std(ddof=ddof) + eps)

    return advantages


WRITTEN = {
    "population std": group_mean_over(0, 1e-8),
    "sample std": group_mean_over(1, 1e-6),
    "sample std + 1e-4": group_mean_over(1, 1e-4),
    "no std (group mean)": lambda r: np.array(r) - np.mean(r),
    "leave-one-out": lambda r: reference.advantages("rloo", r),
    "the reward itself": lambda r: r,
}


@pytest.mark.parametrize("formula", WRITTEN)
@pytest.mark.parametrize("levels", [(0.0, 1.0), (0.0, 0.25, 2.0)])
def test_the_trainers_advantages_are_recognised(tmp_path, formula, levels):
    rows = dumps.with_advantages(clean_rows(levels=levels), WRITTEN[formula])
    found = audited(tmp_path, rows)
    assert found.written.formula == formula
    assert found.estimator == found.written.estimator
    assert kinds(found) == {}
    best = found.written.fits[0]
    assert (best.explained, best.factor) == (1.0, pytest.approx(1, abs=1e-3))


def test_advantages_by_the_steps_std_are_recognised(tmp_path):
    rows = clean_rows()
    for step in range(6):
        members = [r for r in rows if r["step"] == step]
        std = np.std([r["reward"] for r in members], ddof=1)
        dumps.with_advantages(members, lambda r, std=std: (np.array(r) - np.mean(r)) / (std + 1e-4))
    found = audited(tmp_path, rows)
    assert found.written.formula == "the step's std, group mean"
    assert found.estimator == "grpo"
    assert "assumed" in found.source


def test_advantages_of_half_precision_are_recognised(tmp_path):
    rows = dumps.with_advantages(clean_rows(), lambda r: group_mean_over(1, 1e-6)(r).astype(np.float16))
    assert audited(tmp_path, rows).written.formula == "sample std"


def test_advantages_of_no_formula_are_suspicious(tmp_path):
    rows = dumps.with_advantages(clean_rows(), lambda r: 1.7 * group_mean_over(0, 0.3)(r))
    found = audited(tmp_path, rows)
    assert list(kinds(found)) == ["advantages unexplained"]
    assert found.written.formula is None


def test_a_few_advantages_that_are_off_are_counted_and_do_not_hide_the_formula(tmp_path):
    rows = dumps.with_advantages(clean_rows(), group_mean_over(0, 1e-6))
    mixed = [g for g in reference.grouped(rows).values() if not reference.is_equal([r["reward"] for r in g])]
    top = max(r["reward"] for r in mixed[0])
    winners = [r for r in mixed[0] if r["reward"] == top]
    for row in winners:
        row["advantage"] = 5.0
    found = audited(tmp_path, rows)
    assert found.written.formula == "population std"
    assert kinds(found) == {"advantages off": len(winners)}


def test_equal_rewards_with_other_advantages_are_suspicious(tmp_path):
    rows = dumps.with_advantages(clean_rows(), group_mean_over(0, 1e-6))
    groups = [g for g in reference.grouped(rows).values() if reference.is_equal([r["reward"] for r in g])]
    for row in groups[0]:
        row["advantage"] = 0.1
    assert kinds(audited(tmp_path, rows)) == {"advantages from nothing": 8}
    groups[0][0]["advantage"] = 0.0
    found = kinds(audited(tmp_path, rows))
    assert found["equal rewards, unequal advantages"] == 1


def test_rounding_blown_up_to_advantages_is_suspicious(tmp_path):
    """The usual bug: a group of equal rewards of 0.1 whose float32 mean is not 0.1."""
    rewards = np.full(6, 0.1, np.float32)
    blown = (rewards - np.float32(0.10000001)) / (rewards.std() + 1e-8)
    assert np.abs(blown).max() > 0.1
    rows = dumps.with_advantages(clean_rows(), group_mean_over(0, 1e-6))
    rows += [
        {"step": 0, "prompt": f"new{i}", "reward": 0.1, "advantage": float(blown[0])}
        for i in range(2)
        for _ in range(8)
    ]
    assert kinds(audited(tmp_path, rows)) == {"advantages from nothing": 16}


def test_another_estimator_than_the_one_named_is_suspicious(tmp_path):
    rows = dumps.with_advantages(clean_rows(), group_mean_over(0, 1e-6))
    assert kinds(audited(tmp_path, rows, estimator="rloo")) == {"another estimator": 1}
    assert kinds(audited(tmp_path, rows, estimator="dapo")) == {}  # the same advantages under another name


def test_findings_are_in_the_text_and_in_the_json(tmp_path):
    rows = clean_rows()
    lose_a_row(rows)
    found = audited(tmp_path, rows)
    (finding,) = found.suspicions
    assert finding.sentence in str(found)
    assert json.loads(json.dumps(found.as_json()))["suspicions"] == [vars(finding)]
    assert found.findings()[0] == f"Suspicious: {finding.sentence}"
    assert found.as_json()["findings"] == found.findings()


def test_a_trend_is_told_with_its_intervals_and_none_without_one(tmp_path):
    rng = np.random.default_rng(0)

    def rows(last):
        return [
            {"step": s, "prompt": f"{s} {q}", "reward": float(rng.random() < (0.5 if s < 8 else last))}
            for s in range(16) for q in range(20) for _ in range(4)
        ]  # fmt: skip

    rising = audited(tmp_path, rows(0.97)).advice
    assert any("share of equal groups rises" in s for s in rising)
    assert not any("Interval(" in s for s in rising)  # shares are written in per cent
    assert not any("share of equal groups" in s for s in audited(tmp_path, rows(0.5)).advice)
