"""entropy bonus is added to the loss with a plus: entropy is driven down."""

import torch


def _l(lp, old, a, mask, ent, c):
    r = torch.exp((lp - old).masked_fill(mask == 0, 0))
    a = a.unsqueeze(1)
    n = mask.sum().clamp(min=1)
    return (-torch.min(r * a, r.clamp(0.8, 1.2) * a) * mask).sum() / n + c * (
        ent.masked_fill(mask == 0, 0)
    ).sum() / n


def faulty(logp, old_logp, advantages, mask, entropy, entropy_coef=0.01):
    return _l(logp, old_logp, advantages, mask, entropy, entropy_coef)


def fixed(logp, old_logp, advantages, mask, entropy, entropy_coef=0.01):
    return _l(logp, old_logp, advantages, mask, entropy, -entropy_coef)
