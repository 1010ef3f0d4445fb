"""What is predicted of arms: the law of leave-one-out by hand, limits of every kind, and the order of writing."""

import dataclasses
import json
import math

import numpy as np
import pytest

from gradvar.files.tables import to_plain
from gradvar.measure.bank.summary import Summary
from gradvar.train import arms
from gradvar.train.plan import Plan
from gradvar.train.prediction import compared, expected_steps, of_summary, sentences, written

PROMPTS = 12


def a_summary():
    """Numbers of twelve prompts with gradients in three dimensions; every prompt's are close to the others'."""
    rng = np.random.default_rng(0)
    slopes = np.array([1.0, 0.5, 0.0]) + 0.4 * rng.normal(size=(PROMPTS, 3))
    zeta1, zeta2 = rng.uniform(0.5, 1, PROMPTS), rng.uniform(4, 6, PROMPTS)
    ones = np.ones(PROMPTS)
    return Summary(
        rewards=rng.integers(0, 2, (PROMPTS, 16)) * 1.0, p=0.5 * ones, signal=(slopes**2).sum(1), v1=ones, v0=ones,
        zeta1=zeta1, zeta2=zeta2, length=3 * ones, gradients=slopes @ slopes.T, se={}, on_policy=True,
    ), slopes  # fmt: skip


def plans(*names, **limits):
    made = (arms.get(name) for name in names)
    return [Plan(arm, 64 // arm.group, 3e-4, limits.get("steps", 100)) for arm in made]


def test_a_prediction_is_the_law_of_leave_one_out():
    summary, slopes = a_summary()
    made = of_summary(summary, plans("grpo-2", "grpo-16", "reinforce", "allocation-vip"), "grpo-16")
    rows = {row["arm"]: row for row in made["arms"]}
    # sigma_b^2 and |grad J|^2 without bias, from all pairs of different prompts
    products = [slopes[i] @ slopes[j] for i in range(PROMPTS) for j in range(PROMPTS) if i != j]
    signal = np.mean(products)
    between = np.mean((slopes**2).sum(1)) - signal

    def variance(group):
        rollout, pair = 4 * summary.zeta1.mean(), (2 * summary.zeta2 - 4 * summary.zeta1).mean()
        return between + rollout / group + pair / (group * (group - 1))

    for name, group in (("grpo-2", 2), ("grpo-16", 16)):
        snr = signal / (variance(group) / (64 / group))
        assert rows[name]["snr"] == pytest.approx(snr)
        assert rows[name]["progress"] == pytest.approx(100 * 3e-4 * math.sqrt(snr / (1 + snr)))
    ratio = rows["grpo-2"]["variance_ratio"]
    assert ratio.value == pytest.approx(2 * variance(2) / (16 * variance(16)))
    assert ratio.low < ratio.value < ratio.high
    assert rows["grpo-16"]["variance_ratio"].value == 1
    for name in ("reinforce", "allocation-vip"):  # outside the law
        assert math.isnan(rows[name]["progress"])
    assert made["best_group"] == (2 if ratio.value < 1 else 16)


def test_without_a_signal_nothing_is_ordered():
    summary, slopes = a_summary()
    weak = dataclasses.replace(summary, gradients=-slopes @ slopes.T)
    made = to_plain(of_summary(weak, plans("grpo-2", "grpo-16"), "grpo-16"))
    assert [row["progress"] for row in made["arms"]] == [None, None]
    assert compared(made, {"grpo-2": np.ones(2), "grpo-16": np.ones(2)}) == {}


def test_limits_of_every_kind():
    (plan,) = plans("grpo-2", steps=2**31 - 1)
    assert expected_steps(dataclasses.replace(plan, steps=7), 3.0) == 7
    assert expected_steps(dataclasses.replace(plan, rollouts=640), 3.0) == 10
    assert expected_steps(dataclasses.replace(plan, tokens=1920), 3.0) == 10
    assert math.isnan(expected_steps(dataclasses.replace(plan, seconds=10.0), 3.0))


def test_what_was_predicted_is_compared():
    summary, _ = a_summary()
    prediction = to_plain(of_summary(summary, plans("grpo-2", "grpo-4", "grpo-16", "ppo"), "grpo-16"))
    order = sorted(prediction["arms"], key=lambda row: row["progress"] or -1, reverse=True)
    best, middle, worst, none = (row["arm"] for row in order)
    assert none == "ppo"
    gains = {best: np.array([0.3, 0.31]), middle: np.array([0.2, 0.19]), worst: np.array([0.1, 0.12])}
    agreed = compared(prediction, gains | {none: np.array([0.5, 0.5])})
    assert (agreed["predicted_best"], agreed["measured_best"], agreed["share"]) == (best, best, 1)
    assert agreed["correlation"].value == 1
    turned = compared(prediction, gains | {worst: np.array([0.6, 0.61])})
    assert turned["measured_best"] == worst
    assert turned["share"] == pytest.approx(0.305 / 0.605)
    assert turned["correlation"].value < 1
    words = " ".join(sentences(prediction | {"compared": to_plain(turned)}, "grpo-16"))
    assert f"{best} was predicted to gain most; {worst} did" in words
    assert "variance per rollout over that of grpo-16: grpo-2" in words


def test_a_prediction_is_written_before_training_and_once(tmp_path):
    made = written(tmp_path, {"seed": 1}, lambda: {"best_group": 2})
    assert written(tmp_path, {"seed": 1}, lambda: {"best_group": 16}) == made == {"best_group": 2}
    assert json.loads((tmp_path / "prediction.json").read_text())["settings"] == {"seed": 1}
    with pytest.raises(ValueError, match=r"other settings \(seed: 1 there, 2 asked for\)"):
        written(tmp_path, {"seed": 2}, dict)
    trained = tmp_path / "trained"
    (trained / "grpo-2").mkdir(parents=True)
    (trained / "grpo-2" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="holds trained arms and no prediction"):
        written(trained, {}, dict)
    assert written(None, {}, lambda: {"x": math.nan}) == {"x": None}
