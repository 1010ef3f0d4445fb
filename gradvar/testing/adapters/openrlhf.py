"""OpenRLHF: ``compute_advantages_and_returns(experiences)`` and the modules of ``openrlhf.models.loss``.

Experiences are objects with rewards [N], index, action_mask, kl and info; results are written on them. A method
that is named without its object gets an experience maker with the arguments that the method reads.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from gradvar.testing.adapters.base import (
    Adapter,
    CallForm,
    TrainerCall,
    as_bool,
    as_float,
    class_of,
    namespace,
    nested,
)

ARGS: dict[str, Any] = {
    "algo": {"advantage": {"estimator": "group_norm", "gamma": 1.0, "lambd": 1.0, "no_std_norm": False}},
    "rollout": {"n_samples_per_prompt": 1, "max_new_tokens": 8},
    "reward": {"clip_range": None},
    "data": {"max_len": 16},
}
LOSS_ARRAYS = {
    "log_probs": "logp",
    "old_log_probs": "old_logp",
    "advantages": "advantages",
    "action_mask": "mask",
}


def experience_of(call: TrainerCall) -> SimpleNamespace:
    """One experience with all rollouts: the reward stands beside the tokens, three a rollout if no mask is given."""
    rewards = call.values["rewards"]
    mask = rewards.new_ones(len(rewards), 3) if "mask" not in call.values else call.values["mask"]
    mask = as_float(mask, rewards)
    return SimpleNamespace(
        rewards=rewards.clone(),
        index=list(range(len(rewards))),
        action_mask=mask,
        kl=mask * 0,
        values=call.values.get("values"),
        info={},
        response_length=mask.sum(-1),
        advantages=None,
        returns=None,
    )


def _advantage(call: TrainerCall) -> Any:
    experience = experience_of(call)
    settings = dict(call.settings)
    settings["count"] = int(call.values["count"])
    result = call.function([experience], **({"settings": settings} if "settings" in call.takes else {}))
    experience = result[0] if isinstance(result, list) and result else experience
    return experience.advantages[:, 0]  # with gamma 1 every token of a rollout has its return


def _prepare(function: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    if isinstance(function, type):  # a loss module
        module = function(**settings)
        settings.clear()
        return module
    if names[:1] != ("self",):
        return function
    base = class_of(function) or object

    def bound(experiences: Any, settings: Any) -> Any:
        values = dict(settings)
        count = values.pop("count")
        arguments = namespace(nested_args(values, count))
        maker: Any = object.__new__(base)
        maker.strategy, maker.args = SimpleNamespace(args=arguments), arguments
        maker.advantage_estimator = arguments.algo.advantage.estimator
        maker.kl_ctl = SimpleNamespace(value=0.0)
        return function(maker, experiences)

    bound.__name__ = function.__name__
    return bound


def nested_args(settings: dict[str, Any], count: int) -> dict[str, Any]:
    """OpenRLHF's arguments with the group size, and the settings of the advantage over them."""
    args = nested(ARGS, {"rollout": {**ARGS["rollout"], "n_samples_per_prompt": count}})
    return nested(args, {"algo": {"advantage": {**ARGS["algo"]["advantage"], **settings}}})


def _loss(call: TrainerCall) -> Any:
    arguments = {name: call.values[role] for name, role in LOSS_ARRAYS.items() if role in call.values}
    arguments["action_mask"] = as_bool(arguments["action_mask"])
    result = call.by_name(arguments)
    return result[0] if isinstance(result, tuple) else result


OPENRLHF = Adapter(
    "openrlhf",
    "openrlhf",
    "torch",
    (
        CallForm("loss", ("log_probs", "old_log_probs", "advantages", "action_mask"), _loss, LOSS_ARRAYS),
        CallForm("advantage", ("experiences",), _advantage, roles=("rewards", "count")),
    ),
    _prepare,
)
