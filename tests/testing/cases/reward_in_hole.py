"""the reward stands on an observation token (mask 0 inside the response): multiplied away."""

from collections import defaultdict

import torch


def _c(r, index):
    rows = defaultdict(list)
    for i, g in enumerate(index):
        rows[g].append(i)
    out = torch.zeros_like(r)
    for m in rows.values():
        x = r[m]
        if torch.isfinite(x).all() and (x != x[0]).any():
            out[m] = x - x.mean()
    return out


def fixed(token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index):
    T = response_mask.shape[1]
    last = (response_mask * torch.arange(1, T + 1)).amax(-1)
    inside = torch.arange(T)[None] < last[:, None]
    r = torch.where(inside, token_level_rewards, torch.zeros_like(token_level_rewards)).sum(-1)
    return _c(r, index).unsqueeze(-1) * response_mask


def faulty(token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index):
    r = torch.where(response_mask.bool(), token_level_rewards, torch.zeros_like(token_level_rewards))
    r = r[:, -1] * 0 + (r * (response_mask.cumprod(-1))).sum(-1)  # stops at the first hole
    return _c(r, index).unsqueeze(-1) * response_mask
