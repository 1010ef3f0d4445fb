"""tr Cov of per-rollout scores as this library computes it, one way per process; run by ``run.py``.

python -m benchmarks.trace.ours TOOL SIZE     then one line on standard input for every measurement
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from benchmarks.bank.scene import transformer
from gradvar.gradients.per_rollout import rollout_score
from gradvar.gradients.score_trace import score_trace
from gradvar.policies.transformer.policy import Transformer

PAST = 6
SIZES = {"small": (512, 32), "large": (64, 64)}
"""Rollouts, and tokens of each."""

Pair = tuple[Any, Any]


class Scene:
    """A model with an untied head (hooks of other tools cannot follow a tied one), and random rollouts of it."""

    def __init__(self, size: str) -> None:
        self.rollouts, length = SIZES[size]
        config = transformer(size, length).config
        self.policy = Transformer(replace(config, tied=False, stop=None))
        self.params = self.policy.init(jax.random.key(0))
        rng = np.random.default_rng(0)
        tokens = rng.integers(2, config.vocab, (self.rollouts, PAST + length)).astype(np.int32)
        ends = rng.integers(length // 4, length + 1, self.rollouts)
        self.mask = np.arange(length) < ends[:, None]
        self.prompts, self.completions = tokens[:, :PAST], tokens[:, PAST:]

    def write(self, path: Path) -> None:
        """Parameters and rollouts, for the tools that do not import this library."""
        c = self.policy.config
        meta = {
            "layers": c.layers, "heads": c.heads, "kv_heads": c.kv_heads, "eps": c.norm_eps, "theta": c.rope_theta
        }  # fmt: skip
        flat = {**self.params["layers"], **{n: self.params[n] for n in ("embed", "head", "norm")}}
        arrays: dict[str, Any] = {n: np.asarray(x) for n, x in flat.items()}
        arrays |= {"meta": json.dumps(meta), "mask": self.mask}
        np.savez(path, tokens=np.concatenate([self.prompts, self.completions], 1), **arrays)

    def flops(self) -> float:
        """Of the matrix products of one forward and one backward pass over all rollouts."""
        c, fed = self.policy.config, PAST + self.completions.shape[1] - 1
        weights = sum(x.size for x in jax.tree.leaves(self.params) if x.ndim > 1) - self.params["embed"].size
        attention = 2 * 2 * c.layers * fed**2 * c.heads * c.head_width
        return float(self.rollouts * (6 * weights * fed + 3 * attention))

    def rows(self) -> tuple[Array, Array, Array]:
        return jnp.asarray(self.prompts), jnp.asarray(self.completions), jnp.asarray(self.mask, jnp.float32)


def by_vmap(scene: Scene, few: int) -> Callable[[PyTree], Pair]:
    """``few`` whole scores at a time, squared and added up where they are made."""
    policy = scene.policy
    rows = tuple(x.reshape(-1, few, *x.shape[1:]) for x in scene.rows())

    @jax.jit
    def run(params: PyTree) -> Pair:
        def add(carry: Any, some: Any) -> tuple[Any, None]:
            found = jax.vmap(lambda *row: rollout_score(policy, params, *row))(*some)
            return (carry[0] + jnp.sum(found**2), carry[1] + found.sum(0)), None

        size = sum(x.size for x in jax.tree.leaves(params))
        return jax.lax.scan(add, (jnp.zeros(()), jnp.zeros(size)), rows)[0]

    return run


class Uncut(Transformer):
    """The same model, given every rollout in its whole length."""

    causal = False


def by_factors(scene: Scene, way: Any, few: int, cut: bool) -> Callable[[PyTree], Pair]:
    """``score_trace``; ``cut``: rollouts end where their last token does, as they do for users."""
    policy = scene.policy if cut else Uncut(scene.policy.config)
    rows = scene.rows()

    def run(params: PyTree) -> Pair:
        found = score_trace(policy, params, *rows, way=way, chunk=few, error=False)
        return found.norms.sum(), jax.tree.map(lambda x: x * scene.rollouts, found.mean)

    return run


def plain(scene: Scene) -> Callable[[PyTree], Pair]:
    """One ordinary gradient of the sum: no norms, the least that any backward pass costs."""
    prompts, completions, mask = scene.rows()

    def value(params: PyTree) -> Array:
        return jnp.sum(scene.policy.logprobs(params, prompts, completions[:, None])[:, 0] * mask)

    gradient = jax.jit(jax.grad(value))
    return lambda params: (jnp.nan, jax.tree.leaves(gradient(params)))


def products(scene: Scene) -> Callable[[PyTree], Pair]:
    """A square product with about the operations of the scene's matrix products."""
    side = round((scene.flops() / 2) ** (1 / 3))
    one = jnp.ones((side, side))
    multiply = jax.jit(lambda x: x @ x)
    return lambda params: (jnp.nan, [multiply(one)])


def make(scene: Scene, tool: str) -> Callable[[PyTree], Pair]:
    """The named tool, ready to run: ``vmap 16``, ``auto 16``, ``auto 16 uncut``, ``ghost 16``, ``plain`` and so on."""
    name, *rest = tool.split()
    if name == "vmap":
        return by_vmap(scene, int(rest[0]))
    if name in ("auto", "ghost", "formed"):
        return by_factors(scene, name, int(rest[0]), "uncut" not in rest)
    return {"plain": plain, "products": products}[name](scene)


def main() -> None:
    scene = Scene(sys.argv[2])
    run, count = make(scene, sys.argv[1]), scene.rollouts
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        squares, total = jax.block_until_ready(run(scene.params))
        found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        square = sum(float(np.sum(np.asarray(x, np.float64) ** 2)) for x in jax.tree.leaves(total))
        found["value"] = (float(squares) - square / count) / (count - 1)
        found["peak_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) / 1024
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
