"""What is fixed over the replicates of ``direct``: policy, task and parameters, estimators, baselines, reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.checks import at_least
from gradvar.core.estimator import Estimator, Objective, as_estimator, check_group_size
from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Sampler, Task
from gradvar.measure.baselines import BASELINE_FIELDS, BaselineSource, baseline_needs, default_baselines
from gradvar.measure.exact.tables import ExactTables, exact_tables
from gradvar.pieces.advantage import leave_one_out


@dataclass(frozen=True)
class PolicyOnTask:
    """Policy, task and parameters: ``params`` are differentiated, ``old_params`` are the trainer's proximal policy,
    ``ref_params`` the reference's; ``engine`` draws the rollouts, and None is ``old_params``.
    """

    policy: Policy
    task: Task
    params: PyTree
    old_params: PyTree | None = None
    ref_params: PyTree | None = None
    engine: Sampler | None = None

    @property
    def old(self) -> PyTree:
        """The parameters of the trainer's proximal policy."""
        return self.params if self.old_params is None else self.old_params

    @property
    def reference(self) -> PyTree:
        """The parameters of the reference policy."""
        return self.old if self.ref_params is None else self.ref_params

    @property
    def off_policy(self) -> bool:
        """True if the policy that is differentiated is not the one that samples."""
        return self.old is not self.params or self.engine is not None


def _reference(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
    advantages = leave_one_out(batch.rewards)[..., None]  # [prompt, group, 1]
    return jnp.mean(jnp.sum(jnp.where(batch.mask, logp, 0.0) * advantages, -1))


REFERENCE = Estimator("reference", _reference)
"""Leave-one-out on policy: unbiased for grad J, because a rollout's baseline does not depend on it."""


def _weighted_reference(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
    drawn = batch.logp_old if batch.logp_sampler is None else batch.logp_sampler
    change = jnp.where(batch.mask, jax.lax.stop_gradient(logp) - drawn, 0.0).sum(-1)  # log of the whole ratio
    advantages = (jnp.exp(change) * leave_one_out(batch.rewards))[..., None]
    return jnp.mean(jnp.sum(jnp.where(batch.mask, logp, 0.0) * advantages, -1))


WEIGHTED_REFERENCE = Estimator("weighted_reference", _weighted_reference)
"""The same of rollouts that another policy drew, each times its ratio of current policy to the one that drew it.

Unbiased for grad J where that one reports what it draws from and can draw every rollout.
"""


@dataclass(frozen=True)
class DirectPlan:
    """What is fixed over the replicates of a measurement.

    ``size``: prompts of a batch; ``fixed``: the prompts, where they are not drawn. ``measured``: the estimators, and
    the reference behind them where it takes the same rollouts. ``tables``: where grad J is exact. ``rehearsal``: one
    chunk, and no backward pass.
    """

    subject: PolicyOnTask
    estimators: tuple[Estimator, ...]
    measured: tuple[Estimator, ...]
    group_size: int
    size: int
    fixed: Array | None
    baselines: BaselineSource | None
    tables: ExactTables | None
    rehearsal: bool = False

    @property
    def slots(self) -> int:
        """Gradients of a replicate: one per estimator, and the reference where grad J is unknown."""
        return len(self.estimators) + (self.tables is None)

    @property
    def vectorised(self) -> int:
        """How many replicates are handled at once: many for tiny policies, one for large ones."""
        return max(1, min(4096, (1 << 24) // (self.cost * self.slots)))

    @property
    def cost(self) -> int:
        """Rollouts times parameters of a replicate."""
        num_params = sum(leaf.size for leaf in jax.tree.leaves(self.subject.params))
        return num_params * self.size * self.group_size


def make_plan(
    estimators: Sequence[Estimator | Objective],
    subject: PolicyOnTask,
    group_size: int,
    prompts: int | Array,
    baselines: BaselineSource | None,
    key: PRNGKeyArray,
) -> DirectPlan:
    """Check what is to be measured, and supply what is not given.

    Args:
        estimators: what is measured.
        subject: policy, task and parameters.
        group_size: rollouts of one prompt.
        prompts: how many prompts a batch has, or the prompts of one fixed batch.
        baselines: a source of baselines; None for one that is made here, where an estimator needs it.
        key: of the pilot sample of such a source.

    Raises:
        ValueError: where the settings cannot be met.
    """
    named = tuple(as_estimator(e) for e in estimators)
    if not named:
        raise ValueError("estimators: the list is empty; give at least one")
    for estimator in named:
        check_group_size(estimator, group_size)
    fixed = None if isinstance(prompts, int | np.integer) else prompts
    size = int(prompts) if fixed is None else len(jax.tree.leaves(fixed)[0])
    at_least("prompts", size, 1)
    served = {*BASELINE_FIELDS, "logp_ref", "logp_sampler"}
    if hasattr(subject.task, "reward_parts"):
        served.add("reward_parts")
    missing = {n for e in named for n in e.needs} - served
    if missing:
        raise ValueError(
            f"estimators: {sorted(missing)} is needed and no policy or task supplies it; leave them out"
        )
    policy, task = subject.policy, subject.task
    tables = None
    if fixed is None and isinstance(policy, FinitePolicy) and isinstance(task, FiniteTask):
        tables = exact_tables(
            policy, subject.params, task, subject.old_params, subject.ref_params, subject.engine
        )
    if tables is None and group_size < 2:
        raise ValueError(
            "group_size: 1; with grad J unknown the unbiased reference needs at least 2 rollouts"
        )
    if baselines is None:
        pilot_key = jax.random.fold_in(key, 0x51DE)
        needs = baseline_needs(named)
        listed = None if tables is None or not needs else tables.in_working_precision()
        baselines = default_baselines(policy, subject.old, task, pilot_key, needs=needs, tables=listed)
    measured = named if tables is not None or subject.off_policy else (*named, REFERENCE)
    return DirectPlan(subject, named, measured, int(group_size), size, fixed, baselines, tables)
