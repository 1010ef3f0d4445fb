"""The gradients of pairs of replicates, and their sums over blocks: the engine room of ``direct``."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.devices import DeviceChoice, Devices, choose_devices
from gradvar.core.estimator import Estimator
from gradvar.measure import direct_stages as stages
from gradvar.measure.baselines import baseline_needs
from gradvar.measure.direct_plan import REFERENCE, DirectPlan, PolicyOnTask

BLOCKS = 256
MEMORY = 1 << 28  # bytes of gradients held at a time, and of block sums


@dataclass(frozen=True)
class Work:
    """How a measurement is carried out; its figures depend on none of this beyond rounding.

    ``chunk``: pairs of replicates handled at a time (default: by memory). ``devices``: which share the chunks, "all"
    (of all processes, where ``jax.distributed`` runs), a number, or a list. Each makes whole chunks, and the chunks'
    sums are added in their order, so figures do not depend on ``devices`` at all. ``on_progress`` is called with the
    replicates done, and how many there are.
    """

    chunk: int | None = None
    devices: DeviceChoice = "all"
    on_progress: Callable[[int, int], None] | None = None


def pair_gradients(
    plan: DirectPlan, devices: Devices, key: PRNGKeyArray, pairs: Int[Array, " pair"]
) -> Float[Array, "pair 2 estimator param"]:
    """The gradients of every measured estimator for the pairs of these numbers.

    Args:
        plan: What is measured.
        devices: Which share the pairs.
        key: Of everything random.
        pairs: Numbers of the pairs; a pair's draws depend on its number only.
    """
    subject = plan.subject
    draw = eqx.Partial(stages.sample_prompts, subject.task, plan.size, plan.group_size)
    prompts, keys = devices.over(draw, (plan.fixed, key), (pairs,))
    gradients = _pull_back(plan, devices, subject, plan.measured, prompts, keys)
    if plan.tables is not None or not subject.off_policy:
        return gradients
    fresh_keys = devices.over(stages.refresh_keys, (), (keys,))
    on_policy = PolicyOnTask(subject.policy, subject.task, subject.params)
    # Each fills the slots of its estimators and leaves zeros in the others.
    return gradients + _pull_back(plan, devices, on_policy, (REFERENCE,), prompts, fresh_keys)


def _pull_back(
    plan: DirectPlan,
    devices: Devices,
    subject: PolicyOnTask,
    estimators: tuple[Estimator, ...],
    prompts: PyTree,
    keys: PRNGKeyArray,
) -> Float[Array, "pair 2 estimator param"]:
    """Sample rollouts of these prompts, score and weigh their tokens, and pull the weights back to parameters."""
    policy, over = subject.policy, devices.over
    first = plan.slots - 1 if estimators == (REFERENCE,) else 0
    vectorised = plan.vectorised
    sample = eqx.Partial(stages.sample_rollouts, policy, subject.task, vectorised)
    rollouts = over(sample, (subject.engine, subject.old), (prompts, keys))
    completions = rollouts["completions"]

    def score(params: PyTree) -> Array:
        return over(eqx.Partial(stages.score, policy, vectorised), (params,), (prompts, completions))

    # The same parameters are scored once: on policy that saves two passes in three.
    logp = score(subject.params)
    logp_old = score(subject.old) if subject.old is not subject.params else logp
    logp_ref = logp_old if subject.reference is subject.old else score(subject.reference)
    fields = rollouts | {"logp": logp, "logp_old": logp_old, "logp_ref": logp_ref}
    if subject.engine is not None:
        report = eqx.Partial(stages.report, policy, vectorised)
        fields["logp_sampler"] = over(report, (subject.engine, subject.old), (prompts, completions))
    if needs := baseline_needs(estimators):
        supply = eqx.Partial(stages.supply_baselines, needs, vectorised)
        fields |= over(supply, (plan.baselines,), (prompts, completions))
    layout = stages.Layout(plan.size, plan.group_size, plan.slots, first)
    weigh = eqx.Partial(stages.weigh_tokens, estimators, layout)
    weights = over(weigh, (), ({n: x for n, x in fields.items() if n != "completions"},))
    pull_back = eqx.Partial(stages.pull_back, policy, vectorised)
    used = jnp.array([first, first if plan.rehearsal else first + len(estimators)])
    return over(pull_back, (subject.params, used), (prompts, completions, weights))


def accumulate(plan: DirectPlan, key: PRNGKeyArray, replicates: int, work: Work) -> stages.Sums:
    """Block sums over all replicates, a chunk of pairs at a time.

    Args:
        plan: What is measured.
        key: Of everything random.
        replicates: How many.
        work: Chunks, devices and progress.
    """
    number = num_pairs(replicates)
    gradient_bytes = ravel_pytree(plan.subject.params)[0].nbytes * (len(plan.estimators) + 1)
    blocks = int(min(BLOCKS, number, max(8, MEMORY // gradient_bytes)))
    chunk = work.chunk
    if chunk is None:
        largest = int(max(1, min(number, MEMORY // (4 * gradient_bytes))))
        chunk = -(-number // -(-number // largest))  # chunks of one size, with as little to fill up as can be
    devices = choose_devices(work.devices).at_most(-(-number // chunk))
    step = chunk * devices.size
    sums: stages.Sums | None = None
    for start in range(0, number, step):
        # The last chunk is filled up with pairs of no weight: one shape, one program.
        pairs = jnp.arange(start, start + step)
        gradients = pair_gradients(plan, devices, key, pairs)
        partial_sums = devices.over(eqx.Partial(stages.sum_blocks, blocks), (number,), (gradients, pairs))
        for part in by_device(devices, partial_sums):
            sums = part if sums is None else jax.tree.map(jnp.add, sums, part)
        if plan.rehearsal:
            break
        if work.on_progress is not None:
            work.on_progress(min(start + step, number) * 2, replicates)
    assert sums is not None
    check_finite(plan, sums)
    return sums


def check_finite(plan: DirectPlan, sums: stages.Sums) -> None:
    """Raise ``ValueError``, which names the estimator, where a gradient is not finite."""
    for estimator, squares in zip(plan.measured, np.asarray(sums.squares), strict=False):
        if not np.isfinite(squares).all():
            raise ValueError(
                f"params: a gradient of {estimator.name} is not finite; fix the model, the task or the estimator"
            )


def by_device(devices: Devices, sums: stages.Sums) -> list[stages.Sums]:
    """Every device's sums, in the order of their chunks."""
    gathered = devices.gather(sums)
    if devices.size == 1:
        return [gathered]
    split = jax.tree.map(lambda x: x.reshape(devices.size, -1, *x.shape[1:]), gathered)
    return [jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), split) for i in range(devices.size)]


def num_pairs(replicates: int) -> int:
    """Half the number of replicates. Raises ``ValueError`` unless it is even and at least 16."""
    if replicates < 16 or replicates % 2:
        raise ValueError(f"replicates: {replicates}; give an even number of at least 16")
    return replicates // 2
