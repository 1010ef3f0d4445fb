"""Direct Monte Carlo: draw prompts and rollouts, differentiate, repeat. It needs nothing but a policy and a task.

Every replicate pulls the token weights of all estimators back through one forward pass of its own rollouts; by the
chain rule that is autodiff of each objective. Rollouts are handled as a flat axis, so that at a fixed number of
rollouts the model is traced once for all group sizes and estimators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.devices import DeviceChoice, choose_devices
from gradvar.core.estimator import Estimator, Objective, as_estimator, check_group_size
from gradvar.core.moments import Moments
from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Task
from gradvar.measure.baselines import NAMES, Side, exact_side, pilot_side
from gradvar.measure.direct_stages import Sums, draw_of, fresh_of, pull_of, roll_of, sums_of, weights_of
from gradvar.measure.exact.tables import ExactTables, tabulate
from gradvar.stats.figures import FIGURES, BlockSums, figures

Progress = Callable[[int, int], None]

BLOCKS = 256
_MEMORY = 1 << 28  # bytes of gradients held at a time, and of block sums


def direct(
    estimator: Estimator | Objective,
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
    side: Side | None = None,
    chunk: int | None = None,
    devices: DeviceChoice = "all",
) -> Moments:
    """Moments of ``estimator``'s gradient from ``replicates`` independent batches, with standard errors.

    See ``direct_many``, of which this is the case of one estimator.
    """
    return direct_many(
        [estimator], policy, params, task, group_size, key=key, replicates=replicates, prompts=prompts,
        old_params=old_params, ref_params=ref_params, side=side, chunk=chunk, devices=devices,
    )[0]  # fmt: skip


def direct_many(
    estimators: Sequence[Estimator | Objective],
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
    side: Side | None = None,
    chunk: int | None = None,
    devices: DeviceChoice = "all",
    on_progress: Progress | None = None,
) -> list[Moments]:
    """Moments of several estimators on the same rollouts, in the order given.

    ``prompts``: how many prompts a batch has, drawn from the task for each pair of replicates; or the prompts
    themselves, for one fixed batch. ``replicates`` is even: replicates come in pairs that share their prompts, which
    splits the variance into its between-prompt and within-group parts. ``old_params`` sample (default ``params``: on
    policy), ``ref_params`` are the reference policy's (default ``old_params``). ``side`` supplies critics and
    baselines; the default is exact where policy and task can be listed, and from a pilot sample elsewhere. ``chunk`` is
    the number of pairs handled at a time (default: by memory); results do not depend on it beyond rounding.
    ``devices``: who shares the chunks: "all" (of all processes, where ``jax.distributed`` runs), a number, or a list.
    Each makes whole chunks, and the chunks' sums are added in their order, so results do not depend on them at all.

    grad J is exact where policy and task can be listed; elsewhere bias factor and cosine are taken against an unbiased
    reference, leave-one-out on rollouts of the same prompts under ``params``: the replicate's own rollouts on policy,
    fresh ones off policy.
    Raises ``ValueError`` on a group size below an estimator's least, on replicates that are odd or below 16, and where
    a gradient is not finite.
    """
    run = _Run(
        estimators, policy, params, task, group_size, prompts, old_params, ref_params, side, key, devices
    )
    sums = run.accumulate(key, replicates, chunk, on_progress)
    return [run.moments(index, sums) for index in range(len(run.estimators))]


def samples(
    estimators: Sequence[Estimator | Objective],
    policy: Policy,
    params: PyTree,
    task: Task,
    group_size: int,
    *,
    key: PRNGKeyArray,
    replicates: int,
    prompts: int | Array = 1,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    side: Side | None = None,
) -> Float[np.ndarray, "replicate estimator param"]:
    """The gradients themselves, pair after pair; for policies so small that all of them fit in memory."""
    run = _Run(estimators, policy, params, task, group_size, prompts, old_params, ref_params, side, key)
    gradients = run.gradients(key, jnp.arange(_pairs(replicates)))
    return np.asarray(gradients[:, :, : len(estimators)]).reshape(replicates, len(estimators), -1)


def reference(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
    """Leave-one-out on policy: unbiased for grad J, because a rollout's baseline does not depend on it."""
    group = batch.rewards.shape[1]
    others = (batch.rewards.sum(1, keepdims=True) - batch.rewards) / max(group - 1, 1)
    return jnp.mean(jnp.where(batch.mask, logp, 0.0).sum(-1) * (batch.rewards - others))


