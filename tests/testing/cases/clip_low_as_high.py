"""clip bounds swapped: clamp(1 - high, 1 + low) is legal, but clamp(1 + eps, 1 - eps) is constant."""

import torch


def _l(lp, old, a, mask, lo, hi):
    r = torch.exp((lp - old).masked_fill(mask == 0, 0))
    a = a.unsqueeze(1)
    return -(torch.min(r * a, r.clamp(lo, hi) * a) * mask).sum() / mask.sum().clamp(min=1)


def faulty(log_probs, old_log_probs, advantages, action_mask, clip_eps=0.2):
    return _l(log_probs, old_log_probs, advantages, action_mask, 1 + clip_eps, 1 + clip_eps)


def fixed(log_probs, old_log_probs, advantages, action_mask, clip_eps=0.2):
    return _l(log_probs, old_log_probs, advantages, action_mask, 1 - clip_eps, 1 + clip_eps)
