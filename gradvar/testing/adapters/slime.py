"""slime: unpadded lists of tensors by sample, losses of ``ppo_kl`` by token, rewards on sample objects.

A loss takes the tokens of all samples in one line, ``ppo_kl`` being the old log-probability less the new one,
and is reduced afterwards: the mean over each sample's tokens, then over samples, or the mean over tokens.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gradvar.testing.adapters.base import Adapter, CallForm, TrainerCall, as_bool, namespace, torch_module

ARGS = {
    "eps_clip": 0.2,
    "eps_clip_high": 0.2,
    "eps_clip_c": None,
    "advantage_estimator": "grpo",
    "rewards_normalization": True,
    "grpo_std_normalization": True,
    "calculate_per_token_loss": False,
    "kl_coef": 0.0,
    "gamma": 1.0,
    "lambd": 1.0,
}


def _loss(call: TrainerCall) -> Any:
    torch = torch_module()
    values, mask = call.values, as_bool(call.values["mask"])
    advantages = values["advantages"]
    if advantages.ndim == 1:
        advantages = advantages[:, None].expand_as(values["logp"])
    arguments = {
        "ppo_kl": (values["old_logp"] - values["logp"])[mask],
        "log_probs": values["logp"][mask],
        "advantages": advantages[mask],
    }
    arguments |= {name: ARGS[name] for name in ("eps_clip", "eps_clip_high") if name in call.takes}
    result = call.by_name(arguments)
    tokens = result[0] if isinstance(result, tuple) else result  # one line of all samples' tokens
    if call.settings.get("calculate_per_token_loss"):
        return tokens.sum() / mask.sum().clamp(min=1)
    counts = mask.sum(-1)
    parts = torch.split(tokens, counts.tolist())
    return sum(part.sum() / max(len(part), 1) for part in parts) / len(parts)


def _returns(call: TrainerCall) -> Any:
    """``get_*_returns(rewards, kl, ...)``: a list of tensors, one a sample, of unequal lengths."""
    rewards = call.values["rewards"]
    lengths = [2 + row % 2 for row in range(len(rewards))]
    lists = [rewards.new_zeros(length) for length in lengths]
    arguments = {
        "rewards": rewards,
        "kl": lists,
        "loss_masks": [part + 1 for part in lists],
        "response_lengths": lengths,
        "total_lengths": [length + 1 for length in lengths],
        "kl_coef": 0.0,
        "gamma": 1.0,
    }
    return torch_module().stack([part[0] for part in call.by_name(arguments)])


def _rewards(call: TrainerCall) -> Any:
    """``(args, samples) -> raw rewards, rewards``, as a reward post-processor."""
    rewards = call.values["rewards"]
    count = int(call.values["count"])
    samples = [
        SimpleNamespace(
            reward=value,
            index=row,
            group_index=row // count,
            response_length=2,
            get_reward_value=lambda args, value=value: value,
        )
        for row, value in enumerate(rewards.tolist())
    ]
    usual = {**ARGS, "n_samples_per_prompt": count, "rollout_batch_size": len(samples) // count}
    result = call.function(namespace({**usual, **call.settings}), samples)
    advantages = result[1] if isinstance(result, tuple) else result
    dtype = rewards.dtype if rewards.is_floating_point() else None
    return torch_module().as_tensor(advantages, dtype=dtype)


SLIME = Adapter(
    "slime",
    "slime",
    "torch",
    (
        CallForm("loss", ("ppo_kl", "advantages"), _loss, roles=("logp", "old_logp", "advantages", "mask")),
        CallForm("advantage", ("args", "samples"), _rewards, roles=("rewards", "count")),
        CallForm("advantage", ("rewards", "kl"), _returns, roles=("rewards",)),
    ),
)
