"""Masks of whole rollouts, sound and with one slip each, in the forms that trainers have. NumPy."""

import numpy as np


def _mean(cells, mask, slip):
    if slip == "over the width":
        return (cells * mask).mean(-1, keepdims=True)
    if slip == "padding counts":
        return cells.sum(-1, keepdims=True) / np.maximum(mask.sum(-1, keepdims=True), 1)
    total = np.where(mask > 0, cells, 0.0).sum(-1, keepdims=True)
    return total if slip == "a sum" else total / np.maximum(mask.sum(-1, keepdims=True), 1)


def negative(slip):
    """Rollouts with a negative advantage and a large mean log-ratio are dropped; a column."""

    def get_off_policy_mask(
        advantages, per_token_logps, sampling_per_token_logps, mask, off_policy_threshold
    ):
        gaps = sampling_per_token_logps - per_token_logps
        divergence = gaps if slip == "by tokens" else _mean(-gaps if slip == "reversed" else gaps, mask, slip)
        if slip == "over the batch":
            divergence = np.full_like(divergence, (gaps * mask).sum() / np.maximum(mask.sum(), 1))
        near = divergence <= off_policy_threshold
        if slip == "the wrong side":
            near = ~near
        bad = {"positive ones": advantages > 0, "all": True}.get(slip, advantages < 0)
        return (near | ~np.asarray(bad)).astype(float)

    return get_off_policy_mask


def dropped(slip):
    """One advantage a rollout; True for what is dropped, at a bound that stands in the code."""

    def drop_stale_sequences(log_probs, old_log_probs, advantages, response_mask):
        divergence = _mean(old_log_probs - log_probs, response_mask, slip)[:, 0]
        kept = divergence < 0.2
        stale = kept if slip == "what is kept" else ~kept
        return stale & (advantages.reshape(len(stale), -1)[:, 0] < 0)

    return drop_stale_sequences


def by_lists(slip):
    """An array for each rollout; the answer in one line, with a count."""

    def opsm(log_probs: list, old_log_probs: list, advantages: list, loss_masks: list, opsm_delta):
        kept = []
        for new, old, adv, mask in zip(log_probs, old_log_probs, advantages, loss_masks, strict=True):
            gaps = (new - old if slip == "reversed" else old - new) * mask
            count = len(mask) if slip == "over the width" else mask.sum()
            kept.append(1.0 - ((adv < 0) & (gaps.sum() / count > opsm_delta)))
        return np.concatenate(kept), float(sum(1 - k[0] for k in kept))

    return opsm


def k3(slip):
    """The mean k3 of a rollout, for the engine's mismatch: advantages are not asked."""

    def mask_of(old_log_probs, rollout_log_probs, response_mask, kl_threshold):
        gaps = np.where(response_mask > 0, old_log_probs - rollout_log_probs, 0.0)
        cells = np.exp(gaps) - (0 if slip == "without its log" else gaps) - 1
        near = _mean(cells, response_mask, slip) <= kl_threshold
        return (~near if slip == "the wrong side" else near) * response_mask

    return mask_of


def geometric(slip):
    """The geometric mean of the ratio within a band."""

    def mask_of(old_log_probs, rollout_log_probs, mask, cap, cap_low):
        ratio = np.exp(_mean(old_log_probs - rollout_log_probs, mask, slip))
        return (ratio <= cap) & ((ratio >= cap_low) | (slip == "no lower end"))

    return mask_of


def product(slip):
    """The product of the ratios below a cap; the whole rollout or nothing."""

    def mask_of(old_logps, sampling_logps, mask, cap=3.0):
        gaps = np.where(mask > 0, old_logps - sampling_logps, 0.0)
        total = gaps.mean(-1) if slip == "over the width" else gaps.sum(-1)
        return np.exp(total) <= cap

    return mask_of


VIOLATORS = (
    (negative, "by tokens", "sequence_mask_whole"),
    (negative, "the wrong side", "sequence_mask_agrees"),
    (k3, "the wrong side", "sequence_mask_agrees"),
    (negative, "reversed", "sequence_mask_far"),
    (by_lists, "reversed", "sequence_mask_far"),
    (dropped, "what is kept", "sequence_mask_far"),
    (negative, "positive ones", "sequence_mask_positive"),
    (negative, "all", "sequence_mask_positive"),
    (negative, "all", "takes_effect"),
    (negative, "over the batch", "sequence_mask_rows"),
    (negative, "a sum", "sequence_mask_length"),
    (dropped, "a sum", "sequence_mask_length"),
    (negative, "over the width", "sequence_mask_padding"),
    (k3, "over the width", "sequence_mask_padding"),
    (product, "over the width", "sequence_mask_padding"),
    (negative, "padding counts", "sequence_mask_padding"),
    (geometric, "padding counts", "sequence_mask_padding"),
    (by_lists, "over the width", "sequence_mask_padding"),
    (k3, "without its log", "known_form"),
    (geometric, "no lower end", "takes_effect"),
)
"""(maker, slip, law that must fail)."""
SOUND = {
    negative: "negative_k1_mean",
    dropped: "negative_k1_mean",
    by_lists: "negative_k1_mean",
    k3: "k3_mean",
    geometric: "geometric",
    product: "product",
}
"""The form of each without a slip."""
