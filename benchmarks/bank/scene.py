"""The benchmark's scene: a small transformer, prompts of one length, completions of many, binary rewards,
off policy."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from gradvar import catalogue
from gradvar.core.estimator import Estimator
from gradvar.policies.transformer.config import TransformerConfig
from gradvar.policies.transformer.policy import Transformer

CLIPS = (0.1, 0.2, 0.3)
GROUP_SIZES = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Containing:
    """Prompts are random tokens; a completion is right when it holds the prompt's last token among its first
    ten."""

    vocab: int
    length: int = 6

    def prompts(self, key: Array, num: int) -> Array:
        return jax.random.randint(key, (num, self.length), 2, self.vocab, jnp.int32)

    def reward(self, prompts: Array, completions: Array) -> Array:
        return jnp.any(completions[..., :10] == prompts[:, None, -1:], axis=-1).astype(jnp.float32)


def transformer(size: str, length: int = 64) -> Transformer:
    """``small``: 0.1 M parameters; ``large``: 4.7 M. Completions of up to ``length`` tokens."""
    if size == "small":
        return Transformer(TransformerConfig(vocab=24, completion_length=length, stop=1))
    return Transformer(
        TransformerConfig(vocab=64, completion_length=length, stop=1, width=256, layers=6, hidden=768)
    )


def moved(params: PyTree, scale: float) -> PyTree:
    """Parameters some way off: each array plus normal noise of ``scale`` times its own root mean square."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    noise = [
        scale * jnp.sqrt(jnp.mean(x**2)) * jax.random.normal(k, x.shape, x.dtype)
        for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, [x + n for x, n in zip(leaves, noise, strict=True)])


def grid() -> dict[str, Estimator]:
    """Twelve distinct estimators at three clip settings each."""
    plain = (
        "dr_grpo", "grpo", "grpo_sample_std", "grpo_contrastive", "grpo_pair", "reinforce_pp", "reinforce_pp_baseline",
        "ppo", "ppo_dual_clip", "dapo",
    )  # fmt: skip
    found: dict[str, Estimator] = {}
    for clip in CLIPS:
        for name in plain:
            found[f"{name} {clip}"] = catalogue.get(name, clip_low=clip, clip_high=clip)
        found[f"gspo {clip}"] = catalogue.get("gspo", clip_low=clip / 50, clip_high=clip / 50)
        found[f"cispo {clip}"] = catalogue.get("cispo", clip_low=1.0, clip_high=clip)
    return found


def provenance() -> dict[str, Any]:
    """Where and with what a result was made."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            cpu = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "date": datetime.date.today().isoformat(),
        "device": f"{jax.devices()[0].device_kind}, {cpu}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0],
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }
