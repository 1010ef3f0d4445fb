"""prime-rl: ``loss_fn(inputs, loss_config)`` of one packed sample at a time, with the sampler's log-probabilities.

``inputs`` has trainer_logprobs, inference_logprobs, ref_logprobs, advantages and a boolean loss_mask, all [tokens];
the losses of all samples are added and divided by the number of tokens of the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from gradvar.testing.adapters.base import Adapter, CallForm, TrainerCall, TrainerConfig, as_bool
from gradvar.testing.arrays import unwrapped

CONFIG = {
    "dppo_mask_low": 0.2,
    "dppo_mask_high": 0.2,
    "adv_tau": 1.0,
    "kl_tau": 1e-3,
    "ipo_threshold": 0.2,
}


def _loss(call: TrainerCall) -> Any:
    values, mask = call.values, as_bool(call.values["mask"])
    kind = getattr(unwrapped(call.function), "__globals__", {}).get("LossInputs", SimpleNamespace)
    advantages = values["advantages"]
    if advantages.ndim == 1:
        advantages = advantages[:, None].expand_as(values["logp"])
    config = {"loss_config": TrainerConfig({**CONFIG, **call.rest()})}
    total: Any = 0.0
    for row in range(len(mask)):  # a sample at a time
        inputs = kind(
            trainer_logprobs=values["logp"][row],
            inference_logprobs=values["old_logp"][row],
            ref_logprobs=values["ref_logp"][row] if "ref_logp" in values else None,
            advantages=advantages[row],
            loss_mask=mask[row],
            loss_weights=None,
        )
        result = call.by_name({"inputs": inputs, **config})
        total = total + getattr(result, "loss", result)
    return total / mask.sum().clamp(min=1)


def _loss_roles(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The sampler is the old policy: there is no other one."""
    reference = ("ref_logp",) if settings.get("reference") else ()
    return ("logp", "old_logp", "advantages", "mask", *reference)


PRIME_RL = Adapter(
    "prime-rl", "prime-rl", "torch", (CallForm("loss", ("inputs",), _loss, roles=_loss_roles),)
)
