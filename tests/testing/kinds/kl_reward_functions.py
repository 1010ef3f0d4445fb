"""Rewards with a KL penalty, sound and with one slip each. NumPy."""

import numpy as np

SIGN = {"added": 1.0}
POWER = {"coefficient squared": 2.0}


def _penalty(kl, kl_coef, slip):
    coefficient = kl_coef ** POWER.get(slip, 1.0)
    if slip == "coefficient ignored":
        coefficient = 0.1
    return SIGN.get(slip, -1.0) * coefficient * kl * (0.0 if slip == "kl ignored" else 1.0)


def lists(slip):
    """A list of rollouts: the score on every token."""

    def shape(rewards, kl: list, kl_coef=0.1):
        return [r * np.ones_like(k) + _penalty(k, kl_coef, slip) for r, k in zip(rewards, kl, strict=True)]

    return shape


def last_token(slip):
    """The score on the last real token."""

    def shape(scores, kl, response_mask, kl_coef):
        out = _penalty(kl * (1.0 if slip == "unmasked" else response_mask), kl_coef, slip)
        place = np.where(response_mask > 0, np.arange(kl.shape[1]), -1).max(-1)
        out[np.arange(len(kl)), place] += scores
        return out

    return shape


def returns(slip):
    """The sums of the penalised rewards from each token on."""

    def shape(token_level_rewards, kl, loss_mask, kl_coef, gamma):
        rewards = (token_level_rewards + 0.0) * loss_mask
        rewards = rewards + _penalty(kl * (1.0 if slip == "unmasked" else loss_mask), kl_coef, slip)
        out, carry = np.zeros_like(rewards), np.zeros(len(rewards))
        for t in reversed(range(rewards.shape[1])):
            carry = rewards[:, t] + gamma * carry
            out[:, t] = carry
        return out

    return shape


def sums(slip):
    """One penalised reward for each rollout."""

    def shape(rewards, kl, mask, kl_coef):
        return rewards + _penalty(kl * (1.0 if slip == "unmasked" else mask), kl_coef, slip).sum(1)

    return shape


SOUND = (lists, last_token, returns, sums)
VIOLATORS = (
    *((make, "added", "kl_penalty_lowers") for make in SOUND),
    *((make, "kl ignored", "takes_effect") for make in SOUND),
    *((make, slip, "kl_coef_scales") for make in SOUND for slip in (*POWER, "coefficient ignored")),
    *((make, "unmasked", "kl_reward_masked") for make in SOUND[1:]),
)
"""(maker, slip, law that must fail)."""
