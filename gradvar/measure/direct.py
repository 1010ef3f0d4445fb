"""``direct``: Monte Carlo that needs nothing but a policy and a task: draw prompts and rollouts, differentiate, repeat.

Every replicate pulls the token weights of all estimators back through one forward pass of its rollouts; by the chain
rule that is autodiff of each objective. The compiled stages are in ``direct_stages``.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.devices import SINGLE, DeviceChoice, Devices, choose_devices
from gradvar.core.estimator import Estimator, Objective
from gradvar.core.moments import Moments
from gradvar.core.programs import compiled_for
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.measure import direct_stages as stages
from gradvar.measure.baselines import BaselineSource, baseline_needs
from gradvar.measure.direct_plan import REFERENCE, DirectPlan, PolicyOnTask, make_plan
from gradvar.policies.sampler_weights import as_sampler
from gradvar.stats.figures import FIGURES, BlockSums, effective_blocks, figures, leave_one_out, pivots

BLOCKS = 256
_MEMORY = 1 << 28  # bytes of gradients held at a time, and of block sums


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


@overload
def direct(
    estimators: Estimator | Objective,
    policy: Policy,
    params: PyTree,
    task: Task,
    group_size: int,
    *,
    key: PRNGKeyArray,
    replicates: int = ...,
    prompts: int | Array = ...,
    old_params: PyTree | None = ...,
    ref_params: PyTree | None = ...,
    sampler: Sampler | PyTree | None = ...,
    baselines: BaselineSource | None = ...,
    work: Work = ...,
) -> Moments: ...
@overload
def direct(
    estimators: Sequence[Estimator | Objective],
    policy: Policy,
    params: PyTree,
    task: Task,
    group_size: int,
    *,
    key: PRNGKeyArray,
    replicates: int = ...,
    prompts: int | Array = ...,
    old_params: PyTree | None = ...,
    ref_params: PyTree | None = ...,
    sampler: Sampler | PyTree | None = ...,
    baselines: BaselineSource | None = ...,
    work: Work = ...,
) -> list[Moments]: ...
def direct(
    estimators: Estimator | Objective | Sequence[Estimator | Objective],
    policy: Policy,
    params: PyTree,
    task: Task,
    group_size: int,
    *,
    key: PRNGKeyArray,
    replicates: int = 1024,
    prompts: int | Array = 1,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    sampler: Sampler | PyTree | None = None,
    baselines: BaselineSource | None = None,
    work: Work = Work(),
) -> Moments | list[Moments]:
    """Estimate the moments of estimators' gradients from independent batches, with standard errors.

    grad J is exact where policy and task can be listed; elsewhere bias factor and cosine are taken against an unbiased
    reference, leave-one-out on rollouts of the same prompts under ``params``: the replicate's rollouts on policy, fresh
    ones off policy.

    Args:
        estimators: one, or several that are measured on the same rollouts.
        policy: what samples and is differentiated.
        params: the parameters that are differentiated.
        task: where prompts and rewards come from.
        group_size: rollouts of one prompt.
        key: of everything random.
        replicates: how many batches; an even number, because they come in pairs that share their prompts, which splits
            the variance into its between-prompt and within-group parts.
        prompts: how many prompts a batch has, drawn from the task for each pair; or the prompts themselves, for one
            fixed batch.
        old_params: the trainer's proximal policy, of the ratios; by default ``params``: on policy.
        ref_params: the reference policy's parameters; by default ``old_params``.
        sampler: what draws the rollouts: a ``Sampler``, such as ``gv.policies.top_p(0.95)``, or parameters; by default
            ``old_params``.
        baselines: supplies critics and baselines; by default exact ones where policy and task can be listed, and those
            of a pilot sample elsewhere.
        work: chunks, devices and progress.

    Returns:
        The moments of one estimator, or a list in the order of several.

    Raises:
        ValueError: on a group size below an estimator's least, on replicates that are odd or below 16, and where a
            gradient is not finite.
    """
    measured = estimators if isinstance(estimators, Sequence) else [estimators]
    subject = PolicyOnTask(policy, task, params, old_params, ref_params, as_sampler(sampler))
    plan = make_plan(measured, subject, group_size, prompts, baselines, key)
    with compiled_for(plan.cost * replicates):
        sums = _accumulate(plan, key, replicates, work)
    moments = [_moments(plan, index, sums) for index in range(len(plan.estimators))]
    return moments if measured is estimators else moments[0]


def rehearse(
    estimators: Sequence[Estimator | Objective],
    policy: Policy,
    task: Task,
    group_size: int,
    *,
    replicates: int,
    prompts: int | Array = 1,
) -> None:
    """Compile most of the programs of ``direct``, on policy, while there are no parameters yet.

    They run once, on parameters of zero and without backward passes.

    Args:
        estimators: what will be measured.
        policy: what will be differentiated.
        task: where prompts and rewards come from.
        group_size: rollouts of one prompt; another one has two small programs of its own.
        replicates: how many batches there will be.
        prompts: as in ``direct``.
    """
    key = jax.random.key(0)
    shapes = jax.eval_shape(policy.init, key)
    params = jax.tree.map(lambda x: jnp.asarray(np.zeros(x.shape, x.dtype)), shapes)
    plan = make_plan(estimators, PolicyOnTask(policy, task, params), group_size, prompts, None, key)
    with compiled_for(plan.cost * replicates):
        _accumulate(dataclasses.replace(plan, rehearsal=True), key, replicates, Work())


def samples(
    estimators: Sequence[Estimator | Objective],
    subject: PolicyOnTask,
    group_size: int,
    *,
    key: PRNGKeyArray,
    replicates: int,
    prompts: int | Array = 1,
) -> Float[np.ndarray, "replicate estimator param"]:
    """Draw the gradients themselves, pair after pair; for policies so small that all of them fit in memory.

    Args:
        estimators: what is measured.
        subject: policy, task and parameters.
        group_size: rollouts of one prompt.
        key: of everything random.
        replicates: how many batches.
        prompts: as in ``direct``.
    """
    plan = make_plan(estimators, subject, group_size, prompts, None, key)
    gradients = _gradients(plan, SINGLE, key, jnp.arange(_num_pairs(replicates)))
    # [pair, 2, estimator, param], the reference left out
    return np.asarray(gradients[:, :, : len(plan.estimators)]).reshape(replicates, len(plan.estimators), -1)


def _gradients(
    plan: DirectPlan, devices: Devices, key: PRNGKeyArray, pairs: Int[Array, " pair"]
) -> Float[Array, "pair 2 estimator param"]:
    """The gradients of every measured estimator for the pairs of these numbers."""
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


def _accumulate(plan: DirectPlan, key: PRNGKeyArray, replicates: int, work: Work) -> stages.Sums:
    """Block sums over all replicates, a chunk of pairs at a time."""
    number = _num_pairs(replicates)
    gradient_bytes = ravel_pytree(plan.subject.params)[0].nbytes * (len(plan.estimators) + 1)
    blocks = int(min(BLOCKS, number, max(8, _MEMORY // gradient_bytes)))
    chunk = work.chunk
    if chunk is None:
        largest = int(max(1, min(number, _MEMORY // (4 * gradient_bytes))))
        chunk = -(-number // -(-number // largest))  # chunks of one size, with as little to fill up as can be
    devices = choose_devices(work.devices).at_most(-(-number // chunk))
    step = chunk * devices.size
    sums: stages.Sums | None = None
    for start in range(0, number, step):
        # The last chunk is filled up with pairs of no weight: one shape, one program.
        pairs = jnp.arange(start, start + step)
        gradients = _gradients(plan, devices, key, pairs)
        partial_sums = devices.over(eqx.Partial(stages.sum_blocks, blocks), (number,), (gradients, pairs))
        for part in _by_device(devices, partial_sums):
            sums = part if sums is None else jax.tree.map(jnp.add, sums, part)
        if plan.rehearsal:
            break
        if work.on_progress is not None:
            work.on_progress(min(start + step, number) * 2, replicates)
    assert sums is not None
    for estimator, squares in zip(plan.measured, np.asarray(sums.squares), strict=False):
        if not np.isfinite(squares).all():
            raise ValueError(
                f"params: a gradient of {estimator.name} is not finite; fix the model, the task or the estimator"
            )
    return sums


def _by_device(devices: Devices, sums: stages.Sums) -> list[stages.Sums]:
    """Every device's sums, in the order of their chunks."""
    gathered = devices.gather(sums)
    if devices.size == 1:
        return [gathered]
    split = jax.tree.map(lambda x: x.reshape(devices.size, -1, *x.shape[1:]), gathered)
    return [jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), split) for i in range(devices.size)]


