"""policy loss with a third policy: the truncated weight is computed, and not multiplied."""

import torch


def _l(lp, old, roll, a, mask, use):
    r = torch.exp((lp - old).masked_fill(mask == 0, 0))
    w = torch.exp((old - roll).masked_fill(mask == 0, 0)).clamp(max=2.0).detach()
    a = a.unsqueeze(1)
    pg = -torch.min(r * a, r.clamp(0.8, 1.2) * a)
    if use:
        pg = pg * w
    return (pg * mask).sum() / mask.sum().clamp(min=1)


def faulty(log_probs, old_log_probs, rollout_log_probs, advantages, response_mask):
    return _l(log_probs, old_log_probs, rollout_log_probs, advantages, response_mask, False)


def fixed(log_probs, old_log_probs, rollout_log_probs, advantages, response_mask):
    return _l(log_probs, old_log_probs, rollout_log_probs, advantages, response_mask, True)
