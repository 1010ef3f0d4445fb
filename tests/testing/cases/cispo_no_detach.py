"""CISPO without the stop-gradient: clamped weight times logp, gradient through the weight inside the band."""

import torch


def _l(lp, old, a, mask, det):
    r = torch.exp((lp - old).masked_fill(mask == 0, 0)).clamp(max=1.2)
    if det:
        r = r.detach()
    return -(r * a.unsqueeze(1) * lp.masked_fill(mask == 0, 0) * mask).sum() / mask.sum().clamp(min=1)


def faulty(logp, old_logp, advantages, mask):
    return _l(logp, old_logp, advantages, mask, False)


def fixed(logp, old_logp, advantages, mask):
    return _l(logp, old_logp, advantages, mask, True)
