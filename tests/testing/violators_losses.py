"""Policy losses with planted faults, by a cross product: fault x level of the ratio x aggregation.

``cases()`` yields (name, function, law). The twin of a case is the same loss without the fault.
"""

import itertools

import numpy as np

LEVELS = ("token", "sequence")
MEANS = ("token", "rollout", "fixed")


def _clean(x, mask):
    return np.where(mask > 0, x, 0.0)


def _mean(tokens, mask, mean, fault, count):
    tokens = _clean(tokens, mask)
    guard = 0 if fault == "no guard" else 1
    with np.errstate(all="ignore"):
        if fault == "width":
            return tokens.mean()
        if mean == "token":
            return tokens.sum() / np.maximum(mask.sum() if count is None else count, guard)
        if mean == "rollout":
            return np.mean(tokens.sum(-1) / np.maximum(mask.sum(-1), guard))
        return tokens.sum() / (8.0 * len(mask))


def _ratio(logp, old, mask, level, fault):
    gap = _clean(logp, mask) - _clean(old, mask)
    if fault == "old ignored":
        gap = 0.05 * (_clean(logp, mask) + 1.0)
    if fault == "centred over the batch":
        gap = gap - gap.sum() / max(mask.sum(), 1)
    if level == "sequence":
        gap = gap.sum(-1, keepdims=True) / np.maximum(mask.sum(-1, keepdims=True), 1) * np.ones_like(gap)
    return np.exp(2 * gap if fault == "squared ratio" else gap)


def _gain(ratio, a, eps, fault, mask):
    clipped = np.clip(ratio, 1 - eps, 1 + eps)
    if fault == "min of ratios":
        return np.minimum(ratio, clipped) * a
    if fault == "max for min":
        return np.maximum(ratio * a, clipped * a)
    if fault == "no min":
        return clipped * a
    if fault in ("never reached", "squared ratio"):
        return ratio * a
    if fault == "one branch normalised":
        rows = a[:, :1]
        return np.minimum(ratio * a, clipped * (a - rows.mean()) / (rows.std() + 1e-6))
    if fault == "product clamped":
        return np.clip(ratio * a, 1 - eps, 1 + eps)
    if fault == "sign lost":
        return -np.minimum(ratio * a, clipped * a)
    return np.minimum(ratio * a, clipped * a)


def _kl(logp, ref, mask, fault):
    d = _clean(logp, mask) - _clean(ref, mask)
    if fault == "k1":
        return d
    if fault == "k3 turned":
        return np.exp(d) - d - 1
    if fault == "kl pushes away":
        return -(np.exp(-d) + d - 1)
    return np.exp(-d) + d - 1


def _policy(logp, old, a, mask, eps, level, mean, fault, count=None):
    if fault == "empty rows vote":
        rows = a[:, :1]
        a = (a - rows.mean()) / (rows.std() + 1e-6)
    elif fault == "normalised":
        some = mask.sum(-1, keepdims=True) > 0
        centre = a[:, :1][some].mean() if some.any() else 0.0
        spread = a[:, :1][some].std() if some.any() else 1.0
        a = (a - centre) / (spread + 1e-6)
    if fault == "mask early":
        mask = np.concatenate([mask[:, 1:], np.zeros_like(mask[:, :1])], axis=1)
    if fault == "mask late":
        mask = np.concatenate([np.zeros_like(mask[:, :1]), mask[:, :-1]], axis=1)
    gain = _gain(_ratio(logp, old, mask, level, fault), a, eps, fault, mask)
    return -_mean(gain, mask, mean, fault, count)


def plain(level, mean, fault=""):
    def loss(logp, old_logp, advantages, mask, eps=0.2):
        return _policy(logp, old_logp, advantages, mask, eps, level, mean, fault)

    return loss


