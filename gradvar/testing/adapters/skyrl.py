"""SkyRL: its registered advantage estimators and policy losses.

A loss is ``(log_probs, old_log_probs, advantages, config, loss_mask, rollout_logprobs)`` and *sums* over tokens:
the aggregation has been multiplied into the advantages before, which this adapter does as the trainer does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradvar.testing.adapters.base import (
    Adapter,
    CallForm,
    TrainerCall,
    TrainerConfig,
    as_float,
    config_of,
    uids,
)

ALGORITHM = {
    "policy_loss_type": "regular",
    "loss_reduction": "token_mean",
    "eps_clip_low": 0.2,
    "eps_clip_high": 0.2,
    "clip_ratio_c": 3.0,
    "grpo_norm_by_std": True,
    "off_policy_correction": TrainerConfig(),
    "cispo": TrainerConfig(cispo_eps_clip_low=0.0, cispo_eps_clip_high=5.0),
    "sapo": TrainerConfig(tau_pos=1.0, tau_neg=1.05),
}
NUMBERS = {"gamma": 1.0, "lambd": 1.0}
ARRAYS = {
    "token_level_rewards": "token_rewards",
    "response_mask": "mask",
    "index": "ids",
    "values": "values",
}
LOSS_ARRAYS = {
    "log_probs": "logp",
    "old_log_probs": "old_logp",
    "advantages": "advantages",
    "loss_mask": "mask",
}


def _advantage(call: TrainerCall) -> Any:
    arguments = {name: call.values[role] for name, role in ARRAYS.items() if role in call.values}
    if "index" in arguments:
        arguments["index"] = uids(arguments["index"])
    config = config_of(call.function, "AlgorithmConfig", ALGORITHM, call.rest())
    return call.by_name(NUMBERS | arguments | {"config": config})


def _loss(call: TrainerCall) -> Any:
    config = config_of(call.function, "AlgorithmConfig", ALGORITHM, call.rest())
    arguments = {name: call.values[role] for name, role in LOSS_ARRAYS.items() if role in call.values}
    arguments["loss_mask"] = as_float(arguments["loss_mask"], arguments["log_probs"])
    arguments["advantages"] = reduced(
        arguments["advantages"],
        arguments["loss_mask"],
        config.loss_reduction,
        getattr(config, "max_seq_len", None),
    )
    arguments["config"] = config
    # the sampler is the old policy where the kit gives no third one
    arguments["rollout_logprobs"] = call.values.get("sampler_logp", call.values["old_logp"])
    result = call.by_name(arguments)
    return result[0] if isinstance(result, tuple) else result


def reduced(advantages: Any, mask: Any, reduction: str, width: int | None = None) -> Any:
    """Advantages [N, T] times the weight that the loss reduction gives each token.

    Args:
        advantages: Advantages by token.
        mask: The tokens that count.
        reduction: token_mean, sequence_mean or seq_mean_token_sum_norm.
        width: The length that seq_mean_token_sum_norm divides by; default: that of the batch.
    """
    rows = advantages.shape[0]
    if reduction == "token_mean":
        return advantages / mask.sum().clip(1)
    if reduction == "sequence_mean":
        return advantages / (rows * mask.sum(-1, keepdim=True).clip(1))
    if reduction == "seq_mean_token_sum_norm":
        return advantages / (rows * (width or advantages.shape[1]))
    raise ValueError(
        f"loss_reduction: '{reduction}'; give token_mean, sequence_mean or seq_mean_token_sum_norm"
    )


def _loss_roles(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The sampler takes part as a third policy where a correction is configured."""
    return ("sampler_logp",) if settings.get("off_policy_correction") else ()


SKYRL = Adapter(
    "skyrl",
    "skyrl",
    "torch",
    (
        CallForm("advantage", ("token_level_rewards", "response_mask"), _advantage, ARRAYS),
        CallForm(
            "loss", ("log_probs", "old_log_probs", "advantages", "loss_mask"), _loss, LOSS_ARRAYS, _loss_roles
        ),
    ),
)
