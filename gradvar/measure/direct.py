"""``direct``: Monte Carlo that needs nothing but a policy and a task: draw prompts and rollouts, differentiate, repeat.

Every replicate pulls the token weights of all estimators back through one forward pass of its rollouts; by the chain
rule that is autodiff of each objective. The compiled stages are in ``direct_stages``.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from gradvar.core.devices import SINGLE
from gradvar.core.estimator import Estimator, Objective
from gradvar.core.moments import Moments
from gradvar.core.programs import compiled_for
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.core.until import FIRST, Until
from gradvar.measure import direct_stages as stages
from gradvar.measure.baselines import BaselineSource
from gradvar.measure.direct_plan import DirectPlan, PolicyOnTask, make_plan
from gradvar.measure.direct_rounds import accumulate_until
from gradvar.measure.direct_sums import Work, accumulate, num_pairs, pair_gradients
from gradvar.policies.sampler_weights import as_sampler
from gradvar.stats.figures import FIGURES, BlockSums, effective_blocks, figures, leave_one_out, pivots

_REPLICATES = 1024
_WORK = Work()
_ROUNDS = 16  # of the first size, for the compiler's effort: how many there will be is not known


@overload
def direct(
    estimators: Estimator | Objective,
    policy: Policy,
    params: PyTree,
    task: Task,
    group_size: int,
    *,
    key: PRNGKeyArray,
    replicates: int | None = ...,
    until: Until | Mapping[str, float] | None = ...,
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
    replicates: int | None = ...,
    until: Until | Mapping[str, float] | None = ...,
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
    replicates: int | None = None,
    until: Until | Mapping[str, float] | None = None,
    prompts: int | Array = 1,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    sampler: Sampler | PyTree | None = None,
    baselines: BaselineSource | None = None,
    work: Work = _WORK,
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
        replicates: how many batches, 1,024 by default; an even number, because they come in pairs that share their
            prompts, which splits the variance into its between-prompt and within-group parts.
        until: in place of ``replicates``: how narrow intervals shall be, as shares of their figures, such as
            ``{"trace_cov": 0.05}``; or an ``Until``, which also says at how many replicates to stop. With several
            estimators it holds for each of them. ``Moments.replicates`` says how many it took.
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
        ValueError: on a group size below an estimator's least, on replicates that are odd or below 16, on both
            ``replicates`` and ``until``, and where a gradient is not finite.
    """
    asked = _until(replicates, until)
    measured = estimators if isinstance(estimators, Sequence) else [estimators]
    subject = PolicyOnTask(policy, task, params, old_params, ref_params, as_sampler(sampler))
    plan = make_plan(measured, subject, group_size, prompts, baselines, key)
    sums, _ = _sums(plan, key, asked, work)
    moments = _all_moments(plan, sums)
    if isinstance(asked, Until) and asked.warn:
        for line in filter(None, map(asked.shortfall, moments)):
            warnings.warn(f"until: {line}", stacklevel=2)
    return moments if measured is estimators else moments[0]


def rehearse(
    estimators: Sequence[Estimator | Objective],
    policy: Policy,
    task: Task,
    group_size: int,
    *,
    replicates: int | None = None,
    until: Until | Mapping[str, float] | None = None,
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
        until: as in ``direct``.
        prompts: as in ``direct``.
    """
    key = jax.random.key(0)
    shapes = jax.eval_shape(policy.init, key)
    params = jax.tree.map(lambda x: jnp.asarray(np.zeros(x.shape, x.dtype)), shapes)
    plan = make_plan(estimators, PolicyOnTask(policy, task, params), group_size, prompts, None, key)
    _sums(dataclasses.replace(plan, rehearsal=True), key, _until(replicates, until), _WORK)


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
    gradients = pair_gradients(plan, SINGLE, key, jnp.arange(num_pairs(replicates)))
    # [pair, 2, estimator, param], the reference left out
    return np.asarray(gradients[:, :, : len(plan.estimators)]).reshape(replicates, len(plan.estimators), -1)


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
    sums, _ = _sums(plan, key, replicates, _WORK)
    return [_block_sums(plan, index, sums) for index in range(len(plan.estimators))]


def _until(replicates: int | None, until: Until | Mapping[str, float] | None) -> int | Until:
    """How many replicates, or until when; one of the two may be given."""
    if until is None:
        return _REPLICATES if replicates is None else replicates
    if replicates is not None:
        raise ValueError(
            f"until: {until!r} and replicates: {replicates}; give one of them, and a limit as Until(..., most=...)"
        )
    return Until.of(until)


def _sums(plan: DirectPlan, key: PRNGKeyArray, asked: int | Until, work: Work) -> tuple[stages.Sums, int]:
    """Block sums of what was asked for, and in how many rounds they were made."""
    expected = asked if isinstance(asked, int) else FIRST * _ROUNDS
    with compiled_for(plan.cost * expected):
        if isinstance(asked, Until):
            return accumulate_until(plan, key, asked, work, lambda sums: _all_moments(plan, sums))
        return accumulate(plan, key, asked, work), 1


def _all_moments(plan: DirectPlan, sums: stages.Sums) -> list[Moments]:
    """The figures of every estimator."""
    return [_moments(plan, index, sums) for index in range(len(plan.estimators))]


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
        joint=np.asarray(sums.joint[index], np.float64),
    )


def _moments(plan: DirectPlan, index: int, sums: stages.Sums) -> Moments:
    """The figures of one estimator."""
    blocks, gradients = _block_sums(plan, index, sums), sums.gradients[index]
    truth = None if plan.tables is None else np.asarray(plan.tables.gradients).mean(0)
    count = blocks.count
    with np.errstate(divide="ignore", invalid="ignore"):  # a cosine without a signal is NaN
        values, errors = figures(blocks)
        parts, effective = leave_one_out(blocks), effective_blocks(blocks)
        shapes = pivots(values, parts, effective)
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
        effective={name: float(x) for name, x in effective.items()},
        pivots={name: shapes[name].numbers() for name in FIGURES},
        without={"snr": [float(x) for x in parts["snr"]]},
        **{name: float(values[name]) for name in FIGURES},
    )
