"""a tool mask is handed over, and tool tokens are trained."""

import torch


def _l(lp, old, a, mask):
    r = torch.exp((lp - old).masked_fill(mask == 0, 0))
    a = a.unsqueeze(1)
    return (-torch.min(r * a, r.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum().clamp(min=1)


def faulty(logps, old_logps, advantages, completion_mask, tool_mask):
    return _l(logps, old_logps, advantages, completion_mask)


def fixed(logps, old_logps, advantages, completion_mask, tool_mask):
    return _l(logps, old_logps, advantages, completion_mask * tool_mask)