def with_kl(level, mean, fault=""):
    def loss(logp, old_logp, ref_logp, advantages, mask, eps=0.2, beta=0.1):
        kl = _kl(logp, ref_logp, mask, fault)
        if fault in ("kl times the rollout's ratio", "kl times the ratio"):
            kl = kl * _ratio(logp, old_logp, mask, "sequence" if "rollout" in fault else "token", "")
        penalty = kl.mean() if fault == "kl over the width" else _mean(kl, mask, mean, "", None)
        return _policy(logp, old_logp, advantages, mask, eps, level, mean, "") + beta * penalty

    return loss


def with_count(level, mean, fault=""):
    def loss(logp, old_logp, advantages, mask, num_items_in_batch, eps=0.2):
        count = None if fault else num_items_in_batch
        return _policy(logp, old_logp, advantages, mask, eps, level, "token", "", count)

    return loss


def with_two_masks(level, mean, fault=""):
    def loss(logp, old_logp, advantages, mask, tool_mask, eps=0.2):
        if fault == "one mask counts":
            return _policy(logp, old_logp, advantages * tool_mask, mask, eps, level, mean, "")
        both = mask if fault else mask * tool_mask
        return _policy(logp, old_logp, advantages, both, eps, level, mean, "")

    return loss


def without_old(level, mean, fault=""):
    def loss(logp, advantages, mask):
        gain = _clean(logp, mask) * np.maximum(advantages, 0) if fault else _clean(logp, mask) * advantages
        return -_mean(gain, mask, mean, "", None)

    return loss


FAULTS = {
    "min of ratios": (plain, "clip_form"),
    "max for min": (plain, "clip_form"),
    "no min": (plain, "clip_form"),
    "never reached": (plain, "clip_form"),
    "squared ratio": (plain, "clip_form"),
    "old ignored": (plain, "arrays_matter"),
    "centred over the batch": (plain, "rows_isolated"),
    "one branch normalised": (plain, "advantages_as_given"),
    "product clamped": (plain, "advantages_as_given"),
    "sign lost": (plain, "both_signs"),
    "mask early": (plain, "every_token_weighs"),
    "mask late": (plain, "every_token_weighs"),
    "empty rows vote": (plain, "empty_rows_silent"),
    "width": (plain, "padding_invariant"),
    "k1": (with_kl, "kl_term"),
    "k3 turned": (with_kl, "kl_term"),
    "kl pushes away": (with_kl, "kl_term"),
    "kl over the width": (with_kl, "kl_term"),
    "own count": (with_count, "token_count_divides"),
    "kl times the rollout's ratio": (with_kl, "kl_term"),
    "second mask ignored": (with_two_masks, "arrays_matter"),
    "one mask counts": (with_two_masks, "second_mask_counts"),
    "only the good": (without_old, "both_signs"),
}


def cases():
    """Every fault at every level and mean where it is one."""
    for fault, level, mean in itertools.product(FAULTS, LEVELS, MEANS):
        make, law = FAULTS[fault]
        if fault in ("width", "own count") and mean != "token":
            continue
        if fault == "only the good" and level != "token":
            continue
        if fault == "one mask counts" and mean == "fixed":
            continue
        yield f"{fault}, {level} ratio, {mean} mean", make(level, mean, fault), law
    for level in LEVELS:
        yield f"no guard, {level}, rollout mean", plain(level, "rollout", "no guard"), "empty_rows_finite"
        yield f"no guard, {level}, token mean", plain(level, "token", "no guard"), "empty_batch_finite"


def twins():
    """The same losses without a fault; one normalises its advantages over the rows that count."""
    for make, level, mean in itertools.product(
        (plain, with_kl, with_count, with_two_masks, without_old), LEVELS, MEANS
    ):
        if (make is with_count and mean != "token") or (make is without_old and level != "token"):
            continue
        yield f"{make.__name__}, {level} ratio, {mean} mean", make(level, mean)
    yield "kl times the ratio", with_kl("token", "token", "kl times the ratio")
    yield "normalised inside", plain("token", "token", "normalised")
