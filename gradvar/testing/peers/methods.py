"""Trainers without registries: the branches of their methods and modules, each with its setting.

TRL, OpenRLHF, torchrl, Liger, ms-swift, tinker-cookbook, AReaL, rlax.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from gradvar.testing.adapters.openrlhf import OPENRLHF
from gradvar.testing.adapters.torchrl import TORCHRL
from gradvar.testing.adapters.trl import TRL
from gradvar.testing.peers.excerpt import excerpt
from gradvar.testing.peers.peer import PeerFunction, entry, place_of

NO_MASK = "it takes no mask: padding counts in its mean"
LENGTH = 8  # the fixed length of Dr. GRPO's average


def branches(method: Callable[..., Any], variable: str) -> list[str]:
    """The values with which a method compares a setting: the names of its branches, in their order.

    >>> def f(loss_type):
    ...     if loss_type == "grpo" or loss_type in ("dapo", "bnpo"):
    ...         return 1
    >>> branches(f, "loss_type")
    ['grpo', 'dapo', 'bnpo']
    """
    try:
        text = inspect.getsource(method)
    except OSError:
        return []
    names: list[str] = []
    pattern = rf"{variable}\s*(?:==|in)\s*([\[(][^\])]*[\])]|[\"'][^\"']+[\"'])"
    for part in re.findall(pattern, text):
        names += re.findall(r"[\"']([\w+-]+)[\"']", part)
    return list(dict.fromkeys(names))


def trl(grpo: Any, rloo: Any) -> list[PeerFunction]:
    """The loss types of TRL's ``GRPOTrainer``, and the advantages in the middle of its methods."""
    loss = grpo.GRPOTrainer._compute_loss
    entries = []
    for name in branches(loss, "loss_type"):
        level = {"importance_sampling_level": "sequence"} if name == "luspo" else {}
        entries.append(entry(TRL, name, loss, loss_type=name, **level))
    entries.append(entry(TRL, "grpo", loss, loss_type="grpo", importance_sampling_level="sequence"))
    entries.append(entry(TRL, "cispo", loss, loss_type="cispo", epsilon_high=5.0))
    method = grpo.GRPOTrainer._generate_and_score_completions
    for scale in ("group", "batch", "none"):
        function = _trl_advantage(method, scale)
        settings = {"scale_rewards": scale}
        entries.append(PeerFunction("GRPOTrainer", "advantage", function, place_of(method), settings))
    method = rloo.RLOOTrainer._generate_and_score_completions
    entries.append(PeerFunction("RLOOTrainer", "advantage", _trl_rloo(method), place_of(method)))
    return entries


def _trl_advantage(method: Any, scale: str) -> Callable[..., Any]:
    run = excerpt(method, "unscorable_mask", "advantages = torch.nan_to_num")

    def advantages(rewards: Any, num_generations: int) -> Any:
        torch = importlib.import_module("torch")
        floating = rewards if rewards.is_floating_point() else rewards.float()
        trainer = SimpleNamespace(
            multi_objective_aggregation="sum_then_normalize",
            reward_weights=torch.ones(1, dtype=floating.dtype),
            scale_rewards=scale,
        )
        names = {
            "self": trainer,
            "rewards_per_func": floating[:, None].clone(),
            "num_generations": num_generations,
            "device": "cpu",
        }
        return run(names)["advantages"]

    return advantages


def _trl_rloo(method: Any) -> Callable[..., Any]:
    run = excerpt(method, "grouped_rewards", "advantages = torch.nan_to_num")

    def advantages(rewards: Any, num_generations: int) -> Any:
        trainer = SimpleNamespace(normalize_advantages=False)
        floating = rewards if rewards.is_floating_point() else rewards.float()
        names = {"self": trainer, "rewards": floating.clone(), "num_generations": num_generations}
        return run(names)["advantages"]

    return advantages


def openrlhf(maker: Any, losses: Any) -> list[PeerFunction]:
    """OpenRLHF's advantage estimators, and the types of its ``PolicyLoss``."""
    method = maker.RemoteExperienceMaker.compute_advantages_and_returns
    names = branches(inspect.unwrap(method), "estimator")
    entries = [entry(OPENRLHF, name, method, estimator=name) for name in names if name != "gae"]
    for name in branches(losses.PolicyLoss.forward, "policy_loss_type"):
        entries.append(entry(OPENRLHF, name, losses.PolicyLoss, policy_loss_type=name))
    entries.append(entry(OPENRLHF, "ppo", losses.PolicyLoss, policy_loss_type="ppo", token_level_loss=False))
    entries.append(entry(OPENRLHF, "ppo", losses.PolicyLoss, policy_loss_type="ppo", dual_clip=3.0))
    return entries


