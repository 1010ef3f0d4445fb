"""Advantages from values, sound and with one slip each, in the layouts that trainers have. NumPy."""

import numpy as np


def _scan(rewards, values, alive, last, gamma, lam, mask=None, slip=""):
    """Time is the last axis; ``alive`` multiplies what comes after each step."""
    out = np.zeros_like(values)
    carry, following = np.zeros(values.shape[:-1]), last
    for t in reversed(range(values.shape[-1])):
        lives = alive[..., t]
        step = gamma * (1.0 if slip == "value crosses" else lives) * following - values[..., t]
        step = step + (0.0 if slip == "no reward" else rewards[..., t])
        keep = gamma * lam * (1.0 if slip == "sum crosses" else lives)
        keep = {"no lambda": gamma * lives, "no gamma": lam * lives}.get(slip, keep)
        step = step + keep * carry
        if mask is None or slip == "holes are steps":
            carry, following = step, values[..., t]
        else:
            counts = mask[..., t] > 0
            carry = np.where(counts, step, 0.0 if slip == "holes reset" else carry)
            leak = values[..., t] if slip == "holes leak their value" else following
            following = np.where(counts, values[..., t], 0.0 if slip == "holes are worth nothing" else leak)
        out[..., t] = carry
    return out


def _back(adv, values, slip):
    return {"returns less values": adv - values, "returns are advantages": adv}.get(slip, adv + values)


def episodes(slip):
    """Rewards, values, dones [T]."""

    def gae(rewards, values, dones, last_value=0.0, gamma=0.99, lam=0.95):
        alive = 1.0 - (np.append(dones[1:], dones[-1]) if slip == "one late" else dones)
        last = np.zeros(()) if slip == "no bootstrap" else np.asarray(last_value)
        adv = _scan(rewards, values, alive, last, gamma, lam, slip=slip)
        return adv, _back(adv, values, slip)

    return gae


def batch(slip):
    """Rewards, values, dones [N, T], last values [N]."""

    def gae(rewards, values, dones, last_values, gamma, lam):
        alive = 1.0 - (np.roll(dones, 1, axis=1) if slip == "one late" else dones)
        last = last_values * 0 if slip == "no bootstrap" else last_values
        adv = _scan(rewards, values, alive, last, gamma, lam, slip=slip)
        return adv, _back(adv, values, slip)

    return gae


def time_first(slip):
    """Rewards, values, dones [T, N]."""

    def gae(rewards, values, dones, next_value, gamma=0.99, gae_lambda=0.95):
        following = np.concatenate([values[1:], next_value[None]])
        adv, carry = np.zeros_like(values), np.zeros(values.shape[1])
        for t in reversed(range(len(values))):
            lives = 1.0 - dones[min(t + 1, len(dones) - 1) if slip == "one late" else t]
            after = following[t] * (slip != "no bootstrap" or t + 1 < len(values))
            step = rewards[t] + gamma * after * (1.0 if slip == "value crosses" else lives) - values[t]
            carry = step + gamma * gae_lambda * (1.0 if slip == "sum crosses" else lives) * carry
            adv[t] = carry
        return {"advantages": adv, "returns": _back(adv, values, slip)}

    return gae


def tokens(slip):
    """Token rewards, values, mask [N, T]."""

    def gae(token_level_rewards, values, response_mask, gamma, lam):
        alive, last = np.ones_like(values), np.zeros(len(values))
        adv = _scan(token_level_rewards, values, alive, last, gamma, lam, response_mask, slip)
        back = _back(adv, values, slip)
        if slip.startswith("whitened") or slip == "":
            return adv, back
        return adv * response_mask, back * response_mask

    return gae


def whitened_tokens(slip):
    """The advantages with zero mean and unit variance over the tokens that count."""

    def gae(token_level_rewards, values, response_mask, gamma, lam):
        alive, last = np.ones_like(values), np.zeros(len(values))
        adv = _scan(token_level_rewards, values, alive, last, gamma, lam, response_mask, slip)
        mask = np.ones_like(response_mask) if slip == "statistics of the padding" else response_mask
        mean = (adv * mask).sum() / mask.sum()
        var = ((adv - mean) ** 2 * mask).sum() / (mask.sum() - 1)
        if slip == "not shifted":
            mean = mean * 0
        return (adv - mean) / np.sqrt(var + 1e-8) * response_mask, adv + values

    return gae


def truncated(slip):
    """Truncations end the sum and keep the value."""

    def gae(rewards, values, terminated, truncated, last_value, gamma, lam):
        ends = np.maximum(terminated, truncated)
        following = np.concatenate([values[:, 1:], last_value[:, None]], axis=1)
        stops = {"truncation ends the value": ends, "truncation forgotten": terminated}.get(slip, terminated)
        goes_on = 1 - (terminated if slip in ("truncation forgotten", "sum crosses") else ends)
        adv, carry = np.zeros_like(values), np.zeros(len(values))
        for t in reversed(range(values.shape[1])):
            carry = (
                rewards[:, t]
                + gamma * following[:, t] * (1 - stops[:, t])
                - values[:, t]
                + (gamma * lam * goes_on[:, t] * carry)
            )
            adv[:, t] = carry
        return adv, adv + values

    return gae


ENDS = ("one late", "value crosses", "sum crosses")
FORMULA = ("no reward", "no lambda", "no gamma", "returns less values", "returns are advantages")
HOLES = ("holes are steps", "holes reset", "holes leak their value", "holes are worth nothing")
VIOLATORS = (
    *((make, slip, "gae_done_stops") for make in (episodes, batch, time_first) for slip in ENDS),
    *((make, "no bootstrap", "gae_bootstrap") for make in (episodes, batch, time_first)),
    *(
        (make, slip, "known_form")
        for make in (episodes, batch, tokens)
        for slip in FORMULA
        if slip != "no reward"
    ),
    *((make, "no reward", "takes_effect") for make in (episodes, batch, tokens)),
    *((make, slip, "gae_holes") for make in (tokens, whitened_tokens) for slip in HOLES),
    (whitened_tokens, "statistics of the padding", "gae_padding"),
    (whitened_tokens, "not shifted", "known_form"),
    (truncated, "truncation ends the value", "gae_truncation"),
    (truncated, "truncation forgotten", "gae_truncation"),
    (truncated, "sum crosses", "gae_truncation"),
)
"""(maker, slip, law that must fail)."""
SOUND = (episodes, batch, time_first, tokens, whitened_tokens, truncated)
