"""Trainers that keep registries: verl, SkyRL, Trinity-RFT, tunix."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from gradvar.testing.adapters.skyrl import SKYRL
from gradvar.testing.adapters.tunix import TUNIX
from gradvar.testing.adapters.verl import VERL
from gradvar.testing.peers.peer import PeerFunction, entry, place_of

COVARIANCE = (
    "besides, a random few of the tokens whose covariance lies in a band are dropped; few of those drawn do"
)
SAMPLER = "the sampler is the old policy"


def verl(module: Any) -> list[PeerFunction]:
    """Every registered advantage estimator and policy loss of verl's ``core_algos``."""
    entries = [entry(VERL, name, function) for name, function in module.ADV_ESTIMATOR_REGISTRY.items()]
    grpo = module.ADV_ESTIMATOR_REGISTRY.get("grpo")
    if grpo is not None:
        entries.append(entry(VERL, "grpo", grpo, norm_adv_by_std_in_grpo=False))
    for name, function in module.POLICY_LOSS_REGISTRY.items():
        if name == "dro":
            entries.append(
                entry(VERL, name, function, "dro_beta has no default", policy_loss={"dro_beta": 0.1})
            )
        else:
            entries.append(entry(VERL, name, function, COVARIANCE if name == "clip_cov" else ""))
    return entries


def skyrl(module: Any) -> list[PeerFunction]:
    """SkyRL's two registries; the loss reduction is the default, token_mean, which it applies to the advantages."""
    estimators, losses = module.AdvantageEstimatorRegistry, module.PolicyLossRegistry
    names = sorted(str(name) for name in estimators.list_available())
    entries = [entry(SKYRL, name, estimators.get(name)) for name in names]
    for name in sorted(str(name) for name in losses.list_available()):
        notes = {"clip_cov": COVARIANCE, "dppo": SAMPLER, "rollout_is": SAMPLER}
        note = notes.get(name, "")
        entries.append(entry(SKYRL, name, losses.get(name), note, policy_loss_type=name))
    return entries


def tunix(module: Any, registry: Any) -> list[PeerFunction]:
    """tunix's function registry: policy losses and advantage estimators."""
    known = registry.default_registry
    entries = [
        entry(TUNIX, name, known.get("advantage_estimator", name))
        for name in known.list_functions("advantage_estimator")
        if name != "gae"
    ]
    for name in known.list_functions("policy_loss_fn"):
        entries.append(entry(TUNIX, name, known.get("policy_loss_fn", name)))
    gspo = known.get("policy_loss_fn", "grpo")
    return [*entries, entry(TUNIX, "grpo", gspo, loss_algo="gspo-token")]


def trinity(advantages: Any, losses: Any) -> list[PeerFunction]:
    """Trinity-RFT's registries of classes, each made with its own default arguments."""
    entries = []
    for name in _mapping(advantages.ADVANTAGE_FN):
        kind = advantages.ADVANTAGE_FN.get(name)
        if hasattr(kind, "calculate_group_advantage"):
            function = _trinity_groups(kind)
        elif name.endswith("_verl") or name in ("rloo", "reinforceplusplus"):
            function = _trinity_batch(kind)
        else:
            continue
        entries.append(PeerFunction(name, "advantage", function, place_of(kind), kind.default_args() or {}))
    for name in _mapping(losses.POLICY_LOSS_FN):
        kind = losses.POLICY_LOSS_FN.get(name)
        wanted = set(kind(**kind.default_args()).select_keys) if _plain(kind) else {"-"}
        if wanted <= {"old_log_probs", "old_logprob", "response_mask", "action_mask", "advantages"}:
            old = bool(wanted & {"old_log_probs", "old_logprob"})
            settings = kind.default_args() or {}
            entries.append(PeerFunction(name, "loss", _trinity_loss(kind, old), place_of(kind), settings))
    return entries


def _mapping(registry: Any) -> list[str]:
    return sorted({*getattr(registry, "_default_mapping", {}), *getattr(registry, "_modules", {})})


def _plain(kind: Any) -> bool:
    try:
        kind(**kind.default_args())
    except (TypeError, AssertionError, AttributeError):
        return False
    return True


def _trinity_groups(kind: Any) -> Callable[..., Any]:
    def advantages(rewards: Any, ids: Any) -> Any:
        torch = importlib.import_module("torch")
        rows = [
            SimpleNamespace(
                reward=float(reward),
                action_mask=torch.ones(2, dtype=rewards.dtype),
                eid=SimpleNamespace(tid=f"u{int(label)}", rid=f"u{int(label)}/{row}", run=row, step=0),
                advantages=None,
                returns=None,
            )
            for row, (reward, label) in enumerate(zip(rewards, ids, strict=True))
        ]
        kind(**kind.default_args()).process(rows)
        return torch.stack([row.advantages[0] for row in rows])

    return _packed(advantages)


def _trinity_batch(kind: Any) -> Callable[..., Any]:
    def advantages(token_rewards: Any, mask: Any, ids: Any) -> Any:
        from gradvar.testing.adapters.base import as_bool, uids

        batch = {"token_level_rewards": token_rewards, "response_mask": as_bool(mask)}
        data = SimpleNamespace(batch=batch, non_tensor_batch={"uid": uids(ids)})
        result = kind(**(kind.default_args() or {}))(data)
        return (result[0] if isinstance(result, tuple) else result).batch["advantages"]

    return _packed(advantages)


def _packed(function: Any) -> Callable[..., Any]:
    """The function, with a word for the laws: its trainer's batch holds group ids for every estimator."""
    function.packed = frozenset({"ids"})
    return function


def _trinity_loss(kind: Any, old: bool) -> Callable[..., Any]:
    def with_old(logp: Any, old_logp: Any, advantages: Any, mask: Any) -> Any:
        made = kind(**kind.default_args())
        named = {"old_logprob": old_logp, "action_mask": mask, "advantages": advantages}
        return made(logprob=logp, **named)[0]

    def without_old(logp: Any, advantages: Any, mask: Any) -> Any:
        return kind(**kind.default_args())(logprob=logp, action_mask=mask, advantages=advantages)[0]

    return with_old if old else without_old
