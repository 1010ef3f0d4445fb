"""Weights for a sampler that is not the trainer, sound and with one slip each, in the forms that trainers have."""

import numpy as np


def _gaps(trainer, sampler, mask, slip):
    gaps = sampler - trainer if slip == "reversed" else trainer - sampler
    return gaps if slip == "padding counts" else np.where(mask > 0, gaps, 0.0)


def _capped(weights, cap, slip):
    if slip == "capped below":
        return np.maximum(weights, cap)
    return weights if slip == "uncapped" else np.minimum(weights, cap)


def _dropped(weights, cap, slip):
    if slip == "infinity times zero":
        return weights * (weights <= cap)
    outside = weights < cap if slip == "the wrong side" else weights > cap
    return np.where(outside, 0.0, weights)


def token_truncated(slip):
    """Zero on padding."""

    def weights(old_log_probs, rollout_log_probs, response_mask, cap=2.0):
        counted = response_mask * 0 + 1 if slip == "padding weighs" else response_mask
        gaps = _gaps(old_log_probs, rollout_log_probs, counted, slip)
        if slip == "padding weighs":
            return np.where(response_mask > 0, _capped(np.exp(gaps), cap, slip), np.exp(gaps))
        return _capped(np.exp(gaps), cap, slip) * response_mask

    return weights


def token_masked(slip):
    """One on padding."""

    def weights(old_per_token_logps, sampling_per_token_logps, mask, vllm_importance_sampling_cap):
        gaps = _gaps(old_per_token_logps, sampling_per_token_logps, mask, slip)
        return _dropped(np.exp(gaps), vllm_importance_sampling_cap, slip)

    return weights


def icepop(slip):
    """A band, with both ends given."""

    def weights(old_log_probs, rollout_log_probs, loss_mask, tis_clip=2.0, tis_clip_low=0.5):
        ratio = np.exp(_gaps(old_log_probs, rollout_log_probs, loss_mask, slip))
        low = 0.0 if slip == "no lower end" else tis_clip_low
        outside = (ratio < low) | (ratio > tis_clip)
        return np.where(outside, tis_clip if slip == "capped, not dropped" else 0.0, ratio) * loss_mask

    return weights


def sequence_truncated(slip):
    """A column for the rollouts."""

    def weights(old_logps, sampling_logps, mask, cap):
        gaps = _gaps(old_logps, sampling_logps, mask, slip)
        total = gaps.sum(-1, keepdims=True)
        if slip == "over the width":
            total = total / mask.shape[-1]
        return _capped(np.exp(total), cap, slip)

    return weights


def sequence_masked(slip):
    """A number for each rollout; the cap is written in the code."""

    def weights(old_logps, rollout_logps, mask):
        gaps = _gaps(old_logps, rollout_logps, mask, slip)
        total = gaps.sum(0).sum() + 0 * gaps.sum(-1) if slip == "over the batch" else gaps.sum(-1)
        return _dropped(np.exp(total), 3.0, slip) * (1.1 if slip == "rescaled" else 1.0)

    return weights


def geometric(slip):
    """The geometric mean over the tokens that count, for each token."""

    def weights(log_probs, rollout_log_probs, mask, threshold=2.0):
        gaps = _gaps(log_probs, rollout_log_probs, mask, slip)
        count = mask.shape[-1] if slip == "over the width" else mask.sum(-1, keepdims=True)
        return _capped(np.exp(gaps.sum(-1, keepdims=True) / count), threshold, slip) * np.ones_like(mask)

    return weights


def for_lists(slip):
    """An array for each rollout, without a mask."""

    def weights(train_log_probs: list, rollout_log_probs: list, tis_clip):
        pairs = zip(train_log_probs, rollout_log_probs, strict=True)
        return [
            _capped(np.exp(np.subtract(*pair[:: -1 if slip == "reversed" else 1])), tis_clip, slip)
            for pair in pairs
        ]

    return weights


TOKEN = (token_truncated, token_masked, icepop, for_lists)
SEQUENCE = (sequence_truncated, sequence_masked, geometric)
TRUNCATED = (token_truncated, sequence_truncated, geometric, for_lists)
VIOLATORS = (
    *((make, "reversed", "correction_direction") for make in (*TOKEN, *SEQUENCE)),
    *((make, slip, "correction_cap") for make in TRUNCATED for slip in ("capped below", "uncapped")),
    *((make, "the wrong side", "known_form") for make in (token_masked, sequence_masked)),
    (sequence_masked, "infinity times zero", "correction_finite"),
    *((make, "padding counts", "correction_masked") for make in SEQUENCE),
    *((make, "over the width", "known_form") for make in (sequence_truncated, geometric)),
    (sequence_masked, "over the batch", "known_form"),
    (sequence_masked, "rescaled", "correction_agrees"),
    (token_truncated, "padding weighs", "correction_masked"),
    (icepop, "no lower end", "known_form"),
    (icepop, "capped, not dropped", "known_form"),
)
"""(maker, slip, law that must fail)."""
SOUND = (*TOKEN, *SEQUENCE)
