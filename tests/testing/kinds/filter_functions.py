"""Filters of groups, sound and with one slip each, in the forms that trainers have. NumPy."""

import numpy as np


def _signal(group, slip):
    if slip == "wrong way round":
        return bool(np.ptp(group) <= 1e-6)
    if slip == "mean between 0 and 1":
        return bool(0 < np.mean(group) < 1)
    if slip == "std above zero":
        return bool(np.std(group) > 0)
    if slip == "mean not zero":
        return bool(np.ptp(group) > 1e-6 and np.mean(group) != 0)
    if slip == "failures kept":
        return bool(np.ptp(group) > 1e-6 or np.max(group) <= 0)
    return bool(np.ptp(group) > 1e-6)


def _groups(labels):
    return {label: np.flatnonzero(labels == label) for label in dict.fromkeys(np.asarray(labels).tolist())}


def rows(slip):
    """Rewards, uid [N] -> booleans [N]."""

    def keep(rewards, uid):
        labels = np.arange(len(uid)) // 2 if slip == "runs of two" else np.asarray(uid)
        out = np.zeros(len(rewards), bool)
        for m in _groups(labels).values():
            group = rewards[m]
            out[m] = _signal(rewards if slip == "spread of the batch" else group, slip)
            if slip == "part of a group":
                out[m] &= group > group.mean()
            if slip == "first row only":
                out[m[1:]] = False
        return out

    return keep


def prompts(slip):
    """Rewards, group_ids [N] -> booleans [Q], by first appearance."""

    def keep(rewards, group_ids):
        groups = list(_groups(group_ids).values())
        if slip == "sizes as the first":
            size = len(groups[0])
            groups = [np.arange(k, min(k + size, len(rewards))) for k in range(0, len(rewards), size)][
                : len(groups)
            ]
        return np.array([_signal(rewards[m], slip) for m in groups])

    return keep


def table(slip):
    """Rewards [Q, G] -> booleans [Q]."""

    def valid_groups(rewards):
        spread = np.ptp(rewards, axis=0 if slip == "other axis" else 1) > 1e-6
        if slip == "other axis":
            return np.resize(spread, len(rewards))
        if slip == "spread of the batch":
            return np.full(len(rewards), np.ptp(rewards) > 1e-6)
        return np.array([_signal(row, slip) for row in rewards])

    return valid_groups


def indices(slip):
    """Rewards [N], n -> the indices of the rows that are kept."""

    def keep_indices(rewards, n_samples_per_prompt):
        grouped = rewards.reshape(-1, n_samples_per_prompt)
        keep = np.array([_signal(row, slip) for row in grouped])
        return np.flatnonzero(np.repeat(keep, n_samples_per_prompt))

    return keep_indices


def one_group(slip):
    """The rewards of one group -> a boolean."""

    def check_reward_nonzero_std(rewards):
        return _signal(rewards, slip)

    return check_reward_nonzero_std


def dropped(slip):
    """True for what goes."""

    def drop_mask(rewards, uid):
        return ~rows(slip)(rewards, uid)

    return drop_mask


def graded(slip):
    """Of what is correct, within a range of pass rates."""

    def keep(acc, index, min_acc=0.1, max_acc=0.9):
        out = np.zeros(len(acc), bool)
        for m in _groups(index).values():
            rate = np.mean(acc[m])
            out[m] = not min_acc < rate < max_acc if slip == "wrong way round" else min_acc < rate < max_acc
        return out

    return keep


MAKERS = (rows, prompts, table, indices, one_group, dropped)
VIOLATORS = (
    *(
        (make, slip, "filter_silent_dropped")
        for make in MAKERS
        for slip in ("mean between 0 and 1", "std above zero")
    ),
    *((make, "wrong way round", "filter_signal_kept") for make in (*MAKERS, graded)),
    *((make, "failures kept", "filter_silent_dropped") for make in MAKERS),
    *((make, "mean not zero", "filter_signal_kept") for make in MAKERS),
    (rows, "part of a group", "filter_together"),
    (rows, "first row only", "filter_together"),
    (rows, "runs of two", "filter_order"),
    (rows, "spread of the batch", "filter_apart"),
    (prompts, "sizes as the first", "filter_ragged"),
    (table, "other axis", "filter_apart"),
    (table, "spread of the batch", "filter_silent_dropped"),
)
"""(maker, slip, law that must fail)."""
SOUND = (*MAKERS, graded)
