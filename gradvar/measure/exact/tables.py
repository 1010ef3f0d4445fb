"""``ExactTables``: everything that can be listed about a finite policy on a finite task, computed once.

The tables do not depend on any estimator. Enumeration gathers from them; direct Monte Carlo takes its baselines
(critic, greedy rewards, best constant) and the true gradient from them.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from gradvar.core.precision import as_double, double_precision
from gradvar.core.programs import quick_jit
from gradvar.core.protocols import FinitePolicy, FiniteTask, Sampler
from gradvar.policies.sampler_weights import as_sampler
from gradvar.tasks.parts import parts_of


class ExactTables(eqx.Module):
    """Per prompt (Q, all prompts of the task, equally likely) and completion (K, the policy's support), T tokens.

    ``probs`` are those of the sampler, ``logp_sampler`` is what it reports, ``logp_old`` belongs to the trainer's
    proximal policy (what the sampler never draws has ``logp_old`` for both); ``logp``, ``scores`` (the derivative of
    every token's log-probability, zero where masked) and ``true_gradient`` (grad J, the mean over prompts) belong to
    the current parameters.
    ``values`` are the sampler's exact state values; ``baseline`` is the constant E[r ||s||^2] / E[||s||^2] that
    minimises the variance of reinforce for each prompt, under the sampler; ``score_squares`` are the old policy's
    ||s||^2. ``reward_parts``: the several rewards of a task that has them.
    """

    probs: Float[Array, "prompt completion"]
    rewards: Float[Array, "prompt completion"]
    mask: Bool[Array, "completion time"]
    logp: Float[Array, "prompt completion time"]
    logp_old: Float[Array, "prompt completion time"]
    logp_ref: Float[Array, "prompt completion time"]
    logp_sampler: Float[Array, "prompt completion time"]
    values: Float[Array, "prompt completion time"]
    greedy_rewards: Float[Array, " prompt"]
    baseline: Float[Array, " prompt"]
    score_squares: Float[Array, "prompt completion"]
    scores: Float[Array, "prompt completion time param"]
    gradients: Float[Array, "prompt param"]
    reward_parts: Float[Array, "prompt completion part"] | None = None

    @property
    def true_gradient(self) -> Float[Array, " param"]:
        """grad J, J the mean reward over prompts."""
        return self.gradients.mean(0)

    def in_working_precision(self) -> "ExactTables":
        """The same tables in the floating type that JAX has now."""
        dtype = jnp.result_type(float)

        def convert(array: Array) -> Array:
            is_float = jnp.issubdtype(array.dtype, jnp.floating)
            return jnp.asarray(np.asarray(array).astype(dtype)) if is_float else array

        return jax.tree.map(convert, self)

    def fields(
        self, rows: Int[np.ndarray, "batch prompt"], picks: Int[np.ndarray, "batch prompt group"]
    ) -> dict[str, np.ndarray]:
        """``logp`` and the fields of ``Batch`` of many batches: completions ``picks`` (rows of the support) of prompts
        ``rows``."""
        index = rows[..., None], picks  # [batch, prompt, 1] and [batch, prompt, group]
        by_rollout = [*_PER_ROLLOUT, *(["reward_parts"] if self.reward_parts is not None else [])]
        arrays = {name: np.asarray(getattr(self, name)) for name in (*by_rollout, *_PER_PROMPT, "mask")}
        return {
            **{name: arrays[name][index] for name in by_rollout},
            **{name: arrays[name][rows] for name in _PER_PROMPT},
            "mask": arrays["mask"][picks],
        }


_PER_ROLLOUT = ("rewards", "logp", "logp_old", "logp_ref", "logp_sampler", "values", "score_squares")
_PER_PROMPT = ("greedy_rewards", "baseline")


def exact_tables(
    policy: FinitePolicy,
    params: PyTree,
    task: FiniteTask,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    sampler: Sampler | PyTree | None = None,
) -> ExactTables:
    """Make the tables that ``exact`` enumerates, in float64, to share between estimators and group sizes.

    Args:
        policy: one that lists its completions, by ``support()``.
        params: the parameters that are differentiated.
        task: one that lists its prompts, by ``all_prompts()``.
        old_params: those of the trainer's proximal policy; by default ``params``.
        ref_params: the reference policy's parameters; by default ``old_params``.
        sampler: what draws the rollouts, a ``Sampler`` or parameters; by default ``old_params``.

    Raises:
        ValueError: where the completions or the prompts cannot be listed.
    """
    require_finite(policy, task)
    with double_precision():
        old, ref, drawing = (None if x is None else as_double(x) for x in (old_params, ref_params, sampler))
        return tabulate(policy, as_double(params), task, old, ref, drawing)


def require_finite(policy: object, task: object) -> None:
    """Raise a clear error unless the policy's completions and the task's prompts can be listed."""
    if not isinstance(policy, FinitePolicy):
        raise ValueError(
            f"policy: {type(policy).__name__} has no support(), so nothing can be enumerated; "
            "give a Bandit or Tabular policy, or use measure.direct"
        )
    if not isinstance(task, FiniteTask):
        raise ValueError(
            f"task: {type(task).__name__} has no all_prompts(), so its prompts cannot be listed; use measure.direct"
        )


def tabulate(
    policy: FinitePolicy,
    params: PyTree,
    task: FiniteTask,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    sampler: Sampler | PyTree | None = None,
) -> ExactTables:
    """Make the tables in the precision that JAX has now.

    The rewards are looked up outside the compiled part, so that tasks which differ only in their rewards
    share it.

    Args:
        policy: A finite policy.
        params: Its parameters.
        task: A finite task.
        old_params: Of the trainer's proximal policy; None for ``params``.
        ref_params: Of the reference policy; None for ``old_params``.
        sampler: What draws the rollouts, a ``Sampler`` or parameters; None for ``old_params``.
    """
    prompts = task.all_prompts()
    num_prompts = jax.tree.leaves(prompts)[0].shape[0]
    support = policy.support()
    completions = jnp.broadcast_to(support, (num_prompts, *support.shape))
    rewards = task.reward(prompts, completions)
    old = params if old_params is None else old_params
    greedy_rewards = task.reward(prompts, policy.greedy(old, prompts))[:, 0]
    reference = old if ref_params is None else ref_params
    tables = _tabulate(
        policy, (params, old, reference), as_sampler(sampler), prompts, rewards, greedy_rewards
    )
    _require_distribution(tables.probs, sampler)
    parts = parts_of(task, prompts, completions).get("reward_parts")
    if parts is None:
        return tables
    return dataclasses.replace(tables, reward_parts=parts.astype(tables.rewards.dtype))


def _require_distribution(probs: Float[Array, "prompt completion"], sampler: object) -> None:
    """Raise an error unless the chances of a sampler add up to 1 for every prompt."""
    if sampler is None or isinstance(probs, jax.core.Tracer):
        return
    totals = np.asarray(probs, np.float64).sum(-1)
    if not np.allclose(totals, 1.0, rtol=0, atol=1e-5):
        raise ValueError(
            f"sampler: its chances add up to {totals[np.argmax(np.abs(totals - 1))]:.6g} for a prompt; "
            "give log_chances that are those of a distribution"
        )


@quick_jit
def _tabulate(
    policy: FinitePolicy,
    trees: tuple[PyTree, PyTree, PyTree],
    sampler: Sampler | None,
    prompts: Array,
    rewards: Float[Array, "prompt completion"],
    greedy_rewards: Float[Array, " prompt"],
) -> ExactTables:
    params, old_params, ref_params = trees
    support = policy.support()
    completions = jnp.broadcast_to(support, (rewards.shape[0], *support.shape))
    mask = policy.mask(support)

    def logprobs(values: PyTree) -> Float[Array, "prompt completion time"]:
        return jnp.where(mask, policy.logprobs(values, prompts, completions), 0.0)

    def scores_at(values: PyTree) -> Float[Array, "prompt completion time param"]:
        flat, unravel = ravel_pytree(values)
        return jax.jacfwd(lambda x: logprobs(unravel(x)))(flat)

    logp, logp_old, scores = logprobs(params), logprobs(old_params), scores_at(params)
    rewards, greedy_rewards = rewards.astype(logp.dtype), greedy_rewards.astype(logp.dtype)
    # [prompt, completion]: chances under the sampler and under the current policy, and the sampler's ||s||^2
    probs, current_probs = jnp.exp(logp_old.sum(-1)), jnp.exp(logp.sum(-1))
    logp_sampler = logp_old
    if sampler is not None:
        of_engine = (policy, old_params, prompts, completions)
        chances = jnp.where(mask, sampler.log_chances(*of_engine), 0.0)
        probs = jnp.exp(chances.sum(-1))
        # What the engine never draws has chance zero: any finite number serves there, and infinity would not.
        drawn = (probs > 0)[..., None] & mask
        logp_sampler = jnp.where(drawn, sampler.logprobs(*of_engine), logp_old)
    norms = (scores_at(old_params).sum(2) ** 2).sum(-1)
    # grad J does not depend on a constant in the rewards, but rounding does: a million would leave few digits.
    centred = rewards - (current_probs * rewards).sum(-1, keepdims=True)
    return ExactTables(
        probs=probs,
        rewards=rewards,
        mask=mask,
        logp=logp,
        logp_old=logp_old,
        logp_ref=logprobs(ref_params),
        logp_sampler=logp_sampler,
        values=state_values(support, mask, probs, rewards),
        greedy_rewards=greedy_rewards,
        baseline=(probs * norms * rewards).sum(-1) / (probs * norms).sum(-1),
        score_squares=norms,
        scores=scores,
        gradients=jnp.einsum("qk,qk,qkp->qp", current_probs, centred, scores.sum(2)),
    )


def state_values(
    support: Int[Array, "completion time"],
    mask: Bool[Array, "completion time"],
    probs: Float[Array, "prompt completion"],
    rewards: Float[Array, "prompt completion"],
) -> Float[Array, "prompt completion time"]:
    """Compute the expected reward given the tokens before t, for every completion: the exact critic.

    Args:
        support: Every completion.
        mask: True for its tokens.
        probs: Probability of every completion.
        rewards: Its reward.
    """
    # [completion, completion, time]: two completions have the same token at t; then, the same tokens before t
    same = jnp.logical_or(support[:, None] == support[None], ~mask[:, None])
    before = jnp.concatenate([jnp.ones_like(same[..., :1]), jnp.cumprod(same, -1)[..., :-1].astype(bool)], -1)
    weight = probs[:, None, :, None] * before[None]  # [prompt, completion, completion, time]
    total = weight.sum(2)
    # A prefix that never comes has no value: 0.
    return jnp.where(
        total > 0, (weight * rewards[:, None, :, None]).sum(2) / jnp.where(total > 0, total, 1.0), 0.0
    )
