"""Seconds of sampling, log-probabilities, scoring, ghost norms and sketches, against the device's own ceiling.

The ceiling is measured first on the same device: a large product of matrices (floating-point operations a second) and a
copy (bytes a second). Every figure is the median of a few repeats after one that compiles; the file is written after
every size, so that a run that is stopped keeps what it has.
"""

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradvar.gradients import ghost_norms
from gradvar.gradients.factored_sketch import factored_bytes
from gradvar.gradients.per_rollout import ScoreRows, project_scores
from gradvar.gradients.sketch import Sketch
from gradvar.policies import Transformer, TransformerConfig

# name: layers, width, heads, key-value heads, hidden; 32,768 tokens of vocabulary but for the small one
SIZES = {
    "0.1M": (2, 32, 4, 2, 64),
    "10M": (4, 256, 8, 4, 512),
    "100M": (20, 640, 10, 5, 1_728),
    "500M": (28, 1_280, 20, 5, 3_456),
}
LIMIT = 420.0  # seconds after which no further size is begun
REPEATS = 3


def seconds(call: Callable[[], Any]) -> float:
    """The median of ``REPEATS`` calls after one that compiles."""
    jax.block_until_ready(call())
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def ceiling(dtype: str, *, small: bool) -> dict[str, float]:
    """Operations and bytes a second that this device reaches."""
    side = 512 if small else 8192
    matrix = jnp.ones((side, side), dtype)
    product = jax.jit(lambda x: x @ x)
    numbers = jnp.ones(1 << (22 if small else 28), jnp.float32)
    copied = jax.jit(lambda x: x + 1)
    return {
        "flops": 2 * side**3 / seconds(lambda: product(matrix)),
        "bytes": 2 * numbers.nbytes / seconds(lambda: copied(numbers)),
    }


def figures(name: str, dtype: str, top: dict[str, float], *, small: bool) -> dict[str, Any]:
    """Seconds of each stage at one size, and their share of the ceiling."""
    layers, width, heads, kv_heads, hidden = SIZES[name]
    rows, past, time_ = (4, 8, 8) if small else (16, 128, 128)
    policy = Transformer(
        TransformerConfig(
            vocab=256 if small else 32_768, completion_length=time_, layers=layers, width=width, heads=heads,
            kv_heads=kv_heads, hidden=hidden, max_length=past + time_, dtype=dtype,
        )
    )  # fmt: skip
    params, key = policy.init(jax.random.key(0)), jax.random.key(1)
    size = policy.num_params()
    prompts = jax.random.randint(key, (1, past), 0, policy.config.vocab)
    completions = policy.sample(params, key, prompts, rows)
    wanted = ScoreRows(
        np.repeat(np.asarray(prompts), rows, 0),
        np.asarray(completions[0]),
        np.ones((rows, time_), np.float32),
    )
    sketch = Sketch("hashed", 1024)

    from_factors = factored_bytes(policy, params, prompts, time_, sketch) is not None  # as a recording does
    chunk = rows if from_factors else min(rows, max(1, (1 << 28) // (4 * size)))

    def scored() -> np.ndarray:
        images = project_scores(policy, params, wanted, sketch, key, chunk, from_factors=from_factors)
        return np.concatenate(list(images))

    tapped = ghost_norms.trace_policy(policy, params, prompts, time_)
    ways = tuple(p.way for p in ghost_norms.plan_of(tapped, params, "auto"))
    arrays = (jnp.repeat(prompts, rows, 0), completions[0], jnp.ones((rows, time_), jnp.float32))
    vector = jnp.ones((1, size), jnp.float32)
    taken = {
        "sampling": seconds(lambda: policy.sample(params, key, prompts, rows)),
        "log-probabilities": seconds(lambda: policy.logprobs(params, prompts, completions)),
        "scoring": seconds(scored),
        "ghost norms": seconds(lambda: ghost_norms.norms_and_sum(tapped, params, *arrays, ways)),
        "sketch of one score": seconds(lambda: sketch.image(vector, key)),
    }
    tokens = rows * (past + time_)  # scoring and norms run the prompt with every row
    work = {  # the least operations: 2 a parameter and token forward, 6 with the backward pass
        "sampling": 2 * size * (past + rows * time_),
        "log-probabilities": 2 * size * (past + rows * time_),
        "scoring": 6 * size * tokens,
        "ghost norms": 6 * size * tokens,
    }
    share = {stage: work[stage] / taken[stage] / top["flops"] for stage in work}
    share["sketch of one score"] = 4 * size / taken["sketch of one score"] / top["bytes"]
    return {
        "parameters": size,
        "rows": rows,
        "past": past,
        "time": time_,
        "seconds": taken,
        "of_ceiling": share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="one small model, on a CPU")
    settings = parser.parse_args()
    started, dtype = time.perf_counter(), "bfloat16"  # in the small form too, so that it takes the same way
    top = ceiling(dtype, small=settings.small)
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": jax.devices()[0].device_kind, "devices": len(jax.devices()), "dtype": dtype,
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "ceiling": top, "sizes": {},
    }  # fmt: skip
    for name in ["0.1M"] if settings.small else list(SIZES)[1:]:
        if time.perf_counter() - started > LIMIT:
            result["not_begun"] = [*result.get("not_begun", []), name]
            continue
        result["sizes"][name] = figures(name, dtype, top, small=settings.small)
        settings.out.write_text(json.dumps(result, indent=1) + "\n")
    settings.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
