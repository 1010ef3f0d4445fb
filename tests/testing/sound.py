"""Straightforward, correct estimators in several signatures: no universal law may fail for them, with any
seed."""

import jax.numpy as jnp
import numpy as np


def _refuse(rewards):
    if not np.all(np.isfinite(rewards)):
        raise ValueError("rewards: NaN or infinite; drop the rollout's group")


def grpo_one_group(rewards):
    """Rewards [G]."""
    r = np.asarray(rewards)
    _refuse(r)
    return (r - r.mean()) / (r.std() + 1e-6)


def grpo_grouped(rewards):
    _refuse(rewards)
    return (rewards - rewards.mean(axis=1, keepdims=True)) / (rewards.std(axis=1, keepdims=True) + 1e-6)


def grpo_sample_std(rewards):
    _refuse(rewards)
    n = rewards.shape[1]
    std = rewards.std(axis=1, keepdims=True, ddof=1) if n > 1 else 0.0
    return (rewards - rewards.mean(axis=1, keepdims=True)) / (std + 1e-4)


def dr_grpo(rewards):
    _refuse(rewards)
    return rewards - rewards.mean(axis=-1, keepdims=True)


def rloo_flat(rewards, group_ids):
    out = np.zeros(len(rewards))
    for i in np.unique(group_ids):
        rows = group_ids == i
        n = rows.sum()
        if n > 1 and np.all(np.isfinite(rewards[rows])):
            out[rows] = (rewards[rows] - rewards[rows].mean()) * n / (n - 1)
    return out


def grpo_num_generations(rewards, num_generations):
    _refuse(rewards)
    groups = rewards.reshape(-1, num_generations)
    a = (groups - groups.mean(axis=1, keepdims=True)) / (groups.std(axis=1, keepdims=True) + 1e-4)
    return a.reshape(-1)


def grpo_tokens(token_rewards, response_mask, index):
    scores = np.where(response_mask > 0, token_rewards, 0.0).sum(axis=-1)
    out = np.zeros_like(scores)
    for i in np.unique(index):
        rows = index == i
        group = scores[rows]
        good = np.isfinite(group) & (response_mask[rows] > 0).any(axis=-1)  # rejected rows have no vote
        centred = np.where(good, group - group[good].mean() if good.any() else 0.0, 0.0)
        out[rows] = centred / (centred[good].std() + 1e-6 if good.any() else 1.0)
    return out[:, None] * response_mask


def on_lists(rewards: list[float]) -> list[float]:
    """Rewards [G], a list."""
    mean = sum(rewards) / len(rewards)
    if mean != mean or mean in (float("inf"), float("-inf")):
        return [0.0] * len(rewards)
    return [r - mean for r in rewards]


def rank_based(rewards):
    _refuse(rewards)
    below = (rewards[:, None, :] < rewards[:, :, None] - 1e-3).sum(-1)
    above = (rewards[:, None, :] > rewards[:, :, None] + 1e-3).sum(-1)
    return (below - above) / rewards.shape[1]


def jax_grpo(rewards):
    ok = jnp.all(jnp.isfinite(rewards), axis=-1, keepdims=True)
    r = jnp.where(ok, rewards, 0.0)
    return (r - r.mean(axis=-1, keepdims=True)) / (r.std(axis=-1, keepdims=True) + 1e-6)


NUMPY = (
    grpo_one_group, grpo_grouped, grpo_sample_std, dr_grpo, rloo_flat, grpo_num_generations, grpo_tokens,
    on_lists,
    rank_based,
)  # fmt: skip


def ppo_loss(logp, old_logp, advantages, mask):
    mask = mask > 0
    ratio = np.exp(np.where(mask, logp - np.where(mask, old_logp, 0.0), 0.0))
    tokens = np.where(mask, np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages), 0.0)
    return -np.mean(tokens.sum(-1) / np.maximum(mask.sum(-1), 1))


def jax_dr_grpo_loss(log_probs, old_log_probs, advantages, response_mask, ref_log_probs, beta=0.05):
    mask = response_mask.astype(bool)
    logp, old, ref = (jnp.where(mask, x, 0.0) for x in (log_probs, old_log_probs, ref_log_probs))
    ratio = jnp.exp(logp - old)
    a = jnp.broadcast_to(advantages, logp.shape) if advantages.ndim == 2 else advantages[:, None]
    tokens = jnp.minimum(ratio * a, jnp.clip(ratio, 0.8, 1.28) * a)
    tokens = tokens - beta * (jnp.exp(ref - logp) - (ref - logp) - 1)
    return -jnp.sum(jnp.where(mask, tokens, 0.0)) / (64.0 * logp.shape[0])


def reinforce_loss(logp, advantages, mask):
    return -np.sum(np.where(mask > 0, logp, 0.0) * advantages) / logp.shape[0]


LOSSES = (ppo_loss, reinforce_loss)


def torch_sound():
    """The same in PyTorch, or nothing where it is not installed."""
    try:
        import torch
    except ImportError:
        return (), ()

    def grpo(rewards, num_generations):
        groups = rewards.view(-1, num_generations)
        if not torch.isfinite(rewards).all():
            raise ValueError("rewards: not finite")
        std = groups.std(dim=1, keepdim=True) if num_generations > 1 else torch.zeros(1)
        return ((groups - groups.mean(dim=1, keepdim=True)) / (std + 1e-6)).view(-1)

    def dr_grpo(rewards):
        ok = torch.isfinite(rewards).all(dim=1, keepdim=True)
        return torch.where(ok, rewards - rewards.mean(dim=1, keepdim=True), torch.zeros_like(rewards))

    def loss(log_probs, old_log_probs, advantages, response_mask):
        keep = response_mask.bool()
        log_probs = log_probs.masked_fill(~keep, 0.0)
        ratio = torch.exp(log_probs - old_log_probs.masked_fill(~keep, 0.0))
        tokens = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).masked_fill(~keep, 0.0)
        return -(tokens.sum(-1) / keep.sum(-1).clamp(min=1)).mean()

    return (grpo, dr_grpo), (loss,)
