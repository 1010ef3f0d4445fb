"""The warm start: it reaches its target and stops near it, says how well it does, and keeps what it made."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.progress import Silent
from gradvar.files.cache import cache_folder, read_tree, write_tree
from gradvar.files.fingerprint import fingerprint, settings_of
from gradvar.policies import Tabular, Transformer
from gradvar.tasks import Lookup, ModularAddition, PartialSorting, Sorting
from gradvar.train.warm_start import warm_start

TASK = Sorting(3, 4, shortest=1)
SMALL = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "hidden": 32}
POLICY = Transformer.for_task(TASK, **SMALL)
QUICK = {"batch": 64, "check_every": 25, "num_prompts": 128, "group": 8, "learning_rate": 1e-2}


class Notes(Silent):
    """Step, loss and success rate of every check."""

    def __init__(self, checks):
        self.checks = checks

    def advance(self, steps=1, note=""):
        step, loss, success = re.fullmatch(r"step (\d+), loss (\S+), success (\S+)", note).groups()
        self.checks.append((int(step), float(loss), float(success)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def heard():
    return []


@pytest.fixture(scope="module")
def warm(folder, heard):
    return warm_start(POLICY, TASK, jax.random.key(0), 0.5, folder=folder, monitor=Notes(heard), **QUICK)


PROMPTS, ROLLOUTS = 500, 64


def fresh_rewards(params):
    prompts = TASK.prompts(jax.random.key(99), PROMPTS)
    completions = POLICY.sample(params, jax.random.key(98), prompts, ROLLOUTS)
    return np.asarray(prompts), np.asarray(TASK.reward(prompts, completions))


@pytest.mark.slow
def test_success_rate_is_near_the_target_and_true(warm):
    assert warm.reached
    assert not warm.cached
    assert warm.steps > 0
    # bisection leaves at most one step or one standard error; the report has an error of its own
    assert abs(warm.success_rate - 0.5) < 5 * warm.standard_error
    rates = fresh_rewards(warm.params)[1].mean(-1)
    error = (rates.var(ddof=1) / PROMPTS + warm.standard_error**2) ** 0.5
    assert abs(rates.mean() - warm.success_rate) < 4 * error
    untrained = fresh_rewards(POLICY.init(jax.random.key(0)))[1].mean()  # the planted violator
    assert abs(untrained - warm.success_rate) > 4 * error


@pytest.mark.slow
def test_prompts_are_of_unequal_difficulty(warm):
    assert warm.prompt_rates.shape == (128,)
    assert warm.success_rate == pytest.approx(warm.prompt_rates.mean())
    assert warm.standard_error == pytest.approx(warm.prompt_rates.std(ddof=1) / 128**0.5)
    prompts, rewards = fresh_rewards(warm.params)
    halves = rewards[:, :32].mean(-1), rewards[:, 32:].mean(-1)
    between = np.cov(*halves)[0, 1] ** 0.5  # two independent halves share only what the prompt brings
    assert abs(warm.between_prompts - between) < 0.1  # about four standard errors with 128 prompts
    assert between > 0.15
    lengths = (prompts < TASK.values).sum(-1)
    assert rewards[lengths == 1].mean() > rewards[lengths == 3].mean()


@pytest.mark.slow
def test_every_check_is_heard(warm, heard):
    steps = [step for step, _, _ in heard]
    assert steps[:2] == [0, 25]
    assert warm.steps in steps
    assert np.isnan(heard[0][1])
    assert heard[1][1] > heard[-1][1] > 0
    assert any(success >= 0.5 for _, _, success in heard)


def assert_same(left, right):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_second_time_it_comes_from_disk(warm, folder):
    told = []
    again = warm_start(POLICY, TASK, jax.random.key(0), 0.5, folder=folder, monitor=Notes(told), **QUICK)
    assert again.cached
    assert not told
    assert_same(again.params, warm.params)
    assert jax.tree.structure(again.params) == jax.tree.structure(warm.params)
    for field in dataclasses.fields(warm):
        if field.name not in ("params", "cached"):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(warm, field.name))


@pytest.mark.slow
def test_a_damaged_file_is_made_anew(warm, folder):
    (path,) = (folder / "warm").glob("*.safetensors")
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[-1000] ^= 1  # one bit of one parameter
    for bad, reason in ((bytes(flipped), "checksum"), (good[: len(good) // 2], "damaged"), (b"", "damaged")):
        path.write_bytes(bad)
        with pytest.warns(UserWarning, match=reason) as caught:
            again = warm_start(POLICY, TASK, jax.random.key(0), 0.5, folder=folder, **QUICK)
        assert len(caught) == 1
        assert "\n" not in str(caught[0].message)
        assert not again.cached
        assert_same(again.params, warm.params)  # and training is deterministic
        assert warm_start(POLICY, TASK, jax.random.key(0), 0.5, folder=folder, **QUICK).cached
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no part files left


def test_other_settings_have_other_names():
    identity = {"policy": settings_of("policy", POLICY), "task": settings_of("task", TASK)}
    others = [
        {"policy": settings_of("policy", Transformer(dataclasses.replace(POLICY.config, norm_eps=1e-5)))},
        {"task": settings_of("task", Sorting(3, 4, shortest=2))},
        {"task": settings_of("task", PartialSorting(3, 4, shortest=1))},
    ]
    names = {fingerprint(identity), *(fingerprint(identity | other) for other in others)}
    assert len(names) == 4
    assert fingerprint(dict(reversed(identity.items()))) in names


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gradvar"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "gradvar"


def test_half_precision_survives_the_disk(tmp_path):
    params = {"a": jnp.arange(6.0).astype(jnp.bfloat16).reshape(2, 3), "b": {"c": jnp.ones(2, jnp.float32)}}
    write_tree(tmp_path / "x", params, {"n": 1})
    shapes = jax.eval_shape(lambda: params)
    found = read_tree(tmp_path / "x", shapes)
    assert found is not None
    assert found[0]["a"].dtype == jnp.bfloat16
    assert_same(found[0], params)
    assert found[1] == {"n": 1}
    assert read_tree(tmp_path / "none", shapes) is None
    with pytest.warns(UserWarning, match="holds other arrays"):
        assert read_tree(tmp_path / "x", {"a": shapes["a"]}) is None


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path):
    (tmp_path / "below").write_text("")
    with pytest.warns(UserWarning, match="cannot be written"):
        write_tree(tmp_path / "below" / "x", jnp.ones(2), {})


@pytest.mark.slow
def test_finite_policies_can_be_warmed_too():
    policy = Tabular(3, 2, num_prompts=4, stop=2)
    rewards = np.eye(4, len(policy.support()))
    warm = warm_start(
        policy, Lookup(rewards, policy.support()), jax.random.key(0), 0.6, cache=False, learning_rate=0.1
    )
    assert warm.reached
    assert 0.5 < warm.success_rate < 0.75


@pytest.mark.slow
def test_a_target_out_of_reach_is_a_warning():
    with pytest.warns(UserWarning, match="short of 0.99; give more max_steps"):
        warm = warm_start(
            POLICY,
            TASK,
            jax.random.key(0),
            0.99,
            cache=False,
            **(QUICK | {"max_steps": 30, "check_every": 20}),
        )
    assert not warm.reached
    assert warm.steps == 30


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"target": 1.0}, ValueError, "target: 1.0; give a success rate between 0 and 1"),
        ({"target": float("nan")}, ValueError, "target: nan"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate: 0.0; give a number above zero"),
        ({"batch": 0}, ValueError, "batch: 0; give 1 or more"),
        ({"num_prompts": 1}, ValueError, "num_prompts: 1; give 2 or more"),
        ({"task": object()}, TypeError, r"task: object has no solution\(prompts\)"),
        ({"task": ModularAddition()}, ValueError, r"prompts: token \d+ is not among 0\.\.6"),
        ({"task": Sorting(6, 4)}, ValueError, "policy: it writes 4 tokens and the task's solutions have 7"),
    ],
)
def test_bad_settings_are_refused(change, error, message):
    arguments = {"policy": POLICY, "task": TASK, "key": jax.random.key(0), "cache": False} | change
    with pytest.raises(error, match=message):
        warm_start(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize("task", [ModularAddition(), Sorting(), PartialSorting()], ids=lambda t: t.name)
def test_the_default_transformer_learns_the_default_tasks(task):
    policy = Transformer.for_task(task)
    warm = warm_start(policy, task, jax.random.key(1), 0.4, cache=False)
    assert 90_000 < policy.num_params() < 110_000
    assert abs(warm.success_rate - 0.4) < 5 * warm.standard_error
    inside = (warm.prompt_rates > 0.1) & (warm.prompt_rates < 0.9)
    assert inside.mean() > 0.5
    assert warm.between_prompts > 0.05
    assert warm.steps < 500