REFERENCE = Estimator("reference", reference)


class _Run:
    """One measurement: what is fixed over its replicates, and the jitted stages applied to them."""

    def __init__(
        self,
        estimators: Sequence[Estimator | Objective],
        policy: Policy,
        params: PyTree,
        task: Task,
        group_size: int,
        prompts: int | Array,
        old_params: PyTree | None,
        ref_params: PyTree | None,
        side: Side | None,
        key: PRNGKeyArray,
        devices: DeviceChoice = 1,
    ) -> None:
        self.workers = choose_devices(devices)
        self.estimators = tuple(as_estimator(e) for e in estimators)
        if not self.estimators:
            raise ValueError("estimators: the list is empty; give at least one")
        for estimator in self.estimators:
            check_group_size(estimator, group_size)
        self.policy, self.task, self.group_size = policy, task, int(group_size)
        self.fixed = None if isinstance(prompts, int | np.integer) else prompts
        self.size = int(prompts) if self.fixed is None else len(jax.tree.leaves(self.fixed)[0])
        if self.size < 1:
            raise ValueError(f"prompts: {prompts}; a batch needs at least one prompt")
        self.params = params
        self.old = params if old_params is None else old_params
        self.ref = self.old if ref_params is None else ref_params
        self.needs = tuple(n for n in NAMES if any(n in e.needs for e in self.estimators))
        unmet = {n for e in self.estimators for n in e.needs} - {*NAMES, "logp_ref", "logp_sampler"}
        if unmet:
            raise ValueError(
                f"estimators: {sorted(unmet)} is needed and no policy or task supplies it; leave them out"
            )
        self.tables = self._tables() if self.fixed is None else None
        self.side = side or self._default_side(jax.random.fold_in(key, 0x51DE))
        self.off_policy = self.old is not self.params
        self.measured = self.estimators
        if self.tables is None:
            if group_size < 2:
                raise ValueError(
                    "group_size: 1; with grad J unknown the unbiased reference needs at least 2 rollouts"
                )
            if not self.off_policy:
                self.measured = (*self.estimators, REFERENCE)

    def _tables(self) -> ExactTables | None:
        if isinstance(self.policy, FinitePolicy) and isinstance(self.task, FiniteTask):
            return tabulate(self.policy, self.params, self.task, self.old, self.ref)
        return None

    def _default_side(self, key: PRNGKeyArray) -> Side | None:
        if not self.needs:
            return None
        tables = self.tables or self._tables()
        if tables is not None:
            assert isinstance(self.policy, FinitePolicy)
            assert isinstance(self.task, FiniteTask)
            return exact_side(self.policy, self.task, tables)
        return pilot_side(self.policy, self.old, self.task, key, needs=self.needs)

    def gradients(
        self, key: PRNGKeyArray, pairs: Int[Array, " pair"]
    ) -> Float[Array, "pair 2 estimator param"]:
        """The gradients of every measured estimator for the pairs of these numbers."""
        draw = eqx.Partial(draw_of, self.task, self.size, self.group_size)
        prompts, keys = self.workers.over(draw, (self.fixed, key), (pairs,))
        # What is the same object is scored once: on policy that saves two passes in three.
        old = self.old if self.off_policy else None
        ref = None if self.ref is self.old else self.ref
        own = self._pulled(prompts, keys, old, ref, self.measured, self.side, self.needs)
        if self.tables is not None or not self.off_policy:
            return own
        fresh = self.workers.over(fresh_of, (), (keys,))
        truth = self._pulled(prompts, fresh, None, None, (REFERENCE,), None, ())
        return jnp.concatenate([own, truth], axis=2)

    def _pulled(
        self,
        prompts: PyTree,
        keys: PRNGKeyArray,
        old: PyTree | None,
        ref: PyTree | None,
        estimators: tuple[Estimator, ...],
        side: Side | None,
        needs: tuple[str, ...],
    ) -> Float[Array, "pair 2 estimator param"]:
        over = self.workers.over
        roll = eqx.Partial(roll_of, self.policy, self.task, needs)
        rollouts = over(roll, (self.params, old, ref, side), (prompts, keys))
        weights = over(eqx.Partial(weights_of, estimators, self.size, self.group_size), (), (rollouts,))
        pull = eqx.Partial(pull_of, self.policy, self._vectorised())
        return over(pull, (self.params,), (prompts, rollouts["completions"], weights))

    def accumulate(
        self, key: PRNGKeyArray, replicates: int, chunk: int | None, on_progress: Progress | None
    ) -> Sums:
        """Block sums over all replicates, a chunk of pairs at a time."""
        number = _pairs(replicates)
        per_gradient = ravel_pytree(self.params)[0].nbytes * (len(self.estimators) + 1)
        blocks = int(min(BLOCKS, number, max(8, _MEMORY // per_gradient)))
        chunk = int(max(1, min(number, _MEMORY // (4 * per_gradient)))) if chunk is None else chunk
        self.workers = self.workers.at_most(-(-number // chunk))
        sums: Sums | None = None
        for start in range(0, number, chunk * self.workers.size):
            # The last chunk is filled up with pairs of no weight: one shape, one trace.
            pairs = jnp.arange(start, start + chunk * self.workers.size)
            gradients = self.gradients(key, pairs)
            made = self.workers.over(eqx.Partial(sums_of, blocks), (number,), (gradients, pairs))
            for part in self._parts(made):
                sums = part if sums is None else jax.tree.map(jnp.add, sums, part)
            if on_progress is not None:
                on_progress(min(start + len(pairs), number) * 2, replicates)
        assert sums is not None
        self._refuse_no_number(sums)
        return sums

    def _parts(self, made: Sums) -> list[Sums]:
        """Every device's sums, in the order of their chunks."""
        whole, size = self.workers.gather(made), self.workers.size
        each = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), whole) if size > 1 else whole
        return (
            [jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), each) for i in range(size)]
            if size > 1
            else [whole]
        )

    def _refuse_no_number(self, sums: Sums) -> None:
        for estimator, squares in zip(self.measured, np.asarray(sums.squares), strict=False):
            if not np.isfinite(squares).all():
                raise ValueError(
                    f"params: a gradient of {estimator.name} is not finite; mend the model, the task or the estimator"
                )

    def moments(self, index: int, sums: Sums) -> Moments:
        """The figures of one estimator."""
        own = sums.gradients[index]
        count = np.asarray(sums.count, np.float64)
        if self.tables is not None:
            truth = np.asarray(self.tables.true_gradient, np.float64)
            aligned, squared = np.asarray(own, np.float64) @ truth, truth @ truth
        else:
            truth, other = None, sums.gradients[-1]
            aligned, squared = np.asarray(own @ other.T, np.float64), np.asarray(other @ other.T, np.float64)
        values, errors = figures(
            BlockSums(
                count=count,
                gram=np.asarray(own @ own.T, np.float64),
                squares=np.asarray(sums.squares[index], np.float64),
                pairs=None if self.fixed is not None else np.asarray(sums.pairs[index], np.float64),
                aligned=aligned,
                truth=squared,
                truth_known=truth is not None,
            )
        )
        blocks = np.asarray(own, np.float64) / count[:, None]
        return Moments(
            estimator=self.estimators[index].name,
            group_size=self.group_size,
            prompts=self.size,
            mean=np.asarray(own, np.float64).sum(0) / count.sum(),
            mean_se=blocks.std(0, ddof=1) / np.sqrt(len(blocks)),
            se={name: float(errors[name]) for name in FIGURES},
            true_gradient=truth,
            dof=len(blocks) - 1,
            replicates=int(count.sum()),
            **{name: float(values[name]) for name in FIGURES},
        )

    def _vectorised(self) -> int:
        """How many replicates are pulled back at once: many for tiny policies, one for large ones."""
        rollouts = self.size * self.group_size
        return int(
            max(
                1, min(4096, (1 << 24) // (ravel_pytree(self.params)[0].size * rollouts * len(self.measured)))
            )
        )


def _pairs(replicates: int) -> int:
    if replicates < 16 or replicates % 2:
        raise ValueError(f"replicates: {replicates}; give an even number of at least 16")
    return replicates // 2
