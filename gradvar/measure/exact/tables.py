"""Where an estimator is measured: everything that can be listed about a finite policy on a finite task, computed once.

The tables do not depend on any estimator. Enumeration gathers from them; direct Monte Carlo takes its side information
(critic, greedy rewards, best baseline) and the true gradient from them.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from gradvar.core.batch import PER_PROMPT, Batch
from gradvar.core.protocols import FinitePolicy, FiniteTask


class Tables(eqx.Module):
    """Per prompt (Q, all prompts of the task, equally likely) and completion (K, the policy's support), T tokens.

    ``probs`` are those of the sampling policy; ``logp``, ``scores`` (the derivative of every token's log-probability,
    zero where masked) and ``true_gradient`` (grad J, the mean over prompts) belong to the current parameters.
    ``values`` are the sampling policy's exact state values; ``baseline`` is the constant E[r ||s||^2] / E[||s||^2] that
    minimises the variance of reinforce for each prompt, under the sampling policy; ``score_squares`` are its
    ||s||^2.
    """

    probs: Float[Array, "prompt completion"]
    rewards: Float[Array, "prompt completion"]
    mask: Bool[Array, "completion time"]
    logp: Float[Array, "prompt completion time"]
    logp_old: Float[Array, "prompt completion time"]
    logp_ref: Float[Array, "prompt completion time"]
    values: Float[Array, "prompt completion time"]
    greedy_rewards: Float[Array, " prompt"]
    baseline: Float[Array, " prompt"]
    score_squares: Float[Array, "prompt completion"]
    scores: Float[Array, "prompt completion time param"]
    gradients: Float[Array, "prompt param"]

    @property
    def true_gradient(self) -> Float[Array, " param"]:
        """grad J, J the mean reward over prompts."""
        return self.gradients.mean(0)

    def batch(
        self, prompts: Int[Array, " prompt"], picks: Int[Array, "prompt group"]
    ) -> tuple[Float[Array, "prompt group time"], Batch]:
        """``(logp, batch)`` of the completions ``picks`` [Q, G] (rows of the support) of ``prompts`` [Q]."""
        rows = prompts[:, None]
        by_rollout = ("rewards", "logp_old", "logp_ref", "values", "score_squares")
        arrays = {name: getattr(self, name)[rows, picks] for name in by_rollout}  # [prompt, group, ...]
        arrays |= {name: getattr(self, name)[prompts] for name in PER_PROMPT}  # [prompt]
        return self.logp[rows, picks], Batch.from_arrays(arrays | {"mask": self.mask[picks]})


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
    policy: FinitePolicy, params: PyTree, task: FiniteTask, old_params: PyTree, ref_params: PyTree
) -> Tables:
    """List everything about ``policy`` on ``task``: sampled under ``old_params``, differentiated at ``params``.

    The rewards are looked up outside the jitted part, so that tasks which differ only in their rewards share a trace.
    """
    prompts = task.all_prompts()
    num_prompts = jax.tree.leaves(prompts)[0].shape[0]
    support = policy.support()
    rewards = task.reward(prompts, jnp.broadcast_to(support, (num_prompts, *support.shape)))
    greedy_rewards = task.reward(prompts, policy.greedy(old_params, prompts))[:, 0]
    return _tabulate(policy, params, old_params, ref_params, prompts, rewards, greedy_rewards)


@eqx.filter_jit
def _tabulate(
    policy: FinitePolicy,
    params: PyTree,
    old_params: PyTree,
    ref_params: PyTree,
    prompts: Array,
    rewards: Float[Array, "prompt completion"],
    greedy_rewards: Float[Array, " prompt"],
) -> Tables:
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
    probs, now = jnp.exp(logp_old.sum(-1)), jnp.exp(logp.sum(-1))
    norms = (scores_at(old_params).sum(2) ** 2).sum(-1)
    return Tables(
        probs=probs,
        rewards=rewards,
        mask=mask,
        logp=logp,
        logp_old=logp_old,
        logp_ref=logprobs(ref_params),
        values=state_values(support, mask, probs, rewards),
        greedy_rewards=greedy_rewards,
        baseline=(probs * norms * rewards).sum(-1) / (probs * norms).sum(-1),
        score_squares=norms,
        scores=scores,
        gradients=jnp.einsum("qk,qk,qkp->qp", now, rewards, scores.sum(2)),
    )


def state_values(
    support: Int[Array, "completion time"],
    mask: Bool[Array, "completion time"],
    probs: Float[Array, "prompt completion"],
    rewards: Float[Array, "prompt completion"],
) -> Float[Array, "prompt completion time"]:
    """The expected reward given the tokens before t, for every completion: the exact critic."""
    same = jnp.logical_or(support[:, None] == support[None], ~mask[:, None])
    before = jnp.concatenate([jnp.ones_like(same[..., :1]), jnp.cumprod(same, -1)[..., :-1].astype(bool)], -1)
    weight = probs[:, None, :, None] * before[None]
    return (weight * rewards[:, None, :, None]).sum(2) / weight.sum(2)