def torchrl(module: Any) -> list[PeerFunction]:
    """torchrl's losses for language models (the subclasses of ``GRPOLoss`` too), and ``MCAdvantage``."""
    kinds = [module.GRPOLoss, *module.GRPOLoss.__subclasses__()]
    entries = [entry(TORCHRL, kind.__name__, kind) for kind in kinds]
    return [*entries, entry(TORCHRL, "MCAdvantage", module.MCAdvantage)]


def liger(module: Any) -> list[PeerFunction]:
    """The loss types of Liger's fused GRPO loss, by the function that it calls on each chunk."""
    function = module.LigerFusedLinearGRPOFunction.ppo_loss_fn

    def loss_of(name: str, level: str) -> Callable[..., Any]:
        def loss(logp: Any, old_logp: Any, advantages: Any, mask: Any) -> Any:
            rows = advantages if advantages.ndim == 1 else advantages[:, 0]
            return function(
                logp, mask.to(logp.dtype), rows, mask.to(logp.dtype), old_per_token_logps=old_logp, beta=0.0,
                loss_type=name, max_completion_length=LENGTH, importance_sampling_level=level,
            )[0]  # fmt: skip

        return loss

    entries = []
    for name in branches(function, "loss_type"):
        level = "sequence" if name == "luspo" else "token"
        settings = {"loss_type": name, "importance_sampling_level": level, "beta": 0.0}
        entries.append(PeerFunction(name, "loss", loss_of(name, level), place_of(function), settings))
    settings = {"loss_type": "grpo", "importance_sampling_level": "sequence", "beta": 0.0}
    entries.append(PeerFunction("grpo", "loss", loss_of("grpo", "sequence"), place_of(function), settings))
    return entries


def swift(module: Any) -> list[PeerFunction]:
    """ms-swift's ``compute_advantages`` with its estimators and ways of scaling."""
    function = module.compute_advantages
    entries = []
    for name in ("grpo", "rloo", "reinforce_plus_plus"):
        for scale in ("group", "batch", "none"):
            settings = {"advantage_estimator": name, "scale_rewards": scale}
            entries.append(entry(TRL, name, function, **settings))
    return entries


def tinker(module: Any) -> list[PeerFunction]:
    """tinker-cookbook's ``compute_advantages`` of groups of trajectories."""
    function = module.compute_advantages

    def advantages(rewards: Any, num_generations: int) -> Any:
        torch = importlib.import_module("torch")
        groups = rewards.reshape(-1, num_generations).tolist()
        parts = function([SimpleNamespace(get_total_rewards=lambda group=group: group) for group in groups])
        return torch.cat(parts)

    return [PeerFunction("compute_advantages", "advantage", advantages, place_of(function))]


def areal(module: Any) -> list[PeerFunction]:
    """AReaL's actor losses; the proximal policy is the old one."""

    def ppo(level: str) -> Callable[..., Any]:
        def loss(logp: Any, old_logp: Any, advantages: Any, mask: Any) -> Any:
            return module.ppo_actor_loss_fn(
                logp, old_logp, old_logp, advantages, 0.2, mask.bool(), importance_sampling_level=level
            )[0]

        return loss

    def sapo(logp: Any, old_logp: Any, advantages: Any, mask: Any) -> Any:
        return module.sapo_loss_fn(logp, old_logp, advantages, 1.0, 1.05, mask.bool())[0]

    place = place_of(module.ppo_actor_loss_fn)
    levels = ("token", "sequence")
    entries = [
        PeerFunction("ppo_actor_loss_fn", "loss", ppo(level), place, {"importance_sampling_level": level})
        for level in levels
    ]
    return [*entries, PeerFunction("sapo_loss_fn", "loss", sapo, place_of(module.sapo_loss_fn))]


def rlax(module: Any) -> list[PeerFunction]:
    """rlax's clipped surrogate, over all tokens of a batch: it takes no mask."""
    function = module.clipped_surrogate_pg_loss

    def loss(logp: Any, old_logp: Any, advantages: Any) -> Any:
        numpy = importlib.import_module("jax").numpy
        rows = advantages if advantages.ndim == 2 else advantages[:, None] * numpy.ones_like(logp)
        return function(numpy.exp(logp - old_logp).reshape(-1), rows.reshape(-1), 0.2)

    return [PeerFunction("clipped_surrogate_pg_loss", "loss", loss, place_of(function), note=NO_MASK)]
