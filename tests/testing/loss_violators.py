"""Planted violators among losses: (function, the law meant to catch it, settings)."""

import numpy as np


def _ppo(logp, old_logp, advantages, low=0.2, high=0.2):
    ratio = np.exp(logp - old_logp)
    return np.minimum(ratio * advantages, np.clip(ratio, 1 - low, 1 + high) * advantages)


def _clean(x, mask):
    return np.where(mask > 0, x, 0.0)


def _sequence_mean(tokens, mask):
    return np.mean(_clean(tokens, mask).sum(-1) / np.maximum(mask.sum(-1), 1))


def correct(logp, old_logp, advantages, mask):
    logp, old_logp = _clean(logp, mask), _clean(old_logp, mask)
    return -_sequence_mean(_ppo(logp, old_logp, advantages), mask)


def multiplies_by_the_mask(logp, old_logp, advantages, mask):
    return -np.mean((_ppo(logp, old_logp, advantages) * mask).sum(-1) / np.maximum(mask.sum(-1), 1))


def ignores_the_mask(logp, old_logp, advantages, mask):
    return -np.mean(_ppo(logp, old_logp, advantages))


def mask_one_too_long(logp, old_logp, advantages, mask):
    return correct(
        logp,
        old_logp,
        advantages,
        np.maximum(mask, np.roll(mask, 1, axis=1) * (np.arange(mask.shape[1]) > 0)),
    )


def divides_by_the_width(logp, old_logp, advantages, mask):
    tokens = _clean(_ppo(_clean(logp, mask), _clean(old_logp, mask), advantages), mask)
    return -tokens.sum() / (mask.shape[0] * mask.shape[1])


def token_mean_of_the_part(logp, old_logp, advantages, mask):
    tokens = _clean(_ppo(_clean(logp, mask), _clean(old_logp, mask), advantages), mask)
    return -tokens.sum() / mask.sum()


def sum_over_the_part(logp, old_logp, advantages, mask):
    return -_clean(_ppo(_clean(logp, mask), _clean(old_logp, mask), advantages), mask).sum()


def sum_of_the_good(logp, old_logp, advantages, mask):
    return sum_over_the_part(logp, old_logp, np.maximum(advantages, 0), mask)


def sign_lost(logp, old_logp, advantages, mask):
    return -correct(logp, old_logp, advantages, mask)


def only_the_good(logp, old_logp, advantages, mask):
    return correct(logp, old_logp, np.maximum(advantages, 0), mask)


def dual_clip_on_both_signs(logp, old_logp, advantages, mask):
    logp, old_logp = _clean(logp, mask), _clean(old_logp, mask)
    return -_sequence_mean(np.maximum(_ppo(logp, old_logp, advantages), 3.0 * advantages), mask)


def clip_without_a_minimum(logp, old_logp, advantages, mask):
    ratio = np.exp(_clean(logp, mask) - _clean(old_logp, mask))
    return -_sequence_mean(np.clip(ratio, 0.8, 1.2) * advantages, mask)


def no_clip(logp, old_logp, advantages, mask):
    return -_sequence_mean(np.exp(_clean(logp, mask) - _clean(old_logp, mask)) * advantages, mask)


def maximum_for_minimum(logp, old_logp, advantages, mask):
    ratio = np.exp(_clean(logp, mask) - _clean(old_logp, mask))
    return -_sequence_mean(np.maximum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages), mask)


def clip_that_misses_one(logp, old_logp, advantages, mask):
    ratio = np.exp(_clean(logp, mask) - _clean(old_logp, mask))
    return -_sequence_mean(np.minimum(ratio * advantages, np.clip(ratio, 1.01, 1.2) * advantages), mask)


def normalises_again(logp, old_logp, advantages, mask):
    again = (advantages - advantages.mean()) / (advantages.std() + 1e-6)
    return correct(logp, old_logp, again, mask)


def advantages_shifted_by_a_row(logp, old_logp, advantages, mask):
    return correct(logp, old_logp, np.roll(advantages, 1, axis=0), mask)


