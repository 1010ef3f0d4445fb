"""Sound functions in forms that trainers publish, on which a law once said otherwise, beside their faulty twins."""

import numpy as np
import pytest

from gradvar.testing import check_advantage


def best_alone(use_mask):
    """The best rollout gets its lead over the second, the others nothing (arXiv 2503.19595, equation 7)."""

    def advantages(token_level_rewards, response_mask, index):
        mask = response_mask > 0
        scores, names = np.where(mask, token_level_rewards, 0.0).sum(-1), np.asarray(index)
        out = np.zeros(len(scores))
        for name in set(names.tolist()):
            rows = np.flatnonzero((names == name) & mask.any(-1))
            if len(rows) > 1 and np.all(np.isfinite(scores[rows])):
                order = rows[np.argsort(scores[rows])]
                out[order[-1]] = scores[order[-1]] - scores[order[-2]]
        return out[:, None] * (mask if use_mask else np.ones_like(mask))

    return advantages


def unmasked(token_level_rewards, response_mask, index):
    """The twin that is handed the mask and looks at no place of it."""
    everywhere = np.ones(np.shape(response_mask))
    return best_alone(True)(token_level_rewards, everywhere, index)


def whitened(packed):
    """REINFORCE++ (arXiv 2501.03262): every rollout of the batch is compared with all others."""

    def advantages(rewards, num_generations):
        if not np.all(np.isfinite(rewards)):
            raise ValueError("rewards: not all finite")
        return (rewards - rewards.mean()) / np.sqrt(rewards.var() + 1e-8) if len(rewards) > 1 else 0 * rewards

    if packed:  # its trainer hands the group size to every estimator
        advantages.packed = frozenset({"count"})
    return advantages


def test_a_mask_that_only_the_best_rollout_shows_is_seen():
    assert check_advantage(best_alone(True), laws=["arrays_matter"], examples=6).ok
    report = check_advantage(unmasked, laws=["arrays_matter"], examples=6)
    assert report["arrays_matter"].status == "fails"
    assert "mask" in report["arrays_matter"].why


def mean_of_the_batch(rewards, num_generations):
    return rewards - rewards.mean()


mean_of_the_batch.packed = frozenset({"count"})


@pytest.mark.parametrize("law", ["arrays_matter", "group_isolated"])
def test_what_a_trainer_packs_into_every_batch_may_be_left_alone(law):
    assert check_advantage(whitened(True), laws=[law], examples=6)[law].status != "fails"
    assert check_advantage(whitened(False), laws=[law], examples=6)[law].status == "fails"


def test_a_mean_over_the_batch_is_a_fault_whoever_packs_the_groups():
    assert check_advantage(mean_of_the_batch, laws=["group_isolated"], examples=6)["group_isolated"].failed
