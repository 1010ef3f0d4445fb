"""GSPO whose sequence ratio is exp of the sum over the padded row, masked positions included."""

import torch


def _l(r, a, mask):
    keep = (mask.sum(-1) > 0).to(r.dtype)
    return (-torch.min(r * a, r.clamp(1 - 3e-1, 1 + 3e-1) * a) * keep).sum() / keep.sum().clamp(min=1)


def faulty(logps, old_logps, advantages, mask):
    d = logps - old_logps
    return _l(torch.exp(d.mean(-1)), advantages, mask)


def fixed(logps, old_logps, advantages, mask):
    d = (logps - old_logps).masked_fill(mask == 0, 0)
    return _l(torch.exp(d.sum(-1) / mask.sum(-1).clamp(min=1)), advantages, mask)