def kl_of_the_wrong_sign(logp, old_logp, advantages, mask, ref_logp):
    d = _clean(ref_logp, mask) - _clean(logp, mask)
    return correct(logp, old_logp, advantages, mask) - 0.1 * _sequence_mean(np.exp(d) - d - 1, mask)


def k1_as_a_loss(logp, old_logp, advantages, mask, ref_logp):
    return correct(logp, old_logp, advantages, mask) + 0.1 * _sequence_mean(
        _clean(logp, mask) - _clean(ref_logp, mask), mask
    )


def weighs_late_tokens(logp, old_logp, advantages, mask):
    late = 1.0 + np.arange(mask.shape[1])
    return -_sequence_mean(late * _ppo(_clean(logp, mask), _clean(old_logp, mask), advantages), mask)


def divides_by_no_tokens(logp, old_logp, advantages, mask):
    tokens = _clean(_ppo(_clean(logp, mask), _clean(old_logp, mask), advantages), mask)
    with np.errstate(all="ignore"):
        return -np.mean(tokens.sum(-1) / mask.sum(-1))


def drifts(logp, old_logp, advantages, mask, _calls=[0]):  # noqa: B006
    _calls[0] += 1
    return correct(logp, old_logp, advantages, mask) * (1 + 0.01 * _calls[0])


def infinite_at_the_edge(logp, old_logp, advantages, mask):
    gap = np.abs(_clean(logp, mask) - _clean(old_logp, mask))
    with np.errstate(all="ignore"):
        return correct(logp, old_logp, advantages, mask) + _sequence_mean(np.log(1.5 - gap), mask)


def normalises_over_empty_rows(logp, old_logp, advantages, mask):
    return normalises_again(logp, old_logp, advantages, mask)


def one_branch_normalised(logp, old_logp, advantages, mask):
    ratio = np.exp(_clean(logp, mask) - _clean(old_logp, mask))
    again = (advantages - advantages.mean()) / (advantages.std() + 1e-6)
    return -_sequence_mean(np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * again), mask)


def mask_shifted(logp, old_logp, advantages, mask):
    early = np.concatenate([mask[:, 1:], np.zeros_like(mask[:, :1])], axis=1)
    return correct(logp, old_logp, advantages, early)


def ratio_centred_over_the_batch(logp, old_logp, advantages, mask):
    gap = _clean(logp, mask) - _clean(old_logp, mask)
    gap = gap - gap.sum() / max(mask.sum(), 1)
    return -_sequence_mean(np.exp(gap) * advantages, mask)


def old_one_ignored(logp, old_logp, advantages, mask):
    return -_sequence_mean(_clean(logp, mask) * advantages, mask)


def min_of_ratios(logp, old_logp, advantages, mask):
    ratio = np.exp(_clean(logp, mask) - _clean(old_logp, mask))
    return -_sequence_mean(np.minimum(ratio, np.clip(ratio, 0.8, 1.2)) * advantages, mask)


def kl_over_the_width(logp, old_logp, advantages, mask, ref_logp):
    gap = _clean(ref_logp, mask) - _clean(logp, mask)
    return correct(logp, old_logp, advantages, mask) + 0.1 * np.mean(np.exp(gap) - gap - 1)


def own_count(logp, old_logp, advantages, mask, num_items_in_batch):
    return sum_over_the_part(logp, old_logp, advantages, mask) / max(mask.sum(), 1)


def counts_under_one_mask(logp, old_logp, advantages, mask, tool_mask):
    ratio = np.exp(np.where(mask * tool_mask > 0, logp - old_logp, 0.0))
    return -(ratio * advantages * mask * tool_mask).sum() / max(mask.sum(), 1)


def entropy_lowered(logp, old_logp, advantages, mask, entropy):
    """The entropy term has the loss's sign."""
    return correct(logp, old_logp, advantages, mask) + 0.01 * (entropy * mask).sum() / max(mask.sum(), 1)


def entropy_bonus(logp, old_logp, advantages, mask, entropy):
    """Its sound twin."""
    return correct(logp, old_logp, advantages, mask) - 0.01 * (entropy * mask).sum() / max(mask.sum(), 1)


def sampler_ignored(logp, old_logp, rollout_log_probs, advantages, mask):
    """The correction between sampler and trainer is not multiplied."""
    return correct(logp, old_logp, advantages, mask)


