r"""What one step of an estimator does to the expected reward and to the entropy, by enumeration.

For f of the parameters and a step theta + rate g with the estimator's random gradient g, E[f] - f is

    rate grad f . E[g]  +  rate^2 / 2 (tr(Hess f Cov g) + E[g] . Hess f E[g])  +  O(rate^3).

Both coefficients, and E[f] - f itself, are sums over all groups of one prompt. Where E[g] = 0, as for likelihood on a
policy's own rollouts (claim C5), the second order is all there is, and it does not know the sign of g: imitating own
rollouts and running from them then do the same to every f, up to third order.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from gradvar.core.batch import Batch
from gradvar.core.checks import finite, whole
from gradvar.core.estimator import Estimator, Objective, as_estimator, token_weights
from gradvar.core.precision import double_precision
from gradvar.core.protocols import FinitePolicy, Task

MOST_GROUPS = 20_000
FIGURES = ("reward", "entropy")


class StepEffect(NamedTuple):
    """E[f] - f after one step, for ``FIGURES``: coefficients of rate and of rate^2, and the whole, [figure]."""

    first: Float[np.ndarray, " figure"]
    second: Float[np.ndarray, " figure"]
    change: Float[np.ndarray, " figure"]


def step_effect(
    estimator: Estimator | Objective,
    policy: FinitePolicy,
    params: PyTree,
    task: Task,
    group_size: int,
    rate: float,
    prompt: Int[Array, " prompt *past"] | None = None,
) -> StepEffect:
    """What one on-policy step on one prompt does to that prompt's expected reward and entropy (nats), exactly.

    Args:
        estimator: One of the catalogue, or an objective; maximised.
        policy: One that lists its completions.
        params: Its parameters.
        task: What rewards the completions.
        group_size: Rollouts of the step.
        rate: Learning rate of the step, without an optimiser's memory.
        prompt: The prompt, with its leading axis; None: prompt 0.

    Raises:
        ValueError: Where there are too many groups to enumerate.

    >>> from gradvar import tasks
    >>> from gradvar.policies import Bandit
    >>> bandit, task = Bandit(2), tasks.Bandit([1.0, 0.0])
    >>> likelihood = lambda logp, batch: jnp.mean(jnp.sum(logp, -1))
    >>> effect = step_effect(likelihood, bandit, jnp.zeros((1, 2)), task, 1, 0.1)
    >>> effect.first.round(6).tolist(), effect.second.round(6).tolist()
    ([0.0, 0.0], [0.0, -0.125])
    """
    estimator = as_estimator(estimator)
    size, rate = whole("group_size", group_size, 1), finite("rate", rate)
    support = policy.support()  # [completion, time]
    count = len(support)
    if count**size > MOST_GROUPS:
        raise ValueError(
            f"group_size: {size} of {count} completions are {count**size} groups; give fewer, {MOST_GROUPS} at most"
        )
    with double_precision():
        asked = jnp.zeros((1,), jnp.int32) if prompt is None else prompt
        flat, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x, float), params))
        listed, mask = support[None], policy.mask(support[None])
        rewards = jnp.asarray(task.reward(asked, listed), float)[0]  # [completion]

        def token_logs(vector: Array) -> Array:
            logs = policy.logprobs(unravel(vector), asked, listed)[0]
            return jnp.where(mask[0], logs, 0.0)  # [completion, time]

        def figures(vector: Array) -> Array:
            logs = jnp.sum(token_logs(vector), axis=-1)
            chances = jnp.exp(logs)
            return jnp.stack([jnp.sum(chances * rewards), -jnp.sum(chances * logs)])

        logs, scores = token_logs(flat), jax.jacrev(token_logs)(flat)  # [completion, time, param]
        groups = np.array(list(itertools.product(range(count), repeat=size)))  # [case, group]

        def gradient(group: Array) -> tuple[Array, Array]:
            old = logs[group][None]  # [1, group, time]
            arrays = {"rewards": rewards[group][None], "logp_old": old, "mask": mask[0][group][None]}
            batch = Batch.from_arrays(arrays | _references(estimator, old))
            weights = token_weights(estimator, old, batch)[0]
            chance = jnp.exp(jnp.sum(logs[group]))
            return chance, jnp.einsum("gt,gtp->p", weights, scores[group])

        chances, gradients = jax.lax.map(gradient, jnp.asarray(groups))
        mean = chances @ gradients
        first = jax.jacrev(figures)(flat) @ mean
        curvature = jax.hessian(figures)(flat)  # [figure, param, param]
        second = jnp.einsum("c,cp,fpq,cq->f", chances, gradients, curvature, gradients) / 2
        after = jax.lax.map(lambda g: figures(flat + rate * g), gradients)  # [case, figure]
        change = chances @ after - figures(flat)
        return StepEffect(*(np.asarray(x) for x in (first, second, change)))


def _references(estimator: Estimator, old: Array) -> dict[str, Array]:
    """The reference and the sampler are the policy itself; other optional fields are not served."""
    unmet = [need for need in estimator.needs if need not in ("logp_ref", "logp_sampler")]
    if unmet:
        raise ValueError(
            f"estimator: {estimator.name} needs {unmet[0]}; give one that rewards and policies suffice for"
        )
    return dict.fromkeys(estimator.needs, old)
