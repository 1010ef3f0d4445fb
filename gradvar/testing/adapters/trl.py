"""TRL: ``GRPOTrainer._compute_loss(model, inputs)`` and functions of rewards with ``num_generations``.

The inputs are a dict of prompts, completions, their masks, advantages [N] and log-probabilities. A trainer's
method that is named without its object (``module:MyTrainer._compute_loss``) gets a trainer with the settings that
the method reads, at TRL's defaults, whose model gives the kit's log-probabilities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from gradvar.testing.adapters.base import (
    Adapter,
    CallForm,
    TrainerCall,
    as_float,
    class_of,
    namespace,
    torch_module,
)
from gradvar.testing.arrays import unwrapped

TRAINER = {
    "loss_type": "dapo",
    "importance_sampling_level": "token",
    "beta": 0.0,
    "epsilon_low": 0.2,
    "epsilon_high": 0.2,
    "max_completion_length": 8,
    "top_entropy_quantile": 1.0,
    "off_policy_mask_threshold": None,
    "aux_loss_enabled": False,
    "use_vllm": False,
    "vllm_importance_sampling_correction": False,
    "current_gradient_accumulation_steps": 1,
    "num_generations": 2,
    "scale_rewards": "group",
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
    "_entropy_bonus_enabled": False,
}
ARGS = {
    "delta": None,
    "use_bias_correction_kl": False,
    "steps_per_generation": 1,
    "sapo_temperature_pos": 1.0,
    "sapo_temperature_neg": 1.05,
    "vespo_k_pos": 2.0,
    "vespo_lambda_pos": 3.0,
    "vespo_k_neg": 3.0,
    "vespo_lambda_neg": 2.0,
}


def inputs_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's inputs for the kit's arrays: [N, T] log-probabilities, advantages [N] or [N, T]."""
    torch = torch_module()
    mask = values["mask"]
    ids = torch.zeros(tuple(mask.shape), dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": torch.ones_like(ids[:, :1]),
        "completion_ids": ids,
        "completion_mask": as_float(mask, values["advantages"]),
        "advantages": values["advantages"],
        "num_items_in_batch": mask.sum(),
    }
    names = {
        "old_logp": "old_per_token_logps",
        "ref_logp": "ref_per_token_logps",
        "second_mask": "tool_mask",
        "sampler_logp": "sampling_per_token_logps",
    }
    return inputs | {name: values[role] for role, name in names.items() if role in values}


class CompletionModel:
    """A model of two words whose log-probability of the first, at each completion token, is the kit's.

    Called with token ids it returns logits [N, prompt and completion, 2].
    """

    training = True

    def __init__(self, logp: Any) -> None:
        self.logp = logp

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Logits for the prompt's one token and the completion; the last one predicts what nobody reads."""
        torch = torch_module()
        logp = torch.where(self.logp.isfinite(), self.logp, -1.0)  # a softmax gives no NaN and no infinity
        # log(1 - p) for the second word: the two probabilities sum to one, so that the softmax changes nothing
        other = torch.log1p(-logp.exp().clamp(max=1 - 1e-12))
        logits = torch.stack([logp, other], -1)
        return SimpleNamespace(logits=torch.cat([logits, torch.zeros_like(logits[:, :1])], 1))


class _Trainer:
    """The part of a trainer that its losses read."""

    logps: Any

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        return self.logps, self.logps.detach() * 0, None

    def _get_per_token_logps(self, *args: Any, **kwargs: Any) -> Any:
        return self.logps


def _prepare(function: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    """A method that is named without its object, on a trainer made for each call."""
    if next(iter(_names(function)), "") != "self":
        return function
    base = class_of(function) or object
    kind = type("Trainer", (_Trainer, base), {})
    fields = {**TRAINER, **settings}
    arguments = {name: fields.pop(name) for name in ARGS if name in fields}

    def bound(model: Any, inputs: Any) -> Any:
        trainer: Any = object.__new__(kind)
        for name, value in fields.items():
            setattr(trainer, name, value)
        trainer.args = namespace({**fields, **ARGS, **arguments})
        trainer.accelerator = SimpleNamespace(
            gather=lambda x: x,
            gather_for_metrics=lambda x: x,
            reduce=lambda x, reduction="sum": x,
            num_processes=1,
            sync_gradients=True,
        )
        trainer._metrics = defaultdict(lambda: defaultdict(list))
        trainer.model, trainer.logps = model, model.logp
        return function(trainer, model, inputs)

    bound.__name__ = function.__name__
    return bound


def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    code = getattr(unwrapped(function), "__code__", None)
    return code.co_varnames[: code.co_argcount] if code else ()


def _loss(call: TrainerCall) -> Any:
    result = call.function(CompletionModel(call.values["logp"]), inputs_of(call.values))
    return result[0] if isinstance(result, tuple) else result


def _loss_roles(settings: Mapping[str, Any]) -> tuple[str, ...]:
    roles = ["logp", "old_logp", "advantages", "mask"]
    if settings.get("beta"):
        roles.append("ref_logp")
    if settings.get("off_policy_mask_threshold") is not None:
        roles.append("sampler_logp")
    return tuple(roles)


def _advantage(call: TrainerCall) -> Any:
    arguments = dict(call.values)
    arguments["num_generations"] = int(call.values["count"])
    if "rewards_per_func" in call.takes:
        arguments["rewards_per_func"] = call.values["rewards"][:, None]
        arguments["reward_weights"] = torch_module().ones(1, dtype=call.values["rewards"].dtype)
    return call.by_name(arguments)


TRL = Adapter(
    "trl",
    "trl",
    "torch",
    (
        CallForm("loss", ("model", "inputs"), _loss, roles=_loss_roles),
        CallForm(
            "advantage", ("rewards_per_func", "num_generations"), _advantage, roles=("rewards", "count")
        ),
        CallForm("advantage", ("rewards", "num_generations"), _advantage, roles=("rewards", "count")),
    ),
    _prepare,
)