def block_sums(
    estimators: Sequence[Estimator | Objective],
    subject: PolicyOnTask,
    group_size: int,
    *,
    key: PRNGKeyArray,
    replicates: int,
    prompts: int | Array = 1,
) -> list[BlockSums]:
    """What figures are made of, for every estimator on the same rollouts: for comparisons that are paired by blocks.

    Args:
        estimators: what is measured.
        subject: policy, task, parameters and engine.
        group_size: rollouts of one prompt.
        key: of everything random.
        replicates: how many batches.
        prompts: as in ``direct``.
    """
    plan = make_plan(estimators, subject, group_size, prompts, None, key)
    with compiled_for(plan.cost * replicates):
        sums = _accumulate(plan, key, replicates, Work())
    return [_block_sums(plan, index, sums) for index in range(len(plan.estimators))]


def _block_sums(plan: DirectPlan, index: int, sums: stages.Sums) -> BlockSums:
    """The sums of one estimator, against grad J or against the reference."""
    gradients = sums.gradients[index]  # [block, param]
    if plan.tables is not None:
        truth = np.asarray(plan.tables.gradients).mean(0)  # [param]
        aligned, squared = np.asarray(gradients, np.float64) @ truth, truth @ truth
    else:
        reference = sums.gradients[-1]
        aligned = np.asarray(gradients @ reference.T, np.float64)  # [block, block]
        squared = np.asarray(reference @ reference.T, np.float64)
    return BlockSums(
        count=np.asarray(sums.count, np.float64),
        gram=np.asarray(gradients @ gradients.T, np.float64),
        squares=np.asarray(sums.squares[index], np.float64),
        pairs=None if plan.fixed is not None else np.asarray(sums.pairs[index], np.float64),
        aligned=aligned,
        truth=squared,
        truth_known=plan.tables is not None,
    )


