"""The trainers that can be surveyed, and the functions of the installed ones by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradvar.testing.peers import methods, registries
from gradvar.testing.peers.loading import load
from gradvar.testing.peers.peer import Peer

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("verl", "verl", ("verl.trainer.ppo.core_algos",), "torch", registries.verl),
        Peer("trl", "trl", ("trl.trainer.grpo_trainer", "trl.trainer.rloo_trainer"), "torch", methods.trl),
        Peer(
            "openrlhf",
            "openrlhf",
            ("openrlhf.trainer.ppo_utils.experience_maker", "openrlhf.models.loss"),
            "torch",
            methods.openrlhf,
        ),
        Peer("torchrl", "torchrl", ("torchrl.objectives.llm",), "torch", methods.torchrl),
        Peer(
            "tunix",
            "google-tunix",
            ("tunix.rl.algo_core", "tunix.rl.function_registry"),
            "jax",
            registries.tunix,
        ),
        Peer("skyrl", "skyrl", ("skyrl.backends.skyrl_train.utils.ppo_utils",), "torch", registries.skyrl),
        Peer(
            "trinity",
            "trinity-rft",
            ("trinity.algorithm.advantage_fn", "trinity.algorithm.policy_loss_fn"),
            "torch",
            registries.trinity,
        ),
        Peer("liger", "liger-kernel", ("liger_kernel.chunked_loss.grpo_loss",), "torch", methods.liger),
        Peer("swift", "ms-swift", ("swift.rl_core.advantage",), "torch", methods.swift),
        Peer("tinker", "tinker-cookbook", ("tinker_cookbook.rl.data_processing",), "torch", methods.tinker),
        Peer("areal", "areal", ("areal.utils.functional.functional",), "torch", methods.areal),
        Peer("rlax", "rlax", ("rlax",), "jax", methods.rlax),
    )
}
"""The trainers by name."""

ELSEWHERE: dict[str, str] = {
    "nemo-rl": "nemo-rl 0.0.0 on the registry holds no code; install it from NVIDIA-NeMo/RL",
    "prime-rl": "not on the registry; install it from PrimeIntellect-ai/prime-rl",
    "slime": "not on the registry; install it from THUDM/slime",
}
"""Trainers that have an adapter and no release that pip installs."""


def peer_function(trainer: str, name: str, kind: str = "", **settings: Any) -> Callable[..., Any]:
    """A function of an installed trainer, in the kit's names: ``peer_function("verl", "grpo")``.

    Args:
        trainer: One of ``PEERS``.
        name: The name under which the trainer registers it.
        kind: "advantage" or "loss" where both have the name.
        settings: Settings that it must have, where there are several of the name.

    Raises:
        ValueError: The trainer cannot be loaded, or has no such function.
    """
    if trainer not in PEERS:
        raise ValueError(f"peers: '{trainer}' is unknown; give some of {', '.join(PEERS)}")
    loaded = load(PEERS[trainer])
    if loaded.reason:
        raise ValueError(f"peers: {trainer} {loaded.reason}")
    for function in loaded.functions:
        fits = all(function.settings.get(key) == value for key, value in settings.items())
        if function.name == name and kind in ("", function.kind) and fits:
            return function.function
    known = dict.fromkeys(function.name for function in loaded.functions)
    raise ValueError(f"peers: {trainer} has no '{name}'; it has {', '.join(known)}")
