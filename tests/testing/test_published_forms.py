"""Sound functions in forms that trainers publish, on which a law once said otherwise, beside their faulty twins."""

import numpy as np
import pytest

from gradvar.testing import check_advantage


def whitened(packed):
    """REINFORCE++ (arXiv 2501.03262): every rollout of the batch is compared with all others."""

    def advantages(rewards, num_generations):
        if not np.all(np.isfinite(rewards)):
            raise ValueError("rewards: not all finite")
        return (rewards - rewards.mean()) / np.sqrt(rewards.var() + 1e-8) if len(rewards) > 1 else 0 * rewards

    if packed:  # its trainer hands the group size to every estimator
        advantages.packed = frozenset({"count"})
    return advantages


def mean_of_the_batch(rewards, num_generations):
    return rewards - rewards.mean()


mean_of_the_batch.packed = frozenset({"count"})


@pytest.mark.parametrize("law", ["arrays_matter", "group_isolated"])
def test_what_a_trainer_packs_into_every_batch_may_be_left_alone(law):
    assert check_advantage(whitened(True), laws=[law], examples=6)[law].status != "fails"
    assert check_advantage(whitened(False), laws=[law], examples=6)[law].status == "fails"


def test_a_mean_over_the_batch_is_a_fault_whoever_packs_the_groups():
    assert check_advantage(mean_of_the_batch, laws=["group_isolated"], examples=6)["group_isolated"].failed