def _moments(plan: DirectPlan, index: int, sums: stages.Sums) -> Moments:
    """The figures of one estimator."""
    blocks, gradients = _block_sums(plan, index, sums), sums.gradients[index]
    truth = None if plan.tables is None else np.asarray(plan.tables.gradients).mean(0)
    count = blocks.count
    with np.errstate(divide="ignore", invalid="ignore"):  # a cosine without a signal is NaN
        values, errors = figures(blocks)
        shapes = pivots(values, leave_one_out(blocks))
    block_means = np.asarray(gradients, np.float64) / count[:, None]
    return Moments(
        estimator=plan.estimators[index].name,
        group_size=plan.group_size,
        prompts=plan.size,
        mean=np.asarray(gradients, np.float64).sum(0) / count.sum(),
        mean_se=block_means.std(0, ddof=1) / np.sqrt(len(block_means)),
        se={name: float(errors[name]) for name in FIGURES},
        true_gradient=truth,
        dof=len(block_means) - 1,
        replicates=int(count.sum()),
        effective={name: float(x) for name, x in effective_blocks(blocks).items()},
        pivots={name: shapes[name].numbers() for name in FIGURES},
        **{name: float(values[name]) for name in FIGURES},
    )


def _num_pairs(replicates: int) -> int:
    if replicates < 16 or replicates % 2:
        raise ValueError(f"replicates: {replicates}; give an even number of at least 16")
    return replicates // 2