def sampler_truncated(logp, old_logp, rollout_log_probs, advantages, mask):
    """Its sound twin: the truncated weight multiplies each token's term."""
    weight = np.minimum(np.exp(np.where(mask > 0, old_logp - rollout_log_probs, 0.0)), 2.0)
    ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0))
    gain = np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    return -(weight * gain * mask).sum() / max(mask.sum(), 1)


def sampler_turned_over(logp, old_logp, rollout_log_probs, advantages, mask):
    """The weight is the engine's probability over the trainer's."""
    return sampler_truncated(logp, old_logp, 2 * old_logp - rollout_log_probs, advantages, mask)


def bounds_swapped(logp, old_logp, advantages, mask, clip_low=0.2, clip_high=0.28):
    """The bound below one is where the one above should be, and the other way round."""
    ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0))
    gain = np.minimum(ratio * advantages, np.clip(ratio, 1 - clip_high, 1 + clip_low) * advantages)
    return -(gain * mask).sum() / max(mask.sum(), 1)


def bounds_as_named(logp, old_logp, advantages, mask, clip_low=0.2, clip_high=0.28):
    """Its sound twin."""
    return bounds_swapped(logp, old_logp, advantages, mask, clip_low=clip_high, clip_high=clip_low)


def fading(logp, old_logp, advantages, mask):
    """Smooth weights of a rollout's product of ratios that die away on both sides (arXiv 2602.10693): no clip.

    A NumPy loss has no stop-gradient: its value is the integral of w^2 e^(-3 w) over log w, in closed form.
    """
    w = np.exp(np.where(mask > 0, logp - old_logp, 0.0).sum(-1))
    integral = (1 - (1 + 3 * w) * np.exp(-3 * w)) / 9
    some = mask.any(-1)
    return -(integral * advantages[:, 0] * some).sum() / max(some.sum(), 1)


LOSSES = (
    (multiplies_by_the_mask, "masked_inert", {}),
    (ignores_the_mask, "masked_inert", {}),
    (mask_one_too_long, "masked_inert", {}),
    (divides_by_the_width, "padding_invariant", {}),
    (token_mean_of_the_part, "microbatch_invariant", {}),
    (sum_of_the_good, "unbiased_up_to_constant", {}),
    (sum_over_the_part, "microbatch_invariant", {}),
    (sign_lost, "both_signs", {}),
    (only_the_good, "both_signs", {}),
    (dual_clip_on_both_signs, "both_signs", {}),
    (clip_without_a_minimum, "recovers_beyond_clip", {}),
    (no_clip, "zero_beyond_clip", {}),
    (maximum_for_minimum, "zero_beyond_clip", {}),
    (clip_that_misses_one, "on_policy_unclipped", {}),
    (normalises_again, "on_policy_unclipped", {}),
    (advantages_shifted_by_a_row, "order_invariant", {}),
    (kl_of_the_wrong_sign, "kl_direction", {}),
    (k1_as_a_loss, "kl_direction", {}),
    (weighs_late_tokens, "aggregation", {}),
    (correct, "aggregation", {"aggregation": "token-mean"}),
    (divides_by_no_tokens, "empty_rows_finite", {}),
    (drifts, "pure", {}),
    (infinite_at_the_edge, "finite", {}),
    (divides_by_no_tokens, "empty_batch_finite", {}),
    (normalises_over_empty_rows, "empty_rows_silent", {}),
    (one_branch_normalised, "advantages_as_given", {}),
    (mask_shifted, "every_token_weighs", {}),
    (ratio_centred_over_the_batch, "rows_isolated", {}),
    (old_one_ignored, "arrays_matter", {}),
    (entropy_lowered, "entropy_raises", {}),
    (counts_under_one_mask, "second_mask_counts", {}),
    (sampler_ignored, "arrays_matter", {}),
    (sampler_turned_over, "sampler_corrects", {}),
    (bounds_swapped, "clip_form", {}),
    (min_of_ratios, "clip_form", {}),
    (kl_over_the_width, "kl_term", {}),
    (own_count, "token_count_divides", {}),
)
