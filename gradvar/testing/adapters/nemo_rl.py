"""NeMo-RL: ``compute_advantage(prompt_ids, rewards, mask)`` and loss classes that read a data dict.

A loss is called with the log-probabilities of the next tokens and a dict whose arrays have one column more, since
the first token is predicted by nothing; it divides by the global counts of tokens and sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradvar.testing.adapters.base import (
    Adapter,
    CallForm,
    TrainerCall,
    TrainerConfig,
    as_float,
    torch_module,
)

LOSS = {
    "disable_ppo_ratio": False,
    "token_level_loss": True,
    "sequence_level_importance_ratios": False,
    "ratio_clip_min": 0.2,
    "ratio_clip_max": 0.2,
    "ratio_clip_c": None,
    "reference_policy_kl_penalty": 0.0,
    "reference_policy_kl_type": "k3",
    "kl_input_clamp_value": 20.0,
    "kl_output_clamp_value": 10.0,
    "use_importance_sampling_correction": False,
    "truncated_importance_sampling_ratio": None,
    "force_on_policy_ratio": False,
    "use_cispo": False,
}
ESTIMATOR = {"use_leave_one_out_baseline": True, "normalize_rewards": True, "minus_baseline": True}


def data_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The data dict: each array with a column in front, the sampler's log-probabilities being the old ones."""
    torch = torch_module()
    logp, advantages = values["logp"], values["advantages"]
    if advantages.ndim == 1:
        advantages = advantages[:, None].expand_as(logp)
    mask = as_float(values["mask"], logp)

    def shifted(array: Any) -> Any:
        return torch.cat([torch.zeros_like(array[:, :1]), array], 1)

    old = values["old_logp"]
    return {
        "input_ids": torch.zeros(len(mask), mask.shape[1] + 1, dtype=torch.long),
        "token_mask": shifted(mask),
        "sample_mask": torch.ones(len(mask), dtype=logp.dtype),
        "advantages": shifted(advantages),
        "prev_logprobs": shifted(old),
        "generation_logprobs": shifted(values.get("sampler_logp", old)),
        "reference_policy_logprobs": shifted(values.get("ref_logp", old)),
    }


def _prepare(function: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """A loss class or an estimator class, made with its configuration."""
    if not isinstance(function, type):
        return function
    configuration: Any = TrainerConfig({**ESTIMATOR, **settings})
    made: Any
    if hasattr(function, "compute_advantage"):
        made = function(configuration, TrainerConfig(LOSS)).compute_advantage
    else:
        made = function(TrainerConfig({**LOSS, **settings}))
    settings.clear()
    return made


def _loss(call: TrainerCall) -> Any:
    data = data_of(call.values)
    result = call.by_name(
        {
            "next_token_logprobs": call.values["logp"],
            "data": data,
            "global_valid_seqs": data["sample_mask"].sum(),
            "global_valid_toks": data["token_mask"].sum().clamp(min=1),
        }
    )
    return result[0] if isinstance(result, tuple) else result


def _loss_roles(settings: Mapping[str, Any]) -> tuple[str, ...]:
    roles = ["logp", "old_logp", "advantages", "mask"]
    if settings.get("reference_policy_kl_penalty"):
        roles.append("ref_logp")
    if settings.get("use_importance_sampling_correction"):
        roles.append("sampler_logp")
    return tuple(roles)


def _advantage(call: TrainerCall) -> Any:
    rewards = call.values["rewards"]
    mask = rewards.new_ones(len(rewards), 3)
    arguments = {"prompt_ids": call.values["ids"], "rewards": rewards, "mask": mask}
    return call.by_name(arguments)[:, 0]


NEMO_RL = Adapter(
    "nemo-rl",
    "nemo-rl",
    "torch",
    (
        CallForm("loss", ("next_token_logprobs", "data"), _loss, roles=_loss_roles),
        CallForm("advantage", ("prompt_ids", "rewards", "mask"), _advantage, roles=("rewards", "ids")),
    ),
    _prepare,
)
