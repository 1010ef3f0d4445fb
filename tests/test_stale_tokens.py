"""How far a stale policy is: ratios and clipped tokens of two answers, by hand."""

import math
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

import gradvar as gv
from gradvar.studies.stale_tokens import stale_tokens

ESTIMATORS = [gv.catalogue.get(name) for name in ("rloo", "grpo", "dapo", "reinforce")]


def at(rate, rewards=(1.0, 0.0)):
    """From a success rate of one half to another one, of one prompt with two answers."""
    params = {steps: jnp.log(jnp.array([[p, 1 - p]])) for steps, p in {0: 0.5, 3: rate}.items()}
    problem = SimpleNamespace(
        policy=gv.policies.Bandit(2), task=gv.tasks.Bandit([*rewards]), sampler=None, title="two answers",
        params=params.get,
    )  # fmt: skip
    return stale_tokens(problem, 3, ESTIMATORS, seed=0)


def test_all_tokens_leave_the_range_and_only_clips_drop_them():
    away = at(0.7)  # ratios 1.4 on the right answer and 0.6 on the wrong one
    assert away.outside.value == 1
    assert {name: share.value for name, share in away.dropped.items()} == {
        "rloo": 0, "grpo": 1, "dapo": 1, "reinforce": 0
    }  # fmt: skip
    sentence = away.sentence()
    assert sentence.startswith("3 optimiser steps stale, KL 0.08")
    assert ": 100.0 % (" in sentence
    exact = -0.5 * (math.log(2 * 0.7) + math.log(2 * 0.3))  # of one half from 0.7
    assert away.divergence.low < exact < away.divergence.high < 1.1 * exact
    assert "none with rloo, reinforce" in sentence
    assert "with grpo, dapo" in sentence


def test_a_higher_upper_clip_keeps_the_right_answers():
    away = at(0.625)  # ratios 1.25 and 0.75: DAPO's upper clip is 0.28, so it drops the wrong answers alone
    assert away.dropped["grpo"].value == 1
    share = away.dropped["dapo"]
    assert share.low < 0.5 < share.high
    assert share.value == pytest.approx(0.5, abs=0.1)


def test_near_the_old_policy_nothing_is_dropped():
    away = at(0.55)
    assert away.outside.value == 0
    assert all(share.value == 0 for share in away.dropped.values())
    assert away.outside.high < 0.2


def test_without_two_rewards_in_a_group_nothing_is_said_of_the_clip():
    away = at(0.7, rewards=(1.0, 1.0))
    assert set(away.dropped) == {"reinforce"}
    assert "grpo" not in away.sentence()
