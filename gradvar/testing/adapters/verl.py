"""verl: ``compute_*_advantage(token_level_rewards, response_mask, index, config)`` and its policy losses.

Losses are ``(old_log_prob, log_prob, advantages, response_mask, loss_agg_mode, config, rollout_is_weights)``;
groups are labelled by strings in an object array, advantages are [N, T], and results come with metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradvar.testing.adapters.base import Adapter, CallForm, TrainerCall, TrainerConfig, config_of, uids

ACTOR = {
    "clip_ratio": 0.2,
    "clip_ratio_low": 0.2,
    "clip_ratio_high": 0.2,
    "clip_ratio_c": 3.0,
    "tau_pos": 1.0,
    "tau_neg": 1.05,
    "loss_agg_mode": "token-mean",
    "global_batch_info": {},
    "policy_loss": TrainerConfig(clip_cov_ratio=0.0002, clip_cov_lb=1.0, clip_cov_ub=5.0),
}
ALGORITHM = {"gamma": 1.0, "lam": 1.0, "norm_adv_by_std_in_grpo": True, "use_kl_in_reward": False}
ARRAYS = {
    "token_level_rewards": "token_rewards",
    "response_mask": "mask",
    "index": "ids",
    "values": "values",
    "old_log_probs": "old_logp",
}
LOSS_ARRAYS = {
    "old_log_prob": "old_logp",
    "log_prob": "logp",
    "advantages": "advantages",
    "response_mask": "mask",
    "rollout_log_prob": "old_logp",
    "rollout_log_probs": "sampler_logp",
}


def _arrays(call: TrainerCall, names: Mapping[str, str]) -> dict[str, Any]:
    """The arrays by verl's names; its masks are integers, a part of the attention mask."""
    arguments = {name: call.values[role] for name, role in names.items() if role in call.values}
    if "response_mask" in arguments:
        arguments["response_mask"] = arguments["response_mask"].long()
    return arguments


def _advantage(call: TrainerCall) -> Any:
    arguments = _arrays(call, ARRAYS)
    if "index" in arguments:
        arguments["index"] = uids(arguments["index"])
    if "reward_baselines" in call.takes:  # ReMax: the greedy rollout's reward is zero
        arguments["reward_baselines"] = arguments["token_level_rewards"].sum(-1) * 0
    arguments |= {name: ALGORITHM[name] for name in ("gamma", "lam") if name in call.takes}
    arguments["config"] = config_of(call.function, "AlgoConfig", ALGORITHM, call.rest())
    return call.by_name(arguments)


def _loss(call: TrainerCall) -> Any:
    arguments = _arrays(call, LOSS_ARRAYS)
    arguments["config"] = config_of(call.function, "ActorConfig", ACTOR, call.rest())
    result = call.by_name(arguments)
    return result[0] if isinstance(result, tuple) else result


VERL = Adapter(
    "verl",
    "verl",
    "torch",
    (
        CallForm("advantage", ("token_level_rewards", "response_mask"), _advantage, ARRAYS),
        CallForm("loss", ("log_prob", "advantages", "response_mask"), _loss, LOSS_ARRAYS),
    ),
)
