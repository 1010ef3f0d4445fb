"""torchrl: loss modules that take a tensordict (``torchrl.objectives.llm``), and ``MCAdvantage``.

A loss is named by its class or an instance. The actor's log-probabilities are the kit's: the module's method
that would compute them is answered while it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from gradvar.testing.adapters.base import Adapter, CallForm, TrainerCall, as_bool, torch_module


def _prepare(function: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    if not isinstance(function, type):
        return function
    name = "num_generations" if hasattr(function, "_inv_call") else "tensordict"
    arguments = dict(settings)
    settings.clear()
    if name == "tensordict":
        return function(None, **{"entropy_bonus": False, **arguments})

    def transform(rewards: Any, num_generations: int) -> Any:
        return _by_trajectory(function, arguments, rewards, num_generations)

    return transform


def _loss(call: TrainerCall) -> Any:
    values, module = call.values, call.function
    logp, mask = values["logp"], as_bool(values["mask"])
    advantages = values["advantages"]
    if advantages.ndim == 1:
        advantages = advantages[:, None].expand_as(logp)
    words = torch_module().zeros_like(logp)
    entries = {
        "advantage": advantages.unsqueeze(-1),
        "tokens": {"full": words},
        "log_probs": {"full": values["old_logp"]},
        "next": {"ref_log_probs": {"full": values.get("ref_logp", values["old_logp"])}},
        "masks": {"all_attention_mask": mask},
    }
    module._get_cur_log_prob = lambda batch: (logp, SimpleNamespace(mask=mask), False)  # type: ignore[attr-defined]
    result = module(_tensordict(entries, len(logp), module))
    parts = ("loss_objective", "loss_kl_to_ref", "loss_kl_to_inference")
    losses = [part for part in (getattr(result, name, None) for name in parts) if part is not None]
    return sum(part.sum() for part in losses)


def _tensordict(entries: Mapping[str, Any], rows: int, module: Any) -> Any:
    """A tensordict, where the module's own library knows it; else the nested dict."""
    library = sys.modules.get("tensordict")
    return library.TensorDict(dict(entries), [rows]) if library is not None else dict(entries)


def _by_trajectory(
    kind: Callable[..., Any], settings: Mapping[str, Any], rewards: Any, num_generations: int
) -> Any:
    """Advantages of a transform that receives trajectories of one step, group by group.

    Args:
        kind: The transform's class.
        settings: Further arguments of its constructor.
        rewards: The rewards [N], in runs of one group.
        num_generations: The group size.
    """
    torch = torch_module()
    transform: Any = kind(
        num_generations, prompt_key="group", rewards_key="reward", done_key="done", **settings
    )
    parts = []
    for row, reward in enumerate(rewards):
        fields = {
            "group": torch.tensor([[row // num_generations]]),
            "reward": reward.reshape(1, 1),
            "done": torch.ones(1, 1, dtype=torch.bool),
        }
        group = transform._inv_call(_tensordict(fields, 1, transform))
        if group is not None:
            parts.append(group.get("advantage").reshape(-1))
    return torch.cat(parts)


def _loss_roles(settings: Mapping[str, Any]) -> tuple[str, ...]:
    reference = ("ref_logp",) if settings.get("kl_to_ref_coeff") else ()
    return ("logp", "old_logp", "advantages", "mask", *reference)


def _advantage(call: TrainerCall) -> Any:
    return call.by_name({"rewards": call.values["rewards"], "num_generations": int(call.values["count"])})


TORCHRL = Adapter(
    "torchrl",
    "torchrl",
    "torch",
    (
        CallForm("loss", ("tensordict",), _loss, roles=_loss_roles),
        CallForm("advantage", ("rewards", "num_generations"), _advantage, roles=("rewards", "count")),
    ),
    _prepare,
)
