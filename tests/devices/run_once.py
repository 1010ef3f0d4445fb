"""Recordings and direct measurements in a process of their own: ``OUT SCENE COUNTS [PROCESSES INDEX PORT]``.

COUNTS: such as 1,2,4: the work is done with so many devices in turn, and every array written to OUT/COUNT.npz. With
PROCESSES, this is one of so many that share the work over gloo, COUNTS is how many devices each of them has, and the
file is OUT/INDEX-of-PROCESSES.npz.
"""

import sys
from pathlib import Path

import jax

out, scene, counts = Path(sys.argv[1]), sys.argv[2], [int(x) for x in sys.argv[3].split(",")]
jax.config.update("jax_num_cpu_devices", max(counts))
jax.config.update("jax_enable_x64", scene != "transformer")
jax.config.update("jax_compilation_cache_dir", str(out / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
if len(sys.argv) > 4:
    processes, index, port = map(int, sys.argv[4:])
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", processes, index)

import numpy as np  # noqa: E402

import gradvar as gv  # noqa: E402
from gradvar.policies import Tabular, Transformer  # noqa: E402
from gradvar.tasks import Lookup, Sorting  # noqa: E402

MAPS = {"identity": gv.Whole(), "rademacher": gv.Sketch("rademacher", 32), "tokens": gv.PerToken(32)}
RLOO, GRPO, PPO = (gv.catalogue.get(name) for name in ("rloo", "grpo", "ppo"))


def at_most(chunk, devices):
    """More chunks than devices, of uneven number."""
    return gv.RecordSettings(chunk=chunk, devices=devices)


def tabular():
    """Policy, parameters, task and the parameters that sample."""
    policy = Tabular(2, 3, num_prompts=6, stop=1)
    params = policy.init(jax.random.key(0))
    old = params + 0.3 * jax.random.normal(jax.random.key(5), params.shape)
    support = policy.support()
    task = Lookup((np.random.default_rng(0).random((6, len(support))) < 0.4) * 1.0, support)
    return policy, params, task, old


def finite(devices, maps):
    """Off policy, in float64: bases of several vectors, exact grad J. More chunks than devices, of uneven number."""
    policy, params, task, old = tabular()
    for kept in maps:
        yield kept, gv.measure.record(
            policy, params, task, jax.random.key(1), 10, 8, old_params=old, estimators=[GRPO, PPO], scores=MAPS[kept],
            settings=at_most(5, devices),
        )  # fmt: skip
    yield "direct", gv.measure.direct(
        [RLOO, GRPO], policy, params, task, 4, key=jax.random.key(3), old_params=old, replicates=54, prompts=3,
        work=gv.measure.Work(chunk=3, devices=devices),
    )  # fmt: skip


def in_shards(folder):
    """On policy and without estimators, where a shard's basis is the whole's."""
    policy, params, task, _ = tabular()
    yield (
        "shards",
        gv.measure.record(
            policy,
            params,
            task,
            jax.random.key(1),
            10,
            8,
            folder=folder,
            settings=gv.RecordSettings(shard=3, chunk=5),
        ),
    )


def transformer(devices):
    """On policy, in float32, with a policy that cannot be listed."""
    task = Sorting(length=3, values=4)
    policy = Transformer.for_task(task, width=16, layers=1, heads=2)
    params = policy.init(jax.random.key(0))
    yield (
        "gram",
        gv.measure.record(
            policy,
            params,
            task,
            jax.random.key(1),
            10,
            8,
            scores=gv.Gram(),
            settings=at_most(8, devices),
        ),
    )
    yield (
        "direct",
        gv.measure.direct(
            [RLOO],
            policy,
            params,
            task,
            4,
            key=jax.random.key(3),
            replicates=36,
            prompts=2,
            work=gv.measure.Work(chunk=2, devices=devices),
        ),
    )


def bandit(devices):
    """As little to compile as there can be."""
    task = gv.tasks.Bandit([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    policy = gv.policies.Bandit(2, num_prompts=3)
    params = policy.init(jax.random.key(0))
    yield (
        "identity",
        gv.measure.record(
            policy,
            params,
            task,
            jax.random.key(1),
            10,
            4,
            settings=at_most(5, devices),
        ),
    )
    yield (
        "direct",
        gv.measure.direct(
            [RLOO],
            policy,
            params,
            task,
            4,
            key=jax.random.key(3),
            replicates=32,
            work=gv.measure.Work(chunk=3, devices=devices),
        ),
    )


SCENES = {
    "quick": bandit,
    "finite": lambda devices: finite(devices, ["identity", "rademacher", "tokens"]),
    "processes": lambda devices: finite(devices, ["identity"]),
    "transformer": transformer,
}


def arrays(made):
    found = {}
    for name, thing in made:
        if name == "direct":
            for m in thing:
                figures = np.array([m.trace_cov, m.between, m.signal, *m.se.values()])
                found |= {f"{name}/{m.estimator}/{n}": x for n, x in (("mean", m.mean), ("figures", figures))}
            continue
        found |= {f"{name}/pool/{n}": x for n, x in thing.rollouts.arrays().items()}
        found |= {f"{name}/{n}": x for n, x in thing.recording.scores.arrays().items()}
        found[f"{name}/basis"] = thing.recording.rows.basis
    return found


out.mkdir(exist_ok=True)
if len(sys.argv) > 4:
    made = [*SCENES[scene]("all"), *in_shards(out / f"shards-{processes}")]
    np.savez(out / f"{index}-of-{processes}.npz", **arrays(made))
else:
    for count in counts:
        made = [*SCENES[scene](count)]
        if scene == "finite" and count == 1:
            policy, params, task, _ = tabular()
            whole = gv.measure.record(policy, params, task, jax.random.key(1), 10, 8, settings=at_most(5, 1))
            made.append(("shards", whole))
        np.savez(out / f"{count}.npz", **arrays(made))
print("devices", jax.device_count(), "of which here", jax.local_device_count(), flush=True)
