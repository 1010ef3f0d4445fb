"""The experiment from end to end, small, and its command."""

import json
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.tasks import ModularAddition
from gradvar.train import experiment as module
from gradvar.train.experiment import experiment
from gradvar.train.held_out import Training
from gradvar.train.loop import train
from gradvar.train.plan import TUNING_OFFSET, Arm, TrainConfig
from gradvar.train.trainer import Trainer
from gradvar.train.tuning import at_rate, tune
from tests.report import schema

SMALL = {
    "seeds": 2, "steps": 4, "rollouts_per_step": 8, "evaluations": 2, "eval_prompts": 16, "eval_rollouts": 4,
    "success": 0.1, "width": 16, "reference": "grpo-4", "arms": ("grpo-2", "grpo-4"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_task(monkeypatch, tmp_path):
    monkeypatch.setitem(module.TASKS, "addition", lambda: ModularAddition(digits=1))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refused(capsys, *arguments):
    assert cli.run(["train", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


@pytest.mark.slow
def test_arms_start_alike_and_spend_alike(tmp_path):
    copied = Arm("mine", "rloo", group=2)
    small = SMALL | {"arms": ("grpo-4",)}
    result = experiment(TrainConfig(out=tmp_path / "out", **small), arms=[copied])
    assert [run.plan.arm.name for run in result.runs] == ["mine", "grpo-4"]
    rows = result.rows()
    assert {row["rollouts"] for row in rows} == {32}
    assert {row["prompts_per_step"] for row in rows} == {4, 2}
    assert len({row["start_reward"] for row in rows}) == 1
    for run in result.runs:  # every evaluation has every figure
        assert set(run.curves) == {"reward", "pass@1", "pass@2", "pass@4", "greedy"}
        assert all(np.isfinite(values).all() for values in run.curves.values())
        np.testing.assert_allclose(
            run.curves["pass@1"], run.curves["reward"], atol=1e-6
        )  # for binary rewards
    reference = rows[-1]
    assert (reference["retained_final"], reference["improvement"], reference["difference"]) == (1, 0.5, 0)
    curves = result.curve_rows()
    assert len(curves) == 2 * 2 * 3  # arms, seeds, evaluations
    assert [row["steps"] for row in curves[:3]] == [0, 2, 4]
    assert json.loads(json.dumps(result.as_json()))["plans"][0]["arm"]["estimator"] == "rloo"
    again = experiment(TrainConfig(out=tmp_path / "out", **small), arms=[copied])
    assert repr(again.rows()) == repr(rows)  # seconds too: nothing ran
    with pytest.raises(ValueError, match=r"other settings \(eval_prompts: 16 there, 8 asked for\)"):
        experiment(TrainConfig(out=tmp_path / "out", **(small | {"eval_prompts": 8})), arms=[copied])


def rates_alone(trainer, result, number):
    """Of one start by itself: the reward of every rate, the best one, and the rewards that it then gives."""
    config, task, key = result.config, Training(ModularAddition(digits=1)), jax.random.key(result.config.seed)
    validation = task.examination(jax.random.fold_in(key, 2), config.eval_prompts, "validation")
    judge = trainer.examined_on(task.examination(jax.random.fold_in(key, 1), config.eval_prompts, "test"))
    params, rewards = result.starts[number].params, {}

    def run(trainer, rate, first, seeds):
        return train(
            at_rate(trainer, rate), params, range(first, first + seeds), evaluations=config.evaluations
        )

    for rate in (config.learning_rate * factor for factor in config.grid):
        tuning = run(trainer.examined_on(validation), rate, config.seed + TUNING_OFFSET, config.tuning_seeds)
        rewards[rate] = float(tuning.final().mean())
    best = max(sorted(rewards), key=lambda rate: rewards[rate])
    return rewards, best, run(judge, best, config.seed + number * config.seeds, config.seeds).curves["reward"]


def agrees(result, alone):
    """Whether every start of an experiment has the rates, and their rewards, that it has by itself."""
    for number, (rewards, best, curve) in enumerate(alone):
        tried = {t.learning_rate: t.reward for t in result.tried if t.start == number}
        of_start = result.runs[0].curves["reward"][:, result.origin == number]
        if (tried, result.rates("grpo-4")[number]) != (rewards, best) or not np.array_equal(of_start, curve):
            return False
    return True


@pytest.mark.slow
def test_tuning_has_seeds_of_its_own_and_starts_have_rates_of_their_own(monkeypatch, tmp_path):
    made = []

    def only_trainer(*arguments):  # all of it is of one plan, whose programs are compiled once
        if not made:
            made.append(Trainer(*arguments))
        return made[0].examined_on(arguments[3])

    monkeypatch.setattr(module, "Trainer", only_trainer)
    settings = SMALL | {"arms": ("grpo-4",), "rate": "tuned", "grid": (2.0, 0.5, 1.0), "tuning_seeds": 1}
    settings |= {"steps": 2, "evaluations": 1}
    result = experiment(TrainConfig(starts=2, **settings), keep=False)
    assert [t.learning_rate for t in result.tried] == pytest.approx([1.5e-4, 3e-4, 6e-4])
    assert len(result.starts) == 2
    first, second = (jax.tree.leaves(s.params)[0] for s in result.starts)
    assert not np.array_equal(first, second)
    assert (result.runs[0].seeds, result.origin.tolist()) == ((0, 1, 2, 3), [0, 0, 1, 1])
    (row,) = result.rows()
    starts = result.runs[0].gain().reshape(2, 2).mean(1)
    assert row["gain"] == pytest.approx(starts.mean())
    assert (row["starts"], row["seeds"], result.curve_rows()[-1]["start"]) == (2, 4, 1)
    best = max(result.tried, key=lambda t: t.reward)
    assert result.runs[0].plan.learning_rate == best.learning_rate
    assert max(result.runs[0].seeds) < TUNING_OFFSET

    config = TrainConfig(starts=2, tuning="own", out=tmp_path / "out", **settings)
    of_each = experiment(config)
    alone = [rates_alone(made[0], of_each, number) for number in range(2)]
    assert agrees(of_each, alone)
    assert not agrees(result, alone)
    assert of_each.rates("grpo-4")[0] == row["learning_rate"]
    again = experiment(config)
    assert repr(again.rows()) == repr(of_each.rows())  # seconds too: nothing ran
    with monkeypatch.context() as planted:
        planted.setattr(module, "tune", lambda tuner, rates, run, number: tune(
            tuner, rates, partial(run.func, **run.keywords | {"start": of_each.starts[0]}), number
        ))  # fmt: skip
        assert not agrees(experiment(config, keep=False), alone)  # the first start's rates for all
    with monkeypatch.context() as planted:
        planted.setattr(module, "tune", lambda tuner, *rest: tune(made[0], *rest))
        assert not agrees(experiment(config, keep=False), alone)  # rates chosen on the prompts that judge
    # where another rate is the best one, as a wider grid may find, it goes on in the same folder
    monkeypatch.setattr(module, "best_rate", lambda tried: min(tried, key=lambda t: t.reward).learning_rate)
    assert not agrees(experiment(config), alone)


@pytest.mark.slow
def test_an_arm_learns(monkeypatch):
    monkeypatch.setitem(module.TASKS, "addition", lambda: ModularAddition(digits=2))
    settings = SMALL | {"steps": 60, "seeds": 4, "rollouts_per_step": 64, "success": 0.3, "width": 48}
    settings |= {"arms": ("grpo-4",), "eval_prompts": 64, "eval_rollouts": 16, "evaluations": 1}
    gain = experiment(TrainConfig(**settings), keep=False).runs[0].gain()
    assert gain.mean() > 3 * gain.std(ddof=1) / len(gain) ** 0.5
    assert gain.mean() > 0.02


@pytest.mark.slow
def test_the_command_prints_the_table_and_resumes(tmp_path):
    # in a process of its own, for it sets the number of devices and the cache of programs
    command = [
        *(sys.executable, "-m", "gradvar", "train", "--arms", "grpo-2", "grpo-16", "--task", "sorting"),
        *("--seeds", "2", "--steps", "2", "--evaluations", "1", "--eval-prompts", "8", "--width", "16"),
        *("--rollouts-per-step", "32", "--success", "0.1", "--predict", "8"),
        *("--out", str(tmp_path / "out"), "--json", str(tmp_path / "all.json")),
    ]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert "retained" in first.stdout
    content = json.loads((tmp_path / "all.json").read_text())
    assert [row["arm"] for row in content["rows"]] == ["grpo-2", "grpo-16"]
    assert schema.errors("training", content) == []
    assert content["provenance"]["config"]["task"] == "sorting"
    for name in ("results.json", "results.csv", "curves.csv", "grpo-2/metrics.jsonl", "grpo-16/run.json"):
        assert (tmp_path / "out" / name).exists(), name
    kept = tmp_path / "out" / "prediction.json"
    assert kept.stat().st_mtime <= (tmp_path / "out" / "grpo-2" / "run.json").stat().st_mtime
    written = json.loads(kept.read_text())["prediction"]
    assert written.items() <= content["prediction"].items()
    assert [row["arm"] for row in content["prediction"]["arms"]] == ["grpo-2", "grpo-16"]
    assert "compared" in content["prediction"]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads((tmp_path / "all.json").read_text())["rows"] == content["rows"], again.stderr


def test_bad_settings_are_one_line(capsys, tmp_path):
    out = ("--out", str(tmp_path / "out"))
    assert "no 'grpo-3'; nearest" in refused(capsys, *out, "--arms", "grpo-3", "--reference", "grpo-3")
    assert "no 'grpo-3'; nearest" in refused(capsys, *out, "--arms", "grpo-3")
    assert "noise: 4 prompts; give 8 or more" in refused(capsys, *out, "--noise", "4")
    assert "predict: 4 prompts; give 8 or more" in refused(capsys, *out, "--predict", "4")
    assert "reference: 'grpo-16'; choose one of grpo-2" in refused(capsys, *out, "--arms", "grpo-2")
    assert "names something twice" in refused(capsys, *out, "--arms", "grpo-16", "grpo-16")
    assert "is no multiple of the group" in refused(capsys, *out, "--rollouts-per-step", "40")
    assert "learning_rate: -1.0; give" in refused(capsys, *out, "--learning-rate", "-1")
    assert "width: 20" in refused(capsys, *out, "--width", "20")
    file = tmp_path / "file"
    file.write_text("")
    assert "lies below a file" in refused(capsys, "--out", str(file))
    assert not (tmp_path / "out").exists()


def test_the_arms_are_listed(capsys):
    assert cli.run(["train", "--list"]) == 0
    listed = capsys.readouterr().out
    for name in ("grpo-2 ", "ppo ", "g2d ", "sps "):
        assert name in listed
