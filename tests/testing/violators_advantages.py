"""Advantage functions with planted faults, by a cross product: fault x estimator x layout.

``cases()`` yields (name, function, law). The twin of a case is the same function without the fault.
"""

import itertools

import numpy as np

ESTIMATORS = ("centred", "standardised", "sample std", "leave one out")


def _compare(r, estimator):
    if len(r) < 2 or not np.all(np.isfinite(r)):
        return np.zeros(len(r))
    centred = r - r.mean()
    if estimator in ("standardised", "whitened"):
        return centred / (r.std() + 1e-4)
    if estimator == "sample std":
        return centred / (r.std(ddof=1) + 1e-4)
    return centred * len(r) / (len(r) - 1) if estimator == "leave one out" else centred


def _by_id(scores, index, estimator, fault, some=None):
    out = np.zeros(len(scores))
    if fault == "ids ignored":
        index = np.zeros(len(scores), int)
    for i in set(np.asarray(index).tolist()):
        rows = (np.asarray(index) == i) & (True if some is None else some)
        out[rows] = _compare(scores[rows], estimator)
        if fault == "rest keeps its score" and rows.any():
            best = np.flatnonzero(rows)[scores[rows].argmax()]
            out[rows] = np.where(np.flatnonzero(rows) == best, out[rows], scores[rows])
        if fault == "best gets the mean":
            out[rows] = out[rows].mean()
    return out


def on_tokens(estimator, fault=""):
    def advantages(token_level_rewards, response_mask, index):
        mask = response_mask > 0
        if fault == "one token refused" and mask.sum() == 1:
            raise ValueError("at least two tokens are needed")
        real = np.roll(mask, 1, axis=1) & ~mask if fault == "reward on the pad" else mask
        if fault == "ends at a hole":
            real = np.cumprod(mask, axis=1) > 0
        scores = np.where(real, token_level_rewards, 0.0).sum(-1)
        if fault == "padding counts":
            scores = token_level_rewards.sum(-1)
        if fault == "mean over tokens":
            scores = scores / np.maximum(mask.sum(-1), 1)
        some = None if fault == "rejected rows vote" else mask.any(-1)
        out = _by_id(scores, index, estimator, fault, some)[:, None] * mask
        if estimator == "whitened" and mask.sum() > 1:
            out = (out - out[mask].mean()) / np.sqrt(out[mask].var() + 1e-4) * mask
        if fault == "shifted after the mask":
            out = out - out.sum() / max(mask.sum(), 1) - 0.5
        if fault == "over no tokens":
            with np.errstate(all="ignore"):
                out = out * (mask.sum() / mask.sum())
        return out

    return advantages


def flat(estimator, fault=""):
    def advantages(rewards, group_ids):
        return _by_id(np.asarray(rewards, float), group_ids, estimator, fault)

    return advantages


FAULTS = {
    "ids ignored": ((flat, on_tokens), "arrays_matter", ESTIMATORS),
    "rest keeps its score": ((flat, on_tokens), "one_baseline", ("centred", "leave one out")),
    "best gets the mean": ((flat, on_tokens), "unequal_rewards_differ", ESTIMATORS),
    "reward on the pad": ((on_tokens,), "unequal_rewards_differ", ESTIMATORS),
    "padding counts": ((on_tokens,), "masked_inert", ESTIMATORS),
    "ends at a hole": ((on_tokens,), "hole_ends_nothing", ESTIMATORS),
    "mean over tokens": ((on_tokens,), "length_free", ("centred", "leave one out", "standardised")),
    "rejected rows vote": ((on_tokens,), "rejected_rows_silent", ("standardised", "sample std", "whitened")),
    "shifted after the mask": ((on_tokens,), "masked_tokens_zero", ESTIMATORS),
    "one token refused": ((on_tokens,), "few_tokens", ("centred", "standardised")),
    "over no tokens": ((on_tokens,), "empty_mask_finite", ("centred", "standardised")),
}


def cases():
    """Every fault in every layout and estimator where it is one."""
    for fault, (layouts, law, estimators) in FAULTS.items():
        for make, estimator in itertools.product(layouts, estimators):
            yield f"{fault}, {estimator}, {make.__name__}", make(estimator, fault), law


def twins():
    """The same functions without a fault."""
    for make, estimator in itertools.product((flat, on_tokens), ESTIMATORS):
        yield f"{estimator}, {make.__name__}", make(estimator)
    yield "standardised by prompt, then whitened over the batch", on_tokens("whitened")
