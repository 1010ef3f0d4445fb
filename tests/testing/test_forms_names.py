"""Forms found by rules: names with a layout in them, settings inside an object, batches under any name."""

import types

import numpy as np
import pytest

from gradvar.testing.losses import LossBatch
from gradvar.testing.recognise import advantage_target, loss_target
from gradvar.testing.roles import role_of
from gradvar.testing.runner import check_advantage
from gradvar.testing.signatures import SignatureError


def centred(rewards, index):
    """Sound: rewards minus the mean of their group; zeros for a group with a number that is not finite."""
    rewards, index = np.asarray(rewards, dtype=float), np.asarray(index)
    out = np.zeros(len(rewards))
    for label in set(index.tolist()):
        r = rewards[index == label]
        if np.isfinite(r).all() and np.ptp(r) > 0:
            out[index == label] = r - r.mean()
    return out


def uncentred(rewards, index):
    """The planted fault: groups whose rewards are equal keep their rewards."""
    return np.where(np.isfinite(rewards), np.asarray(rewards, dtype=float), 0.0) + 0.0 * len(index)


def layout_in_the_name(core):
    return lambda batch_rewards, batch_uids: core(batch_rewards, batch_uids)


def lists_by_name(core):
    return lambda rewards_list, prompts_list: core(rewards_list, prompts_list)


def rows_under_any_name(core):
    def f(rollouts):
        return core([r["reward"] for r in rollouts], [r["prompt_id"] for r in rollouts]).tolist()

    return f


def objects_under_any_name(core):
    def f(things):
        for thing, value in zip(
            things, core([s.reward for s in things], [s.group_index for s in things]), strict=True
        ):
            thing.advantage = value

    return f


def steps(core):
    def f(rewards, response_mask, traj_ids, uid, is_last_step):
        assert len(set(np.asarray(traj_ids).tolist())) == len(rewards)
        assert np.asarray(is_last_step).all()
        return core(rewards, uid)[:, None] * response_mask

    return f


def rows_counted(core):
    def f(rewards, uid, batch_size):
        assert batch_size == len(rewards)
        return core(rewards, uid)

    return f


class Nested:
    """A trainer whose group size stands in its configuration."""

    def __init__(self, core, size=3):
        self.core, self.args = core, types.SimpleNamespace(num_generations=size)

    def advantages(self, rewards):
        return self.core(rewards, np.arange(len(rewards)) // self.args.num_generations)


def nested(core):
    return Nested(core).advantages


FORMS = [
    layout_in_the_name, lists_by_name, rows_under_any_name, objects_under_any_name, steps, rows_counted, nested,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unshrunk")
def test_a_sound_function_passes(form):
    report = check_advantage(form(centred), examples=6)
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unshrunk")
def test_its_faulty_twin_is_caught(form):
    report = check_advantage(form(uncentred), examples=10)
    assert "zero_on_equal_rewards" in [r.name for r in report.failures], report.table()


def test_the_group_size_of_a_configuration_is_set_and_the_object_keeps_its_own():
    trainer = Nested(centred, size=3)
    target = advantage_target(trainer.advantages)
    assert target.kind == "num-generations"
    assert "args.num_generations" in target.signature.note
    got = target([[1.0, 0.0], [0.0, 4.0]])  # groups of two, not of three
    assert np.allclose(got, [[0.5, -0.5], [-2.0, 2.0]])
    assert trainer.args.num_generations == 3


@pytest.mark.parametrize(
    ("name", "role"),
    [("batch_uids", "ids"), ("reward_list", "rewards"), ("k_list", ""), ("batch_size", "row_count")],
)
def test_a_layout_in_a_name_is_left_out(name, role):
    assert role_of(name) == role


def test_an_error_of_the_function_is_told_as_its_own():
    def broken(rewards, uid):
        raise IndexError("list index out of range")

    with pytest.raises(
        SignatureError, match=r"broken raised IndexError: list index .* on a plain batch \(flat"
    ):
        advantage_target(broken)


def test_a_loss_takes_advantages_for_each_token():
    def loss(logp, old_logp, advantages, mask):
        return -(np.exp(logp - old_logp) * advantages * mask).sum()

    logp = np.full((2, 3), -1.0)
    advantages, mask = np.arange(6.0).reshape(2, 3), np.ones((2, 3), bool)
    weights = loss_target(loss).weights(LossBatch(logp, logp, advantages, mask))[1]
    assert np.allclose(weights, advantages, atol=1e-6)


def test_a_loss_of_rollouts_refuses_advantages_for_each_token():
    def loss(logp, old_logp, advantages, mask):
        assert advantages.ndim == 1
        return -(np.exp(logp - old_logp) * advantages[:, None] * mask).sum()

    logp = np.full((2, 3), -1.0)
    with pytest.raises(ValueError, match=r"advantages: one for each token"):
        loss_target(loss).weights(LossBatch(logp, logp, np.ones((2, 3)), np.ones((2, 3), bool)))
