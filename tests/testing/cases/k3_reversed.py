"""loss with a k3 term whose log-ratio has the wrong direction and no reference pull: exp(d) - d - 1 with d = logp - ref is k3 of the reverse; faulty forgets the -1 - d, i.e. plain ratio."""

import torch


def _l(lp, old, ref, a, mask, beta, good):
    r = torch.exp((lp - old).masked_fill(mask == 0, 0))
    d = (ref - lp).masked_fill(mask == 0, 0)
    k = torch.exp(d) - d - 1 if good else d - torch.exp(d) + 1
    a = a.unsqueeze(1)
    pg = -torch.min(r * a, r.clamp(0.8, 1.2) * a) + beta * k
    return ((pg * mask).sum(-1) / mask.sum(-1).clamp(min=1)).mean()


def faulty(logps, old_logps, ref_logps, advantages, mask, beta=0.04):
    return _l(logps, old_logps, ref_logps, advantages, mask, beta, False)


def fixed(logps, old_logps, ref_logps, advantages, mask, beta=0.04):
    return _l(logps, old_logps, ref_logps, advantages, mask, beta, True)
