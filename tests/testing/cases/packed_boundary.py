"""packed rows with sequence ids: the sequence ratio is a mean over the whole pack, not over each sequence."""

import torch


def _l(ratio, a, mask):
    return (-torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum().clamp(min=1)


def faulty(logprobs, old_logprobs, advantages, loss_mask, seq_ids):
    d = (logprobs - old_logprobs).masked_fill(loss_mask == 0, 0)
    return _l(torch.exp(d.sum() / loss_mask.sum().clamp(min=1)) * torch.ones_like(d), advantages, loss_mask)


def fixed(logprobs, old_logprobs, advantages, loss_mask, seq_ids):
    d = (logprobs - old_logprobs).masked_fill(loss_mask == 0, 0)
    ids = seq_ids.long()
    n = int(ids.max()) + 1
    s = torch.zeros(n, dtype=d.dtype).index_add(0, ids, d)
    c = torch.zeros(n, dtype=d.dtype).index_add(0, ids, loss_mask.to(d.dtype))
    return _l(torch.exp(s / c.clamp(min=1))[ids], advantages, loss_mask)
