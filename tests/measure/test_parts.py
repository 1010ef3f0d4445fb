"""Tasks of several rewards: GDPO, which reads the parts, by enumeration, by drawing and from a bank."""

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.protocols import FiniteTask
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.record import record
from gradvar.measure.direct import direct
from gradvar.measure.exact.enumerate import exact
from gradvar.policies import Bandit
from gradvar.stats.figures import FIGURES
from gradvar.tasks import Bandit as Rewards
from gradvar.tasks import Sorting, several_rewards

GDPO = catalogue.get("gdpo")


@pytest.fixture(scope="module")
def scene():
    """Two prompts, three answers, correctness and a graded format."""
    policy = Bandit(3, num_prompts=2)
    right, form = Rewards([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), Rewards([[0.2, 1.0, 0.0], [0.5, 0.0, 1.0]])
    return policy, policy.init(jax.random.key(0)), several_rewards(right, form)


def agrees(measured, truth):
    errors = {f: measured.se[f] for f in FIGURES if measured.se[f] > 1e-12}
    z = {f: abs(getattr(measured, f) - getattr(truth, f)) / errors[f] for f in errors}
    return len(z) > 4 and max(z.values()) < 4.5


@pytest.mark.slow
def test_three_engines_agree_on_decoupled_rewards(scene, tmp_path):
    policy, params, task = scene
    truth = exact(GDPO, policy, params, task, 2, prompts=2)
    assert agrees(
        direct(GDPO, policy, params, task, 2, key=jax.random.key(1), replicates=2048, prompts=2), truth
    )
    bank = record(policy, params, task, jax.random.key(2), 200, 8, estimators=[GDPO])
    opened = ScoreBank.open(bank.save(tmp_path / "bank"))
    found = opened.evaluate([GDPO], [2], prompts=2)["gdpo", 2]
    assert agrees(found, truth)
    other = several_rewards(*task.tasks[::-1], weights=(0.0, 1.0))  # another sum, other parts' order
    assert not agrees(found, exact(catalogue.get("rloo"), policy, params, other, 2, prompts=2))


def test_several_rewards_are_checked():
    with pytest.raises(ValueError, match="tasks: 1 with 1 weights"):
        several_rewards(Rewards([1.0, 0.0]))
    with pytest.raises(ValueError, match="weights: nan"):
        several_rewards(Rewards([1.0, 0.0]), Rewards([1.0, 0.0]), weights=(1.0, float("nan")))
    sorting = several_rewards(Sorting(length=3, values=4), Sorting(length=3, values=4))
    assert not isinstance(sorting, FiniteTask)
    assert np.asarray(sorting.prompts(jax.random.key(0), 2)).shape[0] == 2
