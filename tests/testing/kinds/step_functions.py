"""Advantages of trajectories in steps, sound and with one slip each. NumPy."""

import numpy as np


def _centred(rewards, names, slip):
    out = np.zeros(len(rewards))
    for name in set(names):
        rows = [n for n, other in enumerate(names) if other == name]
        part = np.asarray(rewards)[rows]
        if (slip == "raw alone" and len(rows) == 1) or slip == "not centred":
            out[rows] = part
        elif slip == "sign":
            out[rows] = part.mean() - part
        else:
            out[rows] = part - part.mean()
    return out


def _places(is_last_step):
    return np.append(0, np.cumsum(is_last_step.astype(int))[:-1])


def outcome_tokens(slip):
    """Token rewards and mask [N, T]; the last step's outcome for all steps, each under its own mask."""

    def advantages(token_level_rewards, response_mask, is_last_step, index):
        last = np.flatnonzero(is_last_step)
        rewards = (token_level_rewards * (1 if slip == "rewards of padding" else response_mask)).sum(-1)
        names = np.asarray(index)
        if slip == "every step votes":
            places = _places(is_last_step)
            a = _centred(rewards[last][places], names.tolist(), slip)[last]
        elif slip == "own names":
            a = _centred(rewards[last], list(range(len(last))), "raw alone")
        elif slip == "one group":
            a = _centred(rewards[last], [0] * len(last), slip)
        else:
            a = _centred(rewards[last], names[last].tolist(), slip)
        places = _places(is_last_step)
        if slip == "one place late":
            places = np.minimum(np.cumsum(is_last_step.astype(int)), len(last) - 1)
        if slip == "last mask":
            return (a[:, None] * response_mask[last])[places]
        if slip == "last step only":
            return (a[places] * is_last_step)[:, None] * response_mask
        return a[places][:, None] * response_mask

    return advantages


def outcome_rows(slip):
    """Rewards [N]; a pair of advantages and returns [N]."""

    def advantages(rewards, uid, is_last_step):
        last = np.flatnonzero(is_last_step)
        names = np.asarray(uid)[last].tolist()
        if slip == "groups of two":
            names = (np.arange(len(last)) // 2).tolist()
        out = _centred(rewards[last], names, slip)[_places(is_last_step)]
        return (out * is_last_step if slip == "last step only" else out), rewards

    return advantages


def by_step(slip):
    """Each step of a prompt in its own group."""

    def advantages(rewards, uid, step_ids):
        names = list(zip(np.asarray(uid).tolist(), np.asarray(step_ids).tolist(), strict=True))
        if slip == "step forgotten":
            names = [u for u, _ in names]
        if slip == "prompt forgotten":
            names = [s for _, s in names]
        if slip == "runs":
            names = [(k // 2, s) for k, (_, s) in enumerate(names)]
        return _centred(rewards, names, slip)

    return advantages


VIOLATORS = (
    *(
        (make, slip, "step_equal")
        for make in (outcome_tokens, outcome_rows, by_step)
        for slip in ("not centred",)
    ),
    *((make, "sign", "step_better") for make in (outcome_tokens, outcome_rows, by_step)),
    (outcome_tokens, "last mask", "step_tokens"),
    (outcome_tokens, "last step only", "step_shared"),
    (outcome_tokens, "one place late", "step_shared"),
    (outcome_tokens, "every step votes", "step_one_vote"),
    (outcome_tokens, "own names", "step_equal"),
    (outcome_tokens, "one group", "step_equal"),
    (outcome_tokens, "rewards of padding", "masked_cells_inert"),
    (outcome_rows, "last step only", "step_shared"),
    (outcome_rows, "groups of two", "step_order"),
    (by_step, "raw alone", "step_equal"),
    (by_step, "step forgotten", "step_apart"),
    (by_step, "prompt forgotten", "step_equal"),
    (by_step, "runs", "step_order"),
)
"""(maker, slip, law that must fail)."""
SOUND = (outcome_tokens, outcome_rows, by_step)
