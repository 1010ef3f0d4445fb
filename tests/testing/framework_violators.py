"""Planted violators in JAX and PyTorch, of bugs that need their autodiff or their dtypes."""

import jax.numpy as jnp
import pytest


def jax_guard_on_exact_zero(rewards):
    std = jnp.std(rewards, axis=-1, keepdims=True)
    return jnp.where(
        std > 0, (rewards - jnp.mean(rewards, axis=-1, keepdims=True)) / jnp.where(std > 0, std, 1), 0
    )


def jax_std_of_the_batch(rewards):
    return (rewards - jnp.mean(rewards, axis=-1, keepdims=True)) / (jnp.std(rewards) + 1e-4)


def jax_masks_too_late(logp, old_logp, advantages, mask):
    """The value is masked by where, the gradient still goes through exp(NaN)."""
    ratio = jnp.exp(logp - old_logp)
    tokens = jnp.where(mask > 0, jnp.minimum(ratio * advantages, jnp.clip(ratio, 0.8, 1.2) * advantages), 0.0)
    return -jnp.mean(tokens.sum(-1))


def jax_guard_of_the_dtype(logp, old_logp, advantages, mask):
    """A guard in rounding steps of the dtype: nothing in double precision, half a token in bfloat16."""
    ratio = jnp.exp(jnp.where(mask > 0, logp - old_logp, 0.0))
    tokens = jnp.minimum(ratio * advantages, jnp.clip(ratio, 0.8, 1.2) * advantages) * mask
    return -(tokens.sum(-1) / (mask.sum(-1) + 64 * jnp.finfo(logp.dtype).eps)).mean()


JAX_ADVANTAGES = (
    (jax_guard_on_exact_zero, "zero_on_equal_rewards", {}),
    (jax_std_of_the_batch, "group_isolated", {}),
)
JAX_LOSSES = (
    (jax_masks_too_late, "masked_inert", {}),
    (jax_guard_of_the_dtype, "half_precision_weights", {"examples": 4}),
)


def torch_violators():
    """Advantages and losses in PyTorch; skips where it is not installed."""
    torch = pytest.importorskip("torch")

    def singleton_nan(rewards, num_generations):
        groups = rewards.view(-1, num_generations)
        std = groups.std(dim=1, keepdim=True)
        return ((groups - groups.mean(dim=1, keepdim=True)) / (std + 1e-4)).view(-1)

    def in_place(rewards, group_ids):
        for i in group_ids.unique():
            rewards[group_ids == i] -= rewards[group_ids == i].mean()
        return rewards

    def half_statistics(rewards):
        half = rewards.to(torch.bfloat16)
        total = half[:, 0]
        for column in range(1, half.shape[1]):
            total = total + half[:, column]
        mean = (total / half.shape[1])[:, None]
        std = (half - mean).pow(2).mean(dim=1, keepdim=True).sqrt()
        return ((half - mean) / (std + 1e-6)).to(rewards.dtype)

    def mask_by_product(logp, old_logp, advantages, mask):
        ratio = torch.exp(logp - old_logp)
        tokens = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        return -((tokens * mask).sum(-1) / mask.sum(-1).clamp(min=1)).mean()

    def detached(logp, old_logp, advantages, mask):
        return -(torch.exp(logp.detach() - old_logp) * advantages * mask).sum() / mask.sum()

    return (
        (singleton_nan, "singleton_zero", "advantage"),
        (in_place, "pure", "advantage"),
        (half_statistics, "zero_on_equal_rewards", "advantage"),
        (mask_by_product, "masked_inert", "loss"),
        (detached, "both_signs", "loss"),
    )
